//! An audit that somebody changed who can write its files and has no device: what `sealctl audit
//! verify` says of it, and what the next start does.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "integration tests, and what they share"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use swtpm_fixtures::Swtpm;
use tempfile::TempDir;
use tests::sealhost::built;
use tests::{Sealhost, Setup, User, audit};
use wire::audit::line_hash;

const ROTATED: &str = "rotate_bytes = 16384\n";

/// A running host whose audit has at least four files, and checkpoints in each.
fn host() -> Sealhost {
    fill(Setup::soft().with_rotation(ROTATED).start())
}

fn fill(host: Sealhost) -> Sealhost {
    host.create("a", "seal", "soft");
    let files = || audit::files(&host.audit_path()).len();
    for rotations in 1..4 {
        while files() == rotations && fs::metadata(host.audit_path()).unwrap().len() < 16384 {
            let _sealed = host.seal("a", "text");
        }
        host.wait_until("a new file", |_| files() > rotations);
    }
    // Something after the last rotation too.
    for _ in 0..5 {
        let _sealed = host.seal("a", "text");
    }
    host
}

/// A copy of its audit to be changed.
struct Copy {
    dir: TempDir,
}

impl Copy {
    fn of(host: &Sealhost) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for file in audit::files(&host.audit_path()) {
            fs::copy(&file, dir.path().join(file.file_name().unwrap())).unwrap();
        }
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn files(&self) -> Vec<PathBuf> {
        audit::files(&self.path())
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn write(path: &Path, lines: &[String]) {
    fs::write(path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
}

/// The lines of all files as one, the newest.
fn joined(copy: &Copy) -> Vec<String> {
    let all: Vec<_> = copy.files().iter().flat_map(|file| lines(file)).collect();
    for older in copy.files().iter().filter(|file| **file != copy.path()) {
        fs::remove_file(older).unwrap();
    }
    all
}

/// Computes the chain anew from a line on, as whoever edits a log can.
fn chain_anew(lines: &mut [String], from: usize) {
    for at in from.max(1)..lines.len() {
        let prev = line_hash(lines[at - 1].as_bytes()).to_string();
        let start = lines[at].find("\"prev\":\"").unwrap() + 8;
        lines[at].replace_range(start..start + 64, &prev);
    }
}

/// The last line of a kind.
fn last_of(lines: &[String], kind: &str) -> usize {
    let kind = format!("\"kind\":\"{kind}\"");
    lines.iter().rposition(|line| line.contains(&kind)).unwrap()
}

/// Exit code, standard output and error of `sealctl audit verify`.
fn verify(socket: &Path, options: &[&str], files: &[PathBuf]) -> (i32, String, String) {
    let output = Command::new(built("sealctl"))
        .args(["audit", "verify", "--socket"])
        .arg(socket)
        .args(options)
        .args(files)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Changes a copy of the audit of a running host; sealctl says that it is broken, and how.
#[track_caller]
fn check_found(change: impl FnOnce(&Copy), expected: &str) {
    let host = host();
    let copy = Copy::of(&host);
    let (code, out, _) = verify(&host.socket(), &[], &[copy.path()]);
    assert_eq!(code, 0, "before the change: {out}");
    change(&copy);
    let (code, out, error) = verify(&host.socket(), &[], &[copy.path()]);
    assert_eq!((code, error.as_str()), (1, ""), "{out}");
    assert!(out.starts_with("broken: ") && out.contains(expected), "{expected:?} is not in\n{out}");
}

#[test]
fn whole_log_of_a_running_host_is_proven_up_to_its_last_checkpoint() {
    let host = host();
    let (code, out, error) = verify(&host.socket(), &[], &[host.audit_path()]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let (_, json, _) = verify(&host.socket(), &["--json"], &[host.audit_path()]);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert!(found["files"].as_u64().unwrap() >= 4, "{found}");
    assert_eq!(found["checkpoints"], found["host"]["verified"]);
    assert!(found["checkpoints"].as_u64().unwrap() >= 4, "{found}");
    assert!(out.contains("of them verified") && out.contains("proven: what the host wrote up to"));
    let after = found["last_seq"].as_u64().unwrap() - found["proven_seq"].as_u64().unwrap();
    assert!(after < 100, "{found}");
}

#[test]
fn edited_line_is_found_at_the_line_after_it() {
    let edit = |copy: &Copy| {
        let path = &copy.files()[1];
        let mut lines = lines(path);
        lines[3] = lines[3].replace("\"seal\"", "\"show\"");
        write(path, &lines);
    };
    check_found(edit, "line 5: does not follow the line before: one of the two was changed");
}

#[test]
fn file_missing_between_is_found() {
    let remove = |copy: &Copy| fs::remove_file(&copy.files()[1]).unwrap();
    check_found(remove, "line 1: sequence ");
    check_found(|copy| fs::remove_file(&copy.files()[2]).unwrap(), "the lines between are missing");
}

#[test]
fn swapped_files_are_found() {
    let swap = |copy: &Copy| {
        let files = copy.files();
        let (one, two) = (fs::read(&files[1]).unwrap(), fs::read(&files[2]).unwrap());
        fs::write(&files[1], two).unwrap();
        fs::write(&files[2], one).unwrap();
    };
    check_found(swap, "the lines between are missing");
}

#[test]
fn file_that_is_there_twice_is_found() {
    let repeat = |copy: &Copy| {
        let files = copy.files();
        fs::copy(&files[0], &files[1]).unwrap();
    };
    check_found(repeat, "lines or files are repeated or out of order");
}

#[test]
fn file_shortened_in_the_middle_is_found() {
    let shorten = |copy: &Copy| {
        let path = &copy.files()[1];
        let mut lines = lines(path);
        lines.truncate(lines.len() - 2);
        write(path, &lines);
    };
    check_found(shorten, "the lines between are missing");
    let tear = |copy: &Copy| {
        let path = &copy.files()[1];
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
    };
    check_found(tear, "not an audit record");
}

#[test]
fn oldest_file_that_nobody_removed_in_order_is_missed() {
    let remove = |copy: &Copy| fs::remove_file(&copy.files()[0]).unwrap();
    check_found(remove, "its beginning is missing: it begins at sequence ");
}

#[test]
fn end_cut_off_is_found_by_the_host() {
    let cut = |copy: &Copy| {
        let mut all = joined(copy);
        all.truncate(last_of(&all, "checkpoint"));
        write(&copy.path(), &all);
    };
    check_found(cut, "cut off: it ends at sequence ");
}

#[test]
fn newest_file_that_is_gone_is_found_by_the_host() {
    let remove = |copy: &Copy| {
        let older = &copy.files()[2];
        let all = lines(older);
        fs::remove_file(older).unwrap();
        write(&copy.path(), &all[..all.len() - 3]);
    };
    check_found(remove, "cut off: it ends at sequence ");
}

#[test]
fn tail_written_anew_is_found_by_the_macs_of_its_checkpoints() {
    let rewrite = |copy: &Copy| {
        let mut all = joined(copy);
        let at = all.len() / 2;
        all[at] = all[at].replace("\"ok\"", "\"denied\"").replace("\"seal\"", "\"show\"");
        chain_anew(&mut all, at + 1);
        write(&copy.path(), &all);
    };
    check_found(rewrite, "was not made by this host: its MAC is not that of soft");
}

#[test]
fn tail_written_anew_without_checkpoints_is_found_by_the_last_on_record() {
    let rewrite = |copy: &Copy| {
        let mut all = joined(copy);
        let at = all.len() / 2;
        let no_checkpoint = |line: &mut String| {
            if let Some(macs) = line.find(",\"macs\":") {
                line.replace_range(macs.., "}");
            }
            *line = line.replace("\"checkpoint\"", "\"reload\"");
        };
        all[at..].iter_mut().for_each(no_checkpoint);
        chain_anew(&mut all, at);
        write(&copy.path(), &all);
    };
    check_found(rewrite, "written anew: this is not the checkpoint that the host made at sequence");
}

#[test]
fn log_of_another_host_is_not_this_ones() {
    let other = host();
    let replace = |copy: &Copy| {
        joined(copy);
        let theirs = audit::text(&other.audit_path());
        fs::write(copy.path(), theirs).unwrap();
    };
    check_found(replace, "");
}

#[test]
fn without_the_host_what_is_cut_off_is_not_found_and_sealctl_says_so() {
    let host = host();
    let copy = Copy::of(&host);
    let mut all = joined(&copy);
    all.truncate(last_of(&all, "checkpoint"));
    write(&copy.path(), &all);
    let (code, out, error) = verify(&host.socket(), &["--offline"], &[copy.path()]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("none verified: --offline") && out.contains("not found this way"),
        "{out}"
    );
}

#[test]
fn host_that_cannot_be_asked_is_no_success() {
    let mut host = host();
    assert!(host.stop().success());
    let (code, out, error) = verify(&host.socket(), &[], &[host.audit_path()]);
    assert_eq!(code, 3, "{out}{error}");
    assert!(out.starts_with("whole: ") && out.contains("the host could not be asked"), "{out}");
    assert!(error.contains("cannot reach the daemon"), "{error}");
    let copy = Copy::of(&host);
    fs::remove_file(&copy.files()[1]).unwrap();
    assert_eq!(verify(&host.socket(), &[], &[copy.path()]).0, 1, "broken is broken");
}

#[test]
fn caller_without_permission_learns_nothing_of_checkpoints() {
    let host = Setup::soft().for_everybody().start();
    let user = User::new(4242);
    let reply = user.request(&host.socket(), "POST", "/v1/audit/verify", b"{}");
    reply.problem(403, "denied");
    let (code, _, error) = user.does(|| verify(&host.socket(), &[], &["/dev/null".into()]));
    assert_eq!(code, 4, "{error}");
}

#[test]
fn archived_file_is_verified_by_itself() {
    let host = host();
    let older = audit::files(&host.audit_path())[1].clone();
    let options = ["--archived", "--continued"];
    let (code, out, _) = verify(&host.socket(), &options, std::slice::from_ref(&older));
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("proven: what the host wrote up to"), "{out}");
    let copy = Copy::of(&host);
    let path = &copy.files()[1];
    let mut all = lines(path);
    all[2] = all[2].replace("\"seal\"", "\"show\"");
    chain_anew(&mut all, 3);
    write(path, &all);
    let (code, out, _) = verify(&host.socket(), &options, std::slice::from_ref(path));
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("was not made by this host"), "{out}");
}

#[test]
fn checkpoints_of_a_provider_that_is_down_are_not_verified_and_the_last_on_record_is() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    host.restart();
    host.reconfigure(Setup::with_soft);
    host.restart();
    swtpm.stop().unwrap();
    host.restart();
    assert_eq!(host.provider("tpm")["state"], "down");
    let (code, out, _) = verify(&host.socket(), &[], &[host.audit_path()]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("no provider of theirs is open (tpm)"), "{out}");
    assert!(out.contains("proven: what the host wrote up to"), "{out}");
}

/// Changes the audit of a stopped host: the start is refused, and says so.
#[track_caller]
fn check_start(change: impl FnOnce(&Path), expected: &str) {
    let mut host = host();
    assert!(host.stop().success());
    let before = host.log().len();
    change(&host.audit_path());
    let left = audit::text(&host.audit_path());
    let status = host.try_start().expect_err("it started");
    let said = host.log()[before..].to_owned();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(expected) && said.contains("restore registry and audit from one backup"));
    assert_eq!(audit::text(&host.audit_path()), left, "it wrote into an audit that it refused");
}

#[test]
fn start_after_the_end_was_cut_off_is_refused() {
    for cut in 1..4 {
        let shorten = |path: &Path| {
            let mut all = lines(path);
            all.truncate(all.len() - cut);
            write(path, &all);
        };
        check_start(shorten, "was cut off: it ends at sequence ");
    }
}

#[test]
fn start_after_the_newest_files_were_removed_is_refused() {
    let remove = |path: &Path| {
        let files = audit::files(path);
        fs::rename(&files[2], path).unwrap();
    };
    check_start(remove, "was cut off: it ends at sequence ");
}

#[test]
fn start_after_the_tail_was_written_anew_is_refused() {
    let rewrite = |path: &Path| {
        let mut all = lines(path);
        let at = all.len() - 3;
        all[at] = all[at].replace("\"seal\"", "\"show\"").replace("2026", "2025");
        chain_anew(&mut all, at + 1);
        write(path, &all);
    };
    check_start(rewrite, "was written anew: sequence ");
}

#[test]
fn start_with_a_checkpoint_of_somebody_else_is_refused() {
    let add = |path: &Path| {
        let mut all = lines(path);
        let last: Value = serde_json::from_str(all.last().unwrap()).unwrap();
        let next = last["seq"].as_u64().unwrap() + 1;
        let checkpoint = all.last().unwrap().replacen(
            &format!("\"seq\":{}", next - 1),
            &format!("\"seq\":{next}"),
            1,
        );
        all.push(checkpoint);
        let from = all.len() - 1;
        chain_anew(&mut all, from);
        write(path, &all);
    };
    let mut host = host();
    assert!(host.stop().success());
    add(&host.audit_path());
    let before = host.log().len();
    assert_eq!(host.try_start().unwrap_err().code(), Some(1));
    let said = host.log()[before..].to_owned();
    assert!(said.contains("was not made by this host"), "{said}");
}

#[test]
fn mark_that_was_changed_in_the_registry_is_refused() {
    for (statement, expected) in [
        ("DELETE FROM audit_mark", "the registry was altered"),
        ("UPDATE audit_mark SET sequence = sequence - 1", "was written anew"),
        ("UPDATE audit_mark SET sequence = sequence + 9", "was cut off"),
    ] {
        let mut host = host();
        assert!(host.stop().success());
        let registry = host.state_dir().join("registry.db");
        let connection = rusqlite::Connection::open(registry).unwrap();
        assert_eq!(connection.execute(statement, []).unwrap(), 1);
        connection.close().unwrap();
        let before = host.log().len();
        assert_eq!(host.try_start().unwrap_err().code(), Some(1));
        let said = host.log()[before..].to_owned();
        assert!(said.contains(expected), "{statement}: {said}");
    }
}

#[test]
fn audit_that_is_ahead_of_the_registry_is_accepted() {
    // As after a crash between the checkpoint's line and the registry's memory of it.
    let mut host = host();
    assert!(host.stop().success());
    let registry = host.state_dir().join("registry.db");
    let before = fs::read(&registry).unwrap();
    host.start();
    host.get("/v1/keys/a").done();
    assert!(host.stop().success());
    fs::write(&registry, before).unwrap();
    host.start();
    let (code, out, _) = verify(&host.socket(), &[], &[host.audit_path()]);
    assert_eq!(code, 0, "{out}");
}

#[test]
fn request_about_lines_that_are_no_checkpoints_is_invalid() {
    let host = Setup::soft().start();
    let ask = |lines: Value| host.post("/v1/audit/verify", json!({"checkpoints": lines}));
    let start = lines(&host.audit_path())[0].clone();
    for line in ["", "{}", &start] {
        ask(json!([line])).problem(400, "invalid");
    }
    let checkpoint =
        lines(&host.audit_path())[last_of(&lines(&host.audit_path()), "checkpoint")].clone();
    let reply = ask(json!([checkpoint])).ok();
    assert_eq!(reply["results"][0]["verdict"], "valid");
    assert_eq!(reply["results"][0]["providers"], json!(["soft"]));
    let forged = checkpoint.replacen("\"generation\":", "\"generation\":1", 1);
    assert_eq!(ask(json!([forged])).ok()["results"][0]["verdict"], "invalid");
    let foreign = checkpoint.replace("\"soft\"", "\"none\"");
    assert_eq!(ask(json!([foreign])).ok()["results"][0]["verdict"], "unknown");
}
