//! `sign`.

use std::io::{ErrorKind, Read as _};

use aws_lc_rs::digest::{Context, SHA256};
use clap::Args;
use sealhost_client::Call;
use wire::limits::DIGEST_BYTES;
use wire::name::KeyName;
use zeroize::Zeroizing;

use super::Session;
use super::mac::Encoding;
use crate::exit::{Exit, Failure};
use crate::screen::note;
use crate::sink::Sink;
use crate::source::Source;

const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  sealctl sign release --in image.bin --raw --out image.sig
  sealctl key public release > release.pem
  openssl dgst -sha256 -verify release.pem -signature image.sig image.bin")]
pub(crate) struct SignArgs {
    /// Name of the key
    key: KeyName,
    /// File to sign, of any length; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// The input is the SHA-256 digest itself, 32 bytes
    #[arg(long)]
    digest: bool,
    /// Version of the key; otherwise the active one
    #[arg(long = "version", value_name = "N")]
    key_version: Option<u32>,
    #[command(flatten)]
    encoding: Encoding,
    #[command(flatten)]
    sink: Sink,
}

pub(super) fn run(session: &Session, args: &SignArgs) -> Result<Exit, Failure> {
    args.sink.check(args.encoding.show())?;
    let digest = if args.digest { read_digest(&args.input)? } else { hash(&args.input)? };
    let reply = session.ask(&Call::sign(&args.key, &digest, args.key_version)?)?;
    let value = &reply.value;
    let signature = args.encoding.encode(value.signature.as_bytes());
    let (key, version, provider) = (&value.key, value.version, &value.provider);
    let protection = value.protection.as_str();
    note(&format!("signed by {key} version {version} in {provider} ({protection})"));
    args.sink.write(&session.document_or(&reply.document, &signature))?;
    Ok(Exit::Done)
}

fn read_digest(input: &Source) -> Result<[u8; DIGEST_BYTES], Failure> {
    let bytes = input.read("the digest", DIGEST_BYTES)?;
    bytes.as_slice().try_into().map_err(|_error| {
        Failure::usage(
            format!("{input} holds {} bytes, not the {DIGEST_BYTES} of a digest", bytes.len()),
            "give the bytes of a SHA-256 digest, or the file itself without --digest",
        )
    })
}

fn hash(input: &Source) -> Result<[u8; DIGEST_BYTES], Failure> {
    let mut reader = input.open("what to sign")?;
    let mut context = Context::new(&SHA256);
    let mut chunk = Zeroizing::new(vec![0; CHUNK_BYTES]);
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(bytes) => context.update(chunk.get(..bytes).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(input.unreadable(&error)),
        }
    }
    let mut digest = [0; DIGEST_BYTES];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, Source) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let source = Source::File(file.path().to_owned());
        (file, source)
    }

    /// The digest that `sha256sum` gives.
    fn check(bytes: &[u8]) {
        let (file, source) = file(bytes);
        let sum = std::process::Command::new("sha256sum").arg(file.path()).output().unwrap();
        let hex: String = hash(&source).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert!(String::from_utf8(sum.stdout).unwrap().starts_with(&hex));
    }

    #[test]
    fn file_of_any_length_is_hashed() {
        check(b"");
        check(b"abc");
        check(&[7; CHUNK_BYTES]);
        check(&[7; 3 * CHUNK_BYTES + 1]);
    }

    #[test]
    fn digest_of_another_length_is_refused() {
        assert_eq!(read_digest(&file(&[7; 32]).1).unwrap(), [7; 32]);
        assert!(read_digest(&file(&[7; 31]).1).is_err());
        assert!(read_digest(&file(&[7; 33]).1).is_err());
    }
}
