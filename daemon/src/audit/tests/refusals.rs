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
fn refusals_without_a_principal_are_counted_as_those_of_one_user() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let record = Record { principal: None, ..refusal(1) };
    for _ in 0..REFUSALS_PER_SECOND {
        assert!(matches!(refuse(&writer, &record), Evidence::Line(_)));
    }
    assert_eq!(refuse(&writer, &record), Evidence::Counted);
    writer.close().unwrap();
    let entries = audit.verified();
    let last = entries.last().unwrap();
    assert_eq!((last.kind, last.principal, last.repeated), (Kind::Refused, None, Some(1)));
}

#[test]
fn refusals_of_all_at_the_rate_are_written_and_one_more_is_counted() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let users = ALL_REFUSALS_PER_SECOND / REFUSALS_PER_SECOND;
    for uid in 0..users {
        for _ in 0..REFUSALS_PER_SECOND {
            assert!(matches!(refuse(&writer, &refusal(uid)), Evidence::Line(_)));
        }
    }
    assert_eq!(refuse(&writer, &refusal(users)), Evidence::Counted);
    audit.hand.advance(Duration::from_secs(1));
    assert!(matches!(refuse(&writer, &refusal(users)), Evidence::Line(_)));
    let entries = audit.verified();
    let counted: Vec<_> = entries.iter().filter(|it| it.kind == Kind::Refused).collect();
    assert_eq!(counted.len(), 1);
    assert_eq!((counted[0].principal.unwrap().uid, counted[0].repeated), (users, Some(1)));
}

#[test]
fn users_at_the_limit_have_counts_of_their_own_and_any_more_share_one() {
    let audit = Audit::new();
    let writer = audit.start(1);
    let told_apart = u32::try_from(COUNTED_USERS).unwrap();
    for uid in 0..told_apart + 2 {
        for _ in 0..=REFUSALS_PER_SECOND {
            refuse(&writer, &refusal(uid));
        }
    }
    writer.close().unwrap();
    let entries = audit.verified();
    let counts: Vec<_> = entries.iter().filter(|it| it.kind == Kind::Refused).collect();
    let of = |uid: Option<u32>| {
        let counted = counts.iter().find(|it| it.principal.map(|it| it.uid) == uid);
        counted.and_then(|it| it.repeated)
    };
    assert_eq!(of(Some(told_apart - 1)), Some(11), "the last with a count of its own");
    assert_eq!(of(Some(told_apart)), None);
    assert_eq!(of(None), Some(22), "two users share one");
    assert_eq!(counts.len(), COUNTED_USERS + 1);
}

#[test]
fn flood_of_a_hundred_thousand_refusals_by_a_thousand_users_is_165_lines_a_second() {
    let audit = Audit::new();
    let writer = audit.start(1);
    for second in 0..10 {
        for number in 0..10_000 {
            refuse(&writer, &refusal(number % 1000));
        }
        let windows = second + 1;
        let lines = audit.verified().len() - 1;
        assert!(lines <= 165 * windows, "{lines} lines in {windows} s");
        audit.hand.advance(Duration::from_secs(1));
    }
    writer.close().unwrap();
    let entries = audit.verified();
    let written = entries.iter().filter(|it| it.outcome.is_some()).count();
    let counted: u64 = entries.iter().filter_map(|it| it.repeated).sum();
    assert_eq!(u64::try_from(written).unwrap() + counted, 100_000, "none is lost");
    assert!(entries.len() <= 1 + 1650, "{}", entries.len());
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
