//! `sealctl sas` against the real signer.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tests::sealhost::built;

use crate::harness::{K1, K2, Signer};

/// Runs `sealctl sas` with some input, and gives its exit code and its two outputs.
fn sealctl(signer: &Signer, line: &str, input: &str) -> (i32, String, String) {
    let mut child = Command::new(built("sealctl"))
        .arg("--socket")
        .arg(signer.socket())
        .arg("sas")
        .args(line.split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments reads nothing.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[track_caller]
fn done(signer: &Signer, line: &str, input: &str) -> String {
    let (code, out, err) = sealctl(signer, line, input);
    assert_eq!(code, 0, "{line}: {err}");
    out
}

const DEVICE: &str = "iot-hub-device --hub h.net --device d";

#[test]
fn key_is_imported_shown_and_rotated() {
    let signer = Signer::start_soft();
    let string = format!("HostName=h.net;DeviceId=d;SharedAccessKey={K1}\n");
    assert_eq!(
        done(&signer, "import a/dev", &string),
        "imported the primary key of a/dev into soft (software), as version 1 of sas/a/dev/primary; it signs\n"
    );
    let (code, _, err) = sealctl(&signer, "import a/dev", &string);
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("give --replace"), "{err}");
    done(&signer, "import a/dev --form decoded --slot secondary", K2);
    let rotated = done(&signer, "rotate a/dev", "");
    assert_eq!(rotated, "a/dev signs with its secondary key from now on\n");
    let shown = done(&signer, "show a/dev", "");
    let rows: Vec<Vec<_>> =
        shown.lines().map(|row| row.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["SLOT", "SIGNS"], ["primary", "no"], ["secondary", "yes"]]);
}

#[test]
fn token_is_written_to_a_pipe_and_verified_from_one() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let token = done(&signer, &format!("token --ttl 60 dev {DEVICE}"), "");
    assert!(token.starts_with("SharedAccessSignature sr=h.net%2fdevices%2fd&sig="), "{token}");
    assert_eq!(token.lines().count(), 1);
    let good = done(&signer, "verify dev --resource h.net/devices/d/messages", &token);
    assert!(good.starts_with("good for h.net/devices/d, by the primary key, until "), "{good}");
    let (code, out, _) = sealctl(&signer, "verify dev --resource h.net/devices/e", &token);
    assert_eq!((code, out.as_str()), (1, "not good for this\n"));
    let (code, out, err) = sealctl(&signer, "verify dev", "marker\n");
    assert_eq!((code, out.as_str()), (4, ""));
    assert!(!err.contains("marker"), "{err}");
}

#[test]
fn token_is_written_to_a_file_of_the_users_own() {
    use std::os::unix::fs::PermissionsExt as _;
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let path = signer.path("token");
    done(&signer, &format!("token dev --out {} {DEVICE}", path.display()), "");
    assert!(fs::read_to_string(&path).unwrap().starts_with("SharedAccessSignature "));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn list_and_status_show_no_signature() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    assert_eq!(done(&signer, "list", ""), "there are no tokens that you may see\n");
    done(&signer, &format!("token dev {DEVICE}"), "");
    let list = done(&signer, "list", "");
    assert!(list.contains("h.net%2fdevices%2fd") && !list.contains("sig"), "{list}");
    assert!(done(&signer, "status", "").contains("tokens issued  1"));
}

#[test]
fn document_is_printed_as_it_came() {
    let signer = Signer::start_soft();
    signer.import("dev", K1, "primary");
    let document: Value = serde_json::from_str(&done(&signer, "--json show dev", "")).unwrap();
    assert_eq!(document, signer.get("/v1/keys/dev").ok());
}

#[test]
fn id_that_leaves_its_segment_is_refused_before_anything_is_asked() {
    let signer = Signer::start_soft();
    for id in ["a/b", "..", "%2f"] {
        let (code, _, err) =
            sealctl(&signer, &format!("token dev iot-hub-device --hub h.net --device {id}"), "");
        assert_eq!(code, 2, "{err}");
    }
    assert!(signer.verified_audit().iter().all(|line| line["operation"] != "token"));
}
