//! Real files, a real file system that gets full, and a descriptor that really cannot be synced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use tempfile::TempDir;
use wire::audit::{Entry, Outcome, Verifier};
use wire::code::Code;
use wire::limits::AUDIT_LINE_MAX_BYTES;

use super::*;
use crate::clock::ClockHand;
use crate::trust::TrustError;

const PRINCIPAL: Principal = Principal { uid: 4001, gid: 4005, pid: 77 };

struct Audit {
    dir: TempDir,
    clock: Clock,
    hand: ClockHand,
}

impl Audit {
    fn new() -> Self {
        let (clock, hand) = Clock::manual("2026-11-21T12:00:00Z".parse().unwrap());
        Self { dir: tempfile::tempdir().unwrap(), clock, hand }
    }

    /// An audit whose file has this content already.
    fn with(content: &[u8]) -> Self {
        let audit = Self::new();
        fs::write(audit.path(), content).unwrap();
        audit
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("audit.log")
    }

    fn open(&self) -> Result<AuditTail, AuditError> {
        open(&self.path())
    }

    fn start(&self, generation: u64) -> AuditWriter {
        self.open().unwrap().start(generation, self.clock.clone()).unwrap()
    }

    fn content(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn add(&self, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).open(self.path()).unwrap().write_all(bytes).unwrap();
    }

    /// Reads the file as `sealctl audit verify` does: every line is whole and chained.
    #[track_caller]
    fn verified(&self) -> Vec<Entry> {
        verify(&self.content())
    }
}

#[track_caller]
fn verify(content: &[u8]) -> Vec<Entry> {
    let mut verifier = Verifier::from_start();
    let lines = content.strip_suffix(b"\n").expect("the last line is not whole");
    lines.split(|byte| *byte == b'\n').map(|line| verifier.feed(line).unwrap()).collect()
}

fn request(key: &str) -> Record<'_> {
    Record {
        principal: Some(PRINCIPAL),
        operation: Some("seal"),
        key: Some(key),
        outcome: Some(Outcome::Ok),
        ..Record::new(Kind::Request, "2026-11-21T12:00:00.000000Z", 1)
    }
}

fn refusal(uid: u32) -> Record<'static> {
    Record {
        principal: Some(Principal { uid, ..PRINCIPAL }),
        outcome: Some(Outcome::Failed(Code::Denied)),
        ..request("k")
    }
}

/// Writes a record, which gets a line.
fn append(writer: &AuditWriter, record: &Record<'_>) {
    let recorded = writer.append(record).unwrap();
    assert!(matches!(recorded.evidence(), Evidence::Line(_)));
}

fn refuse(writer: &AuditWriter, record: &Record<'_>) -> Evidence {
    writer.append_refusal(record).unwrap().evidence()
}

/// The file after one run with one request.
fn one_run() -> Vec<u8> {
    let audit = Audit::new();
    append(&audit.start(1), &request("k"));
    audit.content()
}

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
fn record_is_in_the_file_when_append_returns() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let recorded = writer.append(&request("secrets/db")).unwrap();
    assert_eq!(recorded.evidence(), Evidence::Line(2));
    assert_eq!(audit.verified()[1].key.as_deref(), Some("secrets/db"));
}

#[test]
fn next_run_continues_sequence_chain_and_generation() {
    let audit = Audit::new();
    append(&audit.start(1), &Record { generation: 7, ..request("k") });
    assert_eq!(audit.open().unwrap().last_generation(), Some(7));
    let recorded = audit.start(7).append_synced(&Record { generation: 7, ..request("k") });
    assert_eq!(recorded.unwrap().evidence(), Evidence::Line(4));
    let sequences: Vec<u64> = audit.verified().iter().map(|entry| entry.seq).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
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
fn record_of_an_earlier_generation_is_written_with_the_later() {
    let audit = Audit::new();
    let writer = audit.start(1);
    append(&writer, &Record { generation: 5, ..request("k") });
    append(&writer, &Record { generation: 4, ..request("k") });
    assert_eq!(audit.verified()[2].generation, 5);
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

#[test]
fn record_of_the_longest_line_is_written_and_one_byte_more_is_refused() {
    let audit = Audit::new();
    let writer = audit.start(1);
    append(&writer, &request(""));
    let content = audit.content();
    let shortest = content.split(|byte| *byte == b'\n').nth(1).unwrap().len();
    let room = AUDIT_LINE_MAX_BYTES - shortest;
    assert!(matches!(writer.append(&request(&"k".repeat(room + 1))), Err(AuditError::Record(_))));
    append(&writer, &request(&"k".repeat(room)));
    drop(writer);
    assert_eq!(audit.verified().len(), 3);
    assert_eq!(audit.open().unwrap().torn_bytes(), 0);
}

#[test]
fn records_of_many_threads_are_one_chain() {
    let audit = Audit::new();
    let writer = audit.start(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..500 {
                    let recorded = match n % 100 {
                        0 => writer.append_synced(&request("synced")),
                        _ => writer.append(&request("k")),
                    };
                    assert!(matches!(recorded.unwrap().evidence(), Evidence::Line(_)));
                }
            });
        }
    });
    assert_eq!(audit.verified().len(), 2001);
}

#[test]
fn closed_writer_refuses_records() {
    let audit = Audit::new();
    let writer = audit.start(1);
    writer.close().unwrap();
    assert!(matches!(writer.append(&request("k")), Err(AuditError::Closed)));
    assert!(matches!(writer.append_refusal(&refusal(1)), Err(AuditError::Closed)));
    writer.close().unwrap();
    assert_eq!(audit.verified().len(), 1);
}

#[test]
fn refusals_at_the_rate_are_written_and_more_become_one_count() {
    let audit = Audit::new();
    let writer = audit.start(1);
    for _ in 0..REFUSALS_PER_SECOND {
        let recorded = writer.append_refusal(&refusal(1)).unwrap();
        assert!(matches!(recorded.evidence(), Evidence::Line(_)));
    }
    assert_eq!(refuse(&writer, &refusal(1)), Evidence::Counted);
    assert_eq!(refuse(&writer, &refusal(1)), Evidence::Counted);
    assert_eq!(audit.verified().len(), 11);
    audit.hand.advance(Duration::from_secs(1));
    assert!(matches!(refuse(&writer, &refusal(1)), Evidence::Line(_)));
    let entries = audit.verified();
    assert_eq!(entries.len(), 13);
    let counted = entries.iter().find(|entry| entry.kind == Kind::Refused).unwrap();
    assert_eq!((counted.repeated, counted.principal.unwrap().uid), (Some(2), 1));
}

#[test]
fn refusals_of_one_user_do_not_hide_those_of_another() {
    let audit = Audit::new();
    let writer = audit.start(1);
    for _ in 0..=REFUSALS_PER_SECOND {
        refuse(&writer, &refusal(1));
    }
    assert!(matches!(refuse(&writer, &refusal(2)), Evidence::Line(_)));
}

#[test]
fn refusal_without_a_principal_is_always_written() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let record = Record { principal: None, ..refusal(1) };
    for _ in 0..=REFUSALS_PER_SECOND {
        assert!(matches!(refuse(&writer, &record), Evidence::Line(_)));
    }
}

#[test]
fn counted_refusals_are_written_by_themselves_when_the_second_is_over() {
    let audit = Audit::new();
    let writer = audit.start(1);
    for _ in 0..=REFUSALS_PER_SECOND {
        refuse(&writer, &refusal(1));
    }
    audit.hand.advance(Duration::from_secs(1));
    let patience = Instant::now() + Duration::from_secs(20);
    while audit.verified().len() < 12 {
        assert!(Instant::now() < patience, "the count was not written");
        std::thread::yield_now();
    }
    assert_eq!(audit.verified()[11].repeated, Some(1));
}

#[test]
fn counted_refusals_are_written_on_close() {
    let audit = Audit::new();
    let writer = audit.start(1);
    for _ in 0..REFUSALS_PER_SECOND + 3 {
        refuse(&writer, &refusal(9));
    }
    writer.close().unwrap();
    assert_eq!(audit.verified().last().unwrap().repeated, Some(3));
}

#[test]
fn exempt_reply_has_no_line() {
    assert_eq!(Recorded::exempt(Exempt::Metrics).evidence(), Evidence::Exempt(Exempt::Metrics));
}

#[test]
fn caller_is_written_as_the_kernel_says() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let caller = peer::authenticate(peer::Peer::of(&one).unwrap()).unwrap();
    let written = Principal::from(&caller);
    assert_eq!((written.uid, written.gid), (caller.uid(), caller.gid()));
    assert_eq!(u32::try_from(written.pid).ok(), Some(std::process::id()));
}

/// A file system of 64 KiB, unmounted when the test ends.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs"])
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a file system and needs root");
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn full_disk_refuses_records_and_room_on_it_lets_them_go_on() {
    let disk = SmallDisk::mount();
    let path = disk.0.path().join("audit.log");
    let filler = disk.0.path().join("filler");
    fs::write(&filler, vec![0; 32 * 1024]).unwrap();
    let writer = open(&path).unwrap().start(1, Clock::system()).unwrap();
    let mut written = 1;
    let error = loop {
        match writer.append(&request("secrets/db")) {
            Ok(_recorded) => written += 1,
            Err(error) => break error,
        }
    };
    let AuditError::Io { verb: "written", source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull);
    assert_eq!(verify(&fs::read(&path).unwrap()).len(), written, "a part of a line stayed");
    for _ in 0..=REFUSALS_PER_SECOND {
        assert!(writer.append_refusal(&refusal(1)).is_err(), "a refusal was counted on no disk");
    }
    fs::remove_file(filler).unwrap();
    append(&writer, &request("secrets/db"));
    writer.close().unwrap();
    let entries = verify(&fs::read(&path).unwrap());
    assert_eq!(entries.len(), written + 1);
}

#[test]
fn failed_sync_refuses_everything_from_then_on() {
    // Nothing can be synced in a pipe: fdatasync(2) gives EINVAL.
    let (reader, writer) = io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let audit =
        AuditWriter::run("pipe".into(), LineFile::new(file, 0), Chain::new(), Clock::system())
            .unwrap();
    let refused = |outcome: Result<Recorded, AuditError>| {
        assert!(matches!(outcome, Err(AuditError::Unsynced { .. })), "{outcome:?}");
    };
    refused(audit.append_synced(&request("k")));
    refused(audit.append(&request("k")));
    refused(audit.append_refusal(&refusal(1)));
    assert!(matches!(audit.close(), Err(AuditError::Unsynced { .. })));
    drop(reader);
}

#[test]
fn failed_sync_in_the_background_is_noticed() {
    let (_reader, writer) = io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let audit =
        AuditWriter::run("pipe".into(), LineFile::new(file, 0), Chain::new(), Clock::system())
            .unwrap();
    append(&audit, &request("k"));
    let patience = Instant::now() + Duration::from_secs(20);
    while audit.shared.lock().unsynced.is_none() {
        assert!(Instant::now() < patience, "the sync was not tried");
        std::thread::yield_now();
    }
    assert!(matches!(audit.append(&request("k")), Err(AuditError::Unsynced { .. })));
}

#[test]
fn background_sync_follows_a_write_within_its_delay() {
    let audit = Audit::new();
    let writer = audit.start(1);
    append(&writer, &request("k"));
    let due = writer.shared.lock().sync_due;
    assert!(due.is_none_or(|due| due <= Instant::now() + SYNC_DELAY));
    let patience = Instant::now() + Duration::from_secs(20);
    while writer.shared.lock().sync_due.is_some() {
        assert!(Instant::now() < patience, "nothing was synced");
        std::thread::yield_now();
    }
    assert!(fs::metadata(audit.path()).unwrap().size() > 0);
}
