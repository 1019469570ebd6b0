//! Refusals: which are written, and how the rest is counted.

use super::*;

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
