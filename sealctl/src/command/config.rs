//! `config check`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Subcommand;

use crate::exit::{Exit, Failure};

const DAEMON: &str = "sealhost";

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a configuration by the daemon itself, without starting it
    ///
    /// Runs `sealhost --config FILE --check`: the daemon beside this program, otherwise the one
    /// in PATH. Run it as the daemon's user to check what that user may read.
    #[command(after_help = "Example:\n  sealctl config check /etc/sealhost/config.toml")]
    Check {
        /// The configuration
        file: PathBuf,
    },
}

pub(super) fn run(command: &ConfigCommand) -> Result<Exit, Failure> {
    let ConfigCommand::Check { file } = command;
    let daemon = beside_this_program().unwrap_or_else(|| PathBuf::from(DAEMON));
    let ended = Command::new(&daemon).arg("--config").arg(file).arg("--check").status();
    let status = ended.map_err(|error| {
        Failure::usage(
            format!("cannot run {}: {error}", daemon.display()),
            "install sealhost beside sealctl, or into PATH",
        )
    })?;
    match status.code() {
        Some(0) => Ok(Exit::Done),
        Some(1) => Ok(Exit::No),
        Some(_) | None => Err(Failure::usage(
            format!("{} ended with {status} instead of an answer", daemon.display()),
            "check that sealhost and sealctl are of the same version",
        )),
    }
}

fn beside_this_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let daemon = program.parent().map(|directory: &Path| directory.join(DAEMON))?;
    daemon.is_file().then_some(daemon)
}
