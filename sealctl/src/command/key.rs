//! `key create`, `import`, `list`, `show`, `rotate`, `destroy` and `public`.

use std::io::{self, IsTerminal as _};

use clap::{Args, Subcommand};
use sealhost_client::Call;
use wire::api::{CreateRequest, ImportRequest, PcrSelection, Protection, SecretBase64, Usage};
use wire::limits::IMPORT_KEY_MAX_BYTES;
use wire::name::{KeyName, ProviderName};

use super::{Session, record};
use crate::args;
use crate::exit::{Exit, Failure};
use crate::screen::{note, warn};
use crate::source::Source;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key
    #[command(after_help = "\
Examples:
  sealctl key create secrets/db --usage seal
  sealctl key create release --usage sign --provider tpm --floor hardware
  sealctl key create secrets/boot --usage seal --pcr 7")]
    Create(CreateArgs),
    /// Import an HMAC key or a signing key, from a file or standard input
    #[command(after_help = "\
Examples:
  sealctl key import api/token --base64 --file token.b64
  sealctl key import api/token --new-version < hmac.key
  sealctl key import release --usage sign --file private-number")]
    Import(ImportArgs),
    /// List the keys that you may see
    List,
    /// Show a key and its versions
    Show {
        /// Name of the key
        name: KeyName,
    },
    /// Make a new active version; what older ones sealed still opens
    Rotate {
        /// Name of the key
        name: KeyName,
    },
    /// Destroy every version: what they sealed can never be opened again
    #[command(after_help = "Example:\n  sealctl key destroy secrets/old --confirm secrets/old")]
    Destroy {
        /// Name of the key
        name: KeyName,
        /// The name again; otherwise it is asked for on the terminal
        #[arg(long, value_name = "NAME")]
        confirm: Option<String>,
    },
    /// Print a public key, as PEM or JSON Web Key
    #[command(after_help = "Example:\n  sealctl key public release > release.pem")]
    Public {
        /// Name of the key
        name: KeyName,
        /// As a JSON Web Key
        #[arg(long, conflicts_with = "json")]
        jwk: bool,
        /// Version; otherwise the active one
        #[arg(long = "version", value_name = "N")]
        key_version: Option<u32>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Name of the key: segments of letters, digits, '.', '_', '-', joined by '/'
    name: KeyName,
    /// What the key is for
    #[arg(long, value_parser = args::usage())]
    usage: Usage,
    #[command(flatten)]
    place: Place,
    /// Let new seals use another provider while the key's own is down (usage seal)
    #[arg(long, conflicts_with = "pcr")]
    fallback: bool,
    /// Bind the key to a PCR of the SHA-256 bank as it is now; may be repeated
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=23))]
    pcr: Vec<u8>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Name of the key
    name: KeyName,
    /// What the key is for
    #[arg(long, default_value = "mac", value_parser = args::words([Usage::Mac, Usage::Sign], Usage::as_str))]
    usage: Usage,
    /// File with the key: 1 to 1024 bytes; for usage sign the 32 of a P-256 private number; `-` for
    /// standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    file: Source,
    /// The file holds the key in base64
    #[arg(long)]
    base64: bool,
    /// Add a version to a key that exists, and make it the active one
    #[arg(long)]
    new_version: bool,
    #[command(flatten)]
    place: Place,
}

/// Where a key may live.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Provider to consider, in this order when repeated; otherwise the configured order
    #[arg(long, value_name = "NAME")]
    provider: Vec<ProviderName>,
    /// Least protection; never below the configured floor
    #[arg(long, value_name = "LEVEL", value_parser = args::protection())]
    pub(super) floor: Option<Protection>,
}

pub(super) fn run(session: &Session, command: KeyCommand) -> Result<Exit, Failure> {
    match command {
        KeyCommand::Create(args) => create(session, args),
        KeyCommand::Import(args) => import(session, args),
        KeyCommand::List => session.ask_and_print(&Call::keys(), |list| record::list(&list.keys)),
        KeyCommand::Show { name } => session.ask_and_print(&Call::key(&name), record::one),
        KeyCommand::Rotate { name } => session.ask_and_print(&Call::rotate(&name)?, record::one),
        KeyCommand::Destroy { name, confirm } => destroy(session, &name, confirm),
        KeyCommand::Public { name, jwk, key_version } => {
            session.ask_and_print(&Call::public(&name, key_version), |reply| {
                if !jwk {
                    return reply.pem.clone();
                }
                serde_json::json!(reply.jwk).to_string() + "\n"
            })
        }
    }
}

fn create(session: &Session, args: CreateArgs) -> Result<Exit, Failure> {
    let CreateArgs { name, usage, place, fallback, pcr } = args;
    let request = CreateRequest {
        usage,
        algorithm: None,
        providers: place.providers(),
        floor: place.floor,
        fallback: fallback.then_some(true),
        pcrs: (!pcr.is_empty()).then_some(PcrSelection { sha256: pcr }),
    };
    session.ask_and_print(&Call::create(&name, &request)?, record::one)
}

fn import(session: &Session, args: ImportArgs) -> Result<Exit, Failure> {
    let ImportArgs { name, usage, file, base64, new_version, place } = args;
    let key = if base64 {
        file.read_base64("the key", IMPORT_KEY_MAX_BYTES)?
    } else {
        file.read("the key", IMPORT_KEY_MAX_BYTES)?
    };
    if !base64 && key.ends_with(b"\n") {
        warn("the key ends with a line feed, which is part of it");
    }
    let too_long = |_fault| {
        let what = format!("the key exceeds limit of {IMPORT_KEY_MAX_BYTES} bytes");
        Failure::usage(what, "import a shorter key")
    };
    let request = ImportRequest {
        usage,
        key: SecretBase64::new(key).map_err(too_long)?,
        providers: place.providers(),
        floor: place.floor,
        new_version: new_version.then_some(true),
    };
    session.ask_and_print(&Call::import(&name, &request)?, record::one)
}

fn destroy(session: &Session, name: &KeyName, confirm: Option<String>) -> Result<Exit, Failure> {
    confirmed(name, confirm, &format!("what {name} sealed can never be opened again"))?;
    session.ask_and_print(&Call::destroy(name), |reply| {
        let versions: Vec<_> = reply.destroyed.iter().map(u32::to_string).collect();
        let plural = if versions.len() == 1 { "" } else { "s" };
        format!("destroyed {}: version{plural} {}\n", reply.key, versions.join(", "))
    })
}

/// Makes sure that somebody means this name; `lost` is what a person is told.
pub(super) fn confirmed(
    name: &KeyName,
    confirm: Option<String>,
    lost: &str,
) -> Result<(), Failure> {
    let confirmed = match confirm {
        Some(confirmed) => confirmed,
        None => ask_for(name, lost)?,
    };
    if confirmed == name.as_str() {
        return Ok(());
    }
    Err(Failure::usage(
        format!("the confirmation is not the name {name}; nothing was destroyed"),
        "repeat the name exactly",
    ))
}

fn ask_for(name: &KeyName, lost: &str) -> Result<String, Failure> {
    let not_asked = || {
        Failure::usage(
            format!("destroying {name} is not confirmed"),
            format!("give --confirm {name}"),
        )
    };
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(not_asked());
    }
    note(&format!("{lost}; type its name to go on"));
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|_error| not_asked())?;
    Ok(line.trim_end_matches('\n').to_owned())
}

impl Place {
    pub(super) fn providers(&self) -> Option<Vec<ProviderName>> {
        (!self.provider.is_empty()).then(|| self.provider.clone())
    }
}
