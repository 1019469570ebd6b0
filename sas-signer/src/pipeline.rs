//! The line. A request that a front-end decoded walks it once, in this order, and never turns
//! back:
//!
//! ```text
//! decode -> authenticate -> authorize -> grant -> sign (host) -> audit -> encode
//! ```
//!
//! Each stage hands the next a proof that only it can make: `Principal` (who the kernel says is
//! there), `Authorized` (a rule allows it), `Grant` (a template allows this very token),
//! `Recorded` (the audit has it).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use daemon::audit::{AuditError, AuditWriter, Recorded};
use daemon::clock::Clock;
use daemon::limit::{Busy, Caller};
use daemon::peer::{Principal, UnitName};
use sealhost_client::Client;
use tokio::sync::Mutex;
use wire::audit::{Kind, Outcome, Record};
use wire::code::{Code, Fault};
use wire::name::ProviderName;
use wire::sas::SasKeyName;

use crate::access::AccessBook;
use crate::metrics::Metrics;
use crate::ops::{self, Used};
use crate::request::{Reply, Request};
use crate::signer::Signer;
use crate::state::{Saved, StateFile};

/// Everything that requests work with.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) host: Client,
    pub(crate) signer: Signer<Client>,
    pub(crate) access: AccessBook,
    pub(crate) audit: AuditWriter,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) started_at: String,
    /// Where the state is, and the state; held while a key is changed, one at a time.
    pub(crate) state: Mutex<(StateFile, Saved)>,
    /// The generation of the state, for records.
    pub(crate) generation: AtomicU64,
    /// Where this run's request ids begin.
    pub(crate) first_request: u64,
    pub(crate) requests: AtomicU64,
}

/// What comes back from the line.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The id by which reply and audit name the request.
    pub(crate) request_id: String,
    /// The key that it was about.
    pub(crate) key: Option<SasKeyName>,
    /// The reply, with the proof that it is recorded; a fault may be about the record itself.
    pub(crate) outcome: Result<(Reply, Recorded), Fault>,
}

/// What could not be read as a request, as far as it was understood.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) operation: Option<&'static str>,
    pub(crate) key: Option<SasKeyName>,
    pub(crate) fault: Fault,
}

/// The answer to whoever may not do what they ask.
pub(crate) fn denied() -> Fault {
    Fault::new(Code::Denied, "permission denied")
}

impl Daemon {
    /// Walks the line with a request, or with the reason why there is none.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        asked: Result<Request, Unread>,
    ) -> Answered {
        let (daemon, begun) = (Arc::clone(self), self.clock.passed());
        let line = Line { daemon, caller: Arc::clone(caller), begun };
        let request_id = self.next_request_id();
        match asked {
            // A change is carried through even when its caller goes away.
            Ok(request) if request.changes_a_key() => {
                let (id, key) = (request_id.clone(), request.key().cloned());
                let carried = tokio::spawn(async move { line.walk(id, Ok(request)).await });
                carried.await.unwrap_or_else(|_panicked| {
                    let fault = Fault::new(Code::Internal, "a key change panicked; please report");
                    Answered { request_id, key, outcome: Err(fault) }
                })
            }
            asked => line.walk(request_id, asked).await,
        }
    }

    /// Counts that a limit was reached, and says so.
    pub(crate) fn busy(&self, busy: Busy) -> Fault {
        self.metrics.count_refused(busy.limit());
        Fault::new(Code::Busy, busy.to_string())
    }

    /// Refuses what never came to a request: there is no room for it, or it is none.
    pub(crate) fn refuse(&self, principal: &Principal, fault: Fault) -> Answered {
        let request_id = self.next_request_id();
        self.metrics.count(None, Some(fault.code), Duration::ZERO);
        let time = self.clock.now_text();
        let recorded = self.audit.append_refusal(&Record {
            request: Some(&request_id),
            principal: Some(principal.into()),
            unit: principal.unit().map(UnitName::as_str),
            outcome: Some(Outcome::Failed(fault.code)),
            ..Record::new(Kind::Request, &time, self.generation())
        });
        let fault = match recorded {
            Ok(_recorded) => fault,
            Err(error) => self.unrecorded(&request_id, &error),
        };
        Answered { request_id, key: None, outcome: Err(fault) }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// What is answered in the place of what could not be recorded.
    fn unrecorded(&self, request_id: &str, error: &AuditError) -> Fault {
        tracing::error!(request = %request_id, %error, "audit cannot be written");
        self.metrics.count_audit_failure();
        Fault::new(Code::Internal, "the audit cannot be written, so that nothing is answered")
    }

    fn next_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.first_request.wrapping_add(number))
    }
}

/// One walk of the line.
struct Line {
    daemon: Arc<Daemon>,
    caller: Arc<Caller>,
    begun: Duration,
}

/// What a record is about.
struct About<'a> {
    request_id: &'a str,
    operation: Option<&'static str>,
    key: Option<&'a SasKeyName>,
    used: &'a Used,
    /// Whether an intent was written, which an outcome must follow.
    intended: bool,
    /// Whether it was never read, so that nobody was asked whether its caller may do it.
    unread: bool,
}

impl Line {
    async fn walk(self, request_id: String, asked: Result<Request, Unread>) -> Answered {
        let (mut used, mut intended) = (Used::default(), false);
        let unread = asked.is_err();
        let (operation, key, exempt, result) = match asked {
            Ok(request) => {
                let done = self.perform(&request_id, &request, &mut used, &mut intended).await;
                let (key, exempt) = (request.key().cloned(), request.exempt_from_audit());
                (Some(request.operation()), key, exempt, done)
            }
            Err(Unread { operation, key, fault }) => (operation, key, None, Err(fault)),
        };
        let code = result.as_ref().err().map(|fault| fault.code).or(used.verdict);
        self.daemon.metrics.count(operation, code, self.duration());
        if let Err(fault) = &result {
            log_fault(&request_id, operation, fault);
        }
        let about = About {
            request_id: &request_id,
            operation,
            key: key.as_ref(),
            used: &used,
            intended,
            unread,
        };
        let recorded = match exempt {
            Some(reason) if result.is_ok() => Ok(Recorded::exempt(reason)),
            Some(_) | None => self.record(&about, code),
        };
        let outcome = match (result, recorded) {
            (Ok(reply), Ok(recorded)) => Ok((reply, recorded)),
            (Err(fault), Ok(_)) => Err(fault),
            // No record, no reply: what was signed is dropped here.
            (_, Err(error)) => Err(self.daemon.unrecorded(&request_id, &error)),
        };
        Answered { request_id, key, outcome }
    }

    async fn perform(
        &self,
        request_id: &str,
        request: &Request,
        used: &mut Used,
        intended: &mut bool,
    ) -> Result<Reply, Fault> {
        let _place = self.caller.permit.request().map_err(|busy| self.daemon.busy(busy))?;
        let access = self.daemon.access.current();
        let key = request.key().map(SasKeyName::as_str);
        let authorized = access.authorize(&self.caller.principal, request.operation(), key);
        let authorized = authorized.map_err(|_denied| denied())?;
        if request.changes_a_key() {
            self.record_intent(request_id, request)?;
            *intended = true;
        }
        ops::perform(&self.daemon, &access, &authorized, request, used).await
    }

    /// Writes, before a key is changed, that it will be; it is on the disk when this returns.
    fn record_intent(&self, request_id: &str, request: &Request) -> Result<(), Fault> {
        let time = self.daemon.clock.now_text();
        let record = Record {
            request: Some(request_id),
            principal: Some((&self.caller.principal).into()),
            unit: self.caller.principal.unit().map(UnitName::as_str),
            operation: Some(request.operation()),
            key: request.key().map(SasKeyName::as_str),
            ..Record::new(Kind::Intent, &time, self.daemon.generation())
        };
        let written = tokio::task::block_in_place(|| self.daemon.audit.append_synced(&record));
        written.map(drop).map_err(|error| self.daemon.unrecorded(request_id, &error))
    }

    /// Writes the one record of the request.
    fn record(&self, about: &About<'_>, code: Option<Code>) -> Result<Recorded, AuditError> {
        let time = self.daemon.clock.now_text();
        let kind = if about.intended { Kind::Outcome } else { Kind::Request };
        let micros = u64::try_from(self.duration().as_micros()).unwrap_or(u64::MAX);
        let by = about.used.by.as_ref();
        let record = Record {
            request: Some(about.request_id),
            principal: Some((&self.caller.principal).into()),
            unit: self.caller.principal.unit().map(UnitName::as_str),
            operation: about.operation,
            key: about.key.map(SasKeyName::as_str),
            version: by.map(|by| by.version),
            provider: by.map(|by| ProviderName::as_str(&by.provider)),
            protection: by.map(|by| by.protection),
            origin: by.map(|by| by.origin),
            resource: about.used.resource.as_deref(),
            expires_at: about.used.expires_at,
            outcome: Some(code.map_or(Outcome::Ok, Outcome::Failed)),
            duration_us: Some(micros),
            ..Record::new(kind, &time, self.daemon.generation())
        };
        let audit = &self.daemon.audit;
        match code {
            _ if about.intended => tokio::task::block_in_place(|| audit.append_synced(&record)),
            // Whoever may do nothing can still ask, and must not fill the disk by it.
            _ if about.unread => audit.append_refusal(&record),
            Some(Code::Denied | Code::Malformed | Code::Busy) => audit.append_refusal(&record),
            _ => audit.append(&record),
        }
    }

    fn duration(&self) -> Duration {
        self.daemon.clock.passed().saturating_sub(self.begun)
    }
}

/// What the operator must know of a failed request; key names stand in the audit only.
fn log_fault(request: &str, operation: Option<&'static str>, fault: &Fault) {
    match fault.code {
        Code::Internal => tracing::error!(request, operation, %fault, "request failed"),
        Code::Unavailable | Code::Timeout | Code::LockedOut | Code::WrongDevice => {
            tracing::warn!(request, operation, %fault, "request failed");
        }
        Code::Malformed
        | Code::Invalid
        | Code::Unsupported
        | Code::WrongUsage
        | Code::Integrity
        | Code::Denied
        | Code::NotFound
        | Code::Conflict
        | Code::StateMismatch
        | Code::TooLarge
        | Code::Busy => tracing::debug!(request, operation, %fault, "request refused"),
    }
}
