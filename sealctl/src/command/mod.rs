//! The commands: each asks the host, or looks at files, and shows what came of it.

use clap::CommandFactory as _;
use sealhost_client::blocking::Client;
use sealhost_client::{Call, Reply};

use crate::args::{Cli, Command};
use crate::exit::{Exit, Failure};
use crate::screen;

pub(crate) mod audit;
pub(crate) mod config;
pub(crate) mod key;
pub(crate) mod mac;
pub(crate) mod provider;
pub(crate) mod random;
pub(crate) mod seal;
pub(crate) mod sign;

mod record;
mod status;

/// The host, and how to show what it says.
pub(crate) struct Session {
    client: Client,
    json: bool,
}

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    let common = cli.common;
    let session = || -> Result<Session, Failure> {
        let client = Client::new(&common.socket).map_err(|error| {
            Failure::usage(format!("cannot start: {error}"), "raise the limit of open files")
        })?;
        Ok(Session { client: client.timeout(common.timeout), json: common.json })
    };
    match cli.command {
        Command::Status => status::run(&session()?),
        Command::Provider(command) => provider::run(&session()?, &command),
        Command::Key(command) => key::run(&session()?, command),
        Command::Seal(args) => seal::seal(&session()?, &args),
        Command::Unseal(args) => seal::unseal(&session()?, &args),
        Command::Rewrap(args) => seal::rewrap(&session()?, &args),
        Command::Mac(args) => mac::mac(&session()?, &args),
        Command::Verify(args) => mac::verify(&session()?, &args),
        Command::Sign(args) => sign::run(&session()?, &args),
        Command::Random(args) => random::run(&session()?, &args),
        Command::Audit(command) => audit::run(&command, common.json),
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
        Ok(self.client.send(call)?)
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
