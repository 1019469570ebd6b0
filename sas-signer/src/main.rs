//! The daemon `sas-signer`: arguments, configuration, hardening, and then [`sas_signer::run`].

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use daemon::listener::Activated;
use daemon::{process, trust};
use sas_signer::config::Config;

/// Wipes freed memory: HTTP and JSON buffers hold tokens and imported keys.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Signs shared access signatures for Azure with keys that stay in a Sealhost's hardware.
///
/// Signals: SIGHUP reads the access rules again; SIGTERM and SIGINT finish what is in flight and
/// stop. Exit status: 0 stopped as asked, 1 could not start or go on, 2 wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "sas-signer", version)]
struct Arguments {
    #[command(flatten)]
    common: process::Arguments,
}

fn main() -> ExitCode {
    let Arguments { common } = Arguments::parse();
    process::log_to_stderr(common.log);
    process::exit_code("sas-signer", start(&common))
}

fn start(arguments: &process::Arguments) -> Result<(), Box<dyn Error>> {
    // It takes its variables out of the environment, so it comes before any thread.
    let activated = Activated::from_env()?;
    let config = Config::load(&arguments.config)?;
    process::warn_of(config.warnings());
    process::warn_of(config.access.warning());
    if arguments.check {
        process::say_valid(&arguments.config);
        return Ok(());
    }
    // It is to be there when the sandbox is entered.
    let _made = trust::private_dir(&config.state_dir)?;
    let sandbox = config.sandbox(&arguments.config);
    process::run((config.sandbox, &sandbox), |_confined| {
        sas_signer::run::run(config, &arguments.config, activated)
    })
}
