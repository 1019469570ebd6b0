//! What to do about an error, one line each.

use std::io::ErrorKind;

use sealhost_client::{ConnectError, ConnectReason, Error};
use wire::code::Code;

const AFTER_A_CHANGE: &str = "look at `sealctl status`; after a change of a key, look at `sealctl key show` before trying again";

/// What to do about an error.
pub(crate) fn of(error: &Error) -> String {
    let advice = match error {
        Error::Connect(error) => of_connecting(error),
        Error::Refused(problem) => of_code(problem.code),
        Error::Limit(fault) => of_code(fault.code),
        Error::Unanswered { .. } | Error::Timeout { .. } => AFTER_A_CHANGE,
        Error::Protocol(_) => {
            "check that --socket names the socket of sealhost, and that sealctl is of the same version"
        }
    };
    match error.retry_after() {
        Some(after) => format!("{advice} (in {} ms)", after.as_millis()),
        None => advice.to_owned(),
    }
}

fn of_connecting(error: &ConnectError) -> &'static str {
    match &error.reason {
        ConnectReason::UnexpectedServer { .. } => {
            "do not trust that socket; stop the process, and find out who put it there"
        }
        ConnectReason::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
            "run this as a user or in a group that may use the socket ([listen] mode and group)"
        }
        ConnectReason::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "start sealhost: the socket is there, but nobody listens"
        }
        ConnectReason::Io(_) => "start sealhost, or name its socket with --socket",
    }
}

fn of_code(code: Code) -> &'static str {
    match code {
        Code::Malformed => {
            "check the input; a sealed value is one line that begins with sealhost:1:"
        }
        Code::Invalid => "change the value that is named; `--help` says what is allowed",
        Code::Unsupported => {
            "look at `sealctl status` for what each provider can do, or ask for another provider or floor"
        }
        Code::WrongUsage => "use a key that is for this; `sealctl key show` tells its usage",
        Code::Integrity => {
            "give the key and the --context that it was sealed with, and the sealed value unchanged"
        }
        Code::Denied => "ask the administrator for a [[rule]] with this user, operation and key",
        Code::NotFound => {
            "look at `sealctl key list` and `sealctl provider list` for what is there"
        }
        Code::Conflict => "look at `sealctl key show`; choose another name, or try again",
        Code::StateMismatch => {
            "bring the machine back to the state that the key is bound to (its PCRs)"
        }
        Code::WrongDevice => "use the device that the key was made on",
        Code::TooLarge => "stay below the limit; docs/api.md lists them",
        Code::Busy => "try again soon",
        Code::Internal => "look for the request id in the log of sealhost",
        Code::Unavailable => "look at `sealctl status` for the reason, and try again later",
        Code::LockedOut => "wait until the device takes authorisations again; do not keep trying",
        Code::Timeout => AFTER_A_CHANGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_advice_in_one_line() {
        for code in Code::ALL {
            let advice = of_code(code);
            assert!(advice.len() > 10 && !advice.contains('\n'), "{code:?}");
        }
    }
}
