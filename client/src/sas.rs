//! Every request of the SAS signer's socket (`docs/sas.md`), once. They are sent by the same
//! clients: a [`Client`](crate::Client) of that socket.

use wire::sas::{
    ImportReply, ImportRequest, IssuedList, RotateReply, RotateRequest, SasKeyName, SasKeyRecord,
    SignerStatus, TokenReply, TokenRequest, VerifyReply, VerifyRequest,
};

use crate::call::{Call, changing, get, json, post};
use crate::error::Error;

impl Call<TokenReply> {
    /// `POST /v1/tokens`: a token, from the signer's cache or signed now.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn sas_token(request: &TokenRequest) -> Result<Self, Error> {
        post("/v1/tokens", request, json)
    }
}

impl Call<VerifyReply> {
    /// `POST /v1/verify`: whether a token is good. One that is not is no error.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn verify_sas_token(request: &VerifyRequest) -> Result<Self, Error> {
        post("/v1/verify", request, json)
    }
}

impl Call<ImportReply> {
    /// `POST /v1/keys/{name}/import`: imports a key into the host.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn import_sas_key(name: &SasKeyName, request: &ImportRequest) -> Result<Self, Error> {
        changing(post(&key_path(name, "/import"), request, json)?)
    }
}

impl Call<RotateReply> {
    /// `POST /v1/keys/{name}/rotate`: signs with the other slot, or the one named, from now on.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn rotate_sas_key(name: &SasKeyName, request: &RotateRequest) -> Result<Self, Error> {
        changing(post(&key_path(name, "/rotate"), request, json)?)
    }
}

impl Call<SasKeyRecord> {
    /// `GET /v1/keys/{name}`: a key and its slots.
    pub fn sas_key(name: &SasKeyName) -> Self {
        get(&key_path(name, ""), json)
    }
}

impl Call<IssuedList> {
    /// `GET /v1/tokens`: the tokens that were signed and have not expired.
    pub fn sas_tokens() -> Self {
        get("/v1/tokens", json)
    }
}

impl Call<SignerStatus> {
    /// `GET /v1/status` of the signer.
    pub fn sas_status() -> Self {
        get("/v1/status", json)
    }
}

fn key_path(name: &SasKeyName, rest: &str) -> String {
    format!("/v1/keys/{}{rest}", name.to_path_segment())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(call: &Call<T>, line: &str) {
        assert_eq!(format!("{call:?}"), format!("Call({line})"));
    }

    #[test]
    fn slash_in_a_name_is_escaped_and_changes_are_not_sent_twice() {
        let name = SasKeyName::parse("line1/dev").unwrap();
        check(&Call::sas_key(&name), "GET /v1/keys/line1%2Fdev");
        let rotate = Call::rotate_sas_key(&name, &RotateRequest { to: None }).unwrap();
        check(&rotate, "POST /v1/keys/line1%2Fdev/rotate");
        assert!(rotate.is_change());
    }
}
