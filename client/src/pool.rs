//! Connections that wait for the next request.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::connection::Connection;

/// How long a connection may wait.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// As many connections as were in use at once, the one used last first.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Takes a connection that the host has not closed.
    pub(crate) fn take(&self) -> Option<Connection> {
        let mut idle = self.lock();
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() < IDLE_MAX && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection, and closes those that waited too long.
    pub(crate) fn put(&self, connection: Connection) {
        let since = Instant::now();
        let mut idle = self.lock();
        idle.retain(|kept| since.duration_since(kept.since) < IDLE_MAX);
        idle.push(Idle { connection, since });
    }

    /// A thread that panicked left a whole list behind: each change is one step.
    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
