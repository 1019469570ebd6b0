//! The course of a daemon's process, as far as it is every daemon's: arguments, log, hardening,
//! runtime, reload of the rules, the last record, and the exit status.
//!
//! Each daemon's `main` calls these one after the other, so that its order can be read there:
//! sockets of the service manager, configuration, its warnings, hardening, and then the run.

use std::error::Error;
use std::fmt::Display;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;
use wire::audit::{Kind, Outcome, Record};
use wire::code::Code;

use crate::audit::{AuditError, AuditWriter};
use crate::clock::Clock;
use crate::config::{ConfigError, Reload};
use crate::harden;
use crate::rules::RuleBook;
use crate::sandbox::{Demand, Reached, Sandbox};

/// The arguments of every daemon, to be flattened into its own.
// No group, for it would take the name that a daemon may well give its own arguments.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Arguments {
    /// The configuration file, TOML; see docs/config.md.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Only check the configuration: exit with 0 if the daemon would accept it.
    #[arg(long)]
    pub check: bool,
    /// How much to log to standard error: error, warn, info, debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: LevelFilter,
}

/// Begins to write the log to standard error; called once, before anything is logged.
pub fn log_to_stderr(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// Logs what is allowed and worth knowing.
pub fn warn_of(warnings: impl IntoIterator<Item = impl Display>) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// How many tasks run between two looks at the sockets. With tokio's 61 somebody's request waits for
/// 61 of others' before it is seen; looking this often costs nothing that can be measured.
const EVENT_INTERVAL: u32 = 2;

/// Answers `--check` on standard output.
#[expect(clippy::print_stdout, reason = "the answer to --check is for people")]
pub fn say_valid(config: &Path) {
    println!("{} is a valid configuration", config.display());
}

/// Hardens and confines this process and runs the daemon on the threads of a new runtime, to its
/// end. The daemon is told how far it is confined.
///
/// However the run ended, what still runs is not waited for: the daemon has awaited all that
/// matters, and a call that hangs must not keep a daemon that could not start.
///
/// # Errors
/// The run's; that of the operating system when there can be no threads; [`NotConfined`].
pub fn run<E: Error + 'static, F: Future<Output = Result<(), E>>>(
    (demand, sandbox): (Demand, &Sandbox),
    daemon: impl FnOnce(Reached) -> F,
) -> Result<(), Box<dyn Error>> {
    warn_of(harden::harden().warnings());
    let reached = confine(demand, sandbox)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(daemon(reached));
    runtime.shutdown_background();
    Ok(ended?)
}

/// The sandbox that the configuration requires is not to be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "the daemon cannot be confined wholly ({0}), and [sandbox] level requires it; use a newer \
     kernel with Landlock, or level = \"full\""
)]
pub struct NotConfined(String);

/// Confines this process as far as is demanded, and says in the log how far that was.
fn confine(demand: Demand, sandbox: &Sandbox) -> Result<Reached, NotConfined> {
    if demand == Demand::Off {
        tracing::warn!("the daemon is not confined; remove [sandbox] level = \"off\"");
        return Ok(Reached::NOTHING);
    }
    let (reached, fault) = match sandbox.enter() {
        Ok(reached) => {
            let missing = sandbox.missing(&reached).join(", ");
            (reached, (!missing.is_empty()).then(|| format!("missing: {missing}")))
        }
        Err(error) => (Reached::NOTHING, Some(error.to_string())),
    };
    match fault {
        None => tracing::info!(%reached, "the daemon is confined"),
        Some(fault) if demand == Demand::Required => return Err(NotConfined(fault)),
        Some(fault) => tracing::warn!(%reached, %fault, "the daemon is not wholly confined"),
    }
    Ok(reached)
}

/// The exit status of a daemon that has ended, 0 or 1; why it failed is said on standard error,
/// each cause on a line of its own.
#[expect(clippy::print_stderr, reason = "the message of a failed start is for people")]
pub fn exit_code(daemon: &str, ended: Result<(), Box<dyn Error>>) -> ExitCode {
    let Err(error) = ended else { return ExitCode::SUCCESS };
    eprintln!("{daemon}: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// Puts the rules of a reload in force, and logs which sections wait for a restart. The last good
/// rules stay where the file has a fault, and every fault is logged.
///
/// Returns the outcome for [`record_reload`].
pub fn take_over(read: Result<Reload, ConfigError>, rules: &RuleBook) -> Outcome {
    match read {
        Ok(Reload { rules: new, waiting }) => {
            for section in waiting {
                tracing::warn!(%section, "changed, but needs a restart to take effect");
            }
            tracing::info!(rules = new.len(), "access rules are read again");
            warn_of(new.warning());
            rules.replace(new);
            Outcome::Ok
        }
        Err(error) => {
            tracing::error!(%error, "access rules are kept as they were");
            Outcome::Failed(Code::Invalid)
        }
    }
}

/// Records how a reload came out. It has happened, so that a failure to record it is logged only.
pub fn record_reload(audit: &AuditWriter, clock: &Clock, generation: u64, outcome: Outcome) {
    let now = clock.now_text();
    let record = Record { outcome: Some(outcome), ..Record::new(Kind::Reload, &now, generation) };
    if let Err(error) = audit.append(&record) {
        tracing::error!(%error, "the reload is not in the audit");
    }
    audit.look_for_file();
}

/// Writes the last record of a run and closes the audit; both are on the disk when this returns.
///
/// Blocks for as long as the disk takes.
///
/// # Errors
/// Those of [`AuditWriter::append_synced`] and [`AuditWriter::close`].
pub fn record_stop(audit: &AuditWriter, clock: &Clock, generation: u64) -> Result<(), AuditError> {
    let now = clock.now_text();
    let _recorded = audit.append_synced(&Record::new(Kind::Stop, &now, generation))?;
    audit.close()
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::Parser;

    use crate::audit::Settings;

    use super::*;
    use crate::rules::{Operation, RawPrincipal, RawRule, Rules};

    /// An example of a daemon.
    #[derive(Debug, Parser)]
    #[group(id = "Arguments")]
    struct Example {
        #[command(flatten)]
        arguments: Arguments,
    }

    const OPERATIONS: &[Operation] = &[Operation { name: "status", needs_key: false }];

    /// Reloads over no rule, and compares how many rules are in force then.
    #[track_caller]
    fn check(read: Result<Reload, ConfigError>, outcome: Outcome, rules: usize) {
        let book = RuleBook::new(Rules::none(OPERATIONS));
        assert_eq!(take_over(read, &book), outcome);
        assert_eq!(book.current().len(), rules);
    }

    #[test]
    fn good_rules_are_put_in_force_and_broken_ones_are_not() {
        let principal = RawPrincipal { uid: Some(0), ..RawPrincipal::default() };
        let operations = vec!["status".to_owned()];
        let raw = [RawRule { principal, keys: Vec::new(), operations }];
        let rules = Rules::check(&raw, OPERATIONS).unwrap();
        check(Ok(Reload::new(rules, [("[listen]", true)])), Outcome::Ok, 1);
        let broken = ConfigError::TooLarge { file: "/f".into() };
        check(Err(broken), Outcome::Failed(Code::Invalid), 0);
    }

    #[test]
    fn arguments_have_a_file_and_defaults() {
        let parsed = Example::try_parse_from(["example", "--config", "/f"]).unwrap().arguments;
        assert_eq!((parsed.config.as_path(), parsed.check), (Path::new("/f"), false));
        assert_eq!(parsed.log, LevelFilter::INFO);
        let help = Example::try_parse_from(["example", "--help"]).unwrap_err().to_string();
        assert!(help.starts_with("An example of a daemon\n"), "{help}");
        assert!(Example::try_parse_from(["example"]).is_err());
        assert!(Example::try_parse_from(["example", "--config", "/f", "--log", "loud"]).is_err());
    }

    #[test]
    fn end_is_told_by_the_status() {
        let code = |ended| format!("{:?}", exit_code("example", ended));
        assert_eq!(code(Ok(())), format!("{:?}", ExitCode::SUCCESS));
        let failed = io::Error::other("no room");
        assert_eq!(code(Err(failed.into())), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn reload_and_stop_are_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let clock = Clock::system();
        let audit =
            crate::audit::open(&Settings::at(&path)).unwrap().start(7, clock.clone()).unwrap();
        record_reload(&audit, &clock, 7, Outcome::Failed(Code::Invalid));
        record_stop(&audit, &clock, 7).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["start", "reload", "stop"]);
        assert_eq!((&lines[1]["outcome"], &lines[2]["generation"]), (&"invalid".into(), &7.into()));
    }
}
