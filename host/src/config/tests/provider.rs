//! `[[provider]]` and its tables.

use daemon::sandbox::Demand;

use crate::plugin::{Confinement, Connection};

use super::*;

const AT: &str = "[[provider]] #1 (\"soft\")";

/// Checks one fault of the provider's own keys, or of one of its tables.
#[track_caller]
fn check_one(heading: &str, lines: &str, expected: &str) {
    check(&with(heading, lines), &[&format!("{AT} {expected}")]);
}

#[track_caller]
fn check_source(text: &str, expected: Option<SecretSource>) {
    let file = with("[provider.settings]", &format!("pin_source = '{text}'"));
    match expected {
        Some(source) => {
            let secrets = parse(&file).providers.remove(0).secrets;
            assert!(secrets.contains(&("pin".to_owned(), source)), "{secrets:?}");
        }
        // The whole message: what was written may be the secret.
        None => assert_eq!(
            faults(&file),
            [format!(
                "{AT} settings.pin_source: is not a secret source; write \"file:/PATH\", \
                 \"credential:NAME\" or \"sealed:/PATH\""
            )]
        ),
    }
}

#[test]
fn name_is_needed_valid_and_unique() {
    let unnamed = SHORTEST.replace("name = \"soft\"\n", "");
    check(&unnamed, &["[[provider]] #1 name: is missing; add for example: name = \"soft\""]);
    let shouted = SHORTEST.replace("\"soft\"", "\"SOFT\"");
    check(&shouted, &["[[provider]] #1 name: a name or segment starts with a character"]);
    let twice = with("[[provider]]", "name = \"soft\"\nplugin = \"/a\"\n[[provider]]");
    check(&twice, &["[[provider]] #2 (\"soft\") name: is the name of provider #1 too"]);
}

#[test]
fn name_at_limit_is_accepted_and_one_byte_more_is_refused() {
    let of = |bytes: usize| SHORTEST.replace("\"soft\"", &format!("\"{}\"", "s".repeat(bytes)));
    assert_eq!(parse(&of(32)).providers[0].name.as_str().len(), 32);
    check(&of(33), &["[[provider]] #1 name: name of 33 bytes exceeds limit of 32; begin with"]);
}

#[test]
fn plugin_is_needed() {
    let bare = SHORTEST.replace("plugin = \"/usr/lib/libprovider_soft.so\"\n", "");
    check(
        &bare,
        &[&format!("{AT} plugin: is missing; add for example: plugin = \"provider_soft\"")],
    );
}

#[test]
fn bare_plugin_is_looked_up_in_the_directory() {
    let file = SHORTEST.replace("/usr/lib/libprovider_soft.so", "provider-x_2");
    let found = parse(&format!("{file}[plugins]\ndir = \"/opt/p\""));
    assert_eq!(found.providers[0].source.path, Path::new("/opt/p/libprovider-x_2.so"));
    check(
        &file,
        &[&format!("{AT} plugin: is a bare name and no directory is given; add [plugins]")],
    );
}

#[test]
fn faulty_plugin_directory_is_one_fault() {
    let file = SHORTEST.replace("/usr/lib/libprovider_soft.so", "provider_soft");
    check(&format!("{file}[plugins]\ndir = \"p\""), &["[plugins] dir: \"p\" is not an absolute"]);
}

#[test]
fn plugin_that_could_leave_the_directory_is_refused() {
    for text in ["../soft", "a/b", "..", "a.so", "a b", "ä"] {
        let file = SHORTEST.replace("/usr/lib/libprovider_soft.so", text);
        let file = format!("{file}[plugins]\ndir = \"/opt/p\"");
        check(&file, &[&format!("{AT} plugin: {text:?} is neither a name of letters")]);
    }
}

#[test]
fn isolation_is_one_of_two_words() {
    let of = |word: &str| parse(&with("[[provider]]", &format!("isolation = \"{word}\"")));
    assert_eq!(of("process").providers[0].source.isolation, Isolation::Process);
    assert_eq!(of("in-process").providers[0].source.isolation, Isolation::InProcess);
    check_one("[[provider]]", "isolation = \"none\"", "isolation: \"none\" is not known; use");
    check_one("[[provider]]", "isolation = true", "isolation: is true or false; give a text");
}

#[test]
fn digest_has_64_hexadecimal_digits() {
    let of = |text: &str| with("[[provider]]", &format!("sha256 = \"{text}\""));
    assert_eq!(parse(&of(&"fA".repeat(32))).providers[0].source.sha256, Some([0xfa; 32]));
    for text in [
        "",
        &"f".repeat(63),
        &"f".repeat(65),
        &"f".repeat(62),
        &"f".repeat(66),
        &"g".repeat(64),
        &"+1".repeat(32),
    ] {
        check(&of(text), &[&format!("{AT} sha256: is not a SHA-256; give the 64 hexadecimal")]);
    }
}

#[test]
fn protection_is_stated_or_left_to_the_provider() {
    let of = |word: &str| parse(&with("[[provider]]", &format!("protection = \"{word}\"")));
    assert_eq!(of("hardware").providers[0].protection, Some(Protection::Hardware));
    assert_eq!(of("emulated").providers[0].protection, Some(Protection::Emulated));
    assert_eq!(of("software").providers[0].protection, Some(Protection::Software));
    check_one(
        "[[provider]]",
        "protection = \"tpm\"",
        "protection: \"tpm\" is not known; use \"hard",
    );
}

#[test]
fn unknown_key_of_a_provider_is_refused() {
    check_one("[[provider]]", "plugins = 1", "plugins: is not known; did you mean plugin?");
    check_one("[provider.setings]", "", "setings: is not known; did you mean settings?");
    check_one(
        "[provider.deadlines]",
        "sign = \"1s\"",
        "deadlines.sign: is not known; remove it, or use one of: open, queue, ",
    );
}

#[test]
fn setting_becomes_text() {
    let lines = "a = 'x'\nb = -5\nc = false\nd = ''\n\"e f\" = 0x10";
    let config = parse(&with("[provider.settings]", lines));
    let found: Vec<(&str, &str)> = config.providers[0].settings.iter().collect();
    assert_eq!(found, [("a", "x"), ("b", "-5"), ("c", "false"), ("d", ""), ("e f", "16")]);
}

#[test]
fn setting_that_is_not_flat_is_refused_without_its_value() {
    for (value, found) in [
        ("1.5", "a number with a fraction"),
        ("1979-05-27", "a date or time"),
        ("['x']", "a list"),
        ("{ x = 1 }", "a table"),
    ] {
        let expected = format!(
            "{AT} settings.a: is {found}; give a text in quotes, a whole number, true or false"
        );
        assert_eq!(faults(&with("[provider.settings]", &format!("a = {value}"))), [expected]);
    }
    check_one("[provider.settings]", "a = \"\\u0000\"", "settings.a: has a zero byte; remove it");
    check_one("[provider.settings]", "\"a\\nb\" = 1.5", "settings.\"a\\nb\": is a number with");
}

#[test]
fn secret_source_is_read() {
    check_source("file:/etc/pin", Some(SecretSource::File("/etc/pin".into())));
    check_source("sealed:/etc/pin", Some(SecretSource::Sealed("/etc/pin".into())));
    check_source("generated", Some(SecretSource::Generated));
    check_source("credential:hsm-pin", Some(SecretSource::Credential("hsm-pin".into())));
}

#[test]
fn other_secret_source_is_refused_without_its_text() {
    for text in [
        "",
        "1234",
        "file:",
        "file:etc/pin",
        "file",
        "sealed:pin",
        "generated:x",
        "env:PIN",
        "FILE:/a",
        "/etc/pin",
        "credential:",
        "credential:a/b",
        "credential:.",
        "credential:..",
        "credential:a b",
        "credential:a:b",
        "credential:ä",
    ] {
        check_source(text, None);
    }
}

#[test]
fn credential_name_at_limit_is_accepted_and_one_byte_more_is_refused() {
    let name = "c".repeat(255);
    check_source(&format!("credential:{name}"), Some(SecretSource::Credential(name.clone())));
    check_source(&format!("credential:{name}c"), None);
}

#[test]
fn secret_source_of_another_type_or_without_a_name_is_refused() {
    check_one("[provider.settings]", "pin_source = 1234", "settings.pin_source: is a whole number");
    check_one("[provider.settings]", "_source = 'file:/a'", "settings._source: names no secret");
}

#[test]
fn setting_beside_its_source_is_refused() {
    check_one(
        "[provider.settings]",
        "pin = '1234'\npin_source = 'file:/a'",
        "settings.pin: is given by pin_source too; keep the source and remove this",
    );
}

#[test]
fn variable_of_the_worker_is_read() {
    let config = parse(&with("[provider.env]", "_A9 = 'x'\nB = ''"));
    let expected = [("B".to_owned(), String::new()), ("_A9".to_owned(), "x".to_owned())];
    assert_eq!(config.providers[0].source.environment, expected);
}

#[test]
fn variable_with_another_name_is_refused() {
    for name in ["a", "9A", "A-B", "\"A B\"", "\"\"", "\"Ä\"", "\"A=B\""] {
        check_one(
            "[provider.env]",
            &format!("{name} = 'x'"),
            &format!("env.{name}: is not the name of a variable; use A-Z"),
        );
    }
}

#[test]
fn variable_of_the_loader_or_allocator_is_refused() {
    for name in ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_", "GLIBC_TUNABLES", "MALLOC_PERTURB_"] {
        check_one(
            "[provider.env]",
            &format!("{name} = 'x'"),
            &format!("env.{name}: steers the loader or the allocator"),
        );
    }
}

#[test]
fn variable_of_another_type_is_refused_without_its_value() {
    check_one("[provider.env]", "A = 1", "env.A: is a whole number; give a text in quotes");
    check_one("[provider.env]", "A = \"x\\u0000\"", "env.A: has a zero byte; remove it");
}

#[test]
fn environment_of_an_in_process_plugin_is_refused() {
    let lines = "isolation = 'in-process'\nenv = { A = 'x' }";
    check_one("[[provider]]", lines, "env: is given, and an in-process plugin has no environment");
    assert_eq!(
        parse(&with("[[provider]]", "isolation = 'in-process'\nenv = {}")).providers.len(),
        1
    );
}

#[test]
fn table_of_a_provider_of_another_type_is_refused() {
    for key in ["settings", "env", "deadlines"] {
        check_one(
            "[[provider]]",
            &format!("{key} = 1"),
            &format!("{key}: is a whole number; give a table"),
        );
    }
}

#[test]
fn queue_length_at_limits_is_accepted_and_past_them_refused() {
    let of = |number: i64| with("[provider.deadlines]", &format!("queue_length = {number}"));
    assert_eq!(parse(&of(1)).providers[0].deadlines.queue_length, 1);
    assert_eq!(parse(&of(65_536)).providers[0].deadlines.queue_length, 65_536);
    for number in [0, 65_537, -1] {
        check(
            &of(number),
            &[&format!(
                "{AT} deadlines.queue_length: {number} is out of range; give a number from 1"
            )],
        );
    }
}

#[test]
fn faults_of_several_providers_are_listed_by_number() {
    let file = format!(
        "{SHORTEST}[[provider]]\nname = 'hsm'\nplugin = 5\n[[provider]]\nplugin = '/'\nisolation = 1"
    );
    check(
        &file,
        &[
            "[[provider]] #2 (\"hsm\") plugin: is a whole number",
            "[[provider]] #3 name: is missing",
            "[[provider]] #3 isolation: is a whole number",
        ],
    );
}

/// What a table of the sandbox gives.
#[track_caller]
fn confinement(lines: &str) -> Confinement {
    parse(&with("[provider.sandbox]", lines)).providers.remove(0).source.confinement
}

#[test]
fn sandbox_without_keys_is_the_default() {
    assert_eq!(confinement(""), Confinement::default());
    assert_eq!(Confinement::default().level, Demand::Full);
}

#[test]
fn sandbox_has_what_is_given() {
    let given = confinement(
        "level = \"required\"\nread = [\"/a\"]\nwrite = [\"/b\", \"/c\"]\ndevices = [\"/dev/x\"]\n\
         connect = [\"tcp:9004\", \"unix:/run/s\", \"unix:@n\"]\nnetwork = true\nprograms = true\n\
         memory_mib = 32\nfiles = 65536",
    );
    let expected = Confinement {
        level: Demand::Required,
        read: vec!["/a".into()],
        write: vec!["/b".into(), "/c".into()],
        devices: vec!["/dev/x".into()],
        connect: vec![
            Connection::Tcp(9004),
            Connection::Unix("/run/s".into()),
            Connection::Unix("@n".into()),
        ],
        network: true,
        programs: true,
        memory_bytes: 32 << 20,
        files: 65_536,
    };
    assert_eq!(given, expected);
}

#[test]
fn sandbox_of_another_form_is_a_fault() {
    for (line, fault) in [
        ("level = \"most\"", "sandbox.level: "),
        ("read = [\"a\"]", "sandbox.read: "),
        ("write = \"/a\"", "sandbox.write: "),
        ("connect = [\"udp:53\"]", "sandbox.connect: \"udp:53\" is no socket; write"),
        ("connect = [\"tcp:0\"]", "sandbox.connect: \"tcp:0\" is no socket; write"),
        ("connect = [\"tcp:65536\"]", "sandbox.connect: \"tcp:65536\" is no socket; write"),
        ("connect = [\"unix:s\"]", "sandbox.connect: \"unix:s\" is no socket; write"),
        ("network = \"yes\"", "sandbox.network: "),
        ("memory_mib = 31", "sandbox.memory_mib: "),
        ("memory_mib = 65537", "sandbox.memory_mib: "),
        ("files = 31", "sandbox.files: "),
        ("files = 65537", "sandbox.files: "),
        ("execute = true", "sandbox.execute: "),
    ] {
        check_one("[provider.sandbox]", line, fault);
    }
    assert_eq!(confinement("memory_mib = 65536").memory_bytes, 64 << 30);
    assert_eq!(confinement("files = 32").files, 32);
}

#[test]
fn sandbox_in_process_is_a_fault() {
    let lines = "isolation = \"in-process\"\n[provider.sandbox]\nlevel = \"off\"";
    check(
        &format!("{SHORTEST}{lines}\n"),
        &[&format!("{AT} sandbox: is given, and an in-process plugin is not confined")],
    );
}
