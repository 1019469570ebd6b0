//! What was found, as text and as a document.

use serde_json::{Value, json};

use super::{Broken, Findings, HostSays, Whole, names};
use crate::screen;

const CUT_OFF: &str = "\
not found this way: a change of the last line, lines cut off at the end, and a log written anew
from some line on; compare the last sequence and hash with a copy kept elsewhere
";

pub(super) fn text(findings: &Findings) -> String {
    match &findings.whole {
        Ok(whole) => whole_text(whole, &findings.host),
        Err(broken) => broken_text(broken, &findings.host),
    }
}

fn broken_text(broken: &Broken, host: &HostSays) -> String {
    let place = match &broken.at {
        Some((file, line)) => format!("{} line {line}: ", screen::plain(file)),
        None => String::new(),
    };
    let mut text = format!("broken: {place}{}\n", broken.fault);
    match last_valid(host) {
        Some(through) => text.push_str(&format!(
            "up to sequence {through} it is what the host wrote, by its checkpoint there; nothing after that can be relied on\n"
        )),
        None if broken.at.is_some() => text.push_str(
            "neither the line before it nor anything after it can be relied on\n",
        ),
        None => text.push_str("nothing in it can be relied on\n"),
    }
    text
}

/// The last checkpoint that the host says is its own.
const fn last_valid(host: &HostSays) -> Option<u64> {
    match host {
        HostSays::Answered(confirmed) => confirmed.last_valid,
        HostSays::NotAsked | HostSays::Silent(_) => None,
    }
}

/// The last line that is proven to be what the host wrote.
fn proven(whole: &Whole, host: &HostSays) -> Option<u64> {
    let HostSays::Answered(confirmed) = host else { return None };
    let summary = &whole.summary;
    let reaches = |mark: wire::audit::Mark| {
        (summary.first_sequence..=summary.last_sequence).contains(&mark.sequence)
    };
    confirmed.through(confirmed.last.is_some_and(reaches))
}

fn whole_text(whole: &Whole, host: &HostSays) -> String {
    let Whole { files, summary, torn_bytes } = whole;
    let mut text = format!(
        "whole: {} lines, sequence {} to {}, registry generation {}\nlast hash: {}\n",
        summary.lines,
        summary.first_sequence,
        summary.last_sequence,
        summary.last_generation,
        summary.last_hash,
    );
    if *files > 1 {
        text.push_str(&format!("files: {files}\n"));
    }
    if summary.first_sequence > 1 && summary.begins_in_order() {
        text.push_str(&format!(
            "removed: the lines up to sequence {}, with old files, as the log says\n",
            summary.first_sequence.saturating_sub(1),
        ));
    }
    text.push_str(&checkpoints_text(whole, host));
    for intent in &summary.open_intents {
        text.push_str(&format!(
            "no outcome: the change of sequence {} (request {}); the host was stopped hard, or is at it now\n",
            intent.sequence,
            screen::plain(&intent.request),
        ));
    }
    if *torn_bytes > 0 {
        text.push_str(&format!(
            "after the last line: {torn_bytes} bytes of one that is not complete; no reply was sent for it\n"
        ));
    }
    text.push_str("checked: form, sequence, chain, generation, intents and outcomes");
    match proven(whole, host) {
        None => text.push_str(&format!("\n{CUT_OFF}")),
        Some(through) => text.push_str(&format!(
            ", checkpoints\nnot found this way: a change or loss of lines after sequence {through}; compare the last\nsequence and hash with a copy kept elsewhere\n"
        )),
    }
    text
}

fn checkpoints_text(whole: &Whole, host: &HostSays) -> String {
    let count = whole.summary.checkpoints;
    let confirmed = match host {
        HostSays::NotAsked => return format!("checkpoints: {count}, none verified: --offline\n"),
        HostSays::Silent(_) => {
            return format!("checkpoints: {count}, none verified: the host could not be asked\n");
        }
        HostSays::Answered(confirmed) => confirmed,
    };
    let mut text = format!("checkpoints: {count}, {} of them verified", confirmed.valid);
    if confirmed.unknown > 0 {
        let closed: Vec<_> = confirmed.closed.iter().cloned().collect();
        let unknown = confirmed.unknown;
        text.push_str(&format!(
            ", {unknown} not: no provider of theirs is open ({})",
            names(&closed)
        ));
    }
    text.push('\n');
    match proven(whole, host) {
        Some(through) => {
            let after = whole.summary.last_sequence.saturating_sub(through);
            text.push_str(&format!(
                "proven: what the host wrote up to sequence {through}; {after} lines after it\n"
            ));
        }
        None => text.push_str("proven: nothing; the host has no checkpoint on record\n"),
    }
    text
}

pub(super) fn document(findings: &Findings) -> String {
    let mut document = match &findings.whole {
        Err(Broken { at, fault }) => {
            let mut document = json!({ "whole": false, "reason": fault.to_string() });
            if let Some((file, line)) = at {
                document["file"] = json!(file);
                document["line"] = json!(line);
            }
            document["proven_seq"] = json!(last_valid(&findings.host));
            document
        }
        Ok(whole) => whole_document(whole, &findings.host),
    };
    document["host"] = match &findings.host {
        HostSays::NotAsked => Value::Null,
        HostSays::Silent(_) => json!({ "answered": false }),
        HostSays::Answered(confirmed) => json!({
            "answered": true,
            "last_seq": confirmed.last.map(|mark| mark.sequence),
            "verified": confirmed.valid,
            "not_verified": confirmed.unknown,
        }),
    };
    format!("{document}\n")
}

fn whole_document(whole: &Whole, host: &HostSays) -> Value {
    let summary = &whole.summary;
    let intents = summary.open_intents.iter();
    let intents: Vec<_> = intents
        .map(|intent| json!({ "seq": intent.sequence, "request": intent.request }))
        .collect();
    json!({
        "whole": true,
        "files": whole.files,
        "lines": summary.lines,
        "first_seq": summary.first_sequence,
        "last_seq": summary.last_sequence,
        "last_generation": summary.last_generation,
        "last_hash": summary.last_hash,
        "checkpoints": summary.checkpoints,
        "proven_seq": proven(whole, host),
        "open_intents": intents,
        "torn_bytes": whole.torn_bytes,
    })
}
