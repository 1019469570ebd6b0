//! `sas token`, `verify`, `import`, `rotate`, `show`, `list` and `status`: the SAS signer.

mod key;
mod show;
mod token;

use clap::Subcommand;
use sealhost_client::Call;
use wire::sas::SasKeyName;

use super::Session;
use crate::exit::{Exit, Failure};

#[derive(Debug, Subcommand)]
pub(crate) enum SasCommand {
    /// Sign a token, or take it from the signer's cache
    #[command(after_help = "\
Examples:
  sealctl sas token line1/dev7 iot-hub-device --hub myhub.azure-devices.net --device dev7
  sealctl sas token --ttl 900 telemetry event-hubs-publisher --namespace contoso.servicebus.windows.net --entity telemetry --publisher 0001 --policy send1")]
    Token(token::TokenArgs),
    /// Check a token; exit code 1 when it is not good
    #[command(after_help = "\
Example:
  sealctl sas verify telemetry --policy send1 --publisher 0001 --in token")]
    Verify(token::VerifyArgs),
    /// Import a key, from a file or standard input, into the hardware of the host
    #[command(after_help = "\
Examples:
  sealctl sas import line1/dev7 --in connection-string
  sealctl sas import telemetry --form raw --slot secondary < key")]
    Import(key::ImportArgs),
    /// Sign with the other key of the two from now on; old tokens stay good until they expire
    Rotate(key::RotateArgs),
    /// Show where the two keys of a name are
    Show {
        /// Name of the key
        key: SasKeyName,
    },
    /// List the tokens that were signed and have not expired, without their signatures
    List,
    /// Show the signer
    Status,
}

pub(super) fn run(session: &Session, command: SasCommand) -> Result<Exit, Failure> {
    match command {
        SasCommand::Token(args) => token::token(session, args),
        SasCommand::Verify(args) => token::verify(session, args),
        SasCommand::Import(args) => key::import(session, args),
        SasCommand::Rotate(args) => key::rotate(session, &args),
        SasCommand::Show { key } => session.ask_and_print(&Call::sas_key(&key), show::key),
        SasCommand::List => session.ask_and_print(&Call::sas_tokens(), show::tokens),
        SasCommand::Status => session.ask_and_print(&Call::sas_status(), show::status),
    }
}
