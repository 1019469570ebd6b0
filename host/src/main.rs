//! The daemon `sealhost`: arguments, configuration, hardening, and then [`sealhost::run`].

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use daemon::listener::Activated;
use daemon::process;
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
    #[command(flatten)]
    common: process::Arguments,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WORKER_ARGUMENT) {
        process::log_to_stderr(LevelFilter::INFO);
        return worker::run();
    }
    let Arguments { common } = Arguments::parse();
    process::log_to_stderr(common.log);
    process::exit_code("sealhost", start(&common))
}

fn start(arguments: &process::Arguments) -> Result<(), Box<dyn Error>> {
    // It takes its variables out of the environment, so it comes before any thread.
    let activated = Activated::from_env()?;
    let config = Config::load(&arguments.config)?;
    process::warn_of(config.warnings());
    process::warn_of(config.rules.warning());
    if arguments.check {
        process::say_valid(&arguments.config);
        return Ok(());
    }
    let sandbox = sealhost::run::sandbox();
    process::run((config.sandbox, &sandbox), |confined| {
        sealhost::run::run(config, &arguments.config, activated, confined)
    })
}
