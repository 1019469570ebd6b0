//! `secret put` and `secret delete`.

use std::collections::BTreeMap;

use clap::Args;
use sealhost_client::Call;
use wire::api::SecretBase64;
use wire::secrets::{
    ContentType, Date, PutRequest, SECRET_VALUE_MAX_BYTES, SecretName, SecretVersion, Tags,
};

use super::{date, show};
use crate::args::pair;
use crate::command::Session;
use crate::exit::{Exit, Failure};
use crate::source::Source;

#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// Name of the secret: segments of letters, digits, '.', '_', '-', joined by '/'
    name: SecretName,
    /// File with the value, at most 1 MiB, taken as it is; `-` for standard input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// Version; `default` when not given
    #[arg(long = "version", value_name = "VERSION")]
    secret_version: Option<SecretVersion>,
    /// From when it is active, as RFC 3339; since ever when not given
    #[arg(long, value_name = "DATE", value_parser = date)]
    activation: Option<Date>,
    /// From when it is no longer active; never when not given
    #[arg(long, value_name = "DATE", value_parser = date)]
    expiration: Option<Date>,
    /// What the value is, such as text/plain
    #[arg(long, value_name = "TYPE")]
    content_type: Option<ContentType>,
    /// A note, not secret; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    tag: Vec<(String, String)>,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Name of the secret
    name: SecretName,
    /// The version to erase
    #[arg(long = "version", value_name = "VERSION", required_unless_present = "all")]
    secret_version: Option<SecretVersion>,
    /// Erase every version
    #[arg(long, conflicts_with = "secret_version")]
    all: bool,
    /// The name again
    #[arg(long, value_name = "NAME")]
    confirm: String,
}

pub(super) fn put(session: &Session, args: PutArgs) -> Result<Exit, Failure> {
    let tags = tags(args.tag)?;
    let value = args.input.read("the secret", SECRET_VALUE_MAX_BYTES)?;
    let value = SecretBase64::new(value)
        .map_err(|fault| Failure::usage(fault.detail, "store a shorter value"))?;
    let request = PutRequest {
        value,
        version: args.secret_version,
        activation: args.activation,
        expiration: args.expiration,
        content_type: args.content_type,
        tags,
    };
    session.ask_and_print(&Call::put_secret(&args.name, &request)?, |reply| {
        show::versions(std::slice::from_ref(&reply.secret))
    })
}

fn tags(pairs: Vec<(String, String)>) -> Result<Tags, Failure> {
    let mut entries = BTreeMap::new();
    for (name, value) in pairs {
        if let Some(_twice) = entries.insert(name.clone(), value) {
            return Err(Failure::usage(
                format!("--tag {name} is given twice"),
                "give each tag once",
            ));
        }
    }
    Tags::new(entries).map_err(|fault| Failure::usage(fault.detail, "change the tags"))
}

pub(super) fn delete(session: &Session, args: DeleteArgs) -> Result<Exit, Failure> {
    let DeleteArgs { name, secret_version, all: _, confirm } = args;
    if confirm != name.as_str() {
        return Err(Failure::usage(
            format!("the confirmation is not the name {name}; nothing was erased"),
            "repeat the name of the secret exactly",
        ));
    }
    session.ask_and_print(&Call::delete_secret(&name, secret_version.as_ref()), |reply| {
        let plural = if reply.erased == 1 { "" } else { "s" };
        format!("erased {}: {} version{plural}\n", reply.name, reply.erased)
    })
}
