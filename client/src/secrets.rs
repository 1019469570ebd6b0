//! Every request of the secret manager's socket (`docs/secrets.md`), once. They are sent by the
//! same clients: a [`Client`](crate::Client) of that socket.

use std::fmt::Write as _;

use wire::code::{Code, Fault};
use wire::limits::BODY_MAX_BYTES;
use wire::secrets::{
    BatchReply, BatchRequest, Date, DeleteReply, GetItem, GetReply, ImportReply, ListReply,
    PutReply, PutRequest, SecretName, SecretStatus, SecretVersion, VersionsReply,
};
use zeroize::Zeroizing;

use crate::call::{Call, call, changing, get, json, post, with_body};
use crate::error::Error;

impl Call<GetReply> {
    /// `GET /v1/secrets/{name}`: a secret with its value. `fresh` asks the remote source first.
    pub fn secret(item: &GetItem, fresh: bool) -> Self {
        let mut query = Query::default();
        query.version(item.version.as_ref());
        query.at(item.at);
        if fresh {
            query.pair("force", "true");
        }
        get(&secret_path(&item.name, &query.0), json)
    }
}

impl Call<PutReply> {
    /// `PUT /v1/secrets/{name}`: stores a version.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn put_secret(name: &SecretName, request: &PutRequest) -> Result<Self, Error> {
        changing(with_body("PUT", &secret_path(name, ""), request, json)?)
    }
}

impl Call<DeleteReply> {
    /// `DELETE /v1/secrets/{name}`: erases a version, or all of them.
    pub fn delete_secret(name: &SecretName, version: Option<&SecretVersion>) -> Self {
        let mut query = Query::default();
        query.version(version);
        call("DELETE", &secret_path(name, &query.0), None, json).change()
    }
}

impl Call<VersionsReply> {
    /// `GET /v1/secrets/{name}/versions`: what is known of each version, without values.
    pub fn secret_versions(name: &SecretName) -> Self {
        get(&secret_path(name, "/versions"), json)
    }
}

impl Call<ListReply> {
    /// `GET /v1/secrets`: the secrets that the caller may know of, without values.
    pub fn secrets() -> Self {
        get("/v1/secrets", json)
    }
}

impl Call<BatchReply> {
    /// `POST /v1/batch`: several secrets, one result each, in order.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn secret_batch(request: &BatchRequest) -> Result<Self, Error> {
        post("/v1/batch", request, json)
    }
}

impl Call<ImportReply> {
    /// `POST /v1/import`: stores what stands in a file of edge-secrets, as it is.
    ///
    /// # Limits
    /// 4 MiB; one byte more is [`Error::Limit`].
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn import_secrets(file: Zeroizing<Vec<u8>>) -> Result<Self, Error> {
        if file.len() > BODY_MAX_BYTES {
            let detail = format!("file of {} bytes exceeds limit of {BODY_MAX_BYTES}", file.len());
            return Err(Error::Limit(Fault::new(Code::TooLarge, detail)));
        }
        Ok(call("POST", "/v1/import", Some(file), json).change())
    }
}

impl Call<()> {
    /// `GET /v1/export`: what may be read, as a file of edge-secrets. The file is the document of
    /// the reply, and holds values in the clear.
    pub fn export_secrets(prefix: &str) -> Self {
        let mut query = Query::default();
        if !prefix.is_empty() {
            query.pair("prefix", &prefix.replace('/', "%2F"));
        }
        get(&format!("/v1/export{}", query.0), |_document| Ok(()))
    }
}

impl Call<SecretStatus> {
    /// `GET /v1/status` of the secret manager.
    pub fn secret_status() -> Self {
        get("/v1/status", json)
    }
}

/// Versions and dates are made of characters that stand for themselves in a query.
#[derive(Default)]
struct Query(String);

impl Query {
    fn version(&mut self, version: Option<&SecretVersion>) {
        if let Some(version) = version {
            self.pair("version", version.as_str());
        }
    }

    fn at(&mut self, at: Option<Date>) {
        if let Some(at) = at {
            self.pair("at", &at.to_string());
        }
    }

    fn pair(&mut self, name: &str, value: &str) {
        let mark = if self.0.is_empty() { '?' } else { '&' };
        // Writing to a string cannot fail.
        let _infallible = write!(self.0, "{mark}{name}={value}");
    }
}

fn secret_path(name: &SecretName, rest: &str) -> String {
    format!("/v1/secrets/{}{rest}", name.to_path_segment())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(call: &Call<T>, line: &str) {
        assert_eq!(format!("{call:?}"), format!("Call({line})"));
    }

    #[test]
    fn slash_in_a_name_is_escaped_and_the_query_follows() {
        let name = SecretName::parse("web/db").unwrap();
        let version = SecretVersion::parse("v1").unwrap();
        let at = Date::parse("2026-01-31T13:00:00+01:00").unwrap();
        let item = GetItem { name: name.clone(), version: Some(version.clone()), at: Some(at) };
        check(
            &Call::secret(&item, true),
            "GET /v1/secrets/web%2Fdb?version=v1&at=2026-01-31T12:00:00.000000000Z&force=true",
        );
        let item = GetItem { name: name.clone(), version: None, at: None };
        check(&Call::secret(&item, false), "GET /v1/secrets/web%2Fdb");
        check(
            &Call::delete_secret(&name, Some(&version)),
            "DELETE /v1/secrets/web%2Fdb?version=v1",
        );
        check(&Call::secret_versions(&name), "GET /v1/secrets/web%2Fdb/versions");
    }
}
