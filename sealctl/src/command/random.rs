//! `random`.

use clap::Args;
use sealhost_client::Call;

use super::Session;
use super::mac::Encoding;
use crate::exit::{Exit, Failure};
use crate::sink::Sink;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealctl random 32 --raw --out hmac.key")]
pub(crate) struct RandomArgs {
    /// How many bytes: 1 to 1024
    #[arg(value_name = "BYTES", value_parser = clap::value_parser!(u16).range(1..=1024))]
    bytes: u16,
    #[command(flatten)]
    encoding: Encoding,
    #[command(flatten)]
    sink: Sink,
}

pub(super) fn run(session: &Session, args: &RandomArgs) -> Result<Exit, Failure> {
    args.sink.check(args.encoding.show())?;
    let reply = session.ask(&Call::random(usize::from(args.bytes))?)?;
    let value = args.encoding.encode(reply.value.random.as_bytes());
    args.sink.write(&session.document_or(&reply.document, &value))?;
    Ok(Exit::Done)
}
