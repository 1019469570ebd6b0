//! What can be wrong with a configuration file. Each message says what is wrong; what to do.
//!
//! What a key says is repeated only where it cannot be a secret.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::FILE_MAX_BYTES;
use crate::listener::SOCKET_PATH_BYTES;
use crate::trust::TrustError;

/// Why a configuration file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Somebody else could change the file, or it is not there.
    #[error("configuration: {0}")]
    Trust(#[from] TrustError),
    /// The file could not be read.
    #[error("{}: cannot be read; check the file system", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// The file is over the limit.
    #[error("{}: exceeds limit of {FILE_MAX_BYTES} bytes; make it shorter", .file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// The file is not UTF-8, as TOML is.
    #[error("{}: line {line}: is not UTF-8; save the file as UTF-8", .file.display())]
    NotText {
        /// The file.
        file: PathBuf,
        /// The line of the first wrong byte, from 1.
        line: usize,
    },
    /// The file is not TOML.
    #[error(
        "{}: line {line}, column {column}: {message}; correct the TOML there",
        .file.display()
    )]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What the TOML reader says.
        message: String,
    },
    /// The file is TOML and its content has faults: all of them, never none.
    #[error("{}", all_lines(.file, .faults))]
    Faults {
        /// The file.
        file: PathBuf,
        /// The faults, in the order in which the daemon reads its sections.
        faults: Vec<ConfigFault>,
    },
}

fn all_lines(file: &std::path::Path, faults: &[ConfigFault]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|fault| format!("{}: {fault}", file.display())).collect();
    lines.join("\n")
}

/// One thing that is wrong with the content of the file, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key in the file: `[listen] socket`, `[[provider]] #2 ("hsm") isolation`.
    pub key: String,
    /// What is wrong with it; what to do.
    pub problem: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// What can be wrong with a key of any daemon. A daemon has words of its own for its own keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Two listeners have one socket.
    #[error("has the same socket as [listen]; give it a path of its own")]
    SameSocket,
    /// It must be given and is not.
    #[error("is missing; add for example: {0}")]
    Missing(&'static str),
    /// Nobody reads it.
    #[error("is not known; {}", hint(*.nearest, .known))]
    Unknown {
        /// The key that was probably meant.
        nearest: Option<&'static str>,
        /// Every key that is read there.
        known: Vec<&'static str>,
    },
    /// The value has another type.
    #[error("is {found}; give {wanted}")]
    Type {
        /// What it is.
        found: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The text is empty.
    #[error("is empty; give a value, or remove the key")]
    Empty,
    /// The text has a zero byte, which no path, variable or setting can carry.
    #[error("has a zero byte; remove it")]
    Zero,
    /// The path depends on the current directory.
    #[error("{0:?} is not an absolute path; begin it with \"/\"")]
    NotAbsolute(String),
    /// The path is longer than a socket address.
    #[error("path of {0} bytes exceeds limit of {SOCKET_PATH_BYTES}; choose a shorter one")]
    SocketPath(usize),
    /// The text is not a mode.
    #[error(
        "{0:?} is not a mode; give three or four octal digits up to \"0777\", usually \"0660\""
    )]
    Mode(String),
    /// The text is not among the words that are known.
    #[error("{found:?} is not known; use {known}")]
    Word {
        /// The text.
        found: String,
        /// The words, ready to be shown.
        known: &'static str,
    },
    /// The text is not a duration.
    #[error("{0:?} is not a duration; write for example \"500ms\", \"10s\" or \"2m\"")]
    Duration(String),
    /// The duration is out of range.
    #[error("{0:?} is out of range; give a duration from \"10ms\" to \"60m\"")]
    DurationRange(String),
    /// The number is out of range.
    #[error("{value} is out of range; give a number from {least} to {most}")]
    Range {
        /// The number.
        value: i64,
        /// The least that is allowed.
        least: i64,
        /// The most that is allowed.
        most: i64,
    },
    /// A rule is not one.
    #[error(transparent)]
    Rule(#[from] crate::rules::Fault),
}

fn hint(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("remove it, or use one of: {}", known.join(", ")),
    }
}
