//! The MAC by a Sealhost, and what of its errors is for the signer's own clients.

use sealhost_client::{Client, Error};
use wire::code::{Code, Fault};
use wire::name::KeyName;
use zeroize::Zeroizing;

use crate::mac::{By, Mac, MacError, Maced};

impl Mac for Client {
    async fn mac(&self, key: &KeyName, message: &[u8]) -> Result<Maced, MacError> {
        let reply = Self::mac(self, key, message, None).await.map_err(|error| fault(&error))?;
        Ok(Maced {
            mac: Zeroizing::new(*reply.mac.as_bytes()),
            by: By {
                version: reply.version,
                provider: reply.provider,
                protection: reply.protection,
                origin: reply.origin,
            },
        })
    }
}

/// What the signer tells its client of a failed call to the host. The log gets the whole.
///
/// `denied` by the host is a fault of the signer's configuration and no word on the client's
/// rights, so it does not reach the client as `denied`.
pub(crate) fn fault(error: &Error) -> MacError {
    tracing::warn!(error = error as &dyn std::error::Error, id = error.request_id(), "host");
    MacError(match error {
        Error::Refused(problem) => match problem.code {
            Code::NotFound => Fault::new(Code::NotFound, "the host has no such key"),
            Code::Conflict
            | Code::Invalid
            | Code::Unsupported
            | Code::TooLarge
            | Code::WrongUsage => Fault::new(problem.code, problem.detail.clone()),
            Code::Busy
            | Code::Unavailable
            | Code::LockedOut
            | Code::Timeout
            | Code::StateMismatch
            | Code::WrongDevice => Fault::new(problem.code, "the host cannot use the key now"),
            Code::Denied => Fault::new(Code::Internal, "the host does not let the signer do this"),
            Code::Malformed | Code::Integrity | Code::Internal => {
                Fault::new(Code::Internal, "the host failed")
            }
        },
        Error::Limit(fault) => fault.clone(),
        Error::Connect(_) | Error::Unanswered { .. } => {
            Fault::new(Code::Unavailable, "the host is not there now")
        }
        Error::Timeout { .. } => Fault::new(Code::Timeout, "the host did not answer in time"),
        Error::Protocol(_) => Fault::new(Code::Internal, "the host's answer is not one of its API"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use wire::code::Problem;

    use super::*;

    #[track_caller]
    fn check(code: Code, expected: Code) {
        let problem = Problem::new(Fault::new(code, "device text"), "r-1");
        assert_eq!(fault(&Error::Refused(Box::new(problem))).0.code, expected);
    }

    #[test]
    fn refusal_that_the_client_can_act_on_keeps_its_code() {
        for code in Code::ALL {
            let ours = [Code::Denied, Code::Malformed, Code::Integrity].contains(&code);
            check(code, if ours { Code::Internal } else { code });
        }
    }

    #[test]
    fn host_that_does_not_answer_is_retryable() {
        for error in [
            Error::Timeout { after: Duration::from_secs(1) },
            Error::Unanswered { is_change: false },
        ] {
            assert!(fault(&error).0.code.retryable());
        }
    }
}
