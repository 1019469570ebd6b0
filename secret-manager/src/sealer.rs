//! Who seals values: the host, through its client.

use std::fmt;

use sealhost_client::{Client, Error};
use wire::api::{ItemResult, Protection, SealItem, SealedText, UnsealItem};
use wire::code::{Code, Fault, Problem};
use wire::limits::{BATCH_MAX_ITEMS, BODY_MAX_BYTES, CONTEXT_MAX_BYTES};
use wire::name::KeyName;
use zeroize::Zeroizing;

use crate::error::SealError;
use crate::pending::Pending;

/// Seals and unseals with one key.
pub trait Sealer: fmt::Debug + Send + Sync {
    /// The key.
    fn key(&self) -> &KeyName;

    /// Seals every item, in order, or none.
    ///
    /// # Errors
    /// Never `Integrity`.
    fn seal(&self, items: Vec<SealItem>) -> Pending<'_, Result<Vec<Sealed>, SealError>>;

    /// Opens one sealed value.
    ///
    /// # Errors
    /// `Integrity`: value, context and key do not belong together.
    fn unseal(&self, item: UnsealItem) -> Pending<'_, Result<Opened, SealError>>;
}

/// A sealed value, and what protects it.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The envelope.
    pub text: SealedText,
    /// What protects it.
    pub protection: Protection,
}

/// What a sealed value held.
///
/// # Secrets
/// The bytes are wiped when dropped. `Debug` shows their number.
pub struct Opened {
    /// The bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// What protects the sealed form.
    pub protection: Protection,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} bytes, {:?})", self.bytes.len(), self.protection)
    }
}

/// The host, and one of its keys with usage `seal`.
#[derive(Clone, Debug)]
pub struct HostSealer {
    client: Client,
    key: KeyName,
}

impl HostSealer {
    /// Seals with `key` of the host that `client` reaches.
    #[must_use]
    pub const fn new(client: Client, key: KeyName) -> Self {
        Self { client, key }
    }

    async fn seal_all(&self, items: Vec<SealItem>) -> Result<Vec<Sealed>, SealError> {
        let mut sealed = Vec::with_capacity(items.len());
        for batch in batches(items) {
            let replies = self.client.seal_batch(&self.key, &batch).await.map_err(of_client)?;
            for reply in replies {
                match reply {
                    ItemResult::Done(reply) => {
                        sealed.push(Sealed { text: reply.sealed, protection: reply.protection });
                    }
                    ItemResult::Failed(problem) => {
                        let Problem { code, retryable, detail, .. } = problem;
                        return Err(refusal(code, retryable, detail));
                    }
                }
            }
        }
        Ok(sealed)
    }
}

impl Sealer for HostSealer {
    fn key(&self) -> &KeyName {
        &self.key
    }

    fn seal(&self, items: Vec<SealItem>) -> Pending<'_, Result<Vec<Sealed>, SealError>> {
        Box::pin(self.seal_all(items))
    }

    fn unseal(&self, item: UnsealItem) -> Pending<'_, Result<Opened, SealError>> {
        Box::pin(async move {
            let reply = self.client.unseal(&self.key, &item.sealed, &item.context).await;
            let reply = reply.map_err(|error| match error.code() {
                // What is no envelope any more was altered like one that does not open.
                Some(Code::Integrity | Code::Malformed | Code::TooLarge) => SealError::Integrity,
                Some(_) | None => of_client(error),
            })?;
            Ok(Opened { bytes: reply.plaintext.into_bytes(), protection: reply.protection })
        })
    }
}

/// Splits items so that each part is within the limits of a batch and of a body.
fn batches(items: Vec<SealItem>) -> Vec<Vec<SealItem>> {
    let mut batches: Vec<Vec<SealItem>> = Vec::new();
    let mut room = 0;
    for item in items {
        // Base64 takes four bytes for three; JSON escapes may double a context.
        let length = item.plaintext.as_bytes().len() / 3 * 4 + 2 * CONTEXT_MAX_BYTES;
        match batches.last_mut().filter(|last| length <= room && last.len() < BATCH_MAX_ITEMS) {
            Some(last) => last.push(item),
            None => {
                room = BODY_MAX_BYTES;
                batches.push(vec![item]);
            }
        }
        room = room.saturating_sub(length);
    }
    batches
}

#[expect(clippy::needless_pass_by_value, reason = "it maps errors that are consumed")]
fn of_client(error: Error) -> SealError {
    match error.code() {
        Some(code) => refusal(code, error.retryable(), error.to_string()),
        None if error.retryable() => SealError::Unavailable(error.to_string()),
        None => SealError::Refused(Fault::new(Code::Internal, error.to_string())),
    }
}

fn refusal(code: Code, retryable: bool, detail: String) -> SealError {
    if retryable {
        SealError::Unavailable(detail)
    } else {
        SealError::Refused(Fault::new(code, detail))
    }
}

#[cfg(test)]
mod tests {
    use wire::api::SecretBase64;
    use wire::context::EncryptionContext;
    use wire::limits::PLAINTEXT_MAX_BYTES;

    use super::*;

    fn check(items: usize, bytes: usize, expected: &[usize]) {
        let item = |_| SealItem {
            plaintext: SecretBase64::new(vec![0; bytes].into()).unwrap(),
            context: EncryptionContext::default(),
        };
        let found: Vec<_> = batches((0..items).map(item).collect()).iter().map(Vec::len).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn batch_at_limit_is_one_request() {
        check(0, 0, &[]);
        check(BATCH_MAX_ITEMS, 0, &[BATCH_MAX_ITEMS]);
    }

    #[test]
    fn batch_one_past_limit_is_two_requests() {
        check(BATCH_MAX_ITEMS + 1, 0, &[BATCH_MAX_ITEMS, 1]);
    }

    #[test]
    fn longest_values_are_split_by_the_body() {
        check(5, PLAINTEXT_MAX_BYTES, &[2, 2, 1]);
    }
}
