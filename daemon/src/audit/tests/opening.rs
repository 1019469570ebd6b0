//! What a file must be to be taken for an audit, and what is done about one that a crash tore.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use wire::limits::AUDIT_LINE_MAX_BYTES;

use super::*;
use crate::trust::TrustError;

/// Opens a file with this content: how many bytes it cuts off, or a part of the message.
#[track_caller]
fn check_open(content: &[u8], expected: Result<u64, &str>) {
    let audit = Audit::with(content);
    match (audit.open(), expected) {
        (Ok(tail), Ok(torn)) => {
            assert_eq!(tail.torn_bytes(), torn);
            drop(tail);
            assert_eq!(
                u64::try_from(audit.content().len() + usize::try_from(torn).unwrap()).unwrap(),
                u64::try_from(content.len()).unwrap()
            );
        }
        (Err(error), Err(part)) => {
            assert!(error.to_string().contains(part), "{error}");
            assert_eq!(audit.content(), content, "a refused file was changed");
        }
        (found, expected) => panic!("found {found:?}, expected {expected:?}"),
    }
}

#[test]
fn new_audit_is_for_its_owner_only_and_starts_with_a_start() {
    let audit = Audit::new();
    assert_eq!(audit.open().unwrap().last_generation(), None);
    drop(audit.start(3));
    assert_eq!(fs::metadata(audit.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let entries = audit.verified();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].kind, entries[0].seq, entries[0].generation), (Kind::Start, 1, 3));
    assert_eq!(entries[0].time, "2026-11-21T12:00:00.000000Z");
}

#[test]
fn run_with_an_older_registry_is_refused_and_writes_nothing() {
    let audit = Audit::new();
    drop(audit.start(7));
    let before = audit.content();
    let error = audit.open().unwrap().start(6, audit.clock.clone()).unwrap_err();
    assert!(matches!(error, AuditError::Generation { found: 6, last: 7, .. }), "{error}");
    assert_eq!(audit.content(), before);
}

#[test]
fn second_writer_is_refused_until_the_first_is_gone() {
    let audit = Audit::new();
    let writer = audit.start(1);
    assert!(matches!(audit.open(), Err(AuditError::InUse { .. })));
    drop(writer);
    assert!(audit.open().is_ok());
}

#[test]
fn whole_file_is_opened_as_it_is() {
    check_open(&one_run(), Ok(0));
    check_open(b"", Ok(0));
}

#[test]
fn torn_last_line_is_cut_off_at_every_length() {
    let whole = one_run();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in [first + 1, first + 30, whole.len() - 1] {
        check_open(&whole[..length], Ok(u64::try_from(length - first).unwrap()));
    }
}

#[test]
fn torn_first_line_is_cut_off() {
    let whole = one_run();
    check_open(&whole[..5], Ok(5));
    check_open(&whole[..40], Ok(40));
    check_open(&[0; 40], Ok(40));
}

#[test]
fn torn_end_longer_than_a_block_is_cut_off() {
    let mut content = one_run();
    content.extend_from_slice(&[0; 200_000]);
    check_open(&content, Ok(200_000));
}

#[test]
fn zeros_with_a_line_break_at_the_end_are_cut_off() {
    let mut content = one_run();
    content.extend_from_slice(b"\0\0\0,\"outcome\":\"ok\"}\n");
    check_open(&content, Ok(20));
    content.extend_from_slice(&[0; 10_000]);
    content.push(b'\n');
    check_open(&content, Ok(10_021));
}

#[test]
fn torn_line_is_noted_in_the_next_start() {
    let audit = Audit::with(&one_run());
    audit.add(b"{\"seq\":3,\"pr");
    drop(audit.start(1));
    let entries = audit.verified();
    assert_eq!((entries[2].kind, entries[2].torn_bytes), (Kind::Start, Some(12)));
}

#[test]
fn last_line_that_is_no_record_is_refused() {
    let mut content = one_run();
    content.extend_from_slice(b"hello\n");
    check_open(&content, Err("not an audit record; examine the file"));
}

#[test]
fn last_line_past_the_limit_is_refused() {
    let mut content = one_run();
    content.extend_from_slice(&[b'x'; AUDIT_LINE_MAX_BYTES + 1]);
    content.push(b'\n');
    check_open(&content, Err("is too long"));
}

#[test]
fn other_file_at_the_path_is_refused_and_untouched() {
    check_open(b"my only password", Err("is not a line of an audit"));
    check_open(b"my only\npassword", Err("not an audit record"));
    check_open(&[0; AUDIT_LINE_MAX_BYTES + 1], Err("is not a line of an audit"));
    check_open(b"\x7fELF\0\0\n\0\0\n", Err("is not a line of an audit"));
}

#[test]
fn directory_and_link_at_the_path_are_refused() {
    let audit = Audit::new();
    fs::create_dir(audit.path()).unwrap();
    assert!(matches!(audit.open(), Err(AuditError::Io { verb: "opened", .. })));
    let audit = Audit::new();
    std::os::unix::fs::symlink("elsewhere", audit.path()).unwrap();
    assert!(matches!(audit.open(), Err(AuditError::Io { verb: "opened", .. })));
}

#[test]
fn fifo_at_the_path_is_refused_at_once() {
    let audit = Audit::new();
    assert!(Command::new("mkfifo").arg(audit.path()).status().unwrap().success());
    assert!(matches!(audit.open(), Err(AuditError::NotAFile { .. })));
}

#[test]
fn audit_that_others_can_write_is_refused() {
    let audit = Audit::with(&one_run());
    fs::set_permissions(audit.path(), fs::Permissions::from_mode(0o622)).unwrap();
    assert!(matches!(audit.open(), Err(AuditError::Trust(TrustError::Writable { .. }))));
}
