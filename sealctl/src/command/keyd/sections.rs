//! What the rights of an aziot Key Service are in the configuration of the host.

use std::path::Path;

use serde::Serialize;
use wire::keyd::PATTERN_MAX_CHARS;

use super::config::{Keyd, Principal};

const ROOT: u32 = 0;

/// Whether uid 0 gets every key, as the service gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Everything,
    AsConfigured,
}

#[derive(Serialize)]
struct Sections<'a> {
    listen: Listen<'a>,
    #[serde(skip_serializing_if = "Principals::is_empty")]
    keyd: Principals,
}

#[derive(Serialize)]
struct Listen<'a> {
    keyd: Socket<'a>,
}

#[derive(Serialize)]
struct Socket<'a> {
    socket: &'a str,
}

#[derive(Serialize)]
struct Principals {
    principal: Vec<Principal>,
}

impl Principals {
    fn is_empty(&self) -> bool {
        self.principal.is_empty()
    }
}

/// The sections as TOML, and under `#` what is not in them.
pub(super) fn sections(keyd: &Keyd, socket: &Path, root: Root) -> String {
    let mut principal = Vec::new();
    let mut comments = vec!["for the configuration of sealhost (docs/keyd.md)".to_owned()];
    for Principal { uid, keys } in &keyd.principals {
        if root == Root::Everything && *uid == ROOT {
            continue;
        }
        let fits = |key: &&String| (1..=PATTERN_MAX_CHARS).contains(&key.chars().count());
        let fitting: Vec<_> = keys.iter().filter(fits).cloned().collect();
        let dropped = keys.len().saturating_sub(fitting.len());
        if dropped > 0 {
            comments.push(format!(
                "uid {uid}: left out {dropped} patterns that are empty or longer than \
                 {PATTERN_MAX_CHARS} characters"
            ));
        }
        if *uid == u32::MAX {
            comments.push(format!("uid {uid} is no user; left out"));
        } else if fitting.is_empty() {
            comments.push(format!("uid {uid} has no keys; left out"));
        } else {
            principal.push(Principal { uid: *uid, keys: fitting });
        }
    }
    if root == Root::Everything {
        principal.push(Principal { uid: ROOT, keys: vec!["*".to_owned()] });
    } else {
        comments
            .push("the service lets uid 0 use every key; here it has what is given to it".into());
        comments.push("(--root gives it every key of the dialect)".into());
    }
    let comments: String = comments.iter().map(|comment| format!("# {comment}\n")).collect();
    let socket = socket.to_string_lossy();
    let listen = Listen { keyd: Socket { socket: &socket } };
    // A path and lists of texts and numbers can be written.
    let sections = toml::to_string(&Sections { listen, keyd: Principals { principal } });
    comments + &sections.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(principals: &[(u32, &[&str])], root: Root, expected: &str) {
        let of = |(uid, keys): &(u32, &[&str])| Principal {
            uid: *uid,
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let keyd = Keyd { principals: principals.iter().map(of).collect(), ..Keyd::default() };
        let written = sections(&keyd, Path::new("/run/aziot/keyd.sock"), root);
        let lines: Vec<_> = written.lines().filter(|line| !line.starts_with('#')).collect();
        let head = "[listen.keyd]\nsocket = \"/run/aziot/keyd.sock\"";
        assert_eq!(lines.join("\n"), format!("{head}{expected}"));
    }

    #[test]
    fn principals_are_written_as_the_host_reads_them() {
        check(
            &[(1000, &["a", "b*"]), (7, &["\"\\\n"])],
            Root::AsConfigured,
            "\n\n[[keyd.principal]]\nuid = 1000\nkeys = [\"a\", \"b*\"]\n\n\
             [[keyd.principal]]\nuid = 7\nkeys = ['''\n\"\\\n''']",
        );
    }

    #[test]
    fn root_has_every_key_only_when_it_is_asked_for() {
        let every = "\n\n[[keyd.principal]]\nuid = 0\nkeys = [\"*\"]";
        check(&[], Root::Everything, every);
        check(&[(0, &["a"])], Root::Everything, every);
        check(&[(0, &["a"])], Root::AsConfigured, &every.replace('*', "a"));
        check(&[], Root::AsConfigured, "");
    }

    #[test]
    fn what_the_host_refuses_is_left_out_and_said() {
        check(&[(1, &[]), (2, &[""]), (u32::MAX, &["a"])], Root::AsConfigured, "");
        let (longest, longer) = ("a".repeat(512), "a".repeat(513));
        let expected = format!("\n\n[[keyd.principal]]\nuid = 1\nkeys = [\"{longest}\"]");
        check(&[(1, &[&longest, &longer])], Root::AsConfigured, &expected);
    }
}
