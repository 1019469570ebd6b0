//! JSON bodies: requests, and what clients read of replies. The first byte of the input chooses
//! which; the body is the rest.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::check_fault;
use crate::api::{
    CounterList, CounterReply, CreateCounterRequest, CreateRequest, DestroyReply, ImportRequest,
    IncrementRequest, KeyList, KeyRecord, MacItem, MacReply, OneOrItems, OneOrResults,
    ProviderList, PublicReply, RandomReply, RandomRequest, Request, RewrapItem, RewrapReply,
    RotateRequest, SealItem, SealReply, SignReply, SignRequest, Status, UnsealItem, UnsealReply,
    VerifyReply, VerifyRequest, decode,
};
use crate::code::Problem;
use crate::{sas, secrets};

type Body = fn(&[u8]);

const REQUESTS: [Body; 18] = [
    request::<CreateRequest>,
    request::<ImportRequest>,
    request::<RotateRequest>,
    request::<OneOrItems<SealItem>>,
    request::<OneOrItems<UnsealItem>>,
    request::<OneOrItems<RewrapItem>>,
    request::<OneOrItems<MacItem>>,
    request::<VerifyRequest>,
    request::<SignRequest>,
    request::<RandomRequest>,
    request::<CreateCounterRequest>,
    request::<IncrementRequest>,
    request::<secrets::PutRequest>,
    request::<secrets::BatchRequest>,
    request::<sas::TokenRequest>,
    request::<sas::VerifyRequest>,
    request::<sas::ImportRequest>,
    request::<sas::RotateRequest>,
];

const REPLIES: [Body; 25] = [
    reply::<Problem>,
    reply::<KeyRecord>,
    reply::<KeyList>,
    reply::<DestroyReply>,
    reply::<OneOrResults<SealReply>>,
    reply::<OneOrResults<UnsealReply>>,
    reply::<OneOrResults<RewrapReply>>,
    reply::<OneOrResults<MacReply>>,
    reply::<VerifyReply>,
    reply::<SignReply>,
    reply::<PublicReply>,
    reply::<RandomReply>,
    reply::<CounterReply>,
    reply::<CounterList>,
    reply::<Status>,
    reply::<ProviderList>,
    reply::<secrets::GetReply>,
    reply::<secrets::PutReply>,
    reply::<secrets::BatchReply>,
    reply::<secrets::ListReply>,
    reply::<secrets::SecretStatus>,
    reply::<sas::TokenReply>,
    reply::<sas::VerifyReply>,
    reply::<sas::IssuedList>,
    reply::<sas::SignerStatus>,
];

/// The body of a request of any of the three daemons.
pub fn request_body(data: &[u8]) {
    chosen(&REQUESTS, data);
}

/// The body of a reply of any of the three daemons.
pub fn reply_body(data: &[u8]) {
    chosen(&REPLIES, data);
}

fn chosen(bodies: &[Body], data: &[u8]) {
    if let Some((choice, body)) = data.split_first() {
        let place = usize::from(*choice) % bodies.len();
        bodies.iter().skip(place).take(1).for_each(|read| read(body));
    }
}

/// What was accepted is accepted again as it is written, and written alike then.
fn request<T: Request + Serialize>(body: &[u8]) {
    match decode::<T>(body) {
        Ok(request) => {
            let text = serde_json::to_vec(&request).unwrap_or_default();
            let again = decode::<T>(&text).ok();
            assert_eq!(again.and_then(|it| serde_json::to_vec(&it).ok()), Some(text));
        }
        Err(fault) => check_fault(&fault),
    }
}

fn reply<T: DeserializeOwned + Serialize>(body: &[u8]) {
    if let Ok(reply) = serde_json::from_slice::<T>(body) {
        let text = serde_json::to_vec(&reply).unwrap_or_default();
        let again = serde_json::from_slice::<T>(&text).ok();
        assert_eq!(again.and_then(|it| serde_json::to_vec(&it).ok()), Some(text));
    }
}
