//! Configuration files, each at their limits and one past them.

use daemon::config::check as check_file;

use super::*;

/// The shortest file that is accepted.
const SHORTEST: &str = r#"
[listen]
socket = "/run/s.sock"
[state]
dir = "/var/lib/s"
[audit]
path = "/var/log/s.log"
"#;

const RULE: &str = r#"
[[rule]]
principal = { uid = 1 }
keys = ["*"]
operations = ["token"]
[[rule.token]]
profile = "iot-hub-device"
hub = "h.net"
device = "*"
longest_ttl = "1h"
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    check_file(Path::new("/f"), text.as_bytes(), whole)
}

/// Checks the whole list of faults of more lines; each is given by its start.
#[track_caller]
fn check(more: &str, expected: &[&str]) {
    let faults = match read(&format!("{SHORTEST}{more}")) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Faults { faults, .. }) => {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>()
        }
        Err(other) => panic!("{other}"),
    };
    let fits = faults.len() == expected.len()
        && faults.iter().zip(expected).all(|(fault, start)| fault.starts_with(start));
    assert!(fits, "found {faults:#?}, expected {expected:#?}");
}

#[test]
fn shortest_file_has_every_default() {
    let config = read(SHORTEST).unwrap();
    assert_eq!(config.host_socket, Path::new("/run/sealhost/sealhost.sock"));
    assert_eq!((config.renew_at_percent, config.skew), (80, Duration::ZERO));
    assert!(config.access.is_empty());
    assert_eq!(config.warnings().len(), 1);
}

#[test]
fn file_without_what_it_needs_says_so() {
    let ConfigError::Faults { faults, .. } = read("").unwrap_err() else { panic!("no faults") };
    let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["[listen] socket", "[state] dir", "[audit] path"]);
}

#[test]
fn fraction_of_life_at_limits_is_accepted_and_past_them_refused() {
    for percent in [1, 99] {
        check(&format!("[tokens]\nrenew_at_percent = {percent}"), &[]);
    }
    for percent in [0, 100] {
        let fault = format!("[tokens] renew_at_percent: {percent} is out of range; give a number");
        check(&format!("[tokens]\nrenew_at_percent = {percent}"), &[&fault]);
    }
}

#[test]
fn skew_at_limit_is_accepted_and_past_it_refused() {
    check("[tokens]\nskew = \"300s\"", &[]);
    check("[tokens]\nskew = \"301s\"", &["[tokens] skew: \"301s\" is out of range"]);
}

#[test]
fn rule_with_its_templates_is_read() {
    check(RULE, &[]);
    let everything = "[[rule]]\nprincipal = { uid = 1 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";
    check(everything, &[]);
}

#[test]
fn faults_of_rules_and_templates_are_listed_by_their_numbers() {
    let more = RULE.replace("[\"token\"]", "[\"tokn\"]").replace("device =", "devise =");
    check(
        &format!("{RULE}{more}"),
        &[
            "[[rule]] #2 [[rule.token]] #1 device: is missing; give a pattern",
            "[[rule]] #2 [[rule.token]] #1 devise: is not known; did you mean device?",
            "[[rule]] #2 operations: there is no operation \"tokn\"",
        ],
    );
}

#[test]
fn every_fault_of_a_template_is_listed() {
    let more = RULE.replace("\"iot-hub-device\"", "\"iot-hub-module\"").replace("\"1h\"", "\"1y\"");
    check(
        &format!("{more}over_ttl = \"cut\"\npolicies = [1]\n"),
        &[
            "[[rule]] #1 [[rule.token]] #1 policies: is a whole number; give a text in quotes",
            "[[rule]] #1 [[rule.token]] #1 over_ttl: \"cut\" is not known; use refuse or clamp",
        ],
    );
    check(
        &more,
        &[
            "[[rule]] #1 [[rule.token]] #1 module: is missing; give a pattern, or \"*\" for any",
            "[[rule]] #1 [[rule.token]] #1 longest_ttl: is not a life of 1 s to 366 d",
        ],
    );
    check(
        &RULE.replace("iot-hub-device", "storage"),
        &[
            "[[rule]] #1 [[rule.token]] #1 profile: \"storage\" is no profile; use one of: event-hubs-entity, ",
        ],
    );
}

#[test]
fn token_without_a_template_and_a_template_without_token_are_refused() {
    let (rule, template) = RULE.split_at(RULE.find("[[rule.token]]").unwrap());
    check(rule, &["[[rule]] #1 operations: allow token, and no [[rule.token]] says which"]);
    let other = rule.replace("\"token\"", "\"verify\"");
    check(&format!("{other}{template}"), &["[[rule]] #1 token: are given, and the rule does not"]);
}

#[test]
fn section_that_is_not_known_is_refused() {
    check("[host]\nsockt = \"/x\"", &["[host] sockt: is not known; did you mean socket?"]);
    check("[selection]\nfloor = \"x\"", &["[selection]: is not known"]);
}

#[test]
fn sections_that_differ_wait_for_a_restart_and_rules_do_not() {
    let running = read(SHORTEST).unwrap();
    let new = format!("{SHORTEST}{RULE}[host]\nsocket = \"/x\"\n[tokens]\nskew = \"1s\"\n");
    assert_eq!(read(&new).unwrap().waiting(&running), ["[host]", "[tokens]"]);
    let moved = SHORTEST.replace("/var/lib/s", "/var/lib/t").replace("/run/s", "/run/t");
    assert_eq!(read(&moved).unwrap().waiting(&running), ["[listen]", "[state]"]);
}

const PAGE: &str = include_str!("../../../docs/sas.md");

#[test]
fn example_of_the_page_is_accepted() {
    let example = PAGE.split("```toml\n").nth(1).unwrap().split("\n```").next().unwrap();
    let config = read(example).unwrap();
    assert_eq!((config.renew_at_percent, config.skew), (80, Duration::from_secs(5)));
    assert_eq!(config.access.len(), 2);
}

#[test]
fn numbers_and_operations_of_the_page_are_those_of_the_code() {
    for operation in OPERATIONS {
        assert!(PAGE.contains(&format!("`{}`", operation.name)), "{}", operation.name);
    }
    let bounds = [
        format!("(at most {}; the first to expire", crate::cache::CACHE_MAX_TOKENS),
        format!("At {RENEW_AT_PERCENT} % of its life"),
        format!("(at most {}) has", crate::issued::ISSUED_MAX_TOKENS),
        format!("(0 s, at most {} s)", SKEW_MAX.as_secs()),
        format!("{} to 1024 bytes, a `raw` one", crate::key::DECODED_KEY_MIN_BYTES),
    ];
    for bound in bounds {
        assert!(PAGE.contains(&bound), "{bound}");
    }
}
