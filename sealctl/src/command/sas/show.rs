//! How tokens and keys are shown. Never with a signature.

use wire::sas::{
    ImportReply, Invalid, IssuedList, IssuedToken, SasKeyRecord, SignerStatus, SlotRecord,
    TokenReply, VerifyReply,
};

use crate::screen::{NOTHING, plain, table, time};

/// Beside a token: what signed it, and how long it is good.
pub(super) fn token(reply: &TokenReply) -> String {
    format!(
        "{} key of {}, {} protection, {}; expires at {} s since 1970{}",
        reply.slot.as_str(),
        reply.key,
        reply.protection.as_str(),
        reply.origin.as_str(),
        reply.expires_at,
        if reply.from_cache { ", from the cache" } else { "" },
    )
}

pub(super) fn verdict(reply: &VerifyReply) -> String {
    match (reply.valid, reply.reason) {
        (true, _) => format!(
            "good for {}, by the {} key, until {} s since 1970\n",
            plain(reply.resource.as_deref().unwrap_or(NOTHING)),
            reply.slot.map_or(NOTHING, |slot| slot.as_str()),
            reply.expires_at.unwrap_or_default(),
        ),
        (false, Some(Invalid::Expired)) => "expired\n".to_owned(),
        (false, Some(Invalid::Rejected) | None) => "not good for this\n".to_owned(),
    }
}

pub(super) fn imported(reply: &ImportReply) -> String {
    format!(
        "imported the {} key of {} into {} ({}), as version {} of {}; {} signs\n",
        reply.slot.as_str(),
        reply.key,
        reply.provider,
        reply.protection.as_str(),
        reply.version,
        reply.host_key,
        if reply.slot == reply.active { "it" } else { "the other" },
    )
}

pub(super) fn key(record: &SasKeyRecord) -> String {
    let head =
        ["SLOT", "SIGNS", "HOST KEY", "VERSION", "PROVIDER", "PROTECTION", "ORIGIN", "SINCE"];
    let line = |slot: &SlotRecord| {
        vec![
            slot.slot.as_str().to_owned(),
            if slot.slot == record.active { "yes" } else { "no" }.to_owned(),
            slot.host_key.to_string(),
            slot.version.to_string(),
            slot.provider.to_string(),
            slot.protection.as_str().to_owned(),
            slot.origin.as_str().to_owned(),
            time(&slot.created_at),
        ]
    };
    table(&head, record.slots.iter().map(line))
}

pub(super) fn tokens(list: &IssuedList) -> String {
    if list.tokens.is_empty() && list.forgotten == 0 {
        return "there are no tokens that you may see\n".to_owned();
    }
    let head = ["EXPIRES", "KEY", "SLOT", "VERSION", "POLICY", "UID", "RESOURCE"];
    let line = |token: &IssuedToken| {
        vec![
            token.se.to_string(),
            token.key.to_string(),
            token.slot.as_str().to_owned(),
            token.version.to_string(),
            token.skn.clone().unwrap_or_else(|| NOTHING.to_owned()),
            token.uid.to_string(),
            token.sr.clone(),
        ]
    };
    let mut text = table(&head, list.tokens.iter().map(line));
    if list.forgotten > 0 {
        text.push_str(&format!("and {} more that are no longer listed\n", list.forgotten));
    }
    text
}

pub(super) fn status(status: &SignerStatus) -> String {
    format!(
        "sas-signer {}, since {}\nkeys changed   {} times\ntokens cached  {}\ntokens issued  {}\n",
        plain(&status.version),
        time(&status.started_at),
        status.generation,
        status.cached_tokens,
        status.issued_tokens,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_shows_which_slot_signs() {
        let slot = |slot: &str| {
            json!({
                "slot": slot, "host_key": format!("sas/a/{slot}"), "version": 1, "provider": "tpm",
                "protection": "hardware", "origin": "imported-clear",
                "created_at": "2026-01-02T03:04:05.678901Z",
            })
        };
        let record = json!({"key": "a", "active": "secondary", "slots": [slot("primary"), slot("secondary")]});
        assert_eq!(
            key(&serde_json::from_value(record).unwrap()),
            "\
SLOT       SIGNS  HOST KEY         VERSION  PROVIDER  PROTECTION  ORIGIN          SINCE
primary    no     sas/a/primary    1        tpm       hardware    imported-clear  2026-01-02T03:04:05Z
secondary  yes    sas/a/secondary  1        tpm       hardware    imported-clear  2026-01-02T03:04:05Z
"
        );
    }

    #[test]
    fn tokens_are_listed_without_signatures() {
        let list = json!({
            "tokens": [{"sr": "h.net%2fdevices%2fd", "se": 1_700_000_000, "key": "a",
                "slot": "primary", "version": 1, "issued_at": 1, "uid": 7}],
            "forgotten": 2,
        });
        assert_eq!(
            tokens(&serde_json::from_value(list).unwrap()),
            "\
EXPIRES     KEY  SLOT     VERSION  POLICY  UID  RESOURCE
1700000000  a    primary  1        -       7    h.net%2fdevices%2fd
and 2 more that are no longer listed
"
        );
    }

    #[test]
    fn verdict_does_not_tell_more_than_it_should() {
        let verdict_of = |json| verdict(&serde_json::from_value(json).unwrap());
        assert_eq!(
            verdict_of(json!({"valid": false, "reason": "rejected", "key": "a"})),
            "not good for this\n"
        );
        assert_eq!(
            verdict_of(json!({"valid": false, "reason": "expired", "key": "a"})),
            "expired\n"
        );
        let good = json!({"valid": true, "key": "a", "slot": "primary", "resource": "h.net", "expires_at": 9});
        assert_eq!(verdict_of(good), "good for h.net, by the primary key, until 9 s since 1970\n");
    }
}
