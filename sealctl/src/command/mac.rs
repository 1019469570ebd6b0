//! `mac` and `verify`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use sealhost_client::Call;
use wire::limits::{MAC_BYTES, MESSAGE_MAX_BYTES};
use wire::name::KeyName;
use zeroize::Zeroizing;

use super::Session;
use crate::exit::{Exit, Failure};
use crate::screen;
use crate::sink::{Show, Sink};
use crate::source::{Source, decode};

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  printf %s message | sealctl mac api/token")]
pub(crate) struct MacArgs {
    #[command(flatten)]
    message: Message,
    #[command(flatten)]
    encoding: Encoding,
    #[command(flatten)]
    sink: Sink,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealctl verify api/token --in message --mac-file message.mac")]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    message: Message,
    /// File with the MAC, in base64 or as 32 bytes; `-` for standard input
    #[arg(long, value_name = "FILE")]
    mac_file: Source,
}

#[derive(Args, Debug)]
struct Message {
    /// Name of the key
    key: KeyName,
    /// File with the message, at most 1024 bytes, taken as it is; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// Version of the key; otherwise the active one, and for verify every usable one
    #[arg(long = "version", value_name = "N")]
    key_version: Option<u32>,
}

/// How bytes are written.
#[derive(Args, Debug)]
pub(super) struct Encoding {
    /// Write the bytes themselves, not base64
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

pub(super) fn mac(session: &Session, args: &MacArgs) -> Result<Exit, Failure> {
    args.sink.check(args.encoding.show())?;
    let message = &args.message;
    let bytes = message.input.read("the message", MESSAGE_MAX_BYTES)?;
    let reply = session.ask(&Call::mac(&message.key, &bytes, message.key_version)?)?;
    let value = args.encoding.encode(reply.value.mac.as_bytes());
    args.sink.write(&session.document_or(&reply.document, &value))?;
    Ok(Exit::Done)
}

pub(super) fn verify(session: &Session, args: &VerifyArgs) -> Result<Exit, Failure> {
    let VerifyArgs { message, mac_file } = args;
    if message.input == *mac_file {
        return Err(Failure::usage(
            format!("message and MAC cannot both come from {mac_file}"),
            "name a file with --in",
        ));
    }
    let mac = read_mac(mac_file)?;
    let bytes = message.input.read("the message", MESSAGE_MAX_BYTES)?;
    let reply = session.ask(&Call::verify(&message.key, &bytes, &mac, message.key_version)?)?;
    if session.json {
        screen::print_document(&reply.document)?;
    } else {
        let by = reply.value.version.map(|version| format!(" by version {version}"));
        let by = by.unwrap_or_default();
        let word = if reply.value.valid { "valid" } else { "not valid" };
        screen::print(format!("{word}{by}\n").as_bytes())?;
    }
    Ok(if reply.value.valid { Exit::Done } else { Exit::No })
}

impl Encoding {
    pub(super) fn show(&self) -> Show {
        if self.raw { Show::WhenAsked } else { Show::Yes }
    }

    pub(super) fn encode(&self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(if self.raw {
            bytes.to_vec()
        } else {
            (STANDARD.encode(bytes) + "\n").into_bytes()
        })
    }
}

/// The length tells base64 from bytes: 32 bytes of base64 are no MAC.
fn read_mac(file: &Source) -> Result<Zeroizing<[u8; MAC_BYTES]>, Failure> {
    let read = file.read("the MAC", 4 * MAC_BYTES)?;
    let bytes = if read.len() == MAC_BYTES { Some(read) } else { decode(&read) };
    let mac = bytes.and_then(|bytes| bytes.as_slice().try_into().ok());
    mac.map(Zeroizing::new).ok_or_else(|| {
        Failure::usage(
            format!("{file} holds no MAC"),
            format!("give {MAC_BYTES} bytes, or their base64"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> Option<[u8; MAC_BYTES]> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_mac(&Source::File(file.path().to_owned())).ok().map(|mac| *mac)
    }

    #[test]
    fn mac_is_read_from_bytes_and_from_base64() {
        assert_eq!(check(&[7; 32]), Some([7; 32]));
        assert_eq!(check((STANDARD.encode([7; 32]) + "\n").as_bytes()), Some([7; 32]));
    }

    #[test]
    fn mac_of_another_length_is_refused() {
        assert_eq!(check(&[7; 31]), None);
        assert_eq!(check(&[7; 33]), None);
        assert_eq!(check(STANDARD.encode([7; 31]).as_bytes()), None);
        assert_eq!(check(b""), None);
    }
}
