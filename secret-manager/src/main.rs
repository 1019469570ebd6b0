//! The daemon `secret-manager`: arguments, configuration, hardening, and then the run.

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use daemon::listener::Activated;
use daemon::{process, trust};
use secret_manager::Accept;
use secret_manager::serve::config::Config;
use secret_manager::serve::run;

/// Wipes freed memory: HTTP and JSON buffers hold secrets too.
#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

/// Keeps named, versioned, dated secrets, sealed by sealhost, and hands them to programs and units.
///
/// Signals: SIGHUP reads the access rules again; SIGTERM and SIGINT finish what is in flight and
/// stop. Exit status: 0 stopped as asked, 1 could not start or go on, 2 wrong arguments.
#[derive(Debug, Parser)]
#[command(name = "secret-manager", version)]
struct Arguments {
    #[command(flatten)]
    common: process::Arguments,
    /// Take a store that was altered or put back as it is: keep every row that opens, remove the
    /// others, begin state and counter anew. Only after a look at why; docs/secrets.md section 5.
    #[arg(long)]
    accept_present: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    process::log_to_stderr(arguments.common.log);
    process::exit_code("secret-manager", start(&arguments))
}

fn start(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    // It takes its variables out of the environment, so it comes before any thread.
    let activated = Activated::from_env()?;
    let path = &arguments.common.config;
    let config = Config::load(path)?;
    process::warn_of(config.warnings());
    process::warn_of(config.rules.warning());
    if arguments.common.check {
        process::say_valid(path);
        return Ok(());
    }
    let accept = if arguments.accept_present { Accept::Present } else { Accept::Verified };
    // It is to be there when the sandbox is entered.
    let _made = trust::private_dir(&config.state_dir)?;
    let sandbox = config.sandbox(path);
    process::run((config.sandbox, &sandbox), |_confined| run::run(config, path, accept, activated))
}
