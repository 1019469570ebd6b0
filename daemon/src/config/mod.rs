//! Configuration files: opened only when nobody else could have written them, read strictly, and
//! refused with all their faults at once, each with its key and what to do.
//!
//! What every daemon has is read here: the socket, the state directory, the audit, limits, rules.
//! Each daemon reads its own sections by the same [`Section`], in one function from the top of the
//! file to its configuration, and has words of its own for what can be wrong with them.
//!
//! ```
//! use daemon::config::{self, Read, Section, sections, value};
//!
//! struct Config {
//!     listen: daemon::listener::Endpoint,
//!     cache: usize,
//! }
//!
//! fn whole(mut root: Section<'_>) -> Read<Config> {
//!     let listen = sections::listen(&mut root, "socket = \"/run/example/example.sock\"");
//!     let cache = root.table("cache").and_then(|mut cache| {
//!         let entries = cache.defaulted("entries", 16, value::number(1, 1024));
//!         cache.finish();
//!         entries
//!     });
//!     root.finish();
//!     Ok(Config { listen: listen?, cache: cache? })
//! }
//!
//! let text = b"[listen]\nsockt = \"/s\"\n[cache]\nentries = 0\n";
//! let error = config::check("f".as_ref(), text, whole).err().map(|error| error.to_string());
//! assert_eq!(
//!     error.as_deref(),
//!     Some(
//!         "f: [listen] socket: is missing; add for example: \
//!          socket = \"/run/example/example.sock\"\n\
//!          f: [listen] sockt: is not known; did you mean socket?\n\
//!          f: [cache] entries: 0 is out of range; give a number from 1 to 1024"
//!     )
//! );
//! ```
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod fault;
mod file;
mod reload;
mod section;
pub mod sections;
pub mod value;

use std::time::Duration;

pub use fault::{ConfigError, ConfigFault, Problem};
pub use file::{check, load};
pub use reload::Reload;
pub use section::{Noted, Read, Section};

/// Longest configuration file, in bytes.
pub const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// Shortest duration that can be configured.
pub const DURATION_MIN: Duration = Duration::from_millis(10);
/// Longest duration that can be configured.
pub const DURATION_MAX: Duration = Duration::from_secs(3_600);

/// Permission bits of a socket unless configured: its owner and group may connect.
pub const SOCKET_MODE: u32 = 0o660;

/// The most that each number of `[limits]` can be.
pub const LIMIT_MAX: i64 = 65_536;

/// The most requests a second, and at once, that `[limits]` can set for one user.
pub const RATE_MAX: i64 = 1_000_000;

/// The least and the most bytes of bodies that `[limits]` can set: one longest body, and 1 GiB.
pub const BODY_BYTES_MIN: i64 = 4 * 1024 * 1024;
/// See [`BODY_BYTES_MIN`].
pub const BODY_BYTES_MAX: i64 = 1024 * 1024 * 1024;

#[cfg(test)]
mod tests;
