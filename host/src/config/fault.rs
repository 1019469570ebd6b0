//! What can be wrong with a configuration file. Each message says what is wrong; what to do.
//!
//! Values of settings, secret sources and environment variables are never repeated: somebody may
//! have written a PIN where its source belongs.

use std::fmt;
use std::io;
use std::path::PathBuf;

use daemon::listener::SOCKET_PATH_BYTES;
use daemon::trust::TrustError;
use wire::name::{NameError, ProviderName};

use super::FILE_MAX_BYTES;

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
        /// The faults, in the order of the sections in `docs/config.md`.
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
    /// What is wrong with it.
    pub problem: Problem,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
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
    /// The text is not a SHA-256.
    #[error("is not a SHA-256; give the 64 hexadecimal digits that sha256sum prints")]
    Digest,
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
    /// The text is not a provider's name.
    #[error(
        "{0}; begin with a lower-case letter and go on with lower-case letters, digits, \"-\", \
         \"_\""
    )]
    Name(NameError),
    /// Another provider has the name.
    #[error("is the name of provider #{0} too; give each its own")]
    NameTaken(usize),
    /// The file has no provider.
    #[error("is missing; add at least one provider, for example provider_soft")]
    NoProvider,
    /// The text is neither a bare plugin name nor an absolute path.
    #[error(
        "{0:?} is neither a name of letters, digits, \"-\", \"_\" nor an absolute path; give \
         one of the two"
    )]
    Plugin(String),
    /// A bare plugin name, and no directory to look it up in.
    #[error(
        "is a bare name and no directory is given; add [plugins] dir, or give the absolute path \
         of the plugin"
    )]
    NoPluginDir,
    /// The text is not a secret source. It is not repeated: it may be the secret.
    #[error(
        "is not a secret source; write \"file:/PATH\", \"credential:NAME\" or \"sealed:/PATH\""
    )]
    Source,
    /// The key of a secret source names no secret.
    #[error("names no secret; put the name before \"_source\", as in pin_source")]
    NamelessSource,
    /// The secret that a source gives is a setting too.
    #[error("is given by {0} too; keep the source and remove this")]
    SettingAndSource(String),
    /// An in-process plugin shares the host's environment.
    #[error(
        "is given, and an in-process plugin has no environment of its own; remove it, or use \
         isolation = \"process\""
    )]
    EnvironmentInProcess,
    /// The name is not one of an environment variable.
    #[error("is not the name of a variable; use A-Z, 0-9 and \"_\", not starting with a digit")]
    VariableName,
    /// The variable steers the loader or the allocator of the worker.
    #[error(
        "steers the loader or the allocator, which are the host's to set; remove it and give \
         paths in full"
    )]
    VariableRefused,
    /// The list is empty.
    #[error("is empty; name at least one provider, or remove the key for all of them")]
    EmptyOrder,
    /// No provider has the name.
    #[error("there is no provider {:?}; add it, or remove it here", .0.as_str())]
    NoSuchProvider(ProviderName),
    /// The list has the name twice.
    #[error("has provider {:?} more than once; keep the first", .0.as_str())]
    Repeated(ProviderName),
    /// A rule is not one.
    #[error(transparent)]
    Rule(#[from] daemon::rules::Fault),
}

fn hint(nearest: Option<&str>, known: &[&str]) -> String {
    match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("remove it, or use one of: {}", known.join(", ")),
    }
}
