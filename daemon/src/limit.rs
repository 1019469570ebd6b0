//! How much one user, and all together, may have: connections, requests under way, requests a
//! second, bytes of bodies in memory.
//!
//! A refusal is a value, which the front-end turns into an answer; nothing is closed silently
//! here. A permit gives its place back when it is dropped. Nothing waits.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use wire::limits::BODY_MAX_BYTES;

use crate::clock::Clock;
use crate::peer::Principal;

mod bucket;
mod descriptors;
mod turns;

use bucket::Bucket;
pub(crate) use turns::Turns;

/// The limits of a daemon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Open connections of all users.
    pub connections: usize,
    /// Open connections of one user.
    pub connections_per_uid: usize,
    /// Requests being answered, of all users.
    pub in_flight: usize,
    /// Requests being answered, of one user.
    pub in_flight_per_uid: usize,
    /// Requests of one user a second; none is no limit.
    pub rate_per_uid: Option<NonZeroU32>,
    /// Requests that one user may make at once after a while without any; where there is none, as
    /// many as in a second.
    pub burst_per_uid: Option<NonZeroU32>,
    /// Bytes of bodies in memory, of all users.
    pub body_bytes: usize,
    /// Bytes of bodies in memory, of one user.
    pub body_bytes_per_uid: usize,
}

impl Limits {
    /// Connections of all users: they fit, with the daemon's other files, in the 1,024 descriptors
    /// that a service has unless told otherwise.
    pub const CONNECTIONS: usize = 768;
    /// Connections of one user: two thirds, so that a second user finds room.
    pub const CONNECTIONS_PER_UID: usize = 512;
    /// Requests of all users being answered: one for each connection.
    pub const IN_FLIGHT: usize = 768;
    /// Requests of one user being answered: one for each connection.
    pub const IN_FLIGHT_PER_UID: usize = 512;
    /// Bodies of all users: sixteen of the longest. Decoding one takes some times as much.
    pub const BODY_BYTES: usize = 16 * BODY_MAX_BYTES;
    /// Bodies of one user: half, so that a second user finds room.
    pub const BODY_BYTES_PER_UID: usize = 8 * BODY_MAX_BYTES;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Self::CONNECTIONS,
            connections_per_uid: Self::CONNECTIONS_PER_UID,
            in_flight: Self::IN_FLIGHT,
            in_flight_per_uid: Self::IN_FLIGHT_PER_UID,
            rate_per_uid: None,
            burst_per_uid: None,
            body_bytes: Self::BODY_BYTES,
            body_bytes_per_uid: Self::BODY_BYTES_PER_UID,
        }
    }
}

/// Connections that are being told that there is no room for them, at most; one more is told so
/// in fewer words.
pub(crate) const TURNED_AWAY: usize = 64;

/// Users without a connection whose rate is still remembered, before the old ones are looked for.
const REMEMBERED: usize = 64;

/// There is no room; to be tried again later.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Busy {
    /// All users together have as many connections as they may.
    #[error("{0} connections are open, the limit of this daemon")]
    Connections(usize),
    /// The user has as many connections as it may.
    #[error("{0} connections of this user are open, the limit")]
    ConnectionsOfUser(usize),
    /// All users together have as many requests as they may.
    #[error("{0} requests are being answered, the limit of this daemon")]
    InFlight(usize),
    /// The user has as many requests as it may.
    #[error("{0} requests of this user are being answered, the limit")]
    InFlightOfUser(usize),
    /// The user asks more often than it may.
    #[error("this user makes more than {0} requests a second, the limit")]
    RateOfUser(NonZeroU32),
    /// The bodies of all users together are as long as they may be.
    #[error("bodies of {0} bytes are being read, the limit of this daemon")]
    Body(usize),
    /// The bodies of the user are as long as they may be.
    #[error("bodies of {0} bytes of this user are being read, the limit")]
    BodyOfUser(usize),
}

impl Busy {
    /// The key of `[limits]` that sets the limit, which is its name in metrics too.
    #[must_use]
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Connections(_) => "connections",
            Self::ConnectionsOfUser(_) => "connections_per_uid",
            Self::InFlight(_) => "in_flight",
            Self::InFlightOfUser(_) => "in_flight_per_uid",
            Self::RateOfUser(_) => "rate_per_uid",
            Self::Body(_) => "body_bytes",
            Self::BodyOfUser(_) => "body_bytes_per_uid",
        }
    }
}

/// Counts connections, requests and bytes against their limits.
///
/// Clones count together.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    clock: Clock,
    connections: Mutex<Connections>,
    in_flight: AtomicUsize,
    body_bytes: AtomicUsize,
    turned_away: AtomicUsize,
    /// Those that have a connection.
    users: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct Connections {
    all: usize,
    users: HashMap<u32, User>,
}

#[derive(Debug)]
struct User {
    connections: usize,
    counts: Arc<OfUser>,
}

/// What is counted of one user, however many connections it has.
#[derive(Debug)]
struct OfUser {
    in_flight: AtomicUsize,
    body_bytes: AtomicUsize,
    bucket: Option<Bucket>,
    turns: Arc<Semaphore>,
}

/// The place of one connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    uid: u32,
    of_user: Arc<OfUser>,
}

/// Who asks, for as long as the connection lives.
#[derive(Debug)]
pub struct Caller {
    /// Who the kernel says it is.
    pub principal: Principal,
    /// Its place among the connections.
    pub permit: ConnectionPermit,
}

/// The place of one request.
#[derive(Debug)]
pub struct RequestPermit {
    shared: Arc<Shared>,
    of_user: Arc<OfUser>,
}

/// Room for the body of one request, for as long as it is in memory.
#[derive(Debug)]
pub(crate) struct BodyPermit {
    shared: Arc<Shared>,
    of_user: Arc<OfUser>,
    bytes: usize,
}

/// The place of one connection that is being told that there is no room.
#[derive(Debug)]
pub(crate) struct TurnedAway(Arc<Shared>);

impl Limiter {
    /// Starts counting from nothing, with no more connections than this process can have open;
    /// says so in the log when these are fewer than `limits` has.
    #[must_use]
    pub fn for_process(limits: Limits, clock: Clock) -> Self {
        Self::new(descriptors::fit(limits), clock)
    }

    /// Starts counting from nothing.
    #[must_use]
    pub fn new(limits: Limits, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            limits,
            clock,
            connections: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            body_bytes: AtomicUsize::new(0),
            turned_away: AtomicUsize::new(0),
            users: Arc::default(),
        }))
    }

    /// Takes a place for a connection of `uid`.
    ///
    /// # Errors
    /// [`Busy::Connections`], [`Busy::ConnectionsOfUser`]: there is none.
    pub fn connection(&self, uid: u32) -> Result<ConnectionPermit, Busy> {
        let limits = &self.0.limits;
        let mut connections = self.0.lock();
        let of_user = connections.users.get(&uid).map_or(0, |user| user.connections);
        if of_user >= limits.connections_per_uid {
            return Err(Busy::ConnectionsOfUser(of_user));
        }
        if connections.all >= limits.connections {
            return Err(Busy::Connections(connections.all));
        }
        if connections.users.len() > REMEMBERED.saturating_add(connections.all) {
            let now = self.0.clock.passed();
            connections.users.retain(|_, user| user.connections > 0 || !user.counts.is_idle(now));
        }
        connections.all += 1;
        let new = || User { connections: 0, counts: Arc::new(OfUser::new(limits)) };
        let user = connections.users.entry(uid).or_insert_with(new);
        user.connections += 1;
        if user.connections == 1 {
            self.0.users.fetch_add(1, Ordering::Relaxed);
        }
        let of_user = Arc::clone(&user.counts);
        drop(connections);
        Ok(ConnectionPermit { shared: Arc::clone(&self.0), uid, of_user })
    }

    /// Takes a place among those that are told that there is no room; there may be none either.
    pub(crate) fn turn_away(&self) -> Option<TurnedAway> {
        take(&self.0.turned_away, 1, TURNED_AWAY).ok()?;
        Some(TurnedAway(Arc::clone(&self.0)))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfUser {
    fn new(limits: &Limits) -> Self {
        let bucket = |rate| Bucket::new(rate, limits.burst_per_uid.unwrap_or(rate));
        Self {
            in_flight: AtomicUsize::new(0),
            body_bytes: AtomicUsize::new(0),
            bucket: limits.rate_per_uid.map(bucket),
            turns: Arc::new(Semaphore::new(turns::at_once())),
        }
    }

    /// Whether forgetting it gives the user nothing that it does not have.
    fn is_idle(&self, now: std::time::Duration) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
            && self.body_bytes.load(Ordering::Relaxed) == 0
            && self.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}

impl ConnectionPermit {
    /// Counts a request that begins on this connection.
    ///
    /// # Errors
    /// [`Busy::RateOfUser`]: it comes too soon. It is not counted then.
    pub(crate) fn begin(&self) -> Result<(), Busy> {
        match (&self.of_user.bucket, self.shared.limits.rate_per_uid) {
            (Some(bucket), Some(rate)) if !bucket.take(self.shared.clock.passed()) => {
                Err(Busy::RateOfUser(rate))
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }

    /// Takes a place for a request on this connection.
    ///
    /// # Errors
    /// [`Busy::InFlight`], [`Busy::InFlightOfUser`]: there is none.
    pub fn request(&self) -> Result<RequestPermit, Busy> {
        let limits = &self.shared.limits;
        let of_user = &self.of_user.in_flight;
        take(of_user, 1, limits.in_flight_per_uid).map_err(Busy::InFlightOfUser)?;
        if let Err(found) = take(&self.shared.in_flight, 1, limits.in_flight) {
            of_user.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy::InFlight(found));
        }
        let of_user = Arc::clone(&self.of_user);
        Ok(RequestPermit { shared: Arc::clone(&self.shared), of_user })
    }

    /// The turns that this connection takes among those of its user.
    pub(crate) fn turns(&self) -> Turns {
        Turns::new(&self.shared.users, &self.of_user.turns)
    }

    /// Room for a body of which nothing is read yet.
    pub(crate) fn body(&self) -> BodyPermit {
        let (shared, of_user) = (Arc::clone(&self.shared), Arc::clone(&self.of_user));
        BodyPermit { shared, of_user, bytes: 0 }
    }
}

impl BodyPermit {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// [`Busy::Body`], [`Busy::BodyOfUser`]: there is not as much.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Busy> {
        let limits = &self.shared.limits;
        let of_user = &self.of_user.body_bytes;
        take(of_user, bytes, limits.body_bytes_per_uid).map_err(Busy::BodyOfUser)?;
        if let Err(found) = take(&self.shared.body_bytes, bytes, limits.body_bytes) {
            of_user.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Busy::Body(found));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

/// Adds to the count unless it would exceed `most`; then returns the count.
fn take(count: &AtomicUsize, more: usize, most: usize) -> Result<(), usize> {
    // The counts guard no other memory, so that no ordering is needed.
    let add = |now: usize| now.checked_add(more).filter(|sum| *sum <= most);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map(|_| ())
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections = self.shared.lock();
        connections.all = connections.all.saturating_sub(1);
        if let Some(user) = connections.users.get_mut(&self.uid) {
            user.connections = user.connections.saturating_sub(1);
            if user.connections == 0 {
                self.shared.users.fetch_sub(1, Ordering::Relaxed);
            }
            // A request that outlives its connection keeps its user's counts alive by itself; a
            // user that has used up its rate does not get it anew by connecting again.
            if user.connections == 0
                && Arc::strong_count(&user.counts) <= 2
                && user.counts.is_idle(self.shared.clock.passed())
            {
                connections.users.remove(&self.uid);
            }
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.of_user.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        self.of_user.body_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.shared.body_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Drop for TurnedAway {
    fn drop(&mut self) {
        self.0.turned_away.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
