//! How many connections and requests one user, and all together, may have open.
//!
//! A refusal is a value, which the front-end turns into an answer; nothing is closed silently
//! here. A permit gives its place back when it is dropped. Nothing waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::peer::Principal;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: Self::CONNECTIONS,
            connections_per_uid: Self::CONNECTIONS_PER_UID,
            in_flight: Self::IN_FLIGHT,
            in_flight_per_uid: Self::IN_FLIGHT_PER_UID,
        }
    }
}

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
}

/// Counts connections and requests against their limits.
///
/// Clones count together.
#[derive(Clone, Debug)]
pub struct Limiter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    connections: Mutex<Connections>,
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct Connections {
    all: usize,
    users: HashMap<u32, User>,
}

#[derive(Debug)]
struct User {
    connections: usize,
    in_flight: Arc<AtomicUsize>,
}

/// The place of one connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    shared: Arc<Shared>,
    uid: u32,
    in_flight: Arc<AtomicUsize>,
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
    of_user: Arc<AtomicUsize>,
}

impl Limiter {
    /// Starts counting from nothing.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let connections = Mutex::default();
        Self(Arc::new(Shared { limits, connections, in_flight: AtomicUsize::new(0) }))
    }

    /// Takes a place for a connection of `uid`.
    ///
    /// # Errors
    /// [`Busy::Connections`], [`Busy::ConnectionsOfUser`]: there is none.
    pub fn connection(&self, uid: u32) -> Result<ConnectionPermit, Busy> {
        let limits = &self.0.limits;
        let mut connections = self.0.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = connections.users.get(&uid).map_or(0, |user| user.connections);
        if of_user >= limits.connections_per_uid {
            return Err(Busy::ConnectionsOfUser(of_user));
        }
        if connections.all >= limits.connections {
            return Err(Busy::Connections(connections.all));
        }
        connections.all += 1;
        let new = || User { connections: 0, in_flight: Arc::default() };
        let user = connections.users.entry(uid).or_insert_with(new);
        user.connections += 1;
        let in_flight = Arc::clone(&user.in_flight);
        drop(connections);
        Ok(ConnectionPermit { shared: Arc::clone(&self.0), uid, in_flight })
    }
}

impl ConnectionPermit {
    /// Takes a place for a request on this connection.
    ///
    /// # Errors
    /// [`Busy::InFlight`], [`Busy::InFlightOfUser`]: there is none.
    pub fn request(&self) -> Result<RequestPermit, Busy> {
        let limits = &self.shared.limits;
        take(&self.in_flight, limits.in_flight_per_uid).map_err(Busy::InFlightOfUser)?;
        if let Err(found) = take(&self.shared.in_flight, limits.in_flight) {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            return Err(Busy::InFlight(found));
        }
        let of_user = Arc::clone(&self.in_flight);
        Ok(RequestPermit { shared: Arc::clone(&self.shared), of_user })
    }
}

/// Adds one unless the count has reached `most`; then returns the count.
fn take(count: &AtomicUsize, most: usize) -> Result<(), usize> {
    // The counts guard no other memory, so that no ordering is needed.
    let add = |now: usize| (now < most).then_some(now + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map(|_| ())
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut connections =
            self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.all = connections.all.saturating_sub(1);
        if let Some(user) = connections.users.get_mut(&self.uid) {
            user.connections = user.connections.saturating_sub(1);
            // A request that outlives its connection keeps its user's count alive by itself.
            if user.connections == 0 && Arc::strong_count(&user.in_flight) <= 2 {
                connections.users.remove(&self.uid);
            }
        }
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.of_user.fetch_sub(1, Ordering::Relaxed);
        self.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits =
        Limits { connections: 3, connections_per_uid: 2, in_flight: 3, in_flight_per_uid: 2 };

    /// Opens connections of these users one after the other, and compares the last answer.
    #[track_caller]
    fn check_connections(users: &[u32], last: Result<(), Busy>) {
        let limiter = Limiter::new(SMALL);
        let mut answers: Vec<_> = users.iter().map(|uid| limiter.connection(*uid)).collect();
        let found = answers.pop().unwrap();
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(found.map(drop), last);
    }

    #[test]
    fn connections_of_a_user_at_the_limit_are_taken() {
        check_connections(&[1, 1], Ok(()));
    }

    #[test]
    fn connection_of_a_user_past_the_limit_is_busy() {
        check_connections(&[1, 1, 1], Err(Busy::ConnectionsOfUser(2)));
    }

    #[test]
    fn connections_of_all_at_the_limit_are_taken() {
        check_connections(&[1, 1, 2], Ok(()));
    }

    #[test]
    fn connection_of_all_past_the_limit_is_busy() {
        check_connections(&[1, 1, 2, 3], Err(Busy::Connections(3)));
    }

    #[test]
    fn connection_closed_makes_room_and_its_user_is_forgotten() {
        let limiter = Limiter::new(SMALL);
        let first = limiter.connection(1).unwrap();
        let second = limiter.connection(1).unwrap();
        drop(first);
        assert!(limiter.connection(1).is_ok());
        drop(second);
        assert!(limiter.0.connections.lock().unwrap().users.is_empty());
        assert_eq!(limiter.0.connections.lock().unwrap().all, 0);
    }

    #[test]
    fn requests_at_the_users_limit_are_taken_and_one_more_is_busy() {
        let limiter = Limiter::new(SMALL);
        let (one, two) = (limiter.connection(1).unwrap(), limiter.connection(1).unwrap());
        let _first = one.request().unwrap();
        let second = two.request().unwrap();
        assert_eq!(one.request().map(drop), Err(Busy::InFlightOfUser(2)));
        drop(second);
        assert!(one.request().is_ok());
    }

    #[test]
    fn requests_at_the_limit_of_all_are_taken_and_one_more_is_busy() {
        let limiter = Limiter::new(SMALL);
        let (one, two) = (limiter.connection(1).unwrap(), limiter.connection(2).unwrap());
        let _held = [one.request().unwrap(), one.request().unwrap()];
        let third = two.request().unwrap();
        assert_eq!(two.request().map(drop), Err(Busy::InFlight(3)));
        drop(third);
        assert!(two.request().is_ok(), "a refused request kept its place");
    }

    #[test]
    fn request_that_outlives_its_connection_still_counts() {
        let limiter = Limiter::new(SMALL);
        let connection = limiter.connection(1).unwrap();
        let _held = [connection.request().unwrap(), connection.request().unwrap()];
        drop(connection);
        let again = limiter.connection(1).unwrap();
        assert_eq!(again.request().map(drop), Err(Busy::InFlightOfUser(2)));
    }

    #[test]
    fn places_taken_by_many_threads_never_exceed_the_limit() {
        let limits =
            Limits { connections: 8, connections_per_uid: 8, in_flight: 5, in_flight_per_uid: 5 };
        let limiter = Limiter::new(limits);
        let most = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let connection = limiter.connection(1).unwrap();
                    for _ in 0..10_000 {
                        if let Ok(_permit) = connection.request() {
                            let now = limiter.0.in_flight.load(Ordering::Relaxed);
                            most.fetch_max(now, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!((1..=5).contains(&most.load(Ordering::Relaxed)));
        assert_eq!(limiter.0.in_flight.load(Ordering::Relaxed), 0);
    }
}
