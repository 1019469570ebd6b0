//! The body of the fuzz target of this folder (`docs/fuzzing.md`).

use std::path::Path;

use super::config::{self, Keyd};
use super::sections::{Root, sections};

/// The configuration of an aziot Key Service: a file and its patches, with a zero byte between
/// them. The rights in it are written for the host so that they are read the same again, but for
/// what the host refuses.
pub(crate) fn keyd_config(data: &[u8]) {
    let files: Vec<_> = data.split(|byte| *byte == 0).collect();
    match config::parse(&files) {
        Ok(keyd) => {
            let written = sections(&keyd, Path::new("/s"), Root::AsConfigured);
            let read = config::parse(&[hosts(&written).as_bytes()]).unwrap_or_default();
            let takes = |key: &String| (1..=512).contains(&key.chars().count());
            let expected: Vec<_> = keyd
                .principals
                .iter()
                .map(|it| (it.uid, it.keys.iter().filter(|key| takes(key)).collect::<Vec<_>>()))
                .filter(|(uid, keys)| *uid != u32::MAX && !keys.is_empty())
                .collect();
            let principals = read.principals.iter();
            let written: Vec<_> = principals.map(|it| (it.uid, it.keys.iter().collect())).collect();
            assert_eq!(written, expected);
            assert_eq!(Keyd { principals: Vec::new(), ..read }, Keyd::default());
        }
        Err(fault) => assert!(fault.to_string().len() <= 128),
    }
}

/// Sections of the host as ones of the service.
fn hosts(sections: &str) -> String {
    sections.replace("\n[[keyd.principal]]\n", "\n[[principal]]\n")
}
