//! Monotonic counters: kept by a device where there is one, else in the registry.

use std::sync::Arc;

use aws_lc_rs::rand;
use provider_core::{ErrorKind, KeyBlob, KeyId};
use wire::api::{
    CounterKind, CounterList, CounterRecord, CounterReply, CreateCounterRequest,
    DestroyCounterReply, Protection,
};
use wire::code::{Code, Fault};
use wire::name::KeyName;

use super::Job;
use super::version::in_registry;
use crate::error::{Failure, HostError};
use crate::plugin::{Answer, Call, CallError, DeviceCounter};
use crate::registry::{Counter, DeviceHome, Home, Stage};
use crate::reply::{Reply, Used};
use crate::request::CounterRequest;
use crate::router::Selected;

pub(super) async fn perform(
    job: &Job<'_>,
    name: &KeyName,
    request: &CounterRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    match request {
        CounterRequest::Create(terms) => create(job, name, terms, used).await,
        CounterRequest::Increment(from) => increment(job, name, *from, used).await,
        CounterRequest::Read => read(job, name, used).await,
        CounterRequest::Destroy(confirm) => destroy(job, name, confirm.as_ref(), used).await,
    }
}

/// Counters that the caller may read.
pub(super) fn list(job: &Job<'_>) -> Reply {
    let rules = job.host.rules.current();
    let principal = job.authorized.principal();
    let counters = job.host.registry.counters();
    let visible = counters
        .iter()
        .filter(|counter| counter.is_live())
        .filter(|counter| rules.visible(principal, "read_counter", counter.name.as_str()));
    Reply::Counters(CounterList { counters: visible.map(|counter| record(counter)).collect() })
}

async fn create(
    job: &Job<'_>,
    name: &KeyName,
    request: &CreateCounterRequest,
    used: &mut Used,
) -> Result<Reply, HostError> {
    let _change = job.host.router.changes().of(name).await;
    if settle(job, name).await?.is_some() {
        return Err(Failure::Conflict("a counter of this name exists".into()).into());
    }
    let reply = match place(job, request)? {
        Some(selected) => create_on_device(job, name, selected, used).await?,
        None => {
            let (name, uid) = (name.clone(), job.authorized.principal().uid());
            let now = job.host.clock.now_text();
            let made = in_registry(job, move |registry| registry.add_counter(&name, now, uid));
            let made = made.await?;
            own_reply(&made)?
        }
    };
    Ok(Reply::CounterCreated(reply))
}

/// The device that is to keep a new counter, or none for the registry.
fn place(job: &Job<'_>, request: &CreateCounterRequest) -> Result<Option<Selected>, HostError> {
    if request.kind == Some(CounterKind::Registry) {
        return Ok(None);
    }
    let floor = request.floor.unwrap_or(Protection::Software);
    let selected = job.host.router.select_for_counter(request.providers.as_deref(), floor)?;
    let passed_over = match selected {
        Ok(selected) => return Ok(Some(selected)),
        Err(passed_over) => passed_over,
    };
    if request.kind == Some(CounterKind::Device) {
        let none = format!("no provider can keep this counter: {passed_over}");
        return Err(Failure::NoProvider(none).into());
    }
    if floor > Protection::Software {
        let none = format!(
            "no provider can keep this counter ({passed_over}), and the registry gives software \
             protection, below {}",
            floor.as_str()
        );
        return Err(Failure::NoProvider(none).into());
    }
    Ok(None)
}

/// Makes a counter so that a crash at any moment leaves it whole or absent: the record is
/// announced, then the device makes the counter, then the record is completed.
async fn create_on_device(
    job: &Job<'_>,
    name: &KeyName,
    selected: Selected,
    used: &mut Used,
) -> Result<CounterReply, HostError> {
    let provider = &selected.provider;
    let mut id = [0; 16];
    rand::fill(&mut id).map_err(|_unspecified| Failure::Bug("no randomness"))?;
    let home = DeviceHome {
        provider: provider.name().clone(),
        protection: selected.protection,
        id: KeyId(id),
        blob: Arc::from([]),
        stage: Stage::Creating,
    };
    note(used, &home);
    let counter = Counter::new(
        name.clone(),
        Home::Device(home.clone()),
        job.host.clock.now_text(),
        job.authorized.principal().uid(),
    );
    let announced = in_registry(job, move |registry| registry.put_counter(None, counter)).await?;
    let (blob, value) = match provider.call(job.account(), Call::CounterCreate(home.id)).await {
        Ok(Answer::Counter(KeyBlob(blob), value)) => (blob, value),
        Ok(_) => return Err(Failure::Bug("counter_create did not answer with a counter").into()),
        Err(error) => {
            // What cannot be undone now stays announced; the caller is told the first failure.
            let _undone = settle(job, name).await;
            return Err(error);
        }
    };
    let live = DeviceHome { blob: Arc::from(&blob[..]), stage: Stage::Live, ..home };
    match put_home(job, announced, live.clone()).await {
        Ok(counter) => Ok(reply(&counter, value)),
        Err(error) => {
            // Somebody may have undone the announcement meanwhile, and with it our way to it.
            let _removed = provider.call(job.account(), Call::CounterDestroy(live.counter())).await;
            let _undone = settle(job, name).await;
            Err(error)
        }
    }
}

/// Raises a counter; with `from` only one that is there, so that of two who saw the same value one
/// is refused, and an increment that comes late changes nothing.
async fn increment(
    job: &Job<'_>,
    name: &KeyName,
    from: Option<u64>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    // Between looking at the value and raising it nobody else may raise it.
    let _change = job.host.router.changes().of(name).await;
    let counter = living(job, name)?;
    let Some(home) = counter.device() else {
        if from.is_some_and(|from| counter.home != Home::Registry { value: from }) {
            return Err(another_value());
        }
        let name = name.clone();
        let raised = in_registry(job, move |registry| registry.increment_counter(&name)).await?;
        return Ok(Reply::Counter(own_reply(&raised)?));
    };
    if let Some(from) = from
        && ask(job, home, Call::CounterRead, used).await? != from
    {
        return Err(another_value());
    }
    let value = ask(job, home, Call::CounterIncrement, used).await?;
    Ok(Reply::Counter(reply(&counter, value)))
}

async fn read(job: &Job<'_>, name: &KeyName, used: &mut Used) -> Result<Reply, HostError> {
    let counter = living(job, name)?;
    let Some(home) = counter.device() else {
        return Ok(Reply::Counter(own_reply(&counter)?));
    };
    let value = ask(job, home, Call::CounterRead, used).await?;
    Ok(Reply::Counter(reply(&counter, value)))
}

async fn destroy(
    job: &Job<'_>,
    name: &KeyName,
    confirm: Option<&KeyName>,
    used: &mut Used,
) -> Result<Reply, HostError> {
    if confirm != Some(name) {
        let detail = "confirm must repeat the counter's name: ?confirm=NAME";
        return Err(Failure::Decode(Fault::new(Code::Invalid, detail)).into());
    }
    let _change = job.host.router.changes().of(name).await;
    let counter = settle(job, name).await?.ok_or(NO_COUNTER)?;
    match counter.device() {
        Some(home) => {
            note(used, home);
            let provider = job.host.router.provider(&home.provider)?;
            if !provider.is_working() {
                let down = format!("provider {} keeps the counter and is down", home.provider);
                return Err(HostError::from(Failure::Unavailable(down)).at(&home.provider));
            }
            let condemned = DeviceHome { stage: Stage::Destroying, ..home.clone() };
            put_home(job, Arc::clone(&counter), condemned).await?;
            settle(job, name).await?;
        }
        None => {
            in_registry(job, move |registry| registry.remove_counter(&counter)).await?;
        }
    }
    Ok(Reply::CounterDestroyed(DestroyCounterReply { counter: name.clone() }))
}

/// Completes what an earlier change of this counter left unfinished, if its provider is there, and
/// returns the counter if there is one then. The caller holds its lock.
async fn settle(job: &Job<'_>, name: &KeyName) -> Result<Option<Arc<Counter>>, HostError> {
    let Some(counter) = job.host.registry.counter(name) else { return Ok(None) };
    let Some(home) = counter.device().filter(|home| home.stage != Stage::Live) else {
        return Ok(Some(counter));
    };
    let provider = job.host.router.provider(&home.provider)?;
    if provider.call(job.account(), Call::CounterDestroy(home.counter())).await.is_err() {
        let waits = format!(
            "an earlier change of the counter waits for provider {} to come back",
            home.provider
        );
        return Err(HostError::from(Failure::Unavailable(waits)).at(&home.provider));
    }
    in_registry(job, move |registry| registry.remove_counter(&counter)).await?;
    Ok(None)
}

async fn put_home(
    job: &Job<'_>,
    before: Arc<Counter>,
    home: DeviceHome,
) -> Result<Arc<Counter>, HostError> {
    let mut after = Counter::clone(&before);
    after.home = Home::Device(home);
    in_registry(job, move |registry| registry.put_counter(Some(&before), after)).await
}

/// The value itself is not told: who may raise a counter may not therefore read it.
fn another_value() -> HostError {
    Failure::Conflict("the counter is not at the value that it was to be raised from".into()).into()
}

const NO_COUNTER: Failure = Failure::NotFound("there is no such counter");

fn living(job: &Job<'_>, name: &KeyName) -> Result<Arc<Counter>, HostError> {
    let counter = job.host.registry.counter(name).filter(|counter| counter.is_live());
    Ok(counter.ok_or(NO_COUNTER)?)
}

/// Asks the device for the counter's value.
///
/// # Errors
/// `LostCounter` when it has not got the counter any more: to a caller that is no `not_found`,
/// after which it might begin anew.
async fn ask(
    job: &Job<'_>,
    home: &DeviceHome,
    call: fn(DeviceCounter) -> Call,
    used: &mut Used,
) -> Result<u64, HostError> {
    note(used, home);
    let provider = job.host.router.provider(&home.provider)?;
    match provider.call(job.account(), call(home.counter())).await {
        Ok(Answer::Value(value)) => Ok(value),
        Ok(_) => Err(Failure::Bug("a counter did not answer with a value").into()),
        Err(error) => {
            if let Failure::Call(CallError::Provider(seen)) = &error.failure
                && matches!(seen.kind, ErrorKind::KeyNotFound | ErrorKind::Integrity)
            {
                let lost = HostError::from(Failure::LostCounter(seen.detail.clone()));
                return Err(lost.at(&home.provider));
            }
            Err(error)
        }
    }
}

fn note(used: &mut Used, home: &DeviceHome) {
    used.provider = Some(home.provider.clone());
    used.protection = Some(home.protection);
}

impl DeviceHome {
    /// The counter, as a call names it.
    pub(crate) fn counter(&self) -> DeviceCounter {
        DeviceCounter { id: self.id, blob: Arc::clone(&self.blob) }
    }
}

fn own_reply(counter: &Counter) -> Result<CounterReply, HostError> {
    match counter.home {
        Home::Registry { value } => Ok(reply(counter, value)),
        Home::Device(_) => Err(Failure::Bug("the counter has another home").into()),
    }
}

fn reply(counter: &Counter, value: u64) -> CounterReply {
    let CounterRecord { name, kind, provider, protection, created_at } = record(counter);
    CounterReply { name, value, kind, provider, protection, created_at }
}

fn record(counter: &Counter) -> CounterRecord {
    let device = counter.device();
    CounterRecord {
        name: counter.name.clone(),
        kind: device.map_or(CounterKind::Registry, |_| CounterKind::Device),
        provider: device.map(|home| home.provider.clone()),
        protection: device.map(|home| home.protection),
        created_at: counter.created_at.clone(),
    }
}
