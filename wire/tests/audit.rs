//! The audit log through the public API, and the example of `docs/audit.md`.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "an integration test is one module, and its helpers are tests too"
)]

use proptest::prelude::*;
use wire::api::{Origin, Protection};
use wire::audit::{
    CHECKPOINT_MACS_MAX, Chain, Checkpoint, CheckpointMac, Counts, Hex32, Kind, LineFault,
    OpenIntent, Outcome, Principal, Reason, Record, Summary, Verifier, line_hash, read_line,
};
use wire::code::Code;
use wire::limits::AUDIT_LINE_MAX_BYTES;
use wire::name::ProviderName;

const DOCUMENT: &str = include_str!("../../docs/audit.md");
const TIME: &str = "2026-01-02T03:04:05.678901Z";

fn record(kind: Kind, request: &str) -> Record<'_> {
    Record { request: Some(request), ..Record::new(kind, TIME, 4) }
}

fn full() -> Record<'static> {
    Record {
        principal: Some(Principal { uid: 1000, gid: 1000, pid: 4242 }),
        operation: Some("seal"),
        key: Some("secrets/db"),
        version: Some(3),
        provider: Some("tpm"),
        protection: Some(Protection::Hardware),
        origin: Some(Origin::Generated),
        fallback: true,
        outcome: Some(Outcome::Failed(Code::TooLarge)),
        duration_us: Some(412),
        items: Some(Counts { total: 5, failed: 1 }),
        repeated: Some(7),
        torn_bytes: Some(9),
        ..record(Kind::Request, "r-1")
    }
}

fn log(records: &[Record<'_>]) -> Vec<Vec<u8>> {
    let mut chain = Chain::new();
    let mut out = Vec::new();
    for record in records {
        chain.append(record, &mut out).unwrap();
    }
    out.split_inclusive(|&byte| byte == b'\n').map(|line| line[..line.len() - 1].to_vec()).collect()
}

fn verify(mut verifier: Verifier, lines: &[Vec<u8>]) -> Result<Summary, LineFault> {
    for line in lines {
        verifier.feed(line)?;
    }
    Ok(verifier.finish())
}

fn check(lines: &[Vec<u8>], line: u64, reason: Reason) {
    assert_eq!(verify(Verifier::from_start(), lines), Err(LineFault { line, reason }));
}

#[test]
fn document_example_is_what_the_chain_writes() {
    let start = Record::new(Kind::Start, TIME, 3);
    let principal = Some(Principal { uid: 1000, gid: 1000, pid: 4242 });
    let create = |kind| Record {
        principal,
        operation: Some("create"),
        key: Some("secrets/db"),
        ..record(kind, "01JGJ5T3B1-000001")
    };
    let outcome = Record {
        version: Some(1),
        provider: Some("tpm"),
        protection: Some(Protection::Hardware),
        origin: Some(Origin::Generated),
        outcome: Some(Outcome::Ok),
        duration_us: Some(81_204),
        ..create(Kind::Outcome)
    };
    let intent = Record { generation: 3, ..create(Kind::Intent) };
    let denied = Record {
        principal,
        operation: Some("unseal"),
        key: Some("secrets/other"),
        outcome: Some(Outcome::Failed(Code::Denied)),
        duration_us: Some(31),
        ..record(Kind::Request, "01JGJ5T3B1-000002")
    };
    let lines = log(&[start, intent, outcome, denied]);
    let example = lines.iter().map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>();
    let documented = DOCUMENT.split("```json\n").nth(1).unwrap().split("\n```").next().unwrap();
    assert_eq!(documented, example.join("\n"));
    let lines: Vec<_> = documented.lines().map(|line| line.as_bytes().to_vec()).collect();
    assert_eq!(verify(Verifier::from_start(), &lines).unwrap().lines, 4);
    let (chain, _entry) = Chain::after(&lines[0]).unwrap();
    assert!(DOCUMENT.contains(&format!("`{}`", chain.last_hash())));
}

#[test]
fn document_checkpoint_is_what_the_chain_writes_and_its_mac_is_over_the_documented_bytes() {
    let mut blocks = DOCUMENT.split("```json\n").skip(1);
    let mut block = || blocks.next().unwrap().split("\n```").next().unwrap();
    let (before, documented) = (block().lines().last().unwrap(), block());
    let input = DOCUMENT.split("```text\n").nth(1).unwrap().split("\n```").next().unwrap();

    let entry = read_line(documented.as_bytes()).unwrap();
    let (checkpoint, macs) = Checkpoint::of(&entry).unwrap();
    assert_eq!((checkpoint.sequence, checkpoint.generation), (5, 4));
    assert_eq!(checkpoint.prev, line_hash(before.as_bytes()));
    let registry = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let found = checkpoint.mac_input(&registry);
    assert_eq!(found.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), input);
    let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at + 0x20).unwrap());
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    assert_eq!(macs[0].mac.0, aws_lc_rs::hmac::sign(&key, &found).as_ref());

    let (mut chain, _) = Chain::after(before.as_bytes()).unwrap();
    let record = Record { macs: Some(macs), ..Record::new(Kind::Checkpoint, checkpoint.time, 4) };
    let mut line = Vec::new();
    chain.append(&record, &mut line).unwrap();
    assert_eq!(line, [documented.as_bytes(), b"\n"].concat());
    assert!(DOCUMENT.contains(&format!("`{}`", chain.last_hash())));
}

/// A checkpoint with the MACs of so many instances.
fn macs(count: usize) -> Vec<CheckpointMac> {
    let of = |number| CheckpointMac {
        provider: ProviderName::parse(&format!("p{number:0>31}")).unwrap(),
        mac: Hex32([7; 32]),
    };
    (0..count).map(of).collect()
}

#[test]
fn checkpoint_with_most_macs_fits_a_line_and_one_more_is_refused() {
    fn record(macs: &[CheckpointMac]) -> Record<'_> {
        Record { macs: Some(macs), ..Record::new(Kind::Checkpoint, TIME, 4) }
    }
    let most = macs(CHECKPOINT_MACS_MAX);
    let summary = verify(Verifier::from_start(), &log(&[record(&most)])).unwrap();
    assert_eq!((summary.checkpoints, summary.last_checkpoint), (1, Some(1)));
    check(&log(&[record(&macs(CHECKPOINT_MACS_MAX + 1))]), 1, Reason::Fields);
    check(&log(&[record(&[])]), 1, Reason::Fields);
    check(&log(&[Record::new(Kind::Checkpoint, TIME, 4)]), 1, Reason::Fields);
    let (mut twice, mut turned) = (macs(2), macs(2));
    twice[1] = twice[0].clone();
    turned.swap(0, 1);
    for improper in [twice, turned] {
        check(&log(&[record(&improper)]), 1, Reason::Fields);
    }
}

#[test]
fn every_field_that_a_checkpoint_vouches_for_changes_what_is_maced() {
    let one = Checkpoint { sequence: 1, prev: Hex32([0; 32]), generation: 1, time: TIME };
    let others = [
        Checkpoint { sequence: 2, ..one },
        Checkpoint { prev: Hex32([1; 32]), ..one },
        Checkpoint { generation: 2, ..one },
        Checkpoint { time: &TIME[1..], ..one },
    ];
    for other in others {
        assert_ne!(other.mac_input(&[0; 16]), one.mac_input(&[0; 16]));
    }
    assert_ne!(one.mac_input(&[1; 16]), one.mac_input(&[0; 16]));
}

#[test]
fn log_without_its_oldest_lines_is_in_order_only_where_it_says_that_they_were_removed() {
    let removed = |through| Record { through, ..Record::new(Kind::Removed, TIME, 4) };
    let all = log(&[full(), full(), removed(Some(2)), full()]);
    let begins =
        |from: usize| verify(Verifier::continued(), &all[from..]).unwrap().begins_in_order();
    assert!(begins(0) && begins(1) && begins(2));
    assert!(!begins(3), "the line that says so is gone too");
    assert!(
        !verify(Verifier::continued(), &log(&[full(), full()])[1..]).unwrap().begins_in_order()
    );
    check(&log(&[full(), removed(Some(2))]), 2, Reason::Fields);
    check(&log(&[full(), removed(None)]), 2, Reason::Fields);
}

#[test]
fn line_of_a_full_record_reads_as_its_fields() {
    let lines = log(&[full()]);
    let entry = Verifier::from_start().feed(&lines[0]).unwrap();
    assert_eq!((entry.seq, entry.generation, entry.kind), (1, 4, Kind::Request));
    assert_eq!(entry.principal, full().principal);
    assert_eq!(entry.operation.as_deref(), full().operation);
    assert_eq!(entry.key.as_deref(), full().key);
    assert_eq!((entry.version, entry.provider.as_deref()), (Some(3), Some("tpm")));
    assert_eq!((entry.protection, entry.origin), (full().protection, full().origin));
    assert_eq!((entry.fallback, entry.outcome), (true, full().outcome));
    assert_eq!((entry.duration_us, entry.items), (full().duration_us, full().items));
    assert_eq!((entry.repeated, entry.torn_bytes), (Some(7), Some(9)));
    assert_eq!((entry.time.as_str(), entry.request.as_deref()), (TIME, Some("r-1")));
}

#[test]
fn summary_tells_open_intents_in_order() {
    let lines = log(&[
        record(Kind::Intent, "b"),
        record(Kind::Intent, "a"),
        record(Kind::Intent, "c"),
        record(Kind::Outcome, "a"),
    ]);
    let summary = verify(Verifier::from_start(), &lines).unwrap();
    assert_eq!((summary.first_sequence, summary.last_sequence), (1, 4));
    assert_eq!((summary.lines, summary.last_generation), (4, 4));
    let open = |sequence, request: &str| OpenIntent { sequence, request: request.to_owned() };
    assert_eq!(summary.open_intents, [open(1, "b"), open(3, "c")]);
}

#[test]
fn log_without_lines_is_whole() {
    let summary = verify(Verifier::from_start(), &[]).unwrap();
    assert_eq!((summary.lines, summary.first_sequence, summary.last_sequence), (0, 0, 0));
}

#[test]
fn continued_log_verifies_only_as_continued() {
    let all = log(&[record(Kind::Intent, "a"), record(Kind::Outcome, "a"), full()]);
    let summary = verify(Verifier::continued(), &all[1..]).unwrap();
    assert_eq!((summary.first_sequence, summary.last_sequence), (2, 3));
    check(&all[1..], 1, Reason::Missing { expected: 1, found: 2 });
}

#[test]
fn chain_after_the_last_line_goes_on_as_before() {
    let mut chain = Chain::new();
    let mut out = Vec::new();
    chain.append(&full(), &mut out).unwrap();
    let (resumed, entry) = Chain::after(&out[..out.len() - 1]).unwrap();
    assert_eq!((resumed, entry.generation), (chain, 4));
}

#[test]
fn changed_line_shows_at_the_next() {
    let mut lines = log(&[full(), full(), full()]);
    lines[1] = String::from_utf8(lines[1].clone()).unwrap().replace("412", "413").into_bytes();
    check(&lines, 3, Reason::Chain);
}

#[test]
fn removed_line_shows_at_its_place() {
    let mut lines = log(&[full(), full(), full()]);
    lines.remove(1);
    check(&lines, 2, Reason::Missing { expected: 2, found: 3 });
}

#[test]
fn swapped_lines_show_at_the_first() {
    let mut lines = log(&[full(), full(), full()]);
    lines.swap(1, 2);
    check(&lines, 2, Reason::Missing { expected: 2, found: 3 });
    let first = lines[0].clone();
    check(&[first.clone(), first], 2, Reason::Order { expected: 2, found: 1 });
}

#[test]
fn sequence_with_a_gap_shows() {
    let lines = log(&[full()]);
    let text = String::from_utf8(lines[0].clone()).unwrap().replace("\"seq\":1", "\"seq\":2");
    check(&[text.into_bytes()], 1, Reason::Missing { expected: 1, found: 2 });
}

#[test]
fn generation_overtaken_by_another_request_is_raised() {
    let lines = log(&[full(), Record { generation: 3, ..full() }]);
    let (chain, _entry) = Chain::after(&lines[1]).unwrap();
    assert_eq!(chain.last_generation(), 4);
}

#[test]
fn fallen_generation_shows() {
    let mut chain = Chain::new();
    let mut first = Vec::new();
    chain.append(&full(), &mut first).unwrap();
    first.pop();
    let second = format!(
        r#"{{"seq":2,"prev":"{}","time":"{TIME}","kind":"stop","generation":3}}"#,
        chain.last_hash()
    );
    check(&[first, second.into_bytes()], 2, Reason::Generation { before: 4, found: 3 });
}

#[test]
fn intent_and_outcome_that_do_not_pair_show() {
    let (intent, outcome) = (record(Kind::Intent, "a"), record(Kind::Outcome, "a"));
    check(&log(&[outcome]), 1, Reason::OutcomeWithoutIntent);
    check(&log(&[intent, intent]), 2, Reason::IntentTwice);
    check(&log(&[intent, outcome, outcome]), 3, Reason::OutcomeWithoutIntent);
    check(&log(&[Record { request: None, ..intent }]), 1, Reason::NoRequestId);
    check(&log(&[Record { request: None, ..outcome }]), 1, Reason::NoRequestId);
}

#[test]
fn line_that_is_not_a_record_shows() {
    let line = String::from_utf8(log(&[full()])[0].clone()).unwrap();
    for bad in [
        String::new(),
        "[]".to_owned(),
        line[..line.len() - 1].to_owned(),
        format!(" {line}"),
        line.replacen('{', "{\"more\":1,", 1),
        line.replacen('{', "{\"seq\":1,", 1),
        line.replace("too_large", "other"),
    ] {
        check(&[bad.into_bytes()], 1, Reason::NotARecord);
    }
}

#[test]
fn record_at_line_limit_is_written_and_read() {
    let mut out = Vec::new();
    Chain::new().append(&Record { key: Some(""), ..full() }, &mut out).unwrap();
    let key = "k".repeat(AUDIT_LINE_MAX_BYTES - (out.len() - 1));
    let lines = log(&[Record { key: Some(&key), ..full() }]);
    assert_eq!(lines[0].len(), AUDIT_LINE_MAX_BYTES);
    assert_eq!(verify(Verifier::from_start(), &lines).unwrap().lines, 1);
}

#[test]
fn record_one_past_line_limit_leaves_chain_and_output_as_they_were() {
    let (mut chain, mut out) = (Chain::new(), Vec::new());
    chain.append(&Record { key: Some(""), ..full() }, &mut out).unwrap();
    let key = "k".repeat(AUDIT_LINE_MAX_BYTES + 1 - (out.len() - 1));
    let before = (chain.clone(), out.clone());
    let fault = chain.append(&Record { key: Some(&key), ..full() }, &mut out).unwrap_err();
    assert_eq!(fault.code, Code::Internal);
    assert_eq!((chain, out), before);
}

#[test]
fn line_one_past_limit_is_too_long() {
    check(&[vec![b'{'; AUDIT_LINE_MAX_BYTES + 1]], 1, Reason::TooLong);
    check(&[vec![b'{'; AUDIT_LINE_MAX_BYTES]], 1, Reason::NotARecord);
}

proptest! {
    #[test]
    fn text_of_any_kind_stays_on_one_line_and_reads_back(key in ".{0,60}", request in any::<String>()) {
        let record = Record { key: Some(&key), request: Some(&request), ..full() };
        prop_assume!(request.len() < 500);
        let lines = log(&[record, record]);
        prop_assert_eq!(lines.len(), 2);
        let mut verifier = Verifier::from_start();
        for line in &lines {
            let entry = verifier.feed(line).unwrap();
            prop_assert_eq!(entry.key.as_deref(), Some(key.as_str()));
            prop_assert_eq!(entry.request.as_deref(), Some(request.as_str()));
        }
    }

    #[test]
    fn changed_byte_of_a_line_before_the_last_shows(at: prop::sample::Index, byte: u8) {
        let mut lines = log(&[full(), full()]);
        let at = at.index(lines[0].len());
        prop_assume!(lines[0][at] != byte && byte != b'\n');
        lines[0][at] = byte;
        prop_assert!(verify(Verifier::from_start(), &lines).is_err());
    }
}
