//! How the program ends: its exit codes, and what it says when something went wrong.

use std::io::{self, Write as _};
use std::process::ExitCode;

use sealhost_client::Error;
use serde_json::json;

use crate::advice;
use crate::args::Daemon;
use crate::screen::plain;

/// Exit codes; `docs/sealctl.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    No,
    Usage,
    Unreachable,
    Refused,
    Retry,
    /// As the program that `secret run` ran.
    Program(u8),
}

impl Exit {
    /// All that are sealctl's own, rising.
    pub(crate) const ALL: [Self; 6] =
        [Self::Done, Self::No, Self::Usage, Self::Unreachable, Self::Refused, Self::Retry];

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::Retry => 5,
            Self::Program(code) => code,
        }
    }

    /// What it means.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::No => {
                "the answer is no: MAC not valid, audit broken, configuration faulty, not every key moved"
            }
            Self::Usage => "wrong command line, or a file that cannot be read or written",
            Self::Unreachable => "no host there, or what answers is not the host",
            Self::Refused => "refused by the host; the same request will not succeed",
            Self::Retry => {
                "refused for now, or no answer in time; the same request may succeed later"
            }
            Self::Program(_) => "as the program that was run",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line, or a file that it names.
    Usage { what: String, advice: String },
    /// The host, or the way there.
    Refusal { daemon: Daemon, error: Error },
    /// Whoever read standard output has gone. Nothing is said about it.
    ReaderGone,
}

/// A call that could not be made is told as the host would tell it.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refusal { daemon: Daemon::Sealhost, error }
    }
}

impl Failure {
    pub(crate) fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), advice: advice.into() }
    }

    /// Writes to standard error what is wrong and what to do, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> Exit {
        let text = if json { self.document() } else { self.lines() };
        // Nobody is left to tell when this cannot be written.
        let _unwritten = io::stderr().write_all(text.as_bytes());
        self.exit()
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::ReaderGone => Exit::Done,
            Self::Refusal { error: Error::Connect(_) | Error::Protocol(_), .. } => {
                Exit::Unreachable
            }
            Self::Refusal { error: Error::Unanswered { .. } | Error::Timeout { .. }, .. } => {
                Exit::Retry
            }
            Self::Refusal { error: error @ (Error::Refused(_) | Error::Limit(_)), .. } => {
                if error.retryable() { Exit::Retry } else { Exit::Refused }
            }
        }
    }

    /// One line what is wrong, one line what to do.
    fn lines(&self) -> String {
        let (what, advice) = match self {
            Self::Usage { what, advice } => (what.clone(), advice.clone()),
            Self::Refusal { daemon, error } => (what_is_wrong(error), advice::of(*daemon, error)),
            Self::ReaderGone => return String::new(),
        };
        format!("sealctl: {}\n  to do: {}\n", plain(&what), plain(&advice))
    }

    /// The same as one line of JSON, with the problem document of a refusal.
    fn document(&self) -> String {
        let exit = self.exit().code();
        let document = match self {
            Self::Usage { what, advice } => {
                json!({ "exit": exit, "error": what, "advice": advice })
            }
            Self::Refusal { daemon, error } => {
                let mut document = json!({
                    "exit": exit,
                    "error": what_is_wrong(error),
                    "advice": advice::of(*daemon, error),
                });
                if let Some(problem) = error.problem() {
                    document["problem"] = json!(problem);
                }
                document
            }
            Self::ReaderGone => return String::new(),
        };
        format!("{document}\n")
    }
}

/// The error with its causes, the code and the request id.
fn what_is_wrong(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    let code = error.code().map(|code| code.as_str());
    let request = error.request_id().map(|id| format!("request {id}"));
    let marks: Vec<_> = code.map(str::to_owned).into_iter().chain(request).collect();
    if marks.is_empty() { text } else { format!("{text} ({})", marks.join(", ")) }
}

#[cfg(test)]
mod tests {
    use wire::code::{Code, Fault, Problem};

    use super::*;

    fn host(error: Error) -> Failure {
        Failure::Refusal { daemon: Daemon::Sealhost, error }
    }

    fn refused(code: Code) -> Failure {
        let problem = Problem::new(Fault::new(code, "no rule allows it"), "01J-3");
        host(Error::Refused(Box::new(problem)))
    }

    fn check(failure: &Failure, exit: Exit, lines: &str) {
        assert_eq!(failure.exit(), exit);
        assert_eq!(failure.lines(), lines);
    }

    #[test]
    fn refusal_is_two_lines_with_code_and_request_id() {
        check(
            &refused(Code::Denied),
            Exit::Refused,
            "sealctl: no rule allows it (denied, request 01J-3)\n  to do: ask the administrator for a [[rule]] with this user, operation and key\n",
        );
    }

    #[test]
    fn every_retryable_code_is_five_and_every_other_four() {
        for code in Code::ALL {
            let expected = if code.retryable() { Exit::Retry } else { Exit::Refused };
            assert_eq!(refused(code).exit(), expected, "{code:?}");
        }
    }

    #[test]
    fn refusal_in_json_has_the_problem_document() {
        let document: serde_json::Value =
            serde_json::from_str(&refused(Code::Busy).document()).unwrap();
        assert_eq!(document["exit"], 5);
        assert_eq!(document["problem"]["code"], "busy");
        assert_eq!(document["problem"]["instance"], "01J-3");
    }

    #[test]
    fn missing_socket_is_three_and_says_to_start_the_host() {
        let client = sealhost_client::blocking::Client::new("/nonexistent/s").unwrap();
        let failure = host(client.status().unwrap_err());
        check(
            &failure,
            Exit::Unreachable,
            "sealctl: cannot reach the daemon at /nonexistent/s: No such file or directory (os error 2)\n  to do: start sealhost, or name its socket with --socket\n",
        );
    }

    #[test]
    fn timeout_is_five() {
        let after = std::time::Duration::from_secs(2);
        check(
            &host(Error::Timeout { after }),
            Exit::Retry,
            "sealctl: no reply within 2 s\n  to do: look at `sealctl status`; after a change of a key, look at `sealctl key show` before trying again\n",
        );
    }

    #[test]
    fn text_of_the_host_cannot_control_the_terminal() {
        let problem = Problem::new(Fault::new(Code::Internal, "a\x1b[2Jb\nc"), "r");
        let failure = host(Error::Refused(Box::new(problem)));
        assert!(failure.lines().starts_with("sealctl: a\u{fffd}[2Jb\u{fffd}c (internal"));
    }

    #[test]
    fn reader_that_has_gone_is_not_mentioned() {
        check(&Failure::ReaderGone, Exit::Done, "");
    }
}
