//! The chain: one base that knows which secrets there are, caches in front of it, a source behind
//! it (`docs/secrets.md` section 3).

mod change;
mod flight;
mod lookup;
mod negative;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use wire::api::Protection;
use wire::code::Fault;
use wire::secrets::{Author, Change, SecretName};

pub use self::negative::NEGATIVE_NAMES_MAX;

use self::flight::Flights;
use self::negative::Negatives;
use crate::clock::{Now, StoreClock};
use crate::error::{GetError, StoreError};
use crate::secret::{Metadata, Query, Secret};
use crate::source::Source;
use crate::store::Store;

/// How long it is remembered that the source does not have a secret, unless set otherwise.
const NEGATIVE_TTL: Duration = Duration::from_secs(60);

/// Changes that a slow watcher may be behind before it misses some.
const CHANGES_KEPT: usize = 1024;

/// A chain of stores, and what programs use. Clones are the same chain.
///
/// Use it within one tokio runtime, with time enabled: changes and requests to the source run in
/// tasks of their own, so that they are carried through when their caller goes away.
#[derive(Clone, Debug)]
pub struct Chain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// From the head to the base.
    caches: Vec<Arc<dyn Store>>,
    base: Arc<dyn Store>,
    source: Option<Behind>,
    clock: StoreClock,
    flights: Flights,
    negatives: Negatives,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug)]
struct Behind {
    source: Arc<dyn Source>,
    author: Author,
}

/// Whether what is stored is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It is.
    Stored,
    /// The source is asked first; without one, the base.
    Forced,
}

/// A secret that was found.
#[derive(Clone, Debug)]
pub struct Got {
    /// The secret.
    pub secret: Secret,
    /// The label of the store or source that it came from.
    pub from: String,
    /// What protects the sealed form that was opened for it, if it was sealed.
    pub protection: Option<Protection>,
}

/// A chain to be built: the base first, then caches from there to the head.
#[derive(Debug)]
pub struct ChainBuilder {
    base: Arc<dyn Store>,
    /// From the base to the head.
    caches: Vec<Arc<dyn Store>>,
    source: Option<Arc<dyn Source>>,
    clock: StoreClock,
    negative_ttl: Duration,
}

impl ChainBuilder {
    /// Begins with the base, the deepest store.
    #[must_use]
    pub fn new(base: Arc<dyn Store>, clock: StoreClock) -> Self {
        Self { base, caches: Vec::new(), source: None, clock, negative_ttl: NEGATIVE_TTL }
    }

    /// Puts a cache in front of what is there, as the new head.
    #[must_use]
    pub fn in_front(mut self, cache: Arc<dyn Store>) -> Self {
        self.caches.push(cache);
        self
    }

    /// Asks this source for what the base does not have.
    #[must_use]
    pub fn source(self, source: Arc<dyn Source>) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Remembers for this long that the source does not have a secret; 60 s unless set.
    #[must_use]
    pub fn negative_ttl(self, ttl: Duration) -> Self {
        Self { negative_ttl: ttl, ..self }
    }

    /// Builds the chain.
    ///
    /// # Errors
    /// `invalid`: the label of the source makes no author.
    pub fn build(self) -> Result<Chain, Fault> {
        let Self { base, mut caches, source, clock, negative_ttl } = self;
        caches.reverse();
        let source = source.map(|source| {
            let author = format!("source:{}", source.label()).parse()?;
            Ok::<_, Fault>(Behind { source, author })
        });
        let inner = Inner {
            caches,
            base,
            source: source.transpose()?,
            clock,
            flights: Flights::default(),
            negatives: Negatives::new(negative_ttl),
            changes: broadcast::channel(CHANGES_KEPT).0,
        };
        Ok(Chain { inner: Arc::new(inner) })
    }
}

impl Chain {
    /// The time by which lookups go.
    #[must_use]
    pub fn now(&self) -> Now {
        self.inner.clock.now()
    }

    /// Counts changes of the base, as [`Store::generation`] says.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.inner.base.generation()
    }

    /// Finds one secret.
    ///
    /// # Errors
    /// [`GetError`].
    pub async fn get(&self, query: &Query, freshness: Freshness) -> Result<Got, GetError> {
        let mut found = self.get_many(std::slice::from_ref(query), freshness).await;
        found.pop().unwrap_or(Err(GetError::NotFound))
    }

    /// Finds several secrets, one result each, in order. The source is asked once for all that is
    /// missing.
    ///
    /// # Errors
    /// Each: [`GetError`].
    pub async fn get_many(
        &self,
        queries: &[Query],
        freshness: Freshness,
    ) -> Vec<Result<Got, GetError>> {
        self.get_many_within(queries, freshness, usize::MAX).await
    }

    /// As [`Chain::get_many`], but never holds values of more than so many bytes together.
    ///
    /// # Limits
    /// `most_bytes`; from the first value on that does not fit, each is [`GetError::TooMuch`].
    ///
    /// # Errors
    /// Each: [`GetError`].
    pub async fn get_many_within(
        &self,
        queries: &[Query],
        freshness: Freshness,
        most_bytes: usize,
    ) -> Vec<Result<Got, GetError>> {
        lookup::get_many(&self.inner, queries, freshness, most_bytes).await
    }

    /// The versions of a name, the preferred first; from the base alone.
    ///
    /// # Errors
    /// The base cannot be read.
    pub async fn versions(&self, name: &SecretName) -> Result<Vec<Arc<Metadata>>, StoreError> {
        let mut versions = self.inner.base.look(name).await?.versions;
        versions.sort_by(|one, other| other.preference(one));
        Ok(versions)
    }

    /// Every version whose name begins with `prefix`, by name and version; from the base alone.
    ///
    /// # Errors
    /// The base cannot be read.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Arc<Metadata>>, StoreError> {
        let mut all = self.inner.base.list().await?;
        all.retain(|metadata| metadata.name.as_str().starts_with(prefix));
        Ok(all)
    }

    /// The stores, from the head to the base.
    pub fn stores(&self) -> impl Iterator<Item = &Arc<dyn Store>> {
        self.inner.caches.iter().chain([&self.inner.base])
    }

    /// The label of the source, if there is one.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.inner.source.as_ref().map(|behind| behind.source.label())
    }

    /// Tells of every change from now on.
    ///
    /// # Limits
    /// A receiver that is 1,024 changes behind misses the oldest, and is told how many.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }
}

impl GetError {
    /// What stands for a request whose task panicked.
    const fn panicked() -> Self {
        Self::Store(StoreError::Bug("a request to the source panicked"))
    }
}

#[cfg(test)]
mod tests;
