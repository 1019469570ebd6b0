//! What a module needs of the machine, as far as it is known by name. An unknown one reads its own
//! directory and what vendors install below `/opt`; the rest is the operator's to say.

use std::path::Path;

use provider_core::{Need, Needs, Settings};

/// What opening with these settings needs beyond what every program reads. Whether the settings
/// are right is for the opening to say.
pub(crate) fn of(settings: &mut Settings) -> Needs {
    let module = settings.take("module").unwrap_or_default();
    let file = Path::new(&module).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut needs = Vec::new();
    if let Some(directory) = Path::new(&module).parent().and_then(Path::to_str) {
        needs.extend(path(directory).map(Need::Read));
    }
    if file.starts_with("libsofthsm2") {
        needs.extend(softhsm());
    } else if file.starts_with("libsoftokn3") {
        let arguments = settings.take("init_args").unwrap_or_default();
        needs.extend(databases(&arguments).map(Need::Write));
    } else if file.starts_with("libtpm2_pkcs11") {
        let store = environment("TPM2_PKCS11_STORE");
        needs.extend(path(store.as_deref().unwrap_or("/etc/tpm2_pkcs11")).map(Need::Write));
        needs.push(Need::Device("/dev/tpmrm0".to_owned()));
    } else if file.starts_with("opensc-pkcs11") || file.starts_with("libykcs11") {
        needs.push(Need::Unix("/run/pcscd/pcscd.comm".to_owned()));
    } else {
        needs.push(Need::Read("/opt".to_owned()));
    }
    Needs(needs)
}

#[expect(clippy::disallowed_methods, reason = "modules are configured by their environment")]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// A text as the path of a need.
fn path(text: &str) -> Option<String> {
    let is_path = text.starts_with('/') && !text.chars().any(char::is_control);
    is_path.then(|| text.to_owned())
}

/// Its configuration, and the directory with its tokens that is named there.
fn softhsm() -> impl Iterator<Item = Need> {
    const DEFAULT: &str = "/etc/softhsm/softhsm2.conf";
    const TOKENS: &str = "/var/lib/softhsm/tokens";
    let configuration = environment("SOFTHSM2_CONF").unwrap_or_else(|| DEFAULT.to_owned());
    let text = std::fs::read_to_string(&configuration).unwrap_or_default();
    let tokens = token_directory(&text).unwrap_or(TOKENS);
    let tokens = path(tokens).map(Need::Write);
    path(&configuration).map(Need::Read).into_iter().chain(tokens)
}

fn token_directory(configuration: &str) -> Option<&str> {
    let entries = configuration.lines().filter_map(|line| line.split_once('='));
    let mut directories = entries.filter(|(key, _)| key.trim() == "directories.tokendir");
    directories.next_back().map(|(_, value)| value.trim())
}

/// The directories that NSS is told to keep its databases in.
fn databases(arguments: &str) -> impl Iterator<Item = String> {
    let named = arguments.split(['\'', '"', ' ', '=', '[', ']', '<', '>']);
    named.filter_map(|word| path(word.strip_prefix("sql:").unwrap_or(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(entries: &[(&str, &str)], lines: &[&str]) {
        let said = of(&mut Settings::new(entries.iter().copied())).to_string();
        assert_eq!(said.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn unknown_module_reads_its_directory_and_opt() {
        check(&[("module", "/vendor/lib/libhsm.so")], &["read /vendor/lib", "read /opt"]);
    }

    #[test]
    fn nss_writes_its_databases() {
        let arguments = "configdir='' tokens=<0x3=[configDir='sql:/a/first' slot='x'] \
                         0x4=[configDir='/b' y='z']>";
        check(
            &[("module", "/usr/lib/nss/libsoftokn3.so"), ("init_args", arguments)],
            &["read /usr/lib/nss", "write /a/first", "write /b"],
        );
    }

    #[test]
    fn smart_cards_are_behind_their_daemon() {
        check(
            &[("module", "/usr/lib/opensc-pkcs11.so")],
            &["read /usr/lib", "connect unix /run/pcscd/pcscd.comm"],
        );
    }

    #[test]
    fn last_token_directory_counts() {
        let text = "# directories.tokendir = /no\ndirectories.tokendir = /a\n\
                    directories.tokendir=/b c \nlog.level = ERROR\n";
        assert_eq!(token_directory(text), Some("/b c"));
        assert_eq!(token_directory("objectstore.backend = file"), None);
    }

    #[test]
    fn settings_that_are_wrong_are_left_to_the_opening() {
        check(&[], &["read /opt"]);
        check(&[("module", "lib.so")], &["read /opt"]);
    }
}
