//! The commands: each asks the host, or looks at files, and shows what came of it.

use std::path::Path;

use clap::CommandFactory as _;
use sealhost_client::blocking::Client;
use sealhost_client::{Call, Error, Reply};
use wire::code::Problem;

use crate::args::{Cli, Command, Daemon};
use crate::exit::{Exit, Failure};
use crate::screen;

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod counter;
pub(crate) mod key;
pub(crate) mod keyd;
pub(crate) mod mac;
pub(crate) mod provider;
pub(crate) mod random;
pub(crate) mod sas;
pub(crate) mod seal;
pub(crate) mod secret;
pub(crate) mod sign;

mod record;
mod status;

/// A daemon, and how to show what it says.
pub(crate) struct Session {
    client: Client,
    daemon: Daemon,
    json: bool,
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let common = cli.common;
    let session_with = |daemon: Daemon| -> Result<Session, Failure> {
        let socket = common.socket.as_deref().unwrap_or_else(|| Path::new(daemon.socket()));
        let client = Client::new(socket).map_err(|error| {
            Failure::usage(format!("cannot start: {error}"), "raise the limit of open files")
        })?;
        Ok(Session { client: client.timeout(common.timeout), daemon, json: common.json })
    };
    let session = || session_with(Daemon::Sealhost);
    match cli.command {
        Command::Status => status::run(&session()?),
        Command::Provider(command) => provider::run(&session()?, &command),
        Command::Key(command) => key::run(&session()?, command),
        Command::Counter(command) => counter::run(&session()?, command),
        Command::Seal(args) => seal::seal(&session()?, &args),
        Command::Unseal(args) => seal::unseal(&session()?, &args),
        Command::Rewrap(args) => seal::rewrap(&session()?, &args),
        Command::Mac(args) => mac::mac(&session()?, &args),
        Command::Verify(args) => mac::verify(&session()?, &args),
        Command::Sign(args) => sign::run(&session()?, &args),
        Command::Random(args) => random::run(&session()?, &args),
        Command::Secret(command) => secret::run(&session_with(Daemon::SecretManager)?, command),
        Command::Sas(command) => sas::run(&session_with(Daemon::SasSigner)?, command),
        Command::Audit(command) => audit::run(session, &command, common.json),
        Command::ImportKeyd(args) => keyd::run(session, &args, &common),
        Command::Config(command) => config::run(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sealctl", &mut script);
            screen::print(&script)?;
            Ok(Exit::Done)
        }
    }
}

impl Session {
    fn ask<T>(&self, call: &Call<T>) -> Result<Reply<T>, Failure> {
        self.client.send(call).map_err(|error| Failure::Refusal { daemon: self.daemon, error })
    }

    /// One item of a batch that was refused.
    fn refused(&self, what: &impl std::fmt::Display, mut problem: Problem) -> Failure {
        problem.detail = format!("{what}: {}", problem.detail);
        Failure::Refusal { daemon: self.daemon, error: Error::Refused(Box::new(problem)) }
    }

    /// Asks, and prints the reply: the document, or the text made of it.
    fn ask_and_print<T>(
        &self,
        call: &Call<T>,
        text: impl FnOnce(&T) -> String,
    ) -> Result<Exit, Failure> {
        let reply = self.ask(call)?;
        if self.json {
            screen::print_document(&reply.document)?;
        } else {
            screen::print(text(&reply.value).as_bytes())?;
        }
        Ok(Exit::Done)
    }
}
