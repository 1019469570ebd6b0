//! `audit verify`: the files by themselves, and their checkpoints by the host.

mod files;
mod host;
mod report;

use clap::{Args, Subcommand};
use wire::audit::{Kind, LineFault, Mark, Reason, Summary, Verifier, line_hash};
use wire::name::ProviderName;

use super::Session;
use crate::exit::{Exit, Failure};
use crate::screen;
use crate::source::Source;

use files::{Line, Part};
use host::{Confirmed, Host};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that an audit log is whole, and is what the host wrote; exit code 1 when it is not
    #[command(after_help = "\
Examples:
  sealctl audit verify /var/log/sealhost/audit.log
  sealctl audit verify --offline /var/log/secret-manager/audit.log
  sealctl audit verify --archived --continued audit.log.000000000001 audit.log.000000184211")]
    Verify(VerifyArgs),
}

#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The newest file of the log, whose older ones are found beside it; or several files, the
    /// oldest first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Source>,
    /// The beginning of the log is elsewhere: take the first line as it is
    #[arg(long)]
    continued: bool,
    /// The end of the log is elsewhere: do not expect the host's last checkpoint
    #[arg(long)]
    archived: bool,
    /// Do not ask the host: check no MACs, and do not notice what was cut off or written anew
    #[arg(long)]
    offline: bool,
}

/// What was found, and what the host says of it.
struct Findings {
    whole: Result<Whole, Broken>,
    host: HostSays,
}

/// A log that holds together.
struct Whole {
    files: usize,
    summary: Summary,
    torn_bytes: usize,
}

/// A log that does not.
struct Broken {
    /// Where, when it is at a line: its file, and its number in that.
    at: Option<(String, u64)>,
    fault: Fault,
}

/// What is wrong with a log.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Line(Reason),
    #[error(
        "its beginning is missing: it begins at sequence {first}, and does not say that the lines \
         before were removed"
    )]
    NoBeginning { first: u64 },
    #[error("cut off: it ends at sequence {last}, and the host made a checkpoint at {mark}")]
    CutOff { last: u64, mark: u64 },
    #[error("it begins at sequence {first}, after the host's last checkpoint at {mark}")]
    BeginsLater { first: u64, mark: u64 },
    #[error("written anew: this is not the checkpoint that the host made at sequence {mark}")]
    Rewritten { mark: u64 },
    #[error(
        "the checkpoint at sequence {sequence} was not made by this host: its MAC is not that of \
         {}", names(.providers)
    )]
    Forged { sequence: u64, providers: Vec<ProviderName> },
}

/// What the host says.
enum HostSays {
    /// It was not asked.
    NotAsked,
    /// It could not be asked.
    Silent(Failure),
    /// It was asked.
    Answered(Confirmed),
}

pub(super) fn run(
    session: impl FnOnce() -> Result<Session, Failure>,
    command: &AuditCommand,
    json: bool,
) -> Result<Exit, Failure> {
    let AuditCommand::Verify(args) = command;
    let parts = files::parts(&args.files)?;
    let findings = if args.offline {
        Findings { whole: read(args, parts, None)?, host: HostSays::NotAsked }
    } else {
        let session = session()?;
        // What is on record before the files are read must be in them.
        match Host::ask(&session) {
            Err(failure) => {
                Findings { whole: read(args, parts, None)?, host: HostSays::Silent(failure) }
            }
            Ok(mut host) => {
                let whole = read(args, parts, Some(&mut host))?;
                Findings { whole, host: HostSays::Answered(host.confirmed) }
            }
        }
    };
    let text = if json { report::document(&findings) } else { report::text(&findings) };
    screen::print(text.as_bytes())?;
    match (findings.whole, findings.host) {
        (Err(_), _) => Ok(Exit::No),
        (Ok(_), HostSays::Silent(failure)) => Err(failure),
        (Ok(_), HostSays::NotAsked | HostSays::Answered(_)) => Ok(Exit::Done),
    }
}

/// Reads every file, and has the host confirm the checkpoints as they come.
fn read(
    args: &VerifyArgs,
    parts: Vec<Part>,
    mut host: Option<&mut Host<'_>>,
) -> Result<Result<Whole, Broken>, Failure> {
    let mark = host.as_ref().and_then(|host| host.confirmed.last);
    let mark = mark.filter(|_| !args.archived);
    let mut verifier = Verifier::continued();
    let (mut torn, mut marked) = (None, false);
    let files = parts.len();
    for mut part in parts {
        let mut number = 0_u64;
        loop {
            let line = part.next_line()?;
            if matches!(line, Line::End) {
                break;
            }
            // Only the last line of the last file may be one that a crash tore.
            if let Some((_, broken)) = torn {
                return finish(host, Err(broken));
            }
            number = number.saturating_add(1);
            let broken = |fault| Broken { at: Some((part.source.to_string(), number)), fault };
            match line {
                Line::End => {}
                Line::TooLong => return finish(host, Err(broken(Fault::Line(Reason::TooLong)))),
                Line::Torn(bytes) => {
                    torn = Some((bytes, broken(Fault::Line(Reason::NotARecord))));
                }
                Line::Whole(line) => {
                    let entry = match verifier.feed(&line) {
                        Ok(entry) => entry,
                        Err(LineFault { reason, .. }) => {
                            return finish(host, Err(broken(Fault::Line(reason))));
                        }
                    };
                    if let Some(Mark { sequence, hash }) = mark
                        && entry.seq == sequence
                    {
                        marked = true;
                        if line_hash(&line) != hash {
                            let fault = Fault::Rewritten { mark: sequence };
                            return finish(host, Err(broken(fault)));
                        }
                    }
                    if entry.kind == Kind::Checkpoint
                        && let Some(host) = &mut host
                    {
                        host.note(&line)?;
                    }
                }
            }
        }
    }
    let torn_bytes = torn.map_or(0, |(bytes, _)| bytes);
    let summary = verifier.finish();
    let fault = if !args.continued && !summary.begins_in_order() {
        Some(Fault::NoBeginning { first: summary.first_sequence })
    } else {
        mark.filter(|_| !marked).map(|Mark { sequence: mark, .. }| {
            let (first, last) = (summary.first_sequence, summary.last_sequence);
            if last < mark {
                Fault::CutOff { last, mark }
            } else {
                Fault::BeginsLater { first, mark }
            }
        })
    };
    let whole = match fault {
        None => Ok(Whole { files, summary, torn_bytes }),
        Some(fault) => Err(Broken { at: None, fault }),
    };
    finish(host, whole)
}

/// Asks about the checkpoints that are left. One that somebody else made breaks the log, whatever
/// else is wrong after it.
fn finish(
    host: Option<&mut Host<'_>>,
    whole: Result<Whole, Broken>,
) -> Result<Result<Whole, Broken>, Failure> {
    let Some(host) = host else { return Ok(whole) };
    host.confirm()?;
    match &host.confirmed.forged {
        None => Ok(whole),
        Some((sequence, providers)) => {
            let fault = Fault::Forged { sequence: *sequence, providers: providers.clone() };
            Ok(Err(Broken { at: None, fault }))
        }
    }
}

fn names(providers: &[ProviderName]) -> String {
    providers.iter().map(ProviderName::as_str).collect::<Vec<_>>().join(", ")
}
