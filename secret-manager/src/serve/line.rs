//! The line. A request that a front-end decoded walks it once, in this order:
//!
//! ```text
//! decode -> authenticate -> authorize -> perform -> audit -> encode
//! ```
//!
//! `Principal`, `Authorized` and `Recorded` are proofs that only the stage before can make, as in
//! the host: nothing is read without permission, and nothing is answered unrecorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use daemon::audit::{AuditError, AuditWriter, Recorded};
use daemon::clock::Clock;
use daemon::limit::{Busy, Caller};
use daemon::metrics::Metrics;
use daemon::peer::{Principal, UnitName};
use daemon::rules::{Authorized, Denied, RuleBook, Rules};
use wire::audit::{Counts, Kind, Outcome, Record};
use wire::code::Code;
use wire::secrets::SecretName;

use super::error::ServeError;
use super::ops;
use super::request::{self, Reply, Request, Unread};
use crate::chain::Chain;

/// Everything that requests work with.
#[derive(Debug)]
pub(crate) struct Manager {
    pub(crate) chain: Chain,
    pub(crate) rules: Arc<RuleBook>,
    pub(crate) audit: AuditWriter,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) started_at: String,
    /// Where this run's request ids begin.
    first_request: u64,
    requests: AtomicU64,
}

/// What comes back from the line.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The id by which reply and audit name the request.
    pub(crate) request_id: String,
    /// The reply, with the proof that it is recorded.
    pub(crate) outcome: Result<(Reply, Recorded), ServeError>,
}

/// What the audit says of a secret, besides who asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used {
    pub(crate) version: Option<String>,
    pub(crate) from: Option<String>,
    pub(crate) protection: Option<wire::api::Protection>,
    pub(crate) items: Option<Counts>,
    pub(crate) unit: Option<String>,
}

/// Who asks what, for the audit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) principal: &'a Principal,
    pub(crate) operation: Option<&'static str>,
    pub(crate) name: Option<&'a SecretName>,
}

impl Manager {
    /// Brings everything together. `first_request` is random, so that ids of two runs differ.
    pub(crate) fn new(
        chain: Chain,
        rules: RuleBook,
        audit: AuditWriter,
        clock: Clock,
        first_request: u64,
    ) -> Self {
        Self {
            chain,
            rules: Arc::new(rules),
            audit,
            metrics: Metrics::new("secret_manager"),
            started_at: clock.now_text(),
            clock,
            first_request,
            requests: AtomicU64::new(0),
        }
    }

    /// Walks the line with a request, or with the reason why there is none.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        asked: Result<Request, Unread>,
    ) -> Answered {
        let request_id = self.next_request_id();
        match asked {
            // A change is carried through, and recorded, even when its caller goes away.
            Ok(request) if request.is_change() => {
                let (manager, caller) = (Arc::clone(self), Arc::clone(caller));
                let id = request_id.clone();
                let carried =
                    tokio::spawn(async move { manager.walk(&id, &caller, request).await });
                let outcome = carried.await;
                let outcome = outcome.unwrap_or(Err(ServeError::Bug("a change panicked")));
                Answered { request_id, outcome }
            }
            Ok(request) => {
                let outcome = self.walk(&request_id, caller, request).await;
                Answered { request_id, outcome }
            }
            Err(Unread { operation, name, error }) => {
                let principal = &caller.principal;
                let name = name.as_ref();
                let about = About { request_id: &request_id, principal, operation, name };
                let outcome = Err(self.refuse(&about, error));
                Answered { request_id, outcome }
            }
        }
    }

    /// Whether a request of this kind is worth reading: whether its caller has permission now. It
    /// is no proof; the request is authorized on the line.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) fn permits(
        &self,
        caller: &Caller,
        operation: &'static str,
        name: Option<&SecretName>,
    ) -> Result<(), ServeError> {
        let rules = self.rules.current();
        authorize(&rules, &caller.principal, operation, name)?;
        Ok(())
    }

    /// Answers a caller for whom there is no room.
    pub(crate) fn turn_away(&self, principal: &Principal, busy: Busy) -> Answered {
        let request_id = self.next_request_id();
        let about = About { request_id: &request_id, principal, operation: None, name: None };
        let outcome = Err(self.refuse(&about, ServeError::Busy(busy)));
        Answered { request_id, outcome }
    }

    /// Records bytes that were no request.
    pub(crate) fn note_unreadable(&self, principal: &Principal) {
        let request_id = self.next_request_id();
        let about = About { request_id: &request_id, principal, operation: None, name: None };
        let fault = wire::code::Fault::new(Code::Malformed, "these bytes are not HTTP");
        let _answered_already = self.refuse(&about, ServeError::Decode(fault));
    }

    async fn walk(
        self: &Arc<Self>,
        request_id: &str,
        caller: &Caller,
        request: Request,
    ) -> Result<(Reply, Recorded), ServeError> {
        let begun = Instant::now();
        let (operation, exempt) = (request.operation(), request.exempt_from_audit());
        let name = request.name().cloned();
        let (principal, name) = (&caller.principal, name.as_ref());
        let about = About { request_id, principal, operation: Some(operation), name };
        let mut used = Used::default();
        let mut intended = false;
        let done = self.perform(&about, caller, request, &mut used, &mut intended).await;
        let code = done.as_ref().err().map(ServeError::code);
        self.metrics.count(Some(operation), code, begun.elapsed());
        if let Err(error) = &done {
            self.count_refused(error);
            log_failure(request_id, Some(operation), error);
        }
        let time = self.clock.now_text();
        let kind = if intended { Kind::Outcome } else { Kind::Request };
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let record = Record {
            outcome: Some(code.map_or(Outcome::Ok, Outcome::Failed)),
            duration_us: Some(micros),
            ..self.record_of(&about, &used, kind, &time)
        };
        let recorded = match (&done, exempt) {
            (Ok(_), Some(reason)) => Ok(Recorded::exempt(reason)),
            _ if intended => tokio::task::block_in_place(|| self.audit.append_synced(&record)),
            // Whoever may do nothing can still ask, and must not fill the disk by it.
            (Err(ServeError::Denied(_) | ServeError::Busy(_)), _) => {
                self.audit.append_refusal(&record)
            }
            (Ok(_) | Err(_), _) => self.audit.append(&record),
        };
        match (done, recorded) {
            (Ok(reply), Ok(recorded)) => Ok((reply, recorded)),
            (Err(error), Ok(_)) => Err(error),
            // No record, no reply: what was read is dropped here.
            (_, Err(error)) => Err(self.unrecorded(request_id, &error)),
        }
    }

    async fn perform(
        self: &Arc<Self>,
        about: &About<'_>,
        caller: &Caller,
        request: Request,
        used: &mut Used,
        intended: &mut bool,
    ) -> Result<Reply, ServeError> {
        let _place = caller.permit.request().map_err(ServeError::Busy)?;
        let rules = self.rules.current();
        let authorized = authorize(&rules, &caller.principal, request.operation(), about.name)?;
        if request.is_change() {
            let time = self.clock.now_text();
            let record = self.record_of(about, used, Kind::Intent, &time);
            let _intent = tokio::task::block_in_place(|| self.audit.append_synced(&record))
                .map_err(|error| self.unrecorded(about.request_id, &error))?;
            *intended = true;
        }
        ops::perform(self, &authorized, request, used, about.request_id).await
    }

    /// Records a refusal, and gives it back to be answered.
    fn refuse(&self, about: &About<'_>, error: ServeError) -> ServeError {
        let code = error.code();
        self.metrics.count(about.operation, Some(code), std::time::Duration::ZERO);
        self.count_refused(&error);
        log_failure(about.request_id, about.operation, &error);
        let (time, used) = (self.clock.now_text(), Used::default());
        let outcome = Some(Outcome::Failed(code));
        let record = Record { outcome, ..self.record_of(about, &used, Kind::Request, &time) };
        match self.audit.append_refusal(&record) {
            Ok(_recorded) => error,
            Err(error) => self.unrecorded(about.request_id, &error),
        }
    }

    /// Counts it by the limit that was reached, where one was.
    pub(crate) fn count_refused(&self, error: &ServeError) {
        if let ServeError::Busy(busy) = error {
            self.metrics.count_refused(busy.limit());
        }
    }

    /// What every record of a request says. The generation is that of the store.
    pub(crate) fn record_of<'a>(
        &self,
        about: &About<'a>,
        used: &'a Used,
        kind: Kind,
        time: &'a str,
    ) -> Record<'a> {
        Record {
            request: Some(about.request_id),
            principal: Some(about.principal.into()),
            operation: about.operation,
            secret: about.name.map(SecretName::as_str),
            secret_version: used.version.as_deref(),
            from: used.from.as_deref(),
            unit: used.unit.as_deref().or_else(|| about.principal.unit().map(UnitName::as_str)),
            protection: used.protection,
            items: used.items,
            ..Record::new(kind, time, self.chain.generation())
        }
    }

    /// What is answered in the place of what could not be recorded.
    pub(crate) fn unrecorded(&self, request_id: &str, error: &AuditError) -> ServeError {
        tracing::error!(request = %request_id, %error, "audit cannot be written");
        self.metrics.count_audit_failure();
        ServeError::Audit(error.to_string())
    }

    pub(crate) fn next_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.first_request.wrapping_add(number))
    }
}

/// Asks the rules: for the one secret that a request is about, or, where it is about several, for
/// any.
fn authorize<'a>(
    rules: &Rules,
    principal: &'a Principal,
    operation: &str,
    name: Option<&'a SecretName>,
) -> Result<Authorized<'a>, Denied> {
    match (name, operation) {
        (Some(name), _) => rules.authorize(principal, operation, Some(name.as_str())),
        (None, request::STATUS | request::METRICS) => rules.authorize(principal, operation, None),
        (None, _) => rules.authorize_some(principal, operation),
    }
}

/// What the operator must know of a failed request; names stand in the audit only.
pub(crate) fn log_failure(request: &str, operation: Option<&'static str>, error: &ServeError) {
    match error.code() {
        Code::Internal | Code::Integrity => {
            tracing::error!(request, operation, %error, "request failed");
        }
        Code::Unavailable | Code::Timeout | Code::LockedOut | Code::WrongDevice => {
            tracing::warn!(request, operation, %error, "request failed");
        }
        Code::Malformed
        | Code::Invalid
        | Code::Unsupported
        | Code::WrongUsage
        | Code::Denied
        | Code::NotFound
        | Code::Conflict
        | Code::StateMismatch
        | Code::TooLarge
        | Code::Busy => tracing::debug!(request, operation, %error, "request refused"),
    }
}
