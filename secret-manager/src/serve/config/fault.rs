//! What can be wrong with the sections that only this daemon has. Each message says what is wrong;
//! what to do.

use daemon::config;
use wire::name::NameError;

use crate::source::mqtt::ProfileError;

/// What is wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// What can be wrong with a key of any daemon.
    #[error(transparent)]
    Any(#[from] config::Problem),
    /// The text is not a key's name.
    #[error("{0}; give the name of a key of the host with usage seal")]
    Key(NameError),
    /// The text is not a secret's name or version.
    #[error("{0}; give a name or version as docs/secrets.md section 1 allows")]
    Secret(String),
    /// The text is none of the words.
    #[error("{found:?} is none; give {wanted}")]
    Word { found: String, wanted: &'static str },
    /// The text is not a label.
    #[error("{0:?} is not a label; give 1 to 32 lower-case letters, digits, \".\", \"_\", \"-\"")]
    Label(String),
    /// The text is not a file name.
    #[error("{0:?} is not a file name; give one without \"/\" that begins with no \".\"")]
    FileName(String),
    /// Two stores have one label or file.
    #[error("is that of [[store]] #{0} too; give each its own")]
    Taken(usize),
    /// There is no store.
    #[error("is missing; add at least one store, for example of type \"file\"")]
    NoStore,
    /// A file store in front of another store.
    #[error("is a file, and another store comes after it; only the last one, the base, may be")]
    FileInFront,
    /// The text is not a unit's name.
    #[error("{0:?} is not a unit; give its full name, such as \"web.service\"")]
    Unit(String),
    /// The text is not a credential's name.
    #[error("{0:?} is not the name of a credential; give 1 to 255 bytes without \"/\"")]
    CredentialName(String),
    /// The same unit and credential twice.
    #[error("and its unit stand in [[credential]] #{0} too; keep one")]
    CredentialTaken(usize),
    /// The text is not a broker.
    #[error(
        "{0:?} is not a broker; give \"tls://HOST:PORT\", \"unix:/PATH\" or \"clear://HOST:PORT\""
    )]
    Broker(String),
    /// A broker in the clear, and nobody said that it may be.
    #[error(
        "is in the clear, so that whoever is on the way reads and forges secrets; use tls://, or add danger_clear = true"
    )]
    Clear,
    /// The text is not a source of a password. It is not repeated: it may be the password.
    #[error("is not a secret source; write \"file:/PATH\"")]
    PasswordSource,
    /// The ids do not make topics.
    #[error("{0}")]
    Profile(ProfileError),
    /// Modules are a hub's.
    #[error("is given without hub; add hub, or remove it")]
    ModuleWithoutHub,
    /// Credentials without a socket.
    #[error("is missing; add [credentials] socket, where systemd asks for them")]
    NoCredentialSocket,
}
