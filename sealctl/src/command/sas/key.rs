//! `sas import` and `sas rotate`.

use clap::Args;
use sealhost_client::Call;
use wire::api::Protection;
use wire::name::ProviderName;
use wire::sas::limits::{CONNECTION_STRING_MAX_BYTES, KEY_TEXT_MAX_BYTES};
use wire::sas::{ImportRequest, KeyForm, RotateRequest, SasKeyName, Slot};

use super::show;
use crate::args::{protection, words};
use crate::command::Session;
use crate::exit::{Exit, Failure};
use crate::source::Source;

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// Name of the key
    key: SasKeyName,
    /// File with a connection string, or with the text of a key and then --form; `-` for standard
    /// input
    #[arg(long = "in", short, value_name = "FILE", default_value = "-")]
    input: Source,
    /// The input is the text of a key: `raw` for Event Hubs, `decoded` for IoT Hub and DPS
    #[arg(long, value_name = "FORM", value_parser = words([KeyForm::Raw, KeyForm::Decoded], KeyForm::as_str))]
    form: Option<KeyForm>,
    /// Which of the two keys it is
    #[arg(long, default_value = "primary", value_parser = words(Slot::ALL, Slot::as_str))]
    slot: Slot,
    /// Replace the key that is there
    #[arg(long, conflicts_with_all = ["provider", "floor"])]
    replace: bool,
    /// Provider that may hold it, in this order when repeated; otherwise the host's order
    #[arg(long, value_name = "NAME")]
    provider: Vec<ProviderName>,
    /// Least protection; never below the host's floor
    #[arg(long, value_name = "LEVEL", value_parser = protection())]
    floor: Option<Protection>,
}

#[derive(Args, Debug)]
pub(crate) struct RotateArgs {
    /// Name of the key
    key: SasKeyName,
    /// The key of the two to sign with; the other one when not given
    #[arg(long, value_name = "SLOT", value_parser = words(Slot::ALL, Slot::as_str))]
    to: Option<Slot>,
}

pub(super) fn import(session: &Session, args: ImportArgs) -> Result<Exit, Failure> {
    let ImportArgs { key: name, input, form, slot, replace, provider, floor } = args;
    let (connection_string, key) = match form {
        None => {
            (Some(input.read_line("the connection string", CONNECTION_STRING_MAX_BYTES)?), None)
        }
        Some(_) => (None, Some(input.read_line("the key", KEY_TEXT_MAX_BYTES)?)),
    };
    let request = ImportRequest {
        connection_string,
        key,
        form,
        slot: Some(slot),
        replace: replace.then_some(true),
        providers: (!provider.is_empty()).then_some(provider),
        floor,
    };
    session.ask_and_print(&Call::import_sas_key(&name, &request)?, show::imported)
}

pub(super) fn rotate(session: &Session, args: &RotateArgs) -> Result<Exit, Failure> {
    let request = RotateRequest { to: args.to };
    session.ask_and_print(&Call::rotate_sas_key(&args.key, &request)?, |reply| {
        format!("{} signs with its {} key from now on\n", reply.key, reply.active.as_str())
    })
}
