//! The command line `sealctl`: for operators and scripts, over the host's socket.
//!
//! Reads secrets from standard input and files only, writes files whole or not at all, and wipes
//! every block of memory it frees. `docs/sealctl.md` is its page.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::args::Cli;
use crate::exit::Exit;

mod advice;
mod args;
mod command;
mod exit;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod screen;
mod sink;
mod source;

/// Does what the command line says, and tells how it went.
pub fn main() -> ExitCode {
    let undumped = harden();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            // Nobody is left to tell when this cannot be written.
            let _unwritten = error.print();
            return exit.into();
        }
    };
    if let Err(error) = undumped {
        let _unwritten =
            writeln!(std::io::stderr(), "sealctl: a core dump could show secrets: {error}");
    }
    let json = cli.common.json;
    match command::run(cli) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(json).into(),
    }
}

/// Nobody but root may look into this process, and no core file shows its memory.
fn harden() -> rustix::io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}
