//! A disk that gets full, and one that does not keep what it was given.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::*;

/// A file system of 64 KiB, unmounted when the test ends.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Self {
        Self::with("size=64k,mode=0700")
    }

    fn with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
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
    let writer = open_at(&path).unwrap().start(1, Clock::system()).unwrap();
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
fn disk_without_room_for_another_file_lets_the_old_one_go_on_until_there_is() {
    // The root directory, the audit and a filler are all the files that it can have.
    let disk = SmallDisk::with("size=1m,nr_inodes=3,mode=0700");
    let path = disk.0.path().join("audit.log");
    let filler = disk.0.path().join("filler");
    fs::write(&filler, "").unwrap();
    let (clock, hand) = Clock::manual("2026-11-21T12:00:00Z".parse().unwrap());
    let settings = Settings { rotate_bytes: ROTATE_BYTES_MIN, ..Settings::at(&path) };
    let writer = open(&settings).unwrap().start(1, clock).unwrap();
    for _ in 0..20 {
        append(&writer, &request(&"k".repeat(1000)));
    }
    writer.shared.keep();
    append(&writer, &request("k"));
    assert_eq!(older_files(&path).unwrap(), []);
    assert_eq!(verify(&fs::read(&path).unwrap()).len(), 22);
    fs::remove_file(filler).unwrap();
    hand.advance(CHECKPOINT_EVERY);
    writer.shared.keep();
    append(&writer, &request("k"));
    drop(writer);
    let older = older_files(&path).unwrap();
    assert_eq!(older.len(), 1);
    let both = [fs::read(&older[0].path).unwrap(), fs::read(&path).unwrap()].concat();
    assert_eq!(verify(&both).len(), 23);
}

fn writer_of(file: File) -> AuditWriter {
    let state = State::new(LineFile::new(file, 0), Chain::new(), Upkeep::new(1, None));
    AuditWriter::run(Shared::new("pipe".into(), Settings::at("pipe"), Clock::system(), state))
        .unwrap()
}

#[test]
fn failed_sync_refuses_everything_from_then_on() {
    // Nothing can be synced in a pipe: fdatasync(2) gives EINVAL.
    let (reader, writer) = io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    let audit = writer_of(file);
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
    let audit = writer_of(file);
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
