//! Paths as a shell takes them, for messages that end in a command to run.

use std::path::Path;

/// Writes `path` so that it can be pasted into a shell and cannot break a log line.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.into_owned();
    }
    if text.chars().any(char::is_control) {
        // The form $'…' of POSIX.1-2024, section 2.2.4.
        return format!("$'{}'", text.escape_debug());
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, written: &str) {
        assert_eq!(quoted(Path::new(path)), written);
    }

    #[test]
    fn plain_path_is_written_as_it_is() {
        check("/var/lib/sealhost-1", "/var/lib/sealhost-1");
    }

    #[test]
    fn path_with_space_is_quoted() {
        check("/tmp/a b", "'/tmp/a b'");
    }

    #[test]
    fn path_with_quote_cannot_leave_the_quotes() {
        check("/tmp/a'; reboot", r"'/tmp/a'\''; reboot'");
    }

    #[test]
    fn path_with_newline_stays_on_one_line() {
        check("/tmp/a\nb", r"$'/tmp/a\nb'");
    }
}
