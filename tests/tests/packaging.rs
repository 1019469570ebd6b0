//! The files of `packaging/`, checked by the built programs.
#![expect(clippy::tests_outside_test_module, clippy::unwrap_used, reason = "an integration test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::sealhost::built;

/// Checks a daemon's example after a change of its text, in a place that the daemon trusts.
fn check(daemon: &str, change: impl FnOnce(String) -> String) -> (bool, String) {
    let name = format!("{daemon}.toml");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(&name);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(&name);
    fs::write(&file, change(fs::read_to_string(example).unwrap())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output =
        Command::new(built(daemon)).arg("--check").arg("--config").arg(&file).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn example_configuration_is_accepted_as_it_stands() {
    for daemon in ["sealhost", "secret-manager"] {
        let (accepted, said) = check(daemon, |text| text);
        assert!(accepted, "{said}");
    }
}

#[test]
fn example_configuration_is_accepted_with_every_optional_provider() {
    let (accepted, said) = check("sealhost", |text| {
        let optional = |line: &str| {
            let words = ["[[provider]]", "[provider.", "name =", "plugin =", "isolation ="];
            let settings = ["module =", "token =", "pin_source =", "SOFTHSM2_CONF ="];
            words.iter().chain(&settings).any(|word| line.starts_with(word))
        };
        let lines = text.lines().map(|line| match line.strip_prefix("# ") {
            Some(rest) if optional(rest) => rest,
            Some(_) | None => line,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        assert_eq!(text.matches("\n[[provider]]").count(), 3);
        text.replace("order = [\"tpm\"]", "order = [\"tpm\", \"hsm\", \"soft\"]")
    });
    assert!(accepted, "{said}");
}

#[test]
fn example_configuration_with_a_misspelt_key_is_refused() {
    let (accepted, said) =
        check("sealhost", |text| text.replace("fallback_after", "fall_back_after"));
    assert!(!accepted);
    assert!(said.contains("fall_back_after"), "{said}");
}
