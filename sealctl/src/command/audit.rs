//! `audit verify`.

use std::io::{BufRead, BufReader, Read as _};

use clap::{Args, Subcommand};
use serde_json::json;
use wire::audit::{LineFault, Reason, Summary, Verifier};
use wire::limits::AUDIT_LINE_MAX_BYTES;

use crate::exit::{Exit, Failure};
use crate::screen;
use crate::source::Source;

const NOT_FOUND: &str = "\
not found this way: a change of the last line, lines cut off at the end, and a log written anew
from some line on; compare the last sequence and hash with a copy kept elsewhere
";

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that the chain of an audit log is whole; exit code 1 when it is not
    #[command(after_help = "\
Examples:
  sealctl audit verify /var/log/sealhost/audit.log
  sealctl audit verify audit.log.2 audit.log.1 audit.log
  sealctl audit verify --continued audit.log.1 audit.log")]
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The log; parts of a rotated one in order, the oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Source>,
    /// The beginning of the log is elsewhere: take the first line as it is
    #[arg(long)]
    continued: bool,
}

/// What reading found.
enum Found {
    Whole { summary: Box<Summary>, torn_bytes: usize },
    Broken { file: Source, fault: LineFault, read_before: u64 },
}

pub(super) fn run(command: &AuditCommand, json: bool) -> Result<Exit, Failure> {
    let AuditCommand::Verify(args) = command;
    let found = check(args)?;
    let text = if json { document(&found) } else { text(&found) };
    screen::print(text.as_bytes())?;
    Ok(match found {
        Found::Whole { .. } => Exit::Done,
        Found::Broken { .. } => Exit::No,
    })
}

fn check(args: &VerifyArgs) -> Result<Found, Failure> {
    let mut verifier = if args.continued { Verifier::continued() } else { Verifier::from_start() };
    let mut torn = None;
    let mut lines = 0_u64;
    for file in &args.files {
        let mut reader = BufReader::new(file.open("the audit log")?);
        let read_before = lines;
        loop {
            let line = next_line(&mut reader).map_err(|error| file.unreadable(&error))?;
            if matches!(line, Line::End) {
                break;
            }
            // Only the last line of the last file may be one that a crash tore.
            if let Some((_, broken)) = torn {
                return Ok(broken);
            }
            lines = lines.saturating_add(1);
            let broken = |fault| Found::Broken { file: file.clone(), fault, read_before };
            let fault = |reason| LineFault { line: lines, reason };
            match line {
                Line::End => {}
                Line::TooLong => return Ok(broken(fault(Reason::TooLong))),
                Line::Torn(bytes) => torn = Some((bytes, broken(fault(Reason::NotARecord)))),
                Line::Whole(line) => {
                    if let Err(fault) = verifier.feed(&line) {
                        return Ok(broken(fault));
                    }
                }
            }
        }
    }
    let torn_bytes = torn.map_or(0, |(bytes, _)| bytes);
    Ok(Found::Whole { summary: Box::new(verifier.finish()), torn_bytes })
}

enum Line {
    Whole(Vec<u8>),
    Torn(usize),
    TooLong,
    End,
}

/// Reads a line, at most one byte past the limit of one.
fn next_line(reader: &mut impl BufRead) -> std::io::Result<Line> {
    let mut line = Vec::new();
    let limit = u64::try_from(AUDIT_LINE_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
    Ok(match line.pop() {
        None => Line::End,
        Some(b'\n') => Line::Whole(line),
        Some(_) if line.len() >= AUDIT_LINE_MAX_BYTES => Line::TooLong,
        Some(_) => Line::Torn(line.len().saturating_add(1)),
    })
}

fn text(found: &Found) -> String {
    let (summary, torn_bytes) = match found {
        Found::Broken { file, fault, read_before } => {
            return format!(
                "broken: {} line {}: {}\nneither the line before it nor anything after it can be relied on\n",
                screen::plain(&file.to_string()),
                fault.line.saturating_sub(*read_before),
                fault.reason,
            );
        }
        Found::Whole { summary, torn_bytes } => (summary, torn_bytes),
    };
    let mut text = format!(
        "whole: {} lines, sequence {} to {}, registry generation {}\nlast hash: {}\n",
        summary.lines,
        summary.first_sequence,
        summary.last_sequence,
        summary.last_generation,
        summary.last_hash,
    );
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
    text.push_str("checked: form, sequence, chain, generation, intents and outcomes\n");
    text.push_str(NOT_FOUND);
    text
}

fn document(found: &Found) -> String {
    let document = match found {
        Found::Broken { file, fault, read_before } => json!({
            "whole": false,
            "file": file.to_string(),
            "line": fault.line.saturating_sub(*read_before),
            "reason": fault.reason.to_string(),
        }),
        Found::Whole { summary, torn_bytes } => {
            let intents = summary.open_intents.iter();
            let intents: Vec<_> = intents
                .map(|intent| json!({ "seq": intent.sequence, "request": intent.request }))
                .collect();
            json!({
                "whole": true,
                "lines": summary.lines,
                "first_seq": summary.first_sequence,
                "last_seq": summary.last_sequence,
                "last_generation": summary.last_generation,
                "last_hash": summary.last_hash,
                "open_intents": intents,
                "torn_bytes": torn_bytes,
            })
        }
    };
    format!("{document}\n")
}
