use super::*;

const PUBLISHER: &str = r#"
profile = "event-hubs-publisher"
namespace = "contoso.servicebus.windows.net"
entity = "telemetry"
publisher = "line1-*"
policies = ["send1", "send2"]
longest_ttl = "2h"
"#;

fn template(toml: &str) -> Result<Template, Vec<TemplateFault>> {
    Template::check(&toml::from_str(toml).unwrap())
}

fn request(publisher: &str, more: &str) -> TokenRequest {
    let fields = r#""namespace":"contoso.servicebus.windows.net","entity":"telemetry""#;
    let json = format!(
        r#"{{"resource":{{"profile":"event-hubs-publisher",{fields},"publisher":"{publisher}","policy":"send1"}},"key":"k"{more}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

#[track_caller]
fn check(templates: &[&str], request: &TokenRequest, expected: Result<u64, Refused>) {
    let templates: Vec<_> = templates.iter().map(|toml| template(toml).unwrap()).collect();
    assert_eq!(grant(&templates, request).map(|grant| grant.ttl_seconds()), expected);
}

#[track_caller]
fn faulty(toml: &str, faults: &[TemplateFault]) {
    assert_eq!(template(toml).map(drop).unwrap_err(), faults);
}

#[test]
fn resource_of_a_template_is_granted_and_another_denied() {
    check(&[PUBLISHER], &request("line1-7", ""), Ok(3600));
    check(&[PUBLISHER], &request("line2-7", ""), Err(Refused::Denied));
    check(&[PUBLISHER], &request("xline1-7", ""), Err(Refused::Denied));
    check(&[], &request("line1-7", ""), Err(Refused::Denied));
}

#[test]
fn policy_that_is_not_listed_is_denied() {
    let mut other = request("line1-7", "");
    if let Profile::EventHubsPublisher { policy, .. } = &mut other.resource {
        *policy = "manage".parse().unwrap();
    }
    check(&[PUBLISHER], &other, Err(Refused::Denied));
}

#[test]
fn template_of_one_profile_grants_no_other() {
    let entity = r#"{"resource":{"profile":"event-hubs-entity","namespace":"contoso.servicebus.windows.net","entity":"telemetry","policy":"send1"},"key":"k"}"#;
    check(&[PUBLISHER], &serde_json::from_str(entity).unwrap(), Err(Refused::Denied));
}

#[test]
fn s8_ttl_at_the_longest_is_granted_and_one_past_it_refused() {
    check(&[PUBLISHER], &request("line1-7", r#","ttl":7200"#), Ok(7200));
    check(
        &[PUBLISHER],
        &request("line1-7", r#","ttl":7201"#),
        Err(Refused::Ttl { asked: 7201, longest: 7200 }),
    );
}

#[test]
fn s8_ttl_past_the_longest_is_clamped_where_the_rule_says_so() {
    let clamp = format!("{PUBLISHER}over_ttl = \"clamp\"\n");
    check(&[&clamp], &request("line1-7", r#","ttl":7201"#), Ok(7200));
    check(&[&clamp], &request("line1-7", r#","ttl":60"#), Ok(60));
}

#[test]
fn s8_longest_ttl_is_told_only_to_who_may_have_the_token() {
    check(&[PUBLISHER], &request("line2-7", r#","ttl":7201"#), Err(Refused::Denied));
}

#[test]
fn ttl_that_is_not_asked_for_is_an_hour_or_the_longest() {
    let short = PUBLISHER.replace("2h", "15m");
    check(&[&short], &request("line1-7", ""), Ok(900));
    check(&[&short, PUBLISHER], &request("line1-7", ""), Ok(3600));
}

#[test]
fn of_several_templates_the_one_that_allows_most_counts() {
    let longer = PUBLISHER.replace("2h", "1d");
    check(&[PUBLISHER, &longer], &request("line1-7", r#","ttl":86400"#), Ok(86400));
    let clamp = format!("{PUBLISHER}over_ttl = \"clamp\"\n");
    check(&[&longer, &clamp], &request("line1-7", r#","ttl":90000"#), Ok(7200));
}

#[test]
fn encoder_that_lowers_is_granted_by_what_is_signed() {
    let lower = |more: &str| request("LINE1-7", more);
    check(&[PUBLISHER], &lower(""), Err(Refused::Denied));
    check(&[PUBLISHER], &lower(r#","encoder":"lower-case""#), Ok(3600));
    let upper = PUBLISHER.replace("line1-*", "LINE1-*");
    check(&[&upper], &lower(""), Ok(3600));
    check(&[&upper], &lower(r#","encoder":"lower-case""#), Err(Refused::Denied));
    let granted = grant(&[template(PUBLISHER).unwrap()], &lower(r#","encoder":"lower-case""#));
    assert_eq!(values(granted.unwrap().profile()).last(), Some(&"line1-7"));
}

#[test]
fn template_has_a_pattern_for_each_field_of_its_profile() {
    for kind in ProfileKind::ALL {
        let mut toml = format!("profile = \"{}\"\nlongest_ttl = \"1h\"\n", kind.as_str());
        if names_a_policy(kind) {
            toml.push_str("policies = [\"*\"]\n");
        }
        let missing: Vec<_> =
            fields(kind).iter().map(|field| TemplateFault::Missing(field)).collect();
        faulty(&toml, &missing);
        for field in fields(kind) {
            toml.push_str(&format!("{field} = \"*\"\n"));
        }
        assert!(template(&toml).is_ok(), "{toml}");
    }
}

#[test]
fn every_profile_is_granted_by_a_template_of_stars() {
    for json in [
        r#"{"profile":"event-hubs-entity","namespace":"c.net","entity":"t","policy":"p"}"#,
        r#"{"profile":"event-hubs-publisher","namespace":"c.net","entity":"t","publisher":"d","policy":"p"}"#,
        r#"{"profile":"iot-hub-device","hub":"h.net","device":"d"}"#,
        r#"{"profile":"iot-hub-module","hub":"h.net","device":"d","module":"m"}"#,
        r#"{"profile":"iot-hub-service","hub":"h.net","policy":"p","scope":"devices"}"#,
        r#"{"profile":"dps-registration","id_scope":"0ne","registration":"r"}"#,
    ] {
        let request: TokenRequest =
            serde_json::from_str(&format!(r#"{{"resource":{json},"key":"k"}}"#)).unwrap();
        let kind = request.resource.kind();
        let mut toml = format!("profile = \"{}\"\nlongest_ttl = \"1h\"\n", kind.as_str());
        if names_a_policy(kind) {
            toml.push_str("policies = [\"*\"]\n");
        }
        for field in fields(kind) {
            toml.push_str(&format!("{field} = \"*\"\n"));
        }
        check(&[&toml], &request, Ok(3600));
    }
}

#[test]
fn service_of_the_whole_hub_is_not_granted_by_a_template_for_its_devices() {
    let toml = "profile = \"iot-hub-service\"\nhub = \"h.net\"\nscope = \"devices\"\npolicies = [\"p\"]\nlongest_ttl = \"1h\"\n";
    let request = |scope: &str| -> TokenRequest {
        let fields = r#""profile":"iot-hub-service","hub":"h.net","policy":"p""#;
        serde_json::from_str(&format!(r#"{{"resource":{{{fields}{scope}}},"key":"k"}}"#)).unwrap()
    };
    check(&[toml], &request(r#","scope":"devices""#), Ok(3600));
    check(&[toml], &request(""), Err(Refused::Denied));
}

#[test]
fn template_with_faults_names_them_all() {
    faulty(
        "profile = \"iot-hub-device\"\nhub = \"\"\nmodule = \"m\"\npolicies = [\"p\"]\nlongest_ttl = \"1y\"\n",
        &[
            TemplateFault::Pattern("hub"),
            TemplateFault::Missing("device"),
            TemplateFault::Needless("module"),
            TemplateFault::Needless("policies"),
            TemplateFault::Ttl,
        ],
    );
    faulty(&PUBLISHER.replace("\"send1\"", "\"a/b\""), &[TemplateFault::Pattern("policies")]);
}

#[test]
fn longest_ttl_at_limits_is_taken_and_past_them_refused() {
    for ttl in ["1s", "366d", "31622400s", "527040m"] {
        assert!(template(&PUBLISHER.replace("2h", ttl)).is_ok(), "{ttl}");
    }
    for ttl in [
        "0s",
        "367d",
        "31622401s",
        "",
        "s",
        "1",
        "-1s",
        "+1s",
        "1.5h",
        "1é",
        "99999999999999999999s",
    ] {
        faulty(&PUBLISHER.replace("2h", ttl), &[TemplateFault::Ttl]);
    }
}
