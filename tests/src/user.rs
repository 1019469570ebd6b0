//! Callers other than the test's own user. Credentials belong to a thread on Linux, and a socket
//! tells those of the thread that connected, so a thread is all that another caller needs.

use std::path::Path;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::Value;

use crate::http::{self, Response};

/// Whom a request comes from.
#[derive(Clone, Debug)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl User {
    /// A user whose group has its number, and who is in no other.
    #[must_use]
    pub const fn new(uid: u32) -> Self {
        Self { uid, gid: uid, groups: Vec::new() }
    }

    /// Works as this user, in a thread of its own. Only root can.
    ///
    /// # Panics
    /// When the kernel refuses, or the work panics.
    pub fn does<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let become_user = || {
            let groups: Vec<_> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
            set_thread_groups(&groups).unwrap();
            let (gid, uid) = (Gid::from_raw(self.gid), Uid::from_raw(self.uid));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                become_user();
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sends a request as this user.
    #[must_use]
    pub fn request(&self, socket: &Path, method: &str, target: &str, body: &[u8]) -> Response {
        self.does(|| http::request(socket, method, target, body))
    }

    /// Sends `GET` as this user.
    #[must_use]
    pub fn get(&self, socket: &Path, target: &str) -> Response {
        self.request(socket, "GET", target, b"")
    }

    /// Sends `POST` with a JSON body as this user.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(…) in place")]
    pub fn post(&self, socket: &Path, target: &str, body: Value) -> Response {
        self.request(socket, "POST", target, body.to_string().as_bytes())
    }
}
