//! What to do about an error, one line each.

use std::io::ErrorKind;

use sealhost_client::{ConnectError, ConnectReason, Error};
use wire::code::Code;

use crate::args::Daemon;

/// What to do about an error of a daemon.
pub(crate) fn of(daemon: Daemon, error: &Error) -> String {
    let advice = match error {
        Error::Connect(error) => of_connecting(daemon, error),
        Error::Refused(problem) => of_code(daemon, problem.code).to_owned(),
        Error::Limit(fault) => of_code(daemon, fault.code).to_owned(),
        Error::Unanswered { .. } | Error::Timeout { .. } => after_a_change(daemon).to_owned(),
        Error::Protocol(_) => format!(
            "check that --socket names the socket of {}, and that sealctl is of the same version",
            daemon.name()
        ),
    };
    match error.retry_after() {
        Some(after) => format!("{advice} (in {} ms)", after.as_millis()),
        None => advice,
    }
}

fn of_connecting(daemon: Daemon, error: &ConnectError) -> String {
    let name = daemon.name();
    match &error.reason {
        ConnectReason::UnexpectedServer { .. } => {
            "do not trust that socket; stop the process, and find out who put it there".to_owned()
        }
        ConnectReason::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
            "run this as a user or in a group that may use the socket ([listen] mode and group)"
                .to_owned()
        }
        ConnectReason::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            format!("start {name}: the socket is there, but nobody listens")
        }
        ConnectReason::Io(_) => format!("start {name}, or name its socket with --socket"),
    }
}

const fn after_a_change(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Sealhost => {
            "look at `sealctl status`; after a change of a key, look at `sealctl key show` before trying again"
        }
        Daemon::SasSigner => {
            "look at `sealctl sas status`; after a change of a key, look at `sealctl sas show` before trying again"
        }
        Daemon::SecretManager => {
            "look at `sealctl secret status`; after a change, look at `sealctl secret versions` before trying again"
        }
    }
}

const fn of_code(daemon: Daemon, code: Code) -> &'static str {
    match daemon {
        Daemon::Sealhost => of_host_code(code),
        Daemon::SasSigner => of_sas_code(code),
        Daemon::SecretManager => of_secret_code(code),
    }
}

const fn of_host_code(code: Code) -> &'static str {
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
        Code::Timeout => after_a_change(Daemon::Sealhost),
    }
}

const fn of_secret_code(code: Code) -> &'static str {
    match code {
        Code::Malformed | Code::Invalid | Code::Unsupported | Code::WrongUsage => {
            "change the value that is named; `--help` says what is allowed"
        }
        Code::Integrity => {
            "the stored value was altered or is not of this machine: put the secret again, or ask its source with --fresh"
        }
        Code::Denied => {
            "ask the administrator of secret-manager for a [[rule]] with this user, operation and name"
        }
        Code::NotFound => {
            "look at `sealctl secret versions` for what is there and when it is active"
        }
        Code::Conflict => "look at `sealctl secret versions`, and try again",
        Code::StateMismatch | Code::WrongDevice | Code::LockedOut => {
            "look at `sealctl status`: the device that seals the secrets does not open them"
        }
        Code::TooLarge => "stay below the limit; docs/secrets.md lists them",
        Code::Busy => "try again soon",
        Code::Internal => "look for the request id in the log of secret-manager",
        Code::Unavailable => {
            "look at `sealctl secret status` and `sealctl status` for the reason, and try again later"
        }
        Code::Timeout => after_a_change(Daemon::SecretManager),
    }
}

const fn of_sas_code(code: Code) -> &'static str {
    match code {
        Code::Malformed | Code::Invalid | Code::WrongUsage => {
            "change the value that is named; `--help` says what is allowed"
        }
        Code::Unsupported => "choose another --encoder, or look at `sealctl status` of the host",
        Code::Integrity => "check the token; docs/sas.md says what one is",
        Code::Denied => {
            "ask the administrator of sas-signer for a [[rule]] with this user, operation and key, and a [[rule.token]] with this resource"
        }
        Code::NotFound => "import the key first: `sealctl sas import`",
        Code::Conflict => {
            "look at `sealctl sas show`; give --replace to replace a key, or import the one that is missing"
        }
        Code::StateMismatch | Code::WrongDevice | Code::LockedOut => {
            "look at `sealctl status`: the device that holds the key does not use it"
        }
        Code::TooLarge => "stay below the limit; docs/sas.md lists them",
        Code::Busy => "try again soon",
        Code::Internal => "look for the request id in the log of sas-signer",
        Code::Unavailable => {
            "look at `sealctl sas status` and `sealctl status` for the reason, and try again later"
        }
        Code::Timeout => after_a_change(Daemon::SasSigner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_advice_in_one_line() {
        for code in Code::ALL {
            for daemon in [Daemon::Sealhost, Daemon::SasSigner, Daemon::SecretManager] {
                let advice = of_code(daemon, code);
                assert!(advice.len() > 10 && !advice.contains('\n'), "{daemon:?} {code:?}");
            }
        }
    }
}
