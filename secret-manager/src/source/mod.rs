//! Where secrets come from: something remote that is asked by name, and that may also deliver of
//! its own accord.

pub(crate) mod directory;
pub(crate) mod mqtt;

use std::fmt;

use wire::secrets::{Date, SecretName, SecretVersion};

use crate::error::SourceError;
use crate::pending::Pending;
use crate::secret::Draft;

/// A remote source. What it gives is believed: how it is authenticated is its own matter.
pub trait Source: fmt::Debug + Send + Sync {
    /// Its name, in authors and in the log: lower-case letters, digits, `.`, `_`, `-`.
    fn label(&self) -> &str;

    /// Asks for secrets, all in one request. One list for each, in order; an empty one says that
    /// the source does not have it.
    ///
    /// # Errors
    /// The source does not answer, or gives no proper answer.
    fn fetch<'a>(
        &'a self,
        wanted: &'a [Wanted],
    ) -> Pending<'a, Result<Vec<Vec<Draft>>, SourceError>>;
}

/// What a source is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name.
    pub name: SecretName,
    /// The version; all of them when there is none.
    pub version: Option<SecretVersion>,
}

/// What a source says without being asked.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When the source said so.
    pub issued: Date,
    /// Secrets to store.
    pub secrets: Vec<Draft>,
    /// Secrets to delete.
    pub removals: Vec<Removal>,
}

/// What a source wants deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The name.
    pub name: SecretName,
    /// The version; all of them when there is none.
    pub version: Option<SecretVersion>,
}
