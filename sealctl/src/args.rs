//! The command line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use wire::api::{CounterKind, Protection, Usage};

use crate::command::audit::AuditCommand;
use crate::command::config::ConfigCommand;
use crate::command::counter::CounterCommand;
use crate::command::key::KeyCommand;
use crate::command::keyd::ImportKeydArgs;
use crate::command::mac::{MacArgs, VerifyArgs};
use crate::command::provider::ProviderCommand;
use crate::command::random::RandomArgs;
use crate::command::sas::SasCommand;
use crate::command::seal::{RewrapArgs, SealArgs, UnsealArgs};
use crate::command::secret::SecretCommand;
use crate::command::sign::SignArgs;
use crate::exit::Exit;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    Sealhost,
    SasSigner,
    SecretManager,
}

impl Daemon {
    /// Its program.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sealhost => "sealhost",
            Self::SasSigner => "sas-signer",
            Self::SecretManager => "secret-manager",
        }
    }

    /// Where it listens unless told otherwise.
    pub(crate) const fn socket(self) -> &'static str {
        match self {
            Self::Sealhost => "/run/sealhost/sealhost.sock",
            Self::SasSigner => "/run/sas-signer/sas-signer.sock",
            Self::SecretManager => "/run/secret-manager/secret-manager.sock",
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  sealctl status
  sealctl key create secrets/db --usage seal
  sealctl seal secrets/db --context app=web --in db.password --out db.sealed
  sealctl unseal secrets/db --context app=web --in db.sealed | consumer
  sealctl key public release > release.pem";

/// Seals secrets, and looks after keys and providers, through the sealhost daemon
///
/// Secrets are read from standard input or files, never from the command line or the environment.
#[derive(Debug, Parser)]
#[command(name = "sealctl", version, after_help = EXAMPLES, after_long_help = after_long_help())]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Common {
    /// Socket of the daemon that is asked [default: /run/sealhost/sealhost.sock, for `secret`
    /// /run/secret-manager/secret-manager.sock, and for `sas` /run/sas-signer/sas-signer.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Print the reply as it came; errors as JSON too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Seconds to wait for a reply
    #[arg(long, global = true, value_name = "SECONDS", default_value = "130", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the host and its providers
    Status,
    /// List providers, or try one again
    #[command(subcommand)]
    Provider(ProviderCommand),
    /// Create, import, list, show, rotate and destroy keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Create, list, show, raise and destroy counters, which only rise
    #[command(subcommand)]
    Counter(CounterCommand),
    /// Seal a secret
    Seal(SealArgs),
    /// Open a sealed secret
    Unseal(UnsealArgs),
    /// Move a sealed secret to the active version of its key, without opening it
    Rewrap(RewrapArgs),
    /// Compute the HMAC-SHA256 of a message
    Mac(MacArgs),
    /// Check the HMAC-SHA256 of a message; exit code 1 when it is not valid
    Verify(VerifyArgs),
    /// Sign a file, or a digest, with ECDSA P-256
    Sign(SignArgs),
    /// Draw random bytes from a device
    Random(RandomArgs),
    /// Store, read and hand on the secrets of the secret manager
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Sign and check tokens for Azure, and look after their keys, through the SAS signer
    #[command(subcommand)]
    Sas(SasCommand),
    /// Check the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Move the keys of an aziot Key Service into the devices of the host
    ImportKeyd(ImportKeydArgs),
    /// Check a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  sealctl completions bash > /etc/bash_completion.d/sealctl")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The parser of a usage.
pub(crate) fn usage() -> impl TypedValueParser<Value = Usage> {
    words([Usage::Seal, Usage::Mac, Usage::Sign], Usage::as_str)
}

/// The parser of a protection.
pub(crate) fn protection() -> impl TypedValueParser<Value = Protection> {
    words([Protection::Software, Protection::Emulated, Protection::Hardware], Protection::as_str)
}

/// The parser of where a counter is kept.
pub(crate) fn counter_kind() -> impl TypedValueParser<Value = CounterKind> {
    words([CounterKind::Device, CounterKind::Registry], CounterKind::as_str)
}

/// The parser of a closed set of words.
pub(crate) fn words<T: Copy + Send + Sync + 'static, const N: usize>(
    values: [T; N],
    as_str: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(values.map(as_str)).try_map(move |word| {
        values.into_iter().find(|&value| as_str(value) == word).ok_or("another word")
    })
}

/// The parser of KEY=VALUE.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if (1..=86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        Ok(_) | Err(_) => Err("a whole number from 1 to 86400".to_owned()),
    }
}

fn after_long_help() -> String {
    let mut text = format!("{EXAMPLES}\n\nExit codes:\n");
    for exit in Exit::ALL {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "  {}  {}", exit.code(), exit.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const PAGE: &str = include_str!("../../docs/sealctl.md");

    fn refused(line: &str) {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }

    fn accepted(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_page_is_accepted() {
        let examples = PAGE.lines().filter_map(|line| line.strip_prefix("sealctl "));
        let mut count = 0;
        for example in examples {
            let one = example.split(" | ").next().unwrap().split(" > ").next().unwrap();
            accepted(&format!("sealctl {one}"));
            count += 1;
        }
        assert!(count > 15, "{count}");
    }

    #[test]
    fn every_exit_code_stands_on_the_page_and_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        for exit in Exit::ALL {
            assert!(PAGE.contains(&format!("| {} | {} |", exit.code(), exit.meaning())));
            assert!(help.contains(&format!("{}  {}", exit.code(), exit.meaning())));
        }
    }

    #[test]
    fn options_of_every_command_may_stand_before_or_after_it() {
        for line in ["sealctl --json --socket /s status", "sealctl status --json --socket /s"] {
            let cli = accepted(line);
            assert!(
                cli.common.json && cli.common.socket.is_some_and(|socket| socket.ends_with("s"))
            );
        }
    }

    #[test]
    fn names_out_of_rule_are_refused() {
        refused("sealctl key show .hidden");
        refused("sealctl key show a//b");
        refused("sealctl provider retry TPM");
    }

    #[test]
    fn words_out_of_list_are_refused() {
        refused("sealctl key create a --usage open");
        refused("sealctl key create a --usage seal --floor paper");
        refused("sealctl key create a");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        refused("sealctl random 0");
        refused("sealctl random 1025");
        refused("sealctl key create a --usage seal --pcr 24");
        refused("sealctl --timeout 0 status");
        accepted("sealctl random 1024");
        accepted("sealctl key create a --usage seal --pcr 23 --pcr 0");
    }

    #[test]
    fn secret_cannot_stand_on_the_command_line() {
        refused("sealctl seal a plaintext");
        refused("sealctl key import a c2VjcmV0");
        refused("sealctl verify a --mac c2VjcmV0");
    }

    #[test]
    fn context_that_is_not_a_pair_is_refused() {
        refused("sealctl seal a --context app");
        refused("sealctl seal a --context =web");
        accepted("sealctl seal a --context app=web=1 --context b=");
    }

    #[test]
    fn force_without_a_file_is_refused() {
        refused("sealctl seal a --force");
    }
}
