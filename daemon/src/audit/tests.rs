//! Real files, a real file system that gets full, and a descriptor that really cannot be synced.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use wire::audit::{Entry, Verifier};

use super::*;
use crate::clock::ClockHand;

mod checkpoints;
mod disk;
mod end;
mod opening;
mod refusals;
mod rotation;
mod start;
mod writing;

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
        open_at(&self.path())
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

fn open_at(path: &Path) -> Result<AuditTail, AuditError> {
    open(&Settings::at(path))
}

#[track_caller]
fn verify(content: &[u8]) -> Vec<Entry> {
    let mut verifier = Verifier::from_start();
    let lines = content.strip_suffix(b"\n").expect("the last line is not whole");
    lines.split(|byte| *byte == b'\n').map(|line| verifier.feed(line).unwrap()).collect()
}

#[test]
fn page_has_the_numbers_of_the_code() {
    let page = include_str!("../../../docs/audit.md");
    let (soon, every) = (CHECKPOINT_SOON.as_secs(), CHECKPOINT_EVERY.as_secs());
    let most = usize::try_from(ALL_REFUSALS_PER_SECOND).unwrap() + COUNTED_USERS + 1;
    for text in [
        format!(
            "the last {} lines, as far as they lie within the last {} bytes",
            super::end::CHECKED_LINES,
            super::end::CHECKED_BYTES
        ),
        format!(
            "{soon} s after a key change, {soon} s after the last one when {CHECKPOINT_LINES} \
             lines have come, and {every} s after the last one in any case"
        ),
        format!(
            "{REFUSALS_PER_SECOND} a second of each uid and {ALL_REFUSALS_PER_SECOND} a second of \
             all are lines of their own"
        ),
        format!("{COUNTED_USERS} uids in a second have counts of their own"),
        format!("at most {most} lines a second"),
        format!("at most {} in the order of their names", wire::audit::CHECKPOINT_MACS_MAX),
    ] {
        assert!(page.contains(&text), "{text:?} is not on the page");
    }
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
