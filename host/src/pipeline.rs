//! The line. A request that a front-end decoded walks it once, in this order, and never turns
//! back:
//!
//! ```text
//! decode -> authenticate -> authorize -> route -> plugin -> hardware -> audit -> encode
//! ```
//!
//! Each stage hands the next a proof that only it can make: `Principal` (who the kernel says is
//! there), `Authorized` (a rule allows it), `Recorded` (the audit has it). So no request reaches a
//! provider unauthorized, and no reply reaches a front-end unrecorded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use daemon::audit::{AuditError, AuditWriter, Recorded};
use daemon::clock::Clock;
use daemon::limit::{Busy, Caller};
use daemon::peer::{Principal, UnitName};
use daemon::rules::RuleBook;
use daemon::sandbox::Reached;
use wire::audit::{Counts, Kind, Outcome, Record};
use wire::code::{Code, Fault};
use wire::name::{KeyName, ProviderName};

use crate::error::{Attention, Failure, HostError};
use crate::ivs::Ivs;
use crate::metrics::Metrics;
use crate::ops::{self, Job};
use crate::registry::Registry;
use crate::reply::{Reply, Used};
use crate::request::{Api, Request, Unread};
use crate::router::Router;

/// Everything that requests work with.
#[derive(Debug)]
pub struct Host {
    pub(crate) registry: Arc<Registry>,
    pub(crate) router: Arc<Router>,
    pub(crate) rules: RuleBook,
    pub(crate) audit: Arc<AuditWriter>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) ivs: Ivs,
    pub(crate) started_at: String,
    /// How far this process is confined.
    pub(crate) confined: Reached,
    /// Where this run's request ids begin.
    first_request: u64,
    requests: AtomicU64,
}

/// What comes back from the line.
#[derive(Debug)]
pub struct Answered {
    /// The id by which reply and audit name the request.
    pub request_id: String,
    /// The reply, with the proof that it is recorded; a failure may be about the record itself.
    pub outcome: Result<(Reply, Recorded), HostError>,
}

impl Host {
    /// Brings everything together. `first_request` is random, so that ids of two runs differ.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        router: Arc<Router>,
        rules: RuleBook,
        audit: Arc<AuditWriter>,
        clock: Clock,
        confined: Reached,
        first_request: u64,
    ) -> Self {
        Self {
            registry,
            router,
            rules,
            audit,
            metrics: Metrics::new(),
            started_at: clock.now_text(),
            clock,
            ivs: Ivs::default(),
            confined,
            first_request,
            requests: AtomicU64::new(0),
        }
    }

    /// Walks the line with a request, or with the reason why there is none.
    pub async fn answer(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        api: Api,
        asked: Result<Request, Unread>,
    ) -> Answered {
        let (host, caller) = (Arc::clone(self), Arc::clone(caller));
        let line = Line { host, caller, api, begun: Instant::now() };
        match asked {
            // A change is carried through even when its caller goes away.
            Ok(request) if request.is_a_change() => {
                let request_id = self.next_request_id();
                let id = request_id.clone();
                let carried = tokio::spawn(async move { line.walk(id, Ok(request)).await });
                let lost = |_panicked| HostError::from(Failure::Bug("a change panicked"));
                match carried.await.map_err(lost) {
                    Ok(answered) => answered,
                    Err(error) => Answered { request_id, outcome: Err(error) },
                }
            }
            asked => line.walk(self.next_request_id(), asked).await,
        }
    }

    /// Whether a request of this kind is worth reading: whether its caller has permission now. It
    /// is no proof; the request is authorized on the line.
    ///
    /// # Errors
    /// `Denied`.
    pub fn permits(
        &self,
        caller: &Caller,
        operation: &'static str,
        key: Option<&KeyName>,
    ) -> Result<(), HostError> {
        let rules = self.rules.current();
        rules.authorize(&caller.principal, operation, key.map(KeyName::as_str))?;
        Ok(())
    }

    /// Whether a request whose key is in its body is worth reading: whether its caller has
    /// permission for some key.
    ///
    /// # Errors
    /// `Denied`.
    pub fn permits_some(
        &self,
        caller: &Caller,
        api: Api,
        operation: &str,
    ) -> Result<(), HostError> {
        self.rules.current().authorize_some_at(api.door(), &caller.principal, operation)?;
        Ok(())
    }

    /// Answers a caller for whom there is no room, recorded as every refusal is.
    #[must_use]
    pub fn turn_away(&self, principal: &Principal, api: Api, busy: Busy) -> Answered {
        self.refuse(principal, api, Failure::Busy(busy).into())
    }

    /// Records what a caller sent that is no request in any dialect; there is nothing to answer.
    pub fn note_unreadable(&self, principal: &Principal, api: Api) {
        let fault = Fault::new(Code::Malformed, "what came is no request");
        let _nobody_asked = self.refuse(principal, api, Failure::Decode(fault).into());
    }

    /// Refuses what never came to a request.
    fn refuse(&self, principal: &Principal, api: Api, error: HostError) -> Answered {
        let request_id = self.next_request_id();
        let code = error.code();
        self.metrics.count(api, None, Some(code), Duration::ZERO);
        if let Some(limit) = error.limit() {
            self.metrics.count_refused(limit);
        }
        let time = self.clock.now_text();
        let recorded = self.audit.append_refusal(&Record {
            request: Some(&request_id),
            principal: Some(principal.into()),
            unit: principal.unit().map(UnitName::as_str),
            outcome: Some(Outcome::Failed(code)),
            ..Record::new(Kind::Request, &time, self.registry.generation())
        });
        let error = match recorded {
            Ok(_recorded) => error,
            Err(error) => {
                self.note_unrecorded(&request_id, &error);
                audit_failure(&error).into()
            }
        };
        Answered { request_id, outcome: Err(error) }
    }

    /// Tells operators of a reply that is withheld.
    fn note_unrecorded(&self, request_id: &str, error: &AuditError) {
        tracing::error!(request = %request_id, %error, "audit cannot be written");
        self.metrics.count_audit_failure();
    }

    /// Writes, before a key is changed, that it will be; it is on the disk when this returns.
    pub(crate) async fn record_intent(
        &self,
        job: &Job<'_>,
        operation: &'static str,
    ) -> Result<(), HostError> {
        let used = Used::default();
        let written = self.record_change(job, Kind::Intent, operation, &used, None).await?;
        Ok(written.map_err(|error| audit_failure(&error))?)
    }

    /// Writes how a change that a request implied went.
    pub(crate) async fn record_outcome(
        &self,
        job: &Job<'_>,
        operation: &'static str,
        used: &Used,
        error: Option<&HostError>,
    ) -> Result<(), HostError> {
        let outcome = error.map_or(Outcome::Ok, |error| Outcome::Failed(error.code()));
        let written =
            self.record_change(job, Kind::Outcome, operation, used, Some(outcome)).await?;
        Ok(written.map_err(|unwritten| outcome_unrecorded(error.is_none(), &unwritten))?)
    }

    async fn record_change(
        &self,
        job: &Job<'_>,
        kind: Kind,
        operation: &'static str,
        used: &Used,
        outcome: Option<Outcome>,
    ) -> Result<Result<(), AuditError>, HostError> {
        let audit = Arc::clone(&self.audit);
        let (time, generation) = (self.clock.now_text(), self.registry.generation());
        let principal = job.authorized.principal().clone();
        let request = job.request_id.to_owned();
        let key = job.authorized.key().map(str::to_owned);
        let from = job.from.cloned();
        let used = used.clone();
        let written = tokio::task::spawn_blocking(move || {
            let record = Record {
                request: Some(&request),
                principal: Some((&principal).into()),
                unit: principal.unit().map(UnitName::as_str),
                operation: Some(operation),
                key: key.as_deref(),
                from: from.as_ref().map(KeyName::as_str),
                version: used.version,
                provider: used.provider.as_ref().map(ProviderName::as_str),
                protection: used.protection,
                origin: used.origin,
                fallback: used.fallback,
                outcome,
                ..Record::new(kind, &time, generation)
            };
            audit.append_synced(&record).map(drop)
        });
        Ok(written.await.map_err(|_panicked| Failure::Bug("the audit panicked"))?)
    }

    fn next_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.first_request.wrapping_add(number))
    }
}

/// One walk of the line.
struct Line {
    host: Arc<Host>,
    caller: Arc<Caller>,
    api: Api,
    begun: Instant,
}

impl Line {
    async fn walk(self, request_id: String, asked: Result<Request, Unread>) -> Answered {
        let mut used = Used::default();
        let mut intended = false;
        let unread = asked.is_err();
        let durable = asked.as_ref().is_ok_and(Request::is_a_change);
        let mut from = None;
        let (operation, key, result) = match asked {
            Ok(request) => {
                from = request.other_key().cloned();
                let done = self.perform(&request_id, &request, &mut used, &mut intended).await;
                let key = request.key().cloned();
                let done = match (done, &key) {
                    (Err(error), Some(key)) => Err(error.of(key)),
                    (done, _) => done,
                };
                (Some(request.operation()), key, done.map(|reply| (reply, request)))
            }
            Err(Unread { operation, error }) => (operation, error.key.clone(), Err(error)),
        };
        let code = result.as_ref().err().map(HostError::code);
        self.host.metrics.count(self.api, operation, code, self.begun.elapsed());
        if let Err(error) = &result {
            if let Some(limit) = error.limit() {
                self.host.metrics.count_refused(limit);
            }
            log_failure(&request_id, operation, error);
        }
        let (key, from) = (key.as_ref(), from.as_ref());
        let about =
            About { request_id: &request_id, operation, key, from, intended, durable, unread };
        let recorded = match &result {
            Ok((_, request)) => match request.exempt_from_audit() {
                Some(reason) => Ok(Recorded::exempt(reason)),
                None => self.record(&about, &used, code),
            },
            Err(_) => self.record(&about, &used, code),
        };
        let outcome = match (result, recorded) {
            (Ok((reply, _)), Ok(recorded)) => Ok((reply, recorded)),
            (Err(error), Ok(_)) => Err(error),
            // No record, no reply: what was computed is dropped here. What was changed stays so,
            // and the open intent of one that has one shows it.
            (result, Err(error)) => {
                self.host.note_unrecorded(&request_id, &error);
                let failure = match result {
                    result if intended => outcome_unrecorded(result.is_ok(), &error),
                    Ok(_) if durable => outcome_unrecorded(true, &error),
                    Ok(_) | Err(_) => audit_failure(&error),
                };
                let error = HostError::from(failure);
                Err(match key {
                    Some(key) => error.of(key),
                    None => error,
                })
            }
        };
        Answered { request_id, outcome }
    }

    async fn perform(
        &self,
        request_id: &str,
        request: &Request,
        used: &mut Used,
        intended: &mut bool,
    ) -> Result<Reply, HostError> {
        let _place = self.caller.permit.request().map_err(Failure::Busy)?;
        let rules = self.host.rules.current();
        let key = request.key().map(KeyName::as_str);
        let authorize = |key| {
            rules.authorize_at(self.api.door(), &self.caller.principal, request.operation(), key)
        };
        let authorized = authorize(key)?;
        let other = request.other_key();
        if let Some(other) = other {
            let allowed = authorize(Some(other.as_str()));
            allowed.map(drop).map_err(|denied| HostError::from(denied).of(other))?;
        }
        let job = Job { host: &self.host, authorized, from: other, request_id };
        if request.takes_an_intent() {
            self.host.record_intent(&job, request.operation()).await?;
            *intended = true;
        }
        ops::perform(&job, request, used).await
    }

    /// Writes the one record of the request.
    fn record(
        &self,
        about: &About<'_>,
        used: &Used,
        code: Option<Code>,
    ) -> Result<Recorded, AuditError> {
        let time = self.host.clock.now_text();
        let kind = if about.intended { Kind::Outcome } else { Kind::Request };
        let micros = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let record = Record {
            request: Some(about.request_id),
            principal: Some((&self.caller.principal).into()),
            unit: self.caller.principal.unit().map(UnitName::as_str),
            operation: about.operation,
            key: about.key.map(KeyName::as_str),
            from: about.from.map(KeyName::as_str),
            version: used.version,
            provider: used.provider.as_ref().map(ProviderName::as_str),
            protection: used.protection,
            origin: used.origin,
            fallback: used.fallback,
            outcome: Some(code.map_or(Outcome::Ok, Outcome::Failed)),
            duration_us: Some(micros),
            items: used
                .items
                .map(|(total, failed)| Counts { total: count(total), failed: count(failed) }),
            ..Record::new(kind, &time, self.host.registry.generation())
        };
        match code {
            _ if about.intended => self.record_synced(&record),
            None if about.durable => self.record_synced(&record),
            // Whoever may do nothing can still ask, and must not fill the disk by it.
            _ if about.unread => self.host.audit.append_refusal(&record),
            Some(Code::Denied | Code::Malformed | Code::Busy) => {
                self.host.audit.append_refusal(&record)
            }
            _ => self.host.audit.append(&record),
        }
    }

    fn record_synced(&self, record: &Record<'_>) -> Result<Recorded, AuditError> {
        tokio::task::block_in_place(|| self.host.audit.append_synced(record))
    }
}

/// What a record is about.
struct About<'a> {
    request_id: &'a str,
    operation: Option<&'static str>,
    key: Option<&'a KeyName>,
    /// The other one, whose name it had.
    from: Option<&'a KeyName>,
    /// Whether an intent was written, which an outcome must follow.
    intended: bool,
    /// Whether it changed something, so that the record is on the disk before the reply.
    durable: bool,
    /// Whether it was never read, so that nobody was asked whether its caller may do it.
    unread: bool,
}

fn audit_failure(error: &AuditError) -> Failure {
    Failure::Audit(error.to_string())
}

fn outcome_unrecorded(made: bool, error: &AuditError) -> Failure {
    Failure::OutcomeUnrecorded { made, reason: error.to_string() }
}

/// What the operator must know of a failed request; key names stand in the audit only.
fn log_failure(request: &str, operation: Option<&'static str>, error: &HostError) {
    let provider = error.provider.as_ref().map(ProviderName::as_str);
    match error.attention() {
        Attention::Fault => tracing::error!(request, operation, provider, %error, "request failed"),
        Attention::Device => tracing::warn!(request, operation, provider, %error, "request failed"),
        Attention::Caller => {
            tracing::debug!(request, operation, provider, %error, "request refused");
        }
    }
}
