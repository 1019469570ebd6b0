//! Faults of the configuration, its files and its surroundings: the daemon says each, with what
//! to do, and ends with status 1.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::sealhost::built;
use tests::{Sealhost, Setup};

/// Tries to start with a configuration file; status 1, and everything expected is said.
#[track_caller]
fn check(config: &Path, expected: &[&str]) {
    let output = Command::new(built("sealhost")).arg("--config").arg(config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for text in expected {
        assert!(said.contains(text), "nothing of {text:?} in\n{said}");
    }
}

/// Writes another configuration beside the host's own.
fn rewritten(host: &Sealhost, name: &str, change: impl FnOnce(String) -> String) -> PathBuf {
    let text = fs::read_to_string(host.config_path()).unwrap();
    let path = host.dir().join(name);
    fs::write(&path, change(text)).unwrap();
    path
}

fn plugin(host: &Sealhost) -> PathBuf {
    host.plugin_dir().join("libprovider_soft.so")
}

/// Replaces the plugin, which is a link to the built file, by a copy that may be spoiled.
fn own_plugin(host: &Sealhost) -> PathBuf {
    let path = plugin(host);
    let copy = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, copy).unwrap();
    set_mode(&path, 0o755);
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_fault_of_the_file_is_listed_at_once_with_its_key_and_what_to_do() {
    let host = Setup::soft().prepare();
    let faulty = "[listen]\nsocket = \"api.sock\"\nmod = \"0660\"\n[state]\n\
                  [[provider]]\nname = \"Soft\"\nplugin = 7\nisolation = \"thread\"\n\
                  [selection]\nfloor = \"none\"\nfallback_after = \"soon\"\n\
                  [[rule]]\nprincipal = {}\noperations = [\"open\"]\n\
                  [audit]\npath = \"\"\n[limits]\nconnections = 0\n[surprise]\n";
    let config = rewritten(&host, "faulty.toml", |_good| faulty.to_owned());
    let file = config.display().to_string();
    check(
        &config,
        &[
            &format!(
                "{file}: [listen] socket: \"api.sock\" is not an absolute path; begin it with"
            ),
            "[listen] mod: is not known; ",
            "[state] dir: is missing; add for example:",
            "[[provider]] #1 name: ",
            "[[provider]] #1 plugin: is a whole number; give ",
            "isolation: \"thread\" is not known; use ",
            "[selection] floor: \"none\" is not known; use ",
            "[selection] fallback_after: \"soon\" is not a duration; write ",
            "principal: names 0 principals; give exactly one of",
            "operations: there is no operation \"open\"; use ",
            "[audit] path: is empty; give a value",
            "[limits] connections: 0 is out of range; give a number from 1 to 65536",
            "[surprise]: is not known; remove it, or use one of",
        ],
    );
}

#[test]
fn file_that_is_not_toml_is_refused_with_its_line() {
    let host = Setup::soft().prepare();
    let config = rewritten(&host, "faulty.toml", |_good| "[listen]\nsocket =\n".into());
    check(&config, &["faulty.toml: line 2, column ", "correct the TOML there"]);
}

#[test]
fn file_that_is_missing_or_open_to_others_is_refused() {
    let host = Setup::soft().prepare();
    check(&host.dir().join("none.toml"), &["none.toml cannot be ", "check that it exists"]);
    for mode in [0o620, 0o602] {
        set_mode(&host.config_path(), mode);
        check(
            &host.config_path(),
            &["config.toml can be written by group or others", "chmod go-w"],
        );
    }
    set_mode(&host.config_path(), 0o600);
    chown(host.config_path(), Some(4242), None).unwrap();
    check(&host.config_path(), &["config.toml is owned by uid 4242", "run: chown -h 0"]);
}

#[test]
fn directory_of_the_file_that_others_can_write_is_refused() {
    let host = Setup::soft().prepare();
    set_mode(host.dir(), 0o777);
    check(&host.config_path(), &["can be written by group or others", "chmod go-w"]);
    set_mode(host.dir(), 0o700);
}

#[test]
fn pin_written_where_its_source_belongs_is_not_repeated() {
    let host = Setup::soft().prepare();
    let more = "[provider.settings]\npin_source = \"PINMARKER\"\n";
    let config =
        rewritten(&host, "faulty.toml", |good| good.replace("[provider.settings]\n", more));
    let output = Command::new(built("sealhost")).arg("--config").arg(&config).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("pin_source: is not a secret source; write"), "{said}");
    assert!(!said.contains("PINMARKER"), "{said}");
}

#[test]
fn check_of_a_good_file_starts_nothing() {
    let host = Setup::soft().prepare();
    let mut command = Command::new(built("sealhost"));
    let output = command.arg("--check").arg("--config").arg(host.config_path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!host.state_dir().exists() && !host.audit_path().exists());
}

#[test]
fn plugin_that_is_missing_is_refused() {
    let host = Setup::soft().prepare();
    fs::remove_file(plugin(&host)).unwrap();
    check(
        &host.config_path(),
        &[
            "no provider could be opened",
            "libprovider_soft.so cannot be read",
            "check [plugins] dir and the name in `plugin`",
        ],
    );
}

#[test]
fn plugin_that_others_can_write_is_refused() {
    for isolation in ["process", "in-process"] {
        for mode in [0o775, 0o757] {
            let host = prepared(isolation);
            set_mode(&own_plugin(&host), mode);
            check(
                &host.config_path(),
                &[
                    "libprovider_soft.so is not to be trusted",
                    "can be written by group or others",
                    "chmod go-w",
                ],
            );
        }
    }
}

fn prepared(isolation: &str) -> Sealhost {
    let provider = "name = \"soft\"\nplugin = \"provider_soft\"\n";
    Setup::default().with_provider(&format!("{provider}isolation = \"{isolation}\"\n")).prepare()
}

#[test]
fn plugin_of_another_owner_is_refused() {
    let host = Setup::soft().prepare();
    chown(own_plugin(&host), Some(4242), None).unwrap();
    check(&host.config_path(), &["libprovider_soft.so is owned by uid 4242", "chown -h 0"]);
}

#[test]
fn plugin_in_a_directory_that_others_can_write_is_refused() {
    let host = Setup::soft().prepare();
    set_mode(&host.plugin_dir(), 0o777);
    check(&host.config_path(), &["plugins can be written by group or others", "chmod go-w"]);
    set_mode(&host.plugin_dir(), 0o755);
    chown(host.plugin_dir(), Some(4242), None).unwrap();
    check(&host.config_path(), &["plugins is owned by uid 4242"]);
}

#[test]
fn plugin_behind_a_link_is_judged_by_what_it_links_to() {
    let host = Setup::soft().prepare();
    let path = own_plugin(&host);
    let open = host.dir().join("open");
    fs::create_dir(&open).unwrap();
    set_mode(&open, 0o777);
    fs::rename(&path, open.join("real.so")).unwrap();
    std::os::unix::fs::symlink(open.join("real.so"), &path).unwrap();
    check(&host.config_path(), &["open can be written by group or others"]);
}

#[test]
fn plugin_of_another_digest_is_refused_and_of_the_pinned_one_loaded() {
    let pinned = |digest: &str| {
        let provider = "name = \"soft\"\nplugin = \"provider_soft\"\n";
        Setup::default().with_provider(&format!("{provider}sha256 = \"{digest}\"\n"))
    };
    let host = pinned(&"0".repeat(64)).prepare();
    let bytes = fs::read(plugin(&host)).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    check(&host.config_path(), &[&format!("has SHA-256 {digest}, not the pinned one; correct")]);
    assert_eq!(pinned(&digest).start().provider("soft")["state"], "open");
}

#[test]
fn plugin_that_is_no_library_is_refused() {
    for isolation in ["process", "in-process"] {
        let host = prepared(isolation);
        fs::write(own_plugin(&host), "no library").unwrap();
        check(&host.config_path(), &["libprovider_soft.so cannot be loaded"]);
    }
}

#[test]
fn host_with_one_faulty_plugin_starts_and_says_so() {
    let setup = Setup::soft().with_provider("name = \"none\"\nplugin = \"provider_none\"\n");
    let host = setup.start();
    let provider = host.provider("none");
    let reason = provider["reason"].as_str().unwrap();
    assert!(reason.contains("libprovider_none.so cannot be read"), "{provider}");
    assert_eq!(host.provider("soft")["state"], "open");
    assert!(host.log().contains("provider is not open"));
}

#[test]
fn state_directory_in_use_is_refused() {
    let host = Setup::soft().start();
    let config = rewritten(&host, "second.toml", |good| {
        good.replace("/api.sock", "/second.sock").replace("/audit.log", "/second.log")
    });
    check(
        &config,
        &[
            &format!("state is in use by another daemon, process {};", host.pid()),
            "stop that one, or give this one a directory of its own",
        ],
    );
    assert_eq!(host.get("/v1/status").status, 200);
    assert!(!host.dir().join("second.log").exists());
}

#[test]
fn audit_in_use_is_refused() {
    let host = Setup::soft().start();
    let config = rewritten(&host, "second.toml", |good| {
        good.replace("/api.sock", "/second.sock").replace("/state\"", "/second\"")
    });
    check(&config, &["audit.log is written by another process", "stop that one, or name another"]);
}

#[test]
fn socket_in_use_is_refused_and_stays_with_its_owner() {
    let host = Setup::soft().start();
    let config = rewritten(&host, "second.toml", |good| {
        good.replace("/audit.log", "/second.log").replace("/state\"", "/second\"")
    });
    check(&config, &["another process answers on ", "api.sock; stop it, or name another path"]);
    assert_eq!(host.get("/v1/status").status, 200);
}

#[test]
fn file_in_the_place_of_the_socket_is_left_alone() {
    let host = Setup::soft().prepare();
    fs::write(host.socket(), "somebody's file").unwrap();
    check(&host.config_path(), &["api.sock is there and is not a socket; remove it"]);
    assert_eq!(fs::read_to_string(host.socket()).unwrap(), "somebody's file");
}

#[test]
fn socket_left_by_a_killed_host_is_replaced() {
    let mut host = Setup::soft().start();
    host.kill();
    assert!(host.socket().exists());
    host.start();
    assert_eq!(host.get("/v1/status").status, 200);
}

#[test]
fn state_directory_is_made_private() {
    let host = Setup::soft().prepare();
    fs::create_dir(host.state_dir()).unwrap();
    set_mode(&host.state_dir(), 0o755);
    let mut host = host;
    host.start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&host.state_dir()), 0o700);
    for entry in fs::read_dir(host.state_dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!((mode(&host.audit_path()), mode(&host.socket())), (0o600, 0o660));
}

#[test]
fn state_directory_of_another_owner_is_refused() {
    let host = Setup::soft().prepare();
    fs::create_dir(host.state_dir()).unwrap();
    chown(host.state_dir(), Some(4242), None).unwrap();
    check(&host.config_path(), &["state is owned by uid 4242"]);
}

#[test]
fn root_key_that_others_can_read_is_refused() {
    let mut host = Setup::soft().start();
    assert!(host.stop().success());
    let roots = fs::read_dir(host.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let root = roots.into_iter().find(|path| path.extension().is_some_and(|it| it == "root"));
    set_mode(&root.unwrap(), 0o640);
    check(&host.config_path(), &["soft.root holds a secret and is open to group or others"]);
}

#[test]
fn wrong_arguments_end_with_status_2() {
    for arguments in [&[][..], &["--config"], &["--surprise"], &["--config", "x", "--log", "loud"]]
    {
        let output = Command::new(built("sealhost")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}
