//! `seal`, `unseal` and `rewrap`.

use std::collections::BTreeMap;

use clap::Args;
use sealhost_client::Call;
use wire::api::{Protection, RewrapItem, SealedText};
use wire::context::EncryptionContext;
use wire::limits::{ENVELOPE_MAX_BYTES, PLAINTEXT_MAX_BYTES};
use wire::name::{KeyName, ProviderName};
use zeroize::Zeroizing;

use super::Session;
use crate::args::pair;
use crate::exit::{Exit, Failure};
use crate::screen::{note, warn};
use crate::sink::{Show, Sink};
use crate::source::Source;

/// Longest text of an envelope with its prefix, and room for white space around it.
const SEALED_MAX_BYTES: usize = ENVELOPE_MAX_BYTES.div_ceil(3) * 4 + 64;

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealctl seal secrets/db --context app=web --in db.password --out db.sealed
  systemd-ask-password -n | sealctl seal secrets/db > db.sealed")]
pub(crate) struct SealArgs {
    #[command(flatten)]
    target: Target,
    /// File with the secret, at most 1 MiB, taken as it is; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    #[command(flatten)]
    sink: Sink,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  sealctl unseal secrets/db --context app=web --in db.sealed --out db.password
  sealctl unseal secrets/db --in db.sealed | consumer")]
pub(crate) struct UnsealArgs {
    #[command(flatten)]
    target: Target,
    /// File with the sealed secret; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    #[command(flatten)]
    sink: Sink,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealctl rewrap secrets/db --in db.sealed --out db.sealed --force"
)]
pub(crate) struct RewrapArgs {
    /// Name of the key
    key: KeyName,
    /// File with the sealed secret; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// Accept lower protection than the secret has now
    #[arg(long)]
    allow_lower: bool,
    #[command(flatten)]
    sink: Sink,
}

#[derive(Args, Debug)]
struct Target {
    /// Name of the key
    key: KeyName,
    /// What the secret is bound to, not secret itself; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = pair)]
    context: Vec<(String, String)>,
}

pub(super) fn seal(session: &Session, args: &SealArgs) -> Result<Exit, Failure> {
    args.sink.check(Show::Yes)?;
    let context = args.target.context()?;
    let plaintext = args.input.read("the secret", PLAINTEXT_MAX_BYTES)?;
    let reply = session.ask(&Call::seal(&args.target.key, &plaintext, &context)?)?;
    let value = &reply.value;
    let text = format!("{}\n", value.sealed.as_str());
    say_by_whom("sealed", &value.key, value.version, &value.provider, value.protection);
    warn_of_fallback(value.fallback, &value.provider, value.protection);
    args.sink.write(&session.document_or(&reply.document, text.as_bytes()))?;
    Ok(Exit::Done)
}

pub(super) fn unseal(session: &Session, args: &UnsealArgs) -> Result<Exit, Failure> {
    args.sink.check(Show::WhenAsked)?;
    let context = args.target.context()?;
    let sealed = read_sealed(&args.input)?;
    let reply = session.ask(&Call::unseal(&args.target.key, &sealed, &context)?)?;
    let value = &reply.value;
    say_by_whom("unsealed", &value.key, value.version, &value.provider, value.protection);
    args.sink.write(&session.document_or(&reply.document, value.plaintext.as_bytes()))?;
    Ok(Exit::Done)
}

pub(super) fn rewrap(session: &Session, args: &RewrapArgs) -> Result<Exit, Failure> {
    args.sink.check(Show::Yes)?;
    let sealed = read_sealed(&args.input)?;
    let item = RewrapItem { sealed, allow_lower: args.allow_lower.then_some(true) };
    let reply = session.ask(&Call::rewrap(&args.key, &item)?)?;
    let value = &reply.value;
    let text = format!("{}\n", value.sealed.as_str());
    say_by_whom("rewrapped", &value.key, value.version, &value.provider, value.protection);
    warn_of_fallback(value.fallback, &value.provider, value.protection);
    args.sink.write(&session.document_or(&reply.document, text.as_bytes()))?;
    Ok(Exit::Done)
}

impl Session {
    /// What goes to the sink: the document and a line feed, or the value.
    pub(super) fn document_or(&self, document: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(if self.json { [document, b"\n"].concat() } else { value.to_vec() })
    }
}

impl Target {
    fn context(&self) -> Result<EncryptionContext, Failure> {
        let mut entries = BTreeMap::new();
        for (key, value) in &self.context {
            if entries.insert(key.clone(), value.clone()).is_some() {
                return Err(Failure::usage(
                    format!("--context {key} is given twice"),
                    "give each key of the context once",
                ));
            }
        }
        EncryptionContext::new(entries)
            .map_err(|fault| Failure::usage(fault.detail, "give a shorter context"))
    }
}

fn read_sealed(input: &Source) -> Result<SealedText, Failure> {
    let bytes = input.read("the sealed secret", SEALED_MAX_BYTES)?;
    let text = std::str::from_utf8(bytes.trim_ascii()).ok();
    match text.filter(|text| text.starts_with("sealhost:")) {
        Some(text) => Ok(SealedText(text.to_owned())),
        None => Err(Failure::usage(
            format!("{input} holds no sealed secret"),
            "give the one line that seal wrote; it begins with sealhost:1:",
        )),
    }
}

fn say_by_whom(
    done: &str,
    key: &KeyName,
    version: u32,
    provider: &ProviderName,
    protection: Protection,
) {
    let protection = protection.as_str();
    note(&format!("{done} by {key} version {version} in {provider} ({protection})"));
}

fn warn_of_fallback(fallback: bool, provider: &ProviderName, protection: Protection) {
    if fallback {
        let protection = protection.as_str();
        warn(&format!(
            "the key's own provider is down, so that {provider} ({protection}) did it; rewrap when it is back"
        ));
    }
}
