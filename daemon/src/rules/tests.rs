//! Rules as an operator writes them, asked by real principals.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use serde::Deserialize;

use super::*;
use crate::peer::{Peer, authenticate};

const KNOWN: &[Operation] = &[
    Operation { name: "seal", needs_key: true },
    Operation { name: "unseal", needs_key: true },
    Operation { name: "list", needs_key: true },
    Operation { name: "random", needs_key: false },
];

#[derive(Deserialize)]
struct File {
    rule: Vec<RawRule>,
}

fn parse(text: &str) -> Result<Rules, RuleFaults> {
    let file: File = toml::from_str(text).unwrap();
    Rules::check(&file.rule, KNOWN)
}

/// The kernel's word on this process.
fn me() -> Principal {
    let (one, _other) = UnixStream::pair().unwrap();
    authenticate(Peer::of(&one).unwrap()).unwrap()
}

fn rule(principal: &str, keys: &str, operations: &str) -> Rules {
    let rule = format!(
        "[[rule]]\nprincipal = {{ {principal} }}\nkeys = [{keys}]\noperations = [{operations}]"
    );
    parse(&rule).unwrap()
}

/// Asks whether this process, by `rules`, may do `operation` on `key`.
#[track_caller]
fn check(rules: &Rules, operation: &str, key: Option<&str>, allowed: bool) {
    let principal = me();
    let answer = rules.authorize(&principal, operation, key);
    assert_eq!(answer.is_ok(), allowed, "{operation} on {key:?}: {answer:?}");
}

/// The whole message that a faulty file gets.
#[track_caller]
fn check_faults(text: &str, expected: &[&str]) {
    let faults = parse(text).unwrap_err();
    assert_eq!(faults.to_string(), expected.join("\n"));
}

fn my_uid() -> String {
    format!("uid = {}", me().uid())
}

#[test]
fn no_rules_deny_even_root() {
    check(&Rules::none(KNOWN), "seal", Some("a"), false);
    check(&Rules::none(KNOWN), "random", None, false);
}

#[test]
fn rule_allows_its_operation_on_its_keys_only() {
    let rules = rule(&my_uid(), r#""secrets/*""#, r#""seal""#);
    check(&rules, "seal", Some("secrets/db"), true);
    check(&rules, "unseal", Some("secrets/db"), false);
    check(&rules, "seal", Some("other/db"), false);
}

#[test]
fn rule_of_another_user_allows_nothing() {
    check(&rule("uid = 4001", r#""**""#, r#""*""#), "seal", Some("a"), false);
}

#[test]
fn user_by_name_is_that_user() {
    check(&rule(r#"user = "root""#, r#""**""#, r#""seal""#), "seal", Some("a"), me().uid() == 0);
    check(&rule(r#"user = "nobody""#, r#""**""#, r#""seal""#), "seal", Some("a"), false);
}

#[test]
fn primary_group_is_matched() {
    let gid = format!("gid = {}", me().gid());
    check(&rule(&gid, r#""**""#, r#""seal""#), "seal", Some("a"), true);
    check(&rule("gid = 4001", r#""**""#, r#""seal""#), "seal", Some("a"), false);
}

#[test]
fn rule_of_a_unit_allows_nobody_outside_it() {
    check(&rule(r#"unit = "nosuch.service""#, r#""**""#, r#""*""#), "seal", Some("a"), false);
    check(&rule(r#"unit = "nosuch@.service""#, r#""**""#, r#""*""#), "seal", Some("a"), false);
}

#[test]
fn star_as_operation_is_all() {
    let rules = rule(&my_uid(), r#""**""#, r#""*""#);
    for operation in ["seal", "unseal", "list"] {
        check(&rules, operation, Some("a/b"), true);
    }
    check(&rules, "random", None, true);
}

#[test]
fn operation_that_does_not_exist_is_denied() {
    check(&rule(&my_uid(), r#""**""#, r#""*""#), "*", Some("a"), false);
    check(&rule(&my_uid(), r#""**""#, r#""*""#), "sign", Some("a"), false);
}

#[test]
fn operation_without_key_needs_none_and_takes_none() {
    let rules = rule(&my_uid(), "", r#""random""#);
    check(&rules, "random", None, true);
    check(&rules, "random", Some("a"), false);
}

#[test]
fn operation_on_keys_without_a_key_is_denied() {
    check(&rule(&my_uid(), r#""**""#, r#""seal""#), "seal", None, false);
}

#[test]
fn internal_key_is_denied_to_the_widest_rule() {
    check(&rule(&my_uid(), r#""**""#, r#""*""#), "seal", Some(".device"), false);
}

#[test]
fn second_rule_allows_what_the_first_does_not() {
    let text = format!(
        "[[rule]]\nprincipal = {{ uid = 4001 }}\nkeys = [\"**\"]\noperations = [\"*\"]\n\
         [[rule]]\nprincipal = {{ {} }}\nkeys = [\"x\", \"b\"]\noperations = [\"seal\"]",
        my_uid()
    );
    check(&parse(&text).unwrap(), "seal", Some("b"), true);
}

#[test]
fn proof_says_who_what_and_which_key() {
    let principal = me();
    let rules = rule(&my_uid(), r#""**""#, r#""*""#);
    let proof = rules.authorize(&principal, "seal", Some("a/b")).unwrap();
    assert_eq!(proof.principal(), &principal);
    assert_eq!((proof.operation(), proof.key()), ("seal", Some("a/b")));
}

#[test]
fn list_shows_only_what_a_rule_allows() {
    let rules = rule(&my_uid(), r#""a/*""#, r#""list""#);
    let shown: Vec<&str> = ["a/b", "b/a", "a/c", ".a"]
        .into_iter()
        .filter(|key| rules.visible(&me(), "list", key))
        .collect();
    assert_eq!(shown, ["a/b", "a/c"]);
}

#[test]
fn every_fault_of_every_rule_is_listed_at_once() {
    check_faults(
        r#"
        [[rule]]
        principal = { user = "nosuchuser" }
        keys = ["ok/*", "", "a?"]
        operations = ["seal", "seel"]
        [[rule]]
        principal = { uid = 1, group = "nosuchgroup" }
        operations = ["seal"]
        [[rule]]
        principal = { group = "nosuchgroup" }
        keys = ["a"]
        operations = []
        [[rule]]
        principal = {}
        keys = ["a"]
        operations = ["random"]
        [[rule]]
        principal = { uid = 4294967295 }
        operations = ["random"]
        [[rule]]
        principal = { unit = "web" }
        operations = ["random"]
        [[rule]]
        principal = { unit = "session-1.scope" }
        operations = ["random"]
        [[rule]]
        principal = { unit = "web.service", uid = 0 }
        operations = ["random"]
        "#,
        &[
            "rule 1, principal: there is no user \"nosuchuser\"; create the user or correct the name",
            "rule 1, operations: there is no operation \"seel\"; use \"*\" or some of: seal, unseal, list, random",
            "rule 1, keys: the pattern \"\" is empty; write \"**\" for every key",
            "rule 1, keys: the pattern \"a?\" has '?', which no key name has; use letters, digits, \".\", \"_\", \"-\", \"/\", \"*\"",
            "rule 2, principal: names 2 principals; give exactly one of uid, user, gid, group, unit",
            "rule 2, keys: \"seal\" acts on keys and none is given; add a pattern, or \"**\" for every key",
            "rule 3, principal: there is no group \"nosuchgroup\"; create the group or correct the name",
            "rule 3, operations: allows nothing; name at least one operation, or remove the rule",
            "rule 4, principal: names 0 principals; give exactly one of uid, user, gid, group, unit",
            "rule 4, keys: are given, but no operation of the rule acts on keys; remove them",
            "rule 5, principal: 4294967295 stands for nobody; give a real number",
            "rule 6, principal: \"web\" is no service; give its full name, such as \"web.service\"",
            "rule 7, principal: \"session-1.scope\" is no service; give its full name, such as \"web.service\"",
            "rule 8, principal: names 2 principals; give exactly one of uid, user, gid, group, unit",
        ],
    );
}

#[test]
fn unknown_fields_are_refused() {
    for text in [
        "[[rule]]\nprincipal = { uid = 1 }\noperations = [\"*\"]\nkeys = [\"**\"]\nallow = true",
        "[[rule]]\nprincipal = { uid = 1, exe = \"x\" }\noperations = [\"*\"]\nkeys = [\"**\"]",
    ] {
        assert!(toml::from_str::<File>(text).is_err(), "{text}");
    }
}

#[test]
fn as_many_operations_as_the_limit_have_rules() {
    let name = |n: usize| -> &'static str { Box::leak(format!("o{n}").into_boxed_str()) };
    let many: Vec<Operation> =
        (0..=OPERATIONS).map(|n| Operation { name: name(n), needs_key: false }).collect();
    let many: &'static [Operation] = Box::leak(many.into_boxed_slice());
    let allow = |operation: &str| {
        let raw = RawRule {
            principal: RawPrincipal { uid: Some(me().uid()), ..RawPrincipal::default() },
            keys: Vec::new(),
            operations: vec![operation.into()],
        };
        Rules::check(&[raw], many)
            .is_ok_and(|rules| rules.authorize(&me(), operation, None).is_ok())
    };
    assert!(allow("o63"));
    assert!(!allow("o64"));
    let all = RawRule {
        principal: RawPrincipal { uid: Some(me().uid()), ..RawPrincipal::default() },
        keys: Vec::new(),
        operations: vec!["*".into()],
    };
    let rules = Rules::check(&[all], many).unwrap();
    assert!(rules.authorize(&me(), "o63", None).is_ok());
    assert!(rules.authorize(&me(), "o64", None).is_err());
}

#[test]
fn reload_changes_later_requests_and_not_the_rules_already_taken() {
    let book = RuleBook::new(rule(&my_uid(), r#""**""#, r#""seal""#));
    let before = book.current();
    book.replace(Rules::none(KNOWN));
    check(&before, "seal", Some("a"), true);
    check(&book.current(), "seal", Some("a"), false);
}

#[test]
fn answer_of_twenty_rules_takes_less_than_a_microsecond() {
    let one = |n: usize| {
        format!(
            "[[rule]]\nprincipal = {{ {} }}\nkeys = [\"team{n}/*\"]\noperations = [\"seal\"]\n",
            my_uid()
        )
    };
    let rules = parse(&(0..20).map(one).collect::<String>()).unwrap();
    let principal = me();
    const CALLS: u32 = 10_000;
    // The best of some runs: others use the machine too.
    let best = (0..20)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                let answer = rules.authorize(&principal, "seal", Some("team19/database"));
                assert!(std::hint::black_box(answer).is_ok());
            }
            start.elapsed() / CALLS
        })
        .min()
        .unwrap();
    assert!(best.as_nanos() < 1_000, "{best:?}");
}

/// Keys that begin with an `a`.
#[derive(Debug)]
struct OfA;

impl KeyTest for OfA {
    fn matches(&self, key: &str) -> bool {
        key.starts_with('a')
    }
}

/// Asks at both doors whether what is granted to this process lets it do something.
#[track_caller]
fn check_granted(operation: &str, key: Option<&str>, allowed: bool) {
    let principal = me();
    let mut rules = Rules::none(KNOWN);
    rules.grant(principal.uid(), &["seal", "random", "unknown"], Arc::new(OfA));
    let at = |door| rules.authorize_at(door, &principal, operation, key).is_ok();
    assert_eq!((at(Door::Own), at(Door::Granted)), (false, allowed));
    let some = |door| rules.authorize_some_at(door, &principal, operation).is_ok();
    assert_eq!((some(Door::Own), some(Door::Granted)), (false, operation == "seal"));
    assert!(!rules.visible(&principal, operation, key.unwrap_or_default()));
}

#[test]
fn grant_counts_at_its_door_alone_and_for_the_keys_that_it_tells() {
    check_granted("seal", Some("app"), true);
    check_granted("seal", Some("other"), false);
    check_granted("unseal", Some("app"), false);
    check_granted("unknown", Some("app"), false);
}

#[test]
fn grant_is_never_about_what_needs_no_key_nor_about_internal_keys() {
    check_granted("random", None, false);
    check_granted("random", Some("app"), false);
    check_granted("seal", Some(".a"), false);
    check_granted("seal", None, false);
}

#[test]
fn grant_to_another_user_lets_nobody_else_in() {
    let principal = me();
    let mut rules = Rules::none(KNOWN);
    rules.grant(principal.uid() + 1, &["seal"], Arc::new(OfA));
    assert!(rules.authorize_at(Door::Granted, &principal, "seal", Some("app")).is_err());
    assert!(rules.authorize_some_at(Door::Granted, &principal, "seal").is_err());
}

#[test]
fn rule_counts_at_both_doors() {
    let rules = rule(&my_uid(), "\"app\"", "\"seal\"");
    for door in [Door::Own, Door::Granted] {
        assert!(rules.authorize_at(door, &me(), "seal", Some("app")).is_ok());
    }
}
