//! Finding a secret: what the base means, where its value is, and when the source is asked.

use std::sync::Arc;

use super::flight::{self, Ask};
use super::{Freshness, Got, Inner};
use crate::error::{GetError, SealError, StoreError};
use crate::secret::{Metadata, Query, Secret, select};
use crate::source::Wanted;
use crate::store::{Erasure, Known, Read, Store};

/// How often a lookup is made again when the secret changes under it.
const TRIES: usize = 8;

/// Why nothing was found in the stores.
enum Miss {
    /// The source may have it.
    Ask(Ask),
    /// That is all.
    Final(GetError),
}

pub(super) async fn get_many(
    inner: &Arc<Inner>,
    queries: &[Query],
    freshness: Freshness,
    most_bytes: usize,
) -> Vec<Result<Got, GetError>> {
    let mut room = Room { most_bytes, left: Some(most_bytes) };
    let mut found = Vec::with_capacity(queries.len());
    for query in queries {
        found.push(match room.left {
            Some(_) => room.admit(inner.look_up(query, freshness).await),
            None => Err(room.refusal()),
        });
    }
    // What the source did not have among all versions of a name is asked for once more by version.
    for _round in 0..2 {
        let asks = found.iter().filter_map(|found| match found {
            Err(Miss::Ask(ask)) => Some(ask.clone()),
            Ok(_) | Err(Miss::Final(_)) => None,
        });
        let asks: Vec<_> = asks.collect();
        if asks.is_empty() {
            break;
        }
        let mut landed = flight::ask(inner, &asks).await.into_iter();
        for (query, found) in queries.iter().zip(&mut found) {
            let Err(Miss::Ask(ask)) = found else { continue };
            let landed = landed.next().unwrap_or(Err(GetError::Busy));
            *found = match landed {
                Ok(secrets) => room.admit(inner.settle(query, ask, &secrets).await),
                Err(error) => Err(Miss::Final(error)),
            };
        }
    }
    let settled = found.into_iter().map(|found| {
        found.map_err(|miss| match miss {
            Miss::Ask(_) => GetError::NotFound,
            Miss::Final(error) => error,
        })
    });
    settled.collect()
}

/// How many bytes of values may still come together; none once a value did not fit.
struct Room {
    most_bytes: usize,
    left: Option<usize>,
}

impl Room {
    /// Drops a value that does not fit, so that several are never in memory past the bound.
    fn admit(&mut self, found: Result<Got, Miss>) -> Result<Got, Miss> {
        let got = found?;
        let bytes = got.secret.value.as_bytes().len();
        self.left = self.left.and_then(|left| left.checked_sub(bytes));
        if self.left.is_some() { Ok(got) } else { Err(self.refusal()) }
    }

    const fn refusal(&self) -> Miss {
        Miss::Final(GetError::TooMuch { limit: self.most_bytes })
    }
}

impl Inner {
    async fn look_up(&self, query: &Query, freshness: Freshness) -> Result<Got, Miss> {
        let forced = freshness == Freshness::Forced;
        if forced && self.source.is_some() {
            let known = self.base.look(&query.name).await.map_err(final_error)?;
            return Err(Miss::Ask(ask(query, &known, true)));
        }
        let caches = if forced { 0 } else { self.caches.len() };
        match self.find(query, caches).await {
            Err(Absent::Unknown(known)) => Err(self.miss(query, &known)),
            Err(Absent::Altered(metadata)) if self.source.is_some() => {
                let version = Some(metadata.version.clone());
                let wanted = Wanted { name: query.name.clone(), version };
                Err(Miss::Ask(Ask { wanted, brings_back: true }))
            }
            found => found.map_err(|absent| Miss::Final(absent.into())),
        }
    }

    /// Whether the source is worth asking.
    fn miss(&self, query: &Query, known: &Known) -> Miss {
        let version = query.version.as_ref();
        let in_vain = self.source.is_none()
            || known.is_deleted(version)
            || self.negatives.holds(&query.name, version, self.clock.passed());
        if in_vain { Miss::Final(GetError::NotFound) } else { Miss::Ask(ask(query, known, false)) }
    }

    /// Makes the lookup again after the source has answered.
    async fn settle(&self, query: &Query, asked: &Ask, landed: &[Secret]) -> Result<Got, Miss> {
        let known = self.base.look(&query.name).await.map_err(final_error)?;
        let stored = known.versions.iter().map(AsRef::as_ref);
        let unstored = landed.iter().filter(|secret| {
            known.versions.iter().all(|stored| stored.version != secret.metadata.version)
        });
        let candidates: Vec<&Metadata> = stored.chain(unstored.map(AsRef::as_ref)).collect();
        let Some(chosen) = select(&candidates, query) else {
            if asked.wanted.version.is_none() && query.version.is_some() {
                let wanted = Wanted { version: query.version.clone(), ..asked.wanted.clone() };
                return Err(Miss::Ask(Ask { wanted, ..asked.clone() }));
            }
            let version = query.version.as_ref();
            self.negatives.remember(&query.name, version, self.clock.passed());
            return Err(Miss::Final(GetError::NotFound));
        };
        if let Some(secret) = landed.iter().find(|secret| *secret.metadata == **chosen) {
            let from = self.source.as_ref().map(|behind| behind.source.label());
            let from = from.unwrap_or_default().to_owned();
            return Ok(Got { secret: secret.clone(), from, protection: None });
        }
        let found = self.find(query, self.caches.len()).await;
        found.map_err(|absent| Miss::Final(absent.into()))
    }

    /// Finds a secret in the stores: the base says which, the value comes from the first that has
    /// it, and is written back to those in front. The first `caches` are asked.
    async fn find(&self, query: &Query, caches: usize) -> Result<Got, Absent> {
        for _try in 0..TRIES {
            let known = self.base.look(&query.name).await?;
            let Some(chosen) = select(&known.versions, query) else {
                return Err(Absent::Unknown(known));
            };
            for (index, cache) in self.caches.iter().enumerate().take(caches) {
                if let Some(read) = read_copy(cache.as_ref(), chosen).await {
                    self.write_back(std::slice::from_ref(&read.secret), index).await;
                    return Ok(got(cache.as_ref(), read));
                }
            }
            match self.base.read(chosen).await {
                Ok(Some(read)) => {
                    let secrets = std::slice::from_ref(&read.secret);
                    self.write_back(secrets, self.caches.len()).await;
                    return Ok(got(self.base.as_ref(), read));
                }
                Ok(None) => {}
                Err(StoreError::Seal(SealError::Integrity)) => {
                    tracing::error!(store = self.base.label(), "a stored secret was altered");
                    return Err(Absent::Altered(Arc::clone(chosen)));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Absent::Error(GetError::Busy))
    }
}

/// A copy that cannot be read is dropped; there is a better one behind it.
async fn read_copy(cache: &dyn Store, wanted: &Metadata) -> Option<Read> {
    match cache.read(wanted).await {
        Ok(read) => read,
        Err(error) => {
            tracing::warn!(store = cache.label(), %error, "a copy cannot be read");
            let Metadata { name, version, .. } = wanted;
            if let Err(error) = cache.erase(name, Some(version), Erasure::Forget).await {
                tracing::warn!(store = cache.label(), %error, "a copy was not forgotten");
            }
            None
        }
    }
}

/// A name of which nothing is known is asked for with all its versions.
fn ask(query: &Query, known: &Known, brings_back: bool) -> Ask {
    let version = query.version.clone().filter(|_| !known.versions.is_empty());
    Ask { wanted: Wanted { name: query.name.clone(), version }, brings_back }
}

fn got(store: &dyn Store, read: Read) -> Got {
    let Read { secret, protection } = read;
    Got { secret, from: store.label().to_owned(), protection }
}

fn final_error(error: StoreError) -> Miss {
    Miss::Final(error.into())
}

/// Why the stores have no secret to give.
enum Absent {
    /// None that fits.
    Unknown(Known),
    /// It does not open.
    Altered(Arc<Metadata>),
    Error(GetError),
}

impl From<StoreError> for Absent {
    fn from(error: StoreError) -> Self {
        Self::Error(error.into())
    }
}

impl From<Absent> for GetError {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Unknown(_) => Self::NotFound,
            Absent::Altered(_) => Self::Altered,
            Absent::Error(error) => error,
        }
    }
}
