//! Writes what we send. Nothing of it is secret.

use serde::Serialize;
use wire::secrets::{Date, SecretName, SecretVersion};

use super::{Named, Outcome, RequestId, Status};

/// Most entries of one status report; how many more there are is said beside them. With the
/// longest names it stays below the 32 KB that a device twin may hold.
pub const REPORT_SECRETS_MAX: usize = 64;

/// What is answered to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Acknowledgement {
    pub(in super::super) request_id: Option<RequestId>,
    pub(in super::super) status: Status,
    pub(in super::super) secrets: Vec<(Named, Outcome)>,
}

/// Asks for secrets: each a name, and a version when not all of them are meant.
pub(in super::super) fn request<'a>(
    id: &RequestId,
    now: Date,
    secrets: impl Iterator<Item = (&'a SecretName, Option<&'a SecretVersion>)>,
) -> Vec<u8> {
    let secrets = secrets.map(|(name, version)| Wanted {
        name: name.as_str(),
        version: version.map(SecretVersion::as_str),
    });
    let request = Request {
        request_id: id.to_string(),
        create_date: now.to_string(),
        secrets: secrets.collect(),
    };
    bytes(&request)
}

/// Answers a message.
pub(in super::super) fn acknowledgement(acknowledgement: &Acknowledgement) -> Vec<u8> {
    bytes(&Acknowledged {
        request_id: acknowledgement.request_id.as_ref().map(RequestId::to_string),
        status: acknowledgement.status.number(),
        reason: acknowledgement.status.reason(),
        secrets: acknowledgement.secrets.iter().map(one).collect(),
    })
}

/// Reports what became of secrets here; as a patch of the device twin where `twin`.
pub(in super::super) fn status(now: Date, secrets: &[(Named, Outcome)], twin: bool) -> Vec<u8> {
    let report = Report {
        create_date: now.to_string(),
        secrets: secrets.iter().take(REPORT_SECRETS_MAX).map(one).collect(),
        more: secrets.len().saturating_sub(REPORT_SECRETS_MAX),
    };
    if twin { bytes(&Twin { sealhost_secrets: report }) } else { bytes(&report) }
}

fn one((named, outcome): &(Named, Outcome)) -> One<'_> {
    One {
        name: named.name.as_ref().map(SecretName::as_str),
        version: named.version.as_ref().map(SecretVersion::as_str),
        result: outcome.word(),
        reason: outcome.reason(),
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    // Structs of texts and numbers, into memory: there is nothing that could fail.
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    request_id: String,
    create_date: String,
    secrets: Vec<Wanted<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Acknowledged<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<One<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct One<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    create_date: String,
    secrets: Vec<One<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Twin<'a> {
    sealhost_secrets: Report<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, version: Option<&str>) -> Named {
        let version = version.map(|version| version.parse().unwrap());
        Named { name: name.parse().ok(), version }
    }

    #[track_caller]
    fn check(bytes: &[u8], text: &str) {
        assert_eq!(std::str::from_utf8(bytes).unwrap(), text);
    }

    #[test]
    fn request_names_versions_only_where_one_is_wanted() {
        let id = RequestId::parse("r1").unwrap();
        let now = Date::parse("2026-01-01T09:00:00+09:00").unwrap();
        let wanted = [named("a", None), named("b/c", Some("v1"))];
        let wanted = wanted.iter().map(|it| (it.name.as_ref().unwrap(), it.version.as_ref()));
        check(
            &request(&id, now, wanted),
            r#"{"RequestId":"r1","CreateDate":"2026-01-01T00:00:00.000000000Z","Secrets":[{"Name":"a"},{"Name":"b/c","Version":"v1"}]}"#,
        );
    }

    #[test]
    fn acknowledgement_says_what_became_of_each_secret() {
        let answer = Acknowledgement {
            request_id: RequestId::parse("r1"),
            status: Status::Accepted,
            secrets: vec![
                (named("a", Some("v1")), Outcome::Delivered),
                (named("b", None), Outcome::Missing),
                (named("", None), Outcome::Refused(super::super::Refusal::Name)),
            ],
        };
        check(
            &acknowledgement(&answer),
            r#"{"RequestId":"r1","Status":200,"Secrets":[{"Name":"a","Version":"v1","Result":"delivered"},{"Name":"b","Result":"missing"},{"Result":"refused","Reason":"name"}]}"#,
        );
    }

    #[test]
    fn refusal_of_a_message_says_why() {
        let answer =
            Acknowledgement { request_id: None, status: Status::Unknown, secrets: Vec::new() };
        check(&acknowledgement(&answer), r#"{"Status":404,"Reason":"unknown_request"}"#);
    }

    #[test]
    fn report_at_limit_is_whole_and_one_past_it_counts_the_rest() {
        let of = |count: usize| {
            let secrets = vec![(named("a", None), Outcome::Stored); count];
            let report = status(Date::MIN, &secrets, false);
            let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
            (report["Secrets"].as_array().unwrap().len(), report["More"].as_u64())
        };
        assert_eq!(of(REPORT_SECRETS_MAX), (REPORT_SECRETS_MAX, None));
        assert_eq!(of(REPORT_SECRETS_MAX + 1), (REPORT_SECRETS_MAX, Some(1)));
    }

    #[test]
    fn longest_report_fits_into_a_twin() {
        let longest = named(&"n".repeat(128), Some(&"v".repeat(64)));
        let secrets = vec![(longest, Outcome::Refused(super::super::Refusal::NotAskedFor)); 1000];
        assert!(status(Date::MIN, &secrets, true).len() <= 32 * 1024);
    }

    #[test]
    fn report_to_a_twin_is_a_patch_of_one_property() {
        let secrets = [(named("a", None), Outcome::Deleted)];
        check(
            &status(Date::MIN, &secrets, true),
            r#"{"SealhostSecrets":{"CreateDate":"0001-01-01T00:00:00.000000000Z","Secrets":[{"Name":"a","Result":"deleted"}]}}"#,
        );
    }
}
