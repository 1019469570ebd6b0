//! One request to the source a name: whoever needs the same secret at the same time waits for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use wire::secrets::{Author, Date, SecretName};

use super::Inner;
use crate::error::{GetError, SourceError, StoreError};
use crate::secret::{Draft, Secret, Standing};
use crate::source::Wanted;
use crate::store::{Claim, Written};

/// What came of asking for a name: the secrets that the source has and that are not outdated.
pub(super) type Landed = Result<Arc<Vec<Secret>>, GetError>;

/// The requests under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<BTreeMap<SecretName, Flight>>);

#[derive(Debug)]
struct Flight {
    ask: Ask,
    landed: watch::Receiver<Option<Landed>>,
}

/// What is asked, and whether it may bring back what was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) wanted: Wanted,
    pub(super) brings_back: bool,
}

impl Ask {
    /// Whether the answer to this one is also the answer to another.
    fn answers(&self, other: &Self) -> bool {
        self.wanted.version == other.wanted.version && (self.brings_back || !other.brings_back)
    }
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<SecretName, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the source, once for all names for which nobody asks already. One result each, in order.
pub(super) async fn ask(inner: &Arc<Inner>, asks: &[Ask]) -> Vec<Landed> {
    let mut results: Vec<Option<Landed>> = asks.iter().map(|_| None).collect();
    // A name for which something else is being asked is waited for, and then asked for anew.
    while results.iter().any(Option::is_none) {
        let mut mine = Vec::new();
        let mut waits = Vec::new();
        {
            let mut flights = inner.flights.lock();
            for (index, ask) in asks.iter().enumerate() {
                if results.get(index).is_none_or(Option::is_some) {
                    continue;
                }
                if let Some(flight) = flights.get(&ask.wanted.name) {
                    let answers = flight.ask.answers(ask);
                    waits.push((index, answers, flight.landed.clone()));
                } else {
                    let (land, landed) = watch::channel(None);
                    waits.push((index, true, landed.clone()));
                    let name = ask.wanted.name.clone();
                    flights.insert(name, Flight { ask: ask.clone(), landed });
                    mine.push((ask.clone(), land));
                }
            }
        }
        if !mine.is_empty() {
            tokio::spawn(fly(Arc::clone(inner), mine));
        }
        for (index, answers, mut landed) in waits {
            let landing = landed.wait_for(Option::is_some).await;
            let landing = landing.map_or(None, |landing| landing.clone());
            if let Some(result) = results.get_mut(index).filter(|_| answers) {
                *result = Some(landing.unwrap_or_else(|| Err(GetError::panicked())));
            }
        }
    }
    results.into_iter().flatten().collect()
}

type Take = (Ask, watch::Sender<Option<Landed>>);

/// One request, to its end: what it brings is stored, whoever waits is told.
async fn fly(inner: Arc<Inner>, takes: Vec<Take>) {
    let (asks, lands): (Vec<_>, Vec<_>) = takes.into_iter().unzip();
    let under_way = UnderWay { inner: &inner, asks: &asks };
    let results = request(&inner, &asks).await;
    // Over before anybody is told, so that whoever asks anew begins a new request.
    drop(under_way);
    for (land, result) in lands.into_iter().zip(results) {
        land.send_replace(Some(result));
    }
}

/// Takes the flights out of the list when they are over, even when their task panics.
struct UnderWay<'a> {
    inner: &'a Inner,
    asks: &'a [Ask],
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut flights = self.inner.flights.lock();
        for ask in self.asks {
            flights.remove(&ask.wanted.name);
        }
    }
}

async fn request(inner: &Inner, asks: &[Ask]) -> Vec<Landed> {
    let Some(behind) = &inner.source else {
        return asks.iter().map(|_| Err(GetError::NotFound)).collect();
    };
    let as_of = inner.clock.stamp();
    let wanted: Vec<_> = asks.iter().map(|ask| ask.wanted.clone()).collect();
    let answers = match behind.source.fetch(&wanted).await {
        Ok(answers) if answers.len() == asks.len() => answers,
        Ok(_) => {
            let source_label = behind.source.label().to_owned();
            let reason = "another number of answers than was asked for".to_owned();
            let error = SourceError::Malformed { source_label, reason };
            return asks.iter().map(|_| Err(error.clone().into())).collect();
        }
        Err(error) => return asks.iter().map(|_| Err(error.clone().into())).collect(),
    };
    let mut landed = Vec::with_capacity(asks.len());
    for (ask, drafts) in asks.iter().zip(answers) {
        let claim = match ask.brings_back {
            true => Claim::Delivered(as_of),
            false => Claim::ReadThrough(as_of),
        };
        let standing = match ask.wanted.version {
            Some(_) => Standing::AskedFor,
            None => Standing::Offered,
        };
        let of_name = |draft: &Draft| draft.name == ask.wanted.name && draft.is_sound();
        let drafts = drafts.into_iter().filter(of_name).collect();
        let secrets = inner.take_in(drafts, claim, standing, as_of, &behind.author).await;
        landed.push(secrets.map(Arc::new).map_err(GetError::from));
    }
    landed
}

impl Inner {
    /// Stores what the source has, and gives what counts: also what could not be stored, but not
    /// what is outdated.
    async fn take_in(
        &self,
        drafts: Vec<Draft>,
        claim: Claim,
        standing: Standing,
        as_of: Date,
        by: &Author,
    ) -> Result<Vec<Secret>, StoreError> {
        let Some(name) = drafts.first().map(|draft| draft.name.clone()) else {
            return Ok(Vec::new());
        };
        let known = self.base.look(&name).await?;
        let secrets = self.stamped(drafts, &known, by, standing, Some(as_of));
        match self.base.write(&secrets, claim).await {
            Ok(written) => {
                let fates = secrets.into_iter().zip(written);
                let stored = fates.filter(|(_, written)| *written == Written::Stored);
                let stored: Vec<_> = stored.map(|(secret, _)| secret).collect();
                self.show(&stored).await;
                Ok(stored)
            }
            Err(error) => {
                tracing::warn!(
                    store = self.base.label(), %error, "what the source has was not stored"
                );
                let admitted = |secret: &Secret| known.admits(&secret.metadata.version, claim);
                Ok(secrets.into_iter().filter(admitted).collect())
            }
        }
    }
}
