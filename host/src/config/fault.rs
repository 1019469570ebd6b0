//! What can be wrong with the sections that only this daemon has. Each message says what is wrong;
//! what to do.
//!
//! Values of settings, secret sources and environment variables are never repeated: somebody may
//! have written a PIN where its source belongs.

use daemon::config;
use wire::name::{NameError, ProviderName};

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// What can be wrong with a key of any daemon.
    #[error(transparent)]
    Any(#[from] config::Problem),
    /// The text is not a SHA-256.
    #[error("is not a SHA-256; give the 64 hexadecimal digits that sha256sum prints")]
    Digest,
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
    /// An in-process plugin has what the host has.
    #[error(
        "is given, and an in-process plugin is not confined; remove it, or use \
         isolation = \"process\""
    )]
    SandboxInProcess,
    /// The text names no socket.
    #[error("{0:?} is no socket; write \"tcp:PORT\", \"unix:/PATH\" or \"unix:@NAME\"")]
    Connection(String),
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
    /// The dialect has settings and no listener.
    #[error(
        "is given and the dialect is not switched on; add [listen.keyd] with its socket, or remove \
         this"
    )]
    KeydWithoutListener,
    /// A principal has no patterns.
    #[error("has no pattern; write [\"*\"] for every key")]
    NoPatterns,
    /// A pattern is empty or too long.
    #[error("has a pattern that is empty or longer than {0} characters; correct it")]
    Glob(usize),
    /// The list has the name twice.
    #[error("has provider {:?} more than once; keep the first", .0.as_str())]
    Repeated(ProviderName),
}
