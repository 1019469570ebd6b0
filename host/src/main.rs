//! The daemon `sealhost`: arguments, configuration, hardening, and then [`sealhost::run`].

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use daemon::listener::Activated;
use daemon::process;
use sealhost::config::Config;
use sealhost::plugin::{WORKER_ARGUMENT, worker};
use sealhost::run::LostAudit;
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
    #[command(flatten)]
    common: process::Arguments,
    /// Begin a new audit where the registry's is gone. Only after a look at why, and with the old
    /// files moved away; docs/config.md "Backup".
    #[arg(long)]
    accept_lost_audit: bool,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WORKER_ARGUMENT) {
        process::log_to_stderr(LevelFilter::INFO);
        return worker::run();
    }
    let arguments = Arguments::parse();
    process::log_to_stderr(arguments.common.log);
    process::exit_code("sealhost", start(&arguments))
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let Arguments { common: arguments, accept_lost_audit } = arguments;
    // It takes its variables out of the environment, so it comes before any thread.
    let activated = Activated::from_env()?;
    let config = Config::load(&arguments.config)?;
    process::warn_of(config.warnings());
    process::warn_of(config.rules.warning());
    if arguments.check {
        process::say_valid(&arguments.config);
        return Ok(());
    }
    let lost = if *accept_lost_audit { LostAudit::Accepted } else { LostAudit::Refused };
    let sandbox = sealhost::run::sandbox();
    process::run((config.sandbox, &sandbox), |confined| {
        sealhost::run::run(config, &arguments.config, lost, activated, confined)
    })
}
