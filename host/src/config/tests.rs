//! Configuration files as operators write them, and what each gets.

use super::*;

mod content;
mod page;
mod provider;
mod reload;
mod robust;
mod whole;

/// The shortest file that is accepted.
const SHORTEST: &str = r#"
[listen]
socket = "/run/sealhost.sock"
[state]
dir = "/var/lib/sealhost"
[audit]
path = "/var/log/sealhost.log"
[[provider]]
name = "soft"
plugin = "/usr/lib/libprovider_soft.so"
"#;

/// [`SHORTEST`] with more lines in a section: after its heading, or at the end with a new one.
fn with(heading: &str, lines: &str) -> String {
    let start = format!("{heading}\n");
    if SHORTEST.contains(&start) {
        SHORTEST.replace(&start, &format!("{start}{lines}\n"))
    } else {
        format!("{SHORTEST}{start}{lines}\n")
    }
}

fn read(text: &str) -> Result<Config, ConfigError> {
    config::check(Path::new("/f"), text.as_bytes(), file::whole)
}

#[track_caller]
fn parse(text: &str) -> Config {
    read(text).unwrap()
}

/// Every fault of a file, one a line, without the file's name.
#[track_caller]
fn faults(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigError::Faults { faults, .. }) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

/// Checks the whole list of faults; each is given by its key and the start of its message.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let faults = faults(text);
    let fits = faults.len() == expected.len()
        && faults.iter().zip(expected).all(|(fault, start)| fault.starts_with(start));
    assert!(fits, "found {faults:#?}, expected {expected:#?}");
}

fn name(text: &str) -> ProviderName {
    ProviderName::parse(text).unwrap()
}
