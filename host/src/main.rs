//! The daemon `sealhost`: arguments, configuration, hardening, and then [`sealhost::run`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use daemon::harden::harden;
use daemon::listener::Activated;
use sealhost::config::Config;
use sealhost::plugin::{WORKER_ARGUMENT, worker};
use tracing::level_filters::LevelFilter;

/// Wipes freed memory: HTTP and JSON buffers hold secrets too.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Seals secrets with keys that live in a TPM, an HSM, or, where allowed, in software.
///
/// Signals: SIGHUP reads the access rules again; SIGTERM and SIGINT finish what is in flight and
/// stop. Exit status: 0 stopped as asked, 1 could not start or go on, 2 wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "sealhost", version)]
struct Arguments {
    /// The configuration file, TOML; see docs/config.md.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check the configuration: exit with 0 if the daemon would accept it.
    #[arg(long)]
    check: bool,
    /// How much to log to standard error: error, warn, info, debug.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: LevelFilter,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WORKER_ARGUMENT) {
        log_to_stderr(LevelFilter::INFO);
        return worker::run();
    }
    let arguments = Arguments::parse();
    log_to_stderr(arguments.log);
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    // It takes its variables out of the environment, so it comes before any thread.
    let activated = Activated::from_env()?;
    let config = Config::load(&arguments.config)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if arguments.check {
        say(&format!("{} is a valid configuration", arguments.config.display()));
        return Ok(());
    }
    let hardening = harden();
    for warning in hardening.warnings() {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(sealhost::run::run(config, &arguments.config, activated))?;
    runtime.shutdown_background();
    Ok(())
}

fn log_to_stderr(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

#[expect(clippy::print_stderr, reason = "the message of a failed start is for people")]
fn report(error: &dyn std::error::Error) {
    eprintln!("sealhost: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}

#[expect(clippy::print_stdout, reason = "the answer to --check is for people")]
fn say(text: &str) {
    println!("{text}");
}
