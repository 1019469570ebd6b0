use std::time::Duration;

use proptest::prelude::*;
use provider_core::ErrorKind;

use super::*;

/// Parses one rule and shows it again.
#[track_caller]
fn check(text: &str, shown: &str) {
    let plan: Plan = text.parse().unwrap();
    assert_eq!(plan.to_string(), shown);
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let error = text.parse::<Plan>().unwrap_err().to_string();
    assert!(error.contains(part), "no {part:?} in {error:?}");
}

#[test]
fn rule_without_a_number_is_about_every_call() {
    check("mac gone", "mac gone");
    check("mac:every gone", "mac gone");
}

#[test]
fn number_is_one_call() {
    check("mac:3 gone", "mac:3 gone");
    check("mac:3-3 gone", "mac:3 gone");
}

#[test]
fn range_has_both_ends_or_one() {
    check("generate:2-4 crash", "generate:2-4 crash");
    check("any:7- internal", "any:7- internal");
}

#[test]
fn comments_and_blank_lines_say_nothing() {
    check("# all\n\nmac gone # why\n;open slow 1s;\n", "mac gone; open slow 1000ms");
}

#[test]
fn sizes_and_times_have_units() {
    check("mac slow 50ms; mac leak 1MiB", "mac slow 50ms; mac leak 1048576B");
    refused("mac slow 50", "a time is a number with ms or s");
    refused("mac slow", "needs a time");
    refused("mac leak 1GB", "a size is a number");
    refused("mac leak", "needs a size");
}

#[test]
fn time_and_size_at_the_limit_pass_and_one_past_does_not() {
    check("mac slow 3600s", "mac slow 3600000ms");
    refused("mac slow 3600001ms", "at most one hour");
    check("mac leak 1024MiB", "mac leak 1073741824B");
    refused("mac leak 1073741825B", "at most 1024MiB");
}

#[test]
fn plan_at_the_limit_passes_and_one_byte_past_does_not() {
    check(&"#".repeat(PLAN_MAX_BYTES), "");
    refused(&"#".repeat(PLAN_MAX_BYTES + 1), "65537 bytes");
}

#[test]
fn fault_after_the_call_says_so() {
    check("generate after crash", "generate after crash");
    refused("mac after wrong", "leave out `after`");
    refused("mac after", "no fault");
}

#[test]
fn what_is_not_meant_is_refused() {
    refused("mac", "it has no fault");
    refused("seal gone", "no verb of the contract");
    refused("mac explode", "there is no such fault");
    refused("mac gone now", "words follow");
    refused("mac slow 1s now", "words follow");
    refused("mac:0 gone", "a number from 1");
    refused("mac:+1 gone", "a number from 1");
    refused("mac: gone", "a number from 1");
    refused("mac:4-2 gone", "begins with its lower number");
    refused("mac gone; mac:x gone", "rule 2");
}

#[test]
fn verb_that_has_no_such_answer_cannot_lie_about_it() {
    refused("mac long", "cannot have this fault");
    refused("generate unwritten", "cannot have this fault");
    refused("info gone", "cannot have this fault");
    refused("close wrong", "no answer to spoil");
    refused("any long", "name the verb");
    check("any wrong", "any wrong");
}

fn selects() -> impl Strategy<Value = Select> {
    prop_oneof![
        Just(Select::Every),
        (1..1000_u64, 0..1000_u64).prop_map(|(from, more)| Select::Range(from, from + more)),
        (1..1000_u64).prop_map(Select::From),
    ]
}

fn faults() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..3_600_000_u64).prop_map(|ms| Fault::Slow(Duration::from_millis(ms))),
        (0..=(1_usize << 30)).prop_map(Fault::Leak),
        (1..=15_u32)
            .prop_filter_map("panicked is `panic`", ErrorKind::from_number)
            .prop_filter("panicked is `panic`", |kind| *kind != ErrorKind::Panicked)
            .prop_map(Fault::Fails),
        Just(Fault::Hang),
        Just(Fault::Crash),
        Just(Fault::Exit),
        Just(Fault::Panic),
        Just(Fault::Unplug),
        Just(Fault::Wrong),
        Just(Fault::Empty),
        Just(Fault::Unwritten),
        Just(Fault::Long),
    ]
}

fn rules() -> impl Strategy<Value = Rule> {
    let verbs = prop::option::of(prop::sample::select(Verb::ALL));
    (verbs, selects(), any::<bool>(), faults())
        .prop_map(|(verb, select, after, fault)| Rule { verb, select, after, fault })
        .prop_filter("one that has a meaning", |rule| rule.check().is_ok())
}

proptest! {
    #[test]
    fn plan_that_is_shown_parses_to_itself(rules in prop::collection::vec(rules(), 0..8)) {
        let plan = Plan { rules };
        prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
    }

    #[test]
    fn any_text_is_a_plan_or_a_refusal(text in ".{0,200}") {
        if let Ok(plan) = text.parse::<Plan>() {
            prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }
    }

    #[test]
    fn words_of_the_language_in_any_order_are_a_plan_or_a_refusal(
        words in prop::collection::vec(
            prop::sample::select(&[
                "mac", "any", "open", "info", ":", "1", "2-1", "3-", "every", "after", "slow",
                "50ms", "leak", "1MiB", "gone", "wrong", "long", ";", "\n", "#", " ",
            ][..]),
            0..12,
        ),
    ) {
        let text: String = words.concat();
        if let Ok(plan) = text.parse::<Plan>() {
            prop_assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
        }
    }

    #[test]
    fn call_is_selected_by_its_number_alone(from in 1..50_u64, more in 0..50_u64, number in 1..200_u64) {
        let inside = number >= from && number <= from + more;
        prop_assert_eq!(Select::Range(from, from + more).has(number), inside);
        prop_assert_eq!(Select::From(from).has(number), number >= from);
        prop_assert!(Select::Every.has(number));
    }
}
