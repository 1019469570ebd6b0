//! When checkpoints are made, what they are over, and in which order they are remembered.

use wire::audit::{Checkpoint, CheckpointMac, Hex32, line_hash};
use wire::name::ProviderName;

use super::*;

/// Says what it is asked to vouch for, and keeps what it is told.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    /// The file that is looked at when a checkpoint is remembered.
    pub(super) path: PathBuf,
    pub(super) marks: Mutex<Vec<Mark>>,
    /// Whether nobody is there to vouch, and whether nothing can be remembered.
    pub(super) absent: bool,
    pub(super) forgetful: bool,
}

impl Witness for Notebook {
    fn macs(&self, checkpoint: &Checkpoint<'_>) -> Vec<CheckpointMac> {
        if self.absent {
            return Vec::new();
        }
        let provider = ProviderName::parse("soft").unwrap();
        vec![CheckpointMac { provider, mac: line_hash(&checkpoint.mac_input(&[0; 16])) }]
    }

    fn remember(&self, mark: Mark) -> Result<(), String> {
        if self.forgetful {
            return Err("there is no room".into());
        }
        let content = fs::read(&self.path).unwrap();
        let hashes = content.split(|byte| *byte == b'\n').map(line_hash);
        assert!(hashes.into_iter().any(|hash| hash == mark.hash), "remembered before written");
        self.marks.lock().unwrap().push(mark);
        Ok(())
    }
}

pub(super) fn notebook(audit: &Audit) -> Arc<Notebook> {
    Arc::new(Notebook { path: audit.path(), ..Notebook::default() })
}

fn checkpoints(audit: &Audit) -> Vec<u64> {
    let lines = audit.verified().into_iter().filter(|it| it.kind == Kind::Checkpoint);
    lines.map(|it| it.seq).collect()
}

fn marks(notebook: &Notebook) -> Vec<u64> {
    notebook.marks.lock().unwrap().iter().map(|mark| mark.sequence).collect()
}

/// Waits for the keeper.
#[track_caller]
fn wait_for(what: impl Fn() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !what() {
        assert!(Instant::now() < patience, "it did not come");
        std::thread::yield_now();
    }
}

#[test]
fn first_checkpoint_is_made_at_once_and_is_over_everything_before_it() {
    let audit = Audit::new();
    let writer = audit.start(7);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    let entries = audit.verified();
    let (checkpoint, macs) = Checkpoint::of(&entries[1]).unwrap();
    assert_eq!((checkpoint.sequence, checkpoint.generation), (2, 7));
    let first = audit.content().split(|byte| *byte == b'\n').next().unwrap().to_vec();
    assert_eq!(checkpoint.prev, line_hash(&first));
    assert_eq!(macs[0].mac, line_hash(&checkpoint.mac_input(&[0; 16])));
    assert_eq!(marks(&notebook), [2]);
}

#[test]
fn checkpoint_comes_a_minute_after_a_line_and_not_without_one() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    audit.hand.advance(CHECKPOINT_EVERY * 3);
    append(&writer, &request("k"));
    wait_for(|| marks(&notebook) == [2, 4]);
    append(&writer, &request("k"));
    audit.hand.advance(CHECKPOINT_EVERY - Duration::from_millis(1));
    assert_eq!(
        writer.shared.lock().upkeep.due_in(audit.clock.passed()),
        Some(Duration::from_millis(1))
    );
    audit.hand.advance(Duration::from_millis(1));
    wait_for(|| marks(&notebook) == [2, 4, 6]);
    assert_eq!(writer.shared.lock().upkeep.due_in(audit.clock.passed()), None);
    assert_eq!(checkpoints(&audit), [2, 4, 6]);
}

#[test]
fn checkpoint_comes_soon_after_a_change_and_after_the_thousandth_line() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    let due = || writer.shared.lock().upkeep.due_in(audit.clock.passed());
    append(&writer, &request("k"));
    assert_eq!(due(), Some(CHECKPOINT_EVERY));
    let outcome = Record { kind: Kind::Outcome, request: Some("r"), ..request("k") };
    append(&writer, &Record { kind: Kind::Intent, outcome: None, ..outcome });
    append(&writer, &outcome);
    assert_eq!(due(), Some(CHECKPOINT_SOON));
    audit.hand.advance(CHECKPOINT_SOON);
    wait_for(|| marks(&notebook) == [2, 6]);
    for _ in 1..CHECKPOINT_LINES {
        append(&writer, &request("k"));
    }
    assert_eq!(due(), Some(CHECKPOINT_EVERY));
    append(&writer, &request("k"));
    assert_eq!(due(), Some(CHECKPOINT_SOON));
}

#[test]
fn last_line_of_all_is_a_checkpoint() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let notebook = notebook(&audit);
    writer.witnessed_by(Arc::clone(&notebook) as _);
    append(&writer, &request("k"));
    writer.close().unwrap();
    writer.close().unwrap();
    assert_eq!((checkpoints(&audit), marks(&notebook)), (vec![2, 4], vec![2, 4]));
    assert_eq!(audit.verified().len(), 4);
}

#[test]
fn without_anybody_to_vouch_there_is_no_checkpoint_and_it_is_tried_again() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let absent = Notebook { absent: true, ..Notebook::default() };
    writer.witnessed_by(Arc::new(absent));
    append(&writer, &request("k"));
    assert_eq!(checkpoints(&audit), [] as [u64; 0]);
    assert_eq!(writer.shared.lock().upkeep.due_in(audit.clock.passed()), Some(CHECKPOINT_EVERY));
}

#[test]
fn checkpoint_that_cannot_be_remembered_is_in_the_audit_all_the_same() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let forgetful = Notebook { forgetful: true, ..Notebook::default() };
    writer.witnessed_by(Arc::new(forgetful));
    append(&writer, &request("k"));
    writer.close().unwrap();
    assert_eq!(checkpoints(&audit), [2, 4]);
    assert_eq!(Hex32::parse(&audit.verified()[3].prev).map(|_| ()), Some(()));
}
