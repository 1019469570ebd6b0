//! Records: their order, their chain, their longest line.

use wire::limits::AUDIT_LINE_MAX_BYTES;

use super::*;

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
fn record_of_an_earlier_generation_is_written_with_the_later() {
    let audit = Audit::new();
    let writer = audit.start(1);
    append(&writer, &Record { generation: 5, ..request("k") });
    append(&writer, &Record { generation: 4, ..request("k") });
    assert_eq!(audit.verified()[2].generation, 5);
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
