//! The host's end of a worker: calls go out as packets from the tasks that make them, answers
//! come back through one task that hands them out by number.
//!
//! As many calls as the device takes at once are *started*; as many again are with the worker
//! already, so that the device need not wait for the host. A call's deadline runs from its start.

use std::collections::VecDeque;
use std::io;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provider_core::ErrorKind;
use tokio::net::UnixDatagram;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::{Zeroize, Zeroizing};

use super::message;
use super::opening::{Description, OpenFailure};
use super::queue::{Queue, Turn};
use super::start::{self, Started};
use super::{
    Account, Answer, Call, CallError, Deadlines, Death, OpenRequest, PluginSource, Spawner,
};

/// An opened instance in a worker. Dropping it closes the socket, upon which the worker ends.
#[derive(Debug)]
pub(super) struct WorkerLink {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// A packet socket: tokio knows none, and its datagram socket makes the same two calls.
    socket: UnixDatagram,
    spawner: Arc<Spawner>,
    pid: u32,
    deadlines: Deadlines,
    /// Calls that the device takes at once.
    concurrency: usize,
    /// One turn for each call that may be with the worker.
    queue: Queue,
    calls: Mutex<Calls>,
    death: watch::Sender<Option<Death>>,
}

#[derive(Debug)]
struct Calls {
    next_number: u64,
    /// Oldest first; the first `concurrency` of them are started.
    with_worker: VecDeque<InFlight>,
    dead: bool,
    child: Option<Child>,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    limit: Duration,
    started: Option<Instant>,
    reply: oneshot::Sender<Result<Answer, CallError>>,
    _turn: Turn,
}

/// Starts a worker and opens the device in it.
pub(super) async fn open(
    source: &PluginSource,
    spawner: &Arc<Spawner>,
    request: &OpenRequest,
    deadlines: Deadlines,
) -> Result<(Arc<WorkerLink>, Description), OpenFailure> {
    let started = start::open(source, spawner, request, deadlines.open).await?;
    let Started { socket, child, description, buffer } = started;
    let concurrency = usize::try_from(description.info.concurrency).unwrap_or(1).max(1);
    let shared = Arc::new(Shared {
        socket,
        spawner: Arc::clone(spawner),
        pid: child.as_ref().map_or(0, Child::id),
        deadlines,
        concurrency,
        queue: Queue::new(concurrency, concurrency, deadlines),
        calls: Mutex::new(Calls {
            next_number: 0,
            with_worker: VecDeque::new(),
            dead: false,
            child,
        }),
        death: watch::Sender::new(None),
    });
    let reader = tokio::spawn(read_answers(Arc::clone(&shared), buffer)).abort_handle();
    Ok((Arc::new(WorkerLink { shared, reader }), description))
}

impl WorkerLink {
    /// Makes one call; see [`super::Link::call`].
    pub(super) async fn call(&self, account: Account, call: Call) -> Result<Answer, CallError> {
        let shared = &self.shared;
        let turn = shared.queue.turn(account).await?;
        let limit = shared.deadlines.of(&call);
        let (reply, mut answer) = oneshot::channel();
        let number = shared.enter(limit, reply, turn)?;
        let mut left = Left { shared, number, sent: false, answered: false };
        let packet = message::encode_call(number, &call);
        let sent = match packet.map(Zeroizing::new) {
            Ok(packet) => shared.socket.send(&packet).await.map(drop),
            Err(malformed) => Err(io::Error::other(malformed)),
        };
        if let Err(error) = sent {
            shared.die(&format!("its socket failed: {error}"));
        }
        left.sent = true;
        // A call's clock starts when the device is free for it, so the wait may have to be renewed.
        let mut until = Instant::now() + limit;
        loop {
            match timeout_at(until, &mut answer).await {
                Ok(answer) => {
                    left.answered = true;
                    return answer.unwrap_or_else(|_dropped| {
                        Err(CallError::Gone("the link was closed".into()))
                    });
                }
                Err(_elapsed) => until = shared.next_check(number).unwrap_or_else(Instant::now),
            }
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.shared.queue.waiting()
    }

    pub(super) fn death(&self) -> watch::Receiver<Option<Death>> {
        self.shared.death.subscribe()
    }

    pub(super) fn pid(&self) -> u32 {
        self.shared.pid
    }
}

impl Drop for WorkerLink {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(child) = self.shared.lock().child.take() {
            self.shared.spawner.reap(child);
        }
    }
}

/// Sees to a call whose caller leaves before the answer: the deadline holds all the same, or a
/// device that hangs would keep its turn for ever.
struct Left<'a> {
    shared: &'a Arc<Shared>,
    number: u64,
    sent: bool,
    answered: bool,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        if !self.sent {
            // The worker never heard of it.
            self.shared.answer(self.number, Err(CallError::Gone("the caller left".into())));
            return;
        }
        // Without a runtime the host is ending, and its workers with it.
        let Ok(runtime) = Handle::try_current() else { return };
        let (shared, number) = (Arc::clone(self.shared), self.number);
        runtime.spawn(async move {
            while let Some(at) = shared.next_check(number) {
                sleep_until(at).await;
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call as being with the worker, and gives it its number.
    fn enter(
        &self,
        limit: Duration,
        reply: oneshot::Sender<Result<Answer, CallError>>,
        turn: Turn,
    ) -> Result<u64, CallError> {
        let mut calls = self.lock();
        if calls.dead {
            return Err(CallError::Gone("the worker ended".into()));
        }
        let number = calls.next_number;
        calls.next_number = number.wrapping_add(1);
        let started = (calls.with_worker.len() < self.concurrency).then(Instant::now);
        calls.with_worker.push_back(InFlight { number, limit, started, reply, _turn: turn });
        Ok(number)
    }

    /// Hands an answer to its caller and starts the next call's clock.
    fn answer(&self, number: u64, answer: Result<Answer, CallError>) {
        let mut calls = self.lock();
        let Some(place) = calls.with_worker.iter().position(|call| call.number == number) else {
            return;
        };
        let Some(call) = calls.with_worker.remove(place) else { return };
        if let Some(next) = calls.with_worker.get_mut(self.concurrency.saturating_sub(1)) {
            next.started.get_or_insert_with(Instant::now);
        }
        drop(calls);
        // A caller that went away is answered by nobody; its turn is free again all the same.
        let _ = call.reply.send(answer);
    }

    /// When to look at a call again, while it is with the worker; ends the worker when any call
    /// is past its deadline.
    fn next_check(&self, number: u64) -> Option<Instant> {
        let now = Instant::now();
        let calls = self.lock();
        let overdue = |call: &InFlight| call.started.is_some_and(|at| now >= at + call.limit);
        if calls.with_worker.iter().any(overdue) {
            drop(calls);
            self.die("the device did not answer in time; it was ended");
            return None;
        }
        let call = calls.with_worker.iter().find(|call| call.number == number)?;
        Some(call.started.unwrap_or(now) + call.limit)
    }

    /// Ends the worker and fails every call that is with it: `Timeout` those past their deadline,
    /// `Gone` the others.
    fn die(&self, reason: &str) {
        let now = Instant::now();
        // Until the worker is known to have ended, or a reaper has it.
        let _counted = self.spawner.count();
        let (calls, child) = {
            let mut calls = self.lock();
            if calls.dead {
                return;
            }
            calls.dead = true;
            (std::mem::take(&mut calls.with_worker), calls.child.take())
        };
        let is_overdue = |call: &InFlight| call.started.is_some_and(|at| now >= at + call.limit);
        self.queue.close();
        let ended = child.map_or_else(String::new, |mut child| {
            // It may have ended by itself, which is then what `end_of` tells.
            let _ = child.kill();
            end_of(child, &self.spawner)
        });
        tracing::warn!(worker = self.pid, %reason, %ended, "worker lost");
        let gone = !calls.iter().any(is_overdue);
        self.death.send_replace(Some(Death { reason: format!("{reason} (it {ended})"), gone }));
        for call in calls {
            let error = if is_overdue(&call) {
                CallError::Timeout(call.limit)
            } else {
                CallError::Gone(reason.to_owned())
            };
            let _ = call.reply.send(Err(error));
        }
    }
}

/// Hands answers to their callers until the worker closes its end.
async fn read_answers(shared: Arc<Shared>, mut buffer: Zeroizing<Vec<u8>>) {
    loop {
        let length = match receive(&shared.socket, &mut buffer).await {
            Ok(Some(length)) => length,
            Ok(None) => return shared.die("it ended"),
            Err(error) => return shared.die(&format!("its socket failed: {error}")),
        };
        let packet = buffer.get_mut(..length).unwrap_or_default();
        let decoded = message::decode_answer(packet);
        packet.zeroize();
        let Ok((number, answer)) = decoded else {
            return shared.die("it sent a malformed packet");
        };
        let panicked = matches!(&answer, Err(error) if error.kind == ErrorKind::Panicked);
        shared.answer(number, answer.map_err(CallError::Provider));
        if panicked {
            return shared.die("its provider panicked");
        }
    }
}

/// Receives one packet; `None` when the worker closed its end.
pub(super) async fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match socket.recv(buffer).await {
        Ok(0) => Ok(None),
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// Says how a process ended that is ending or was killed. One that the kernel keeps in a device
/// call cannot end now; it is left to the reaper rather than waited for.
pub(super) fn end_of(mut child: Child, spawner: &Spawner) -> String {
    for _ in 0..END_POLLS {
        match child.try_wait() {
            Ok(Some(status)) => return format!("ended with {status}"),
            // Milliseconds, once in the life of a worker.
            Ok(None) => std::thread::sleep(END_POLL),
            Err(error) => return format!("cannot be waited for: {error}"),
        }
    }
    spawner.reap(child);
    "does not end: the kernel keeps it in a device call".to_owned()
}

/// How often, and how often at most, a process is asked whether it has ended.
const END_POLL: Duration = Duration::from_millis(1);
const END_POLLS: u32 = 100;
