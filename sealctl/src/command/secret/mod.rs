//! `secret put`, `get`, `list`, `versions`, `delete`, `run` and `status`: what the secret manager
//! keeps.

mod change;
mod run;
mod show;

use std::str::FromStr;

use clap::{Args, Subcommand};
use sealhost_client::Call;
use wire::limits::BODY_MAX_BYTES;
use wire::secrets::{Date, GetItem, SecretName, SecretVersion};

use super::Session;
use crate::exit::{Exit, Failure};
use crate::screen::{note, warn};
use crate::sink::{Show, Sink};
use crate::source::Source;

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Store a secret, from standard input or a file
    #[command(after_help = "\
Examples:
  systemd-ask-password -n | sealctl secret put web/db
  sealctl secret put web/tls --version 2026 --in key.pem --content-type application/x-pem-file
  sealctl secret put web/db --version v2 --activation 2026-12-01T00:00:00Z --in next")]
    Put(change::PutArgs),
    /// Read a secret
    #[command(after_help = "\
Examples:
  sealctl secret get web/db | consumer
  sealctl secret get web/db --version v2 --out db.password")]
    Get(GetArgs),
    /// List the secrets that you may see, without values
    List,
    /// Show the versions of a secret, without values
    Versions {
        /// Name of the secret
        name: SecretName,
    },
    /// Erase a version of a secret, or all of them
    #[command(after_help = "\
Examples:
  sealctl secret delete web/old --all --confirm web/old
  sealctl secret delete web/db --version v1 --confirm web/db")]
    Delete(change::DeleteArgs),
    /// Store what stands in a file of edge-secrets
    #[command(after_help = "Example:\n  sealctl secret import --in secrets.json")]
    Import {
        /// The file, at most 4 MiB; `-` for standard input
        #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
        input: Source,
    },
    /// Write secrets as a file of edge-secrets: in the clear
    #[command(after_help = "Example:\n  sealctl secret export web/ --out secrets.json")]
    Export {
        /// Only secrets whose name begins so
        #[arg(value_name = "PREFIX", default_value = "")]
        prefix: Prefix,
        #[command(flatten)]
        sink: Sink,
    },
    /// Run a program that gets secrets by file descriptor, by file, or, when asked, by environment
    #[command(after_help = "\
Examples:
  sealctl secret run --fd DB_PASSWORD=web/db -- web-server
  sealctl secret run --file TLS_KEY=web/tls --fd DB_PASSWORD=web/db@v2 -- web-server --port 80")]
    Run(run::RunArgs),
    /// Show the secret manager and its stores
    Status,
}

#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// Name of the secret
    name: SecretName,
    /// Version; otherwise the active one with the latest activation
    #[arg(long = "version", value_name = "VERSION")]
    secret_version: Option<SecretVersion>,
    /// When it is to be active, as RFC 3339; otherwise now
    #[arg(long, value_name = "DATE", value_parser = date)]
    at: Option<Date>,
    /// Ask the remote source first
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    sink: Sink,
}

pub(super) fn run(session: &Session, command: SecretCommand) -> Result<Exit, Failure> {
    match command {
        SecretCommand::Put(args) => change::put(session, args),
        SecretCommand::Get(args) => get(session, args),
        SecretCommand::List => {
            session.ask_and_print(&Call::secrets(), |list| show::list(&list.secrets))
        }
        SecretCommand::Versions { name } => session
            .ask_and_print(&Call::secret_versions(&name), |found| show::versions(&found.versions)),
        SecretCommand::Delete(args) => change::delete(session, args),
        SecretCommand::Import { input } => {
            let file = input.read("the file of edge-secrets", BODY_MAX_BYTES)?;
            session.ask_and_print(&Call::import_secrets(file)?, |reply| show::list(&reply.secrets))
        }
        SecretCommand::Export { prefix, sink } => {
            sink.check(Show::WhenAsked)?;
            let reply = session.ask(&Call::export_secrets(&prefix.0))?;
            sink.write(&reply.document)?;
            Ok(Exit::Done)
        }
        SecretCommand::Run(args) => run::run(session, args),
        SecretCommand::Status => session.ask_and_print(&Call::secret_status(), show::status),
    }
}

/// The beginning of a name.
#[derive(Clone, Debug)]
pub(crate) struct Prefix(String);

impl FromStr for Prefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) {
            return Ok(Self(text.to_owned()));
        }
        Err("names are made of letters, digits, '.', '_', '-' and '/'")
    }
}

fn get(session: &Session, args: GetArgs) -> Result<Exit, Failure> {
    let GetArgs { name, secret_version, at, fresh, sink } = args;
    sink.check(Show::WhenAsked)?;
    let item = GetItem { name, version: secret_version, at };
    let reply = session.ask(&Call::secret(&item, fresh))?;
    let found = &reply.value;
    let (secret, from) = (&found.secret, &found.from);
    note(&format!("{} version {} from {from}", secret.name, secret.version));
    warn_of_clock(found.clock_behind);
    sink.write(&session.document_or(&reply.document, found.value.as_bytes()))?;
    Ok(Exit::Done)
}

fn warn_of_clock(behind: bool) {
    if behind {
        warn("the clock of the machine is behind the dates on record; those were used");
    }
}

/// The parser of a date.
fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).map_err(|error| error.to_string())
}
