//! The dialect of the aziot Key Service: HTTP/1.1 and JSON on a Unix stream socket of its own
//! (`docs/keyd.md`).

mod asked;
mod body;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod glob;
mod handle;
mod refused;
mod reply;
mod route;

use std::sync::Arc;
use std::time::Duration;

use daemon::http::{BODY_TOO_SLOW, Dialect, Timeouts, Whole};
use daemon::limit::{Busy, Caller};
use daemon::peer::Principal;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use wire::code::{Code, Fault};

use crate::config::KeydSettings;
use crate::error::{Failure, HostError};
use crate::pipeline::{Answered, Host};
use crate::request::{Api, HandleRequest, Request, Unread};

pub(crate) use glob::{GLOB_MAX_CHARS, Globs};

use asked::{Asked, asked};
use refused::Refused;
use reply::{NoReply, Shape};
use route::{Endpoint, Head};

/// What a principal of the dialect may do with its keys: everything that the dialect can.
pub(crate) const OPERATIONS: [&str; 13] = [
    "show",
    "create",
    "import",
    "move",
    "mac",
    "sign",
    "encrypt",
    "decrypt",
    "rsa",
    "derive",
    "export_derived",
    "public",
    "destroy",
];

/// How long a body may take, as with the peer.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the callers of this dialect may take.
pub(crate) fn timeouts(configured: Timeouts) -> Timeouts {
    Timeouts { body: configured.body.min(BODY_TIMEOUT), ..configured }
}

/// What answers requests in this dialect.
#[derive(Clone, Debug)]
pub(crate) struct Keyd {
    pub(crate) host: Arc<Host>,
    pub(crate) settings: Arc<KeydSettings>,
}

impl Dialect for Keyd {
    type Admitted = Head;
    type Body = http_body_util::Full<Bytes>;

    async fn admit(&self, caller: &Arc<Caller>, head: &Parts) -> Result<Head, Whole> {
        let (uri, headers) = (&head.uri, &head.headers);
        let read = match route::head(&head.method, uri.path(), uri.query(), headers) {
            Ok(head) => head,
            Err(refused) => return Err(self.refuse(caller, None, &refused).await),
        };
        // The bodies of those who may do nothing here are not read.
        match self.host.permits_some(caller, Api::Keyd, "show") {
            Ok(()) => Ok(read),
            Err(error) => {
                let unread = Unread { operation: Some(operation(&read.endpoint)), error };
                let answered = self.host.answer(caller, Api::Keyd, Err(unread)).await;
                Err(write(answered, Shape::Usual, caller.principal.uid()))
            }
        }
    }

    async fn answer(&self, caller: &Arc<Caller>, head: Head, body: Result<Bytes, Fault>) -> Whole {
        let Head { endpoint, has_json } = head;
        let asked = body.map_err(unread_body).and_then(|body| {
            let body = if has_json { body } else { Bytes::new() };
            asked(&endpoint, &body, &self.settings)
        });
        let uid = caller.principal.uid();
        match asked {
            Err(refused) => self.refuse(caller, Some(operation(&endpoint)), &refused).await,
            Ok(Asked::One(request, shape)) => write(self.ask(caller, request).await, shape, uid),
            Ok(Asked::FindOrCreate(name, terms)) => {
                let find = || Request::Handle(name.clone(), HandleRequest::Find);
                let mut answered = self.ask(caller, find()).await;
                if has_code(&answered, Code::NotFound) {
                    let create = Request::Handle(name.clone(), HandleRequest::Create(terms));
                    answered = self.ask(caller, create).await;
                }
                // Somebody else made it meanwhile.
                if has_code(&answered, Code::Conflict) {
                    answered = self.ask(caller, find()).await;
                }
                write(answered, Shape::Usual, uid)
            }
        }
    }

    fn turn_away(&self, principal: &Principal, busy: Busy) -> Whole {
        write(self.host.turn_away(principal, Api::Keyd, busy), Shape::Usual, principal.uid())
    }

    fn unreadable(&self, principal: &Principal) {
        self.host.note_unreadable(principal, Api::Keyd);
    }
}

impl Keyd {
    async fn ask(&self, caller: &Arc<Caller>, request: Request) -> Answered {
        self.host.answer(caller, Api::Keyd, Ok(request)).await
    }

    /// Refuses in the dialect's words what it refuses itself, when it is recorded.
    async fn refuse(
        &self,
        caller: &Arc<Caller>,
        operation: Option<&'static str>,
        refused: &Refused,
    ) -> Whole {
        let uid = caller.principal.uid();
        let unread = Unread { operation, error: HostError::from(refused.fault()) };
        let answered = self.host.answer(caller, Api::Keyd, Err(unread)).await;
        match &answered.outcome {
            Err(HostError { failure: Failure::Decode(_), .. }) => {
                reply::refused(refused, uid, &answered.request_id)
            }
            Err(_) | Ok(_) => write(answered, Shape::Usual, uid),
        }
    }
}

fn write(answered: Answered, shape: Shape, uid: u32) -> Whole {
    let Answered { request_id: id, outcome } = answered;
    let written = match outcome {
        Ok((reply, _recorded)) => reply::encode(reply, shape, &id),
        // What is to be moved and is not there is an error of the peer's own.
        Err(error) if shape == Shape::NoContent && error.code() == Code::NotFound => {
            Err(NoReply::Refused(Refused::NothingToMove))
        }
        Err(error) => Err(NoReply::Failed(error)),
    };
    written.unwrap_or_else(|none| match none {
        NoReply::Refused(refused) => reply::refused(&refused, uid, &id),
        NoReply::Failed(error) => reply::failed(&error, uid, &id),
    })
}

fn has_code(answered: &Answered, code: Code) -> bool {
    answered.outcome.as_ref().is_err_and(|error| error.code() == code)
}

fn unread_body(fault: Fault) -> Refused {
    if fault.detail == BODY_TOO_SLOW { Refused::SlowBody } else { Refused::Body(fault) }
}

/// The operation that an endpoint is about, as rules and audit call it.
const fn operation(endpoint: &Endpoint) -> &'static str {
    match endpoint {
        Endpoint::Create(_) => "create",
        Endpoint::Load(..) => "show",
        Endpoint::Delete(_) => "destroy",
        Endpoint::Move(..) => "move",
        Endpoint::Parameter(_) => "public",
        Endpoint::Sign => "sign",
        Endpoint::Encrypt => "encrypt",
        Endpoint::Decrypt => "decrypt",
        Endpoint::Derive => "derive",
        Endpoint::ExportDerived => "export_derived",
    }
}
