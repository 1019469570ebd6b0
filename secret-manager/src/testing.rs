//! What the unit tests share: a sealer with the host's own format and a key of its own, a counter,
//! a source that answers as it is told. The same stores run on the real host in
//! `tests/tests/secret_*.rs`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use daemon::clock::{Clock, ClockHand};
use tokio::sync::Semaphore;
use wire::api::{Protection, SealItem, SealedText, UnsealItem};
use wire::envelope::{DataKey, Envelope, Kek, Method, Recipient, kdf_input};
use wire::name::KeyName;
use wire::secrets::{Author, Date, SecretName};

use crate::clock::StoreClock;
use crate::counter::{Counter, CounterError};
use crate::error::{SealError, SourceError};
use crate::pending::Pending;
use crate::sealer::{Opened, Sealed, Sealer};
use crate::secret::{Draft, Query, Value};
use crate::source::{Source, Wanted};

/// Seals as the host does, with a random key.
#[derive(Debug)]
pub(crate) struct TestSealer {
    key: KeyName,
    mac_key: hmac::Key,
    pub(crate) is_down: AtomicBool,
    pub(crate) sealed: AtomicUsize,
    pub(crate) opened: AtomicUsize,
}

impl TestSealer {
    pub(crate) fn new() -> Arc<Self> {
        let mut key = [0; 32];
        rand::fill(&mut key).unwrap();
        Arc::new(Self {
            key: "test/secrets".parse().unwrap(),
            mac_key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            is_down: AtomicBool::new(false),
            sealed: AtomicUsize::new(0),
            opened: AtomicUsize::new(0),
        })
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.is_down.store(down, Ordering::SeqCst);
    }

    fn up(&self) -> Result<(), SealError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(SealError::Unavailable("the test took it down".into())),
            false => Ok(()),
        }
    }

    fn kek(&self, salt: &[u8; 32]) -> Kek {
        let mac = hmac::sign(&self.mac_key, &kdf_input(&[7; 16], 1, salt));
        Kek::from_device_mac(mac.as_ref().try_into().unwrap(), salt).unwrap()
    }
}

impl Sealer for TestSealer {
    fn key(&self) -> &KeyName {
        &self.key
    }

    fn seal(&self, items: Vec<SealItem>) -> Pending<'_, Result<Vec<Sealed>, SealError>> {
        Box::pin(async move {
            self.up()?;
            let seal = |item: SealItem| {
                self.sealed.fetch_add(1, Ordering::SeqCst);
                let (mut salt, mut nonce) = ([0; 32], [0; 12]);
                rand::fill(&mut salt).unwrap();
                rand::fill(&mut nonce).unwrap();
                let data_key = DataKey::fill_with(|bytes| rand::fill(bytes)).unwrap();
                let recipient = Recipient {
                    method: Method::HmacKdf,
                    key_id: [7; 16],
                    version: 1,
                    provider_kind: "soft".into(),
                    protection: Protection::Software,
                    salt,
                    wrapped: self.kek(&salt).wrap(&data_key).unwrap(),
                };
                let plaintext = item.plaintext.as_bytes();
                let recipients = vec![recipient];
                let envelope = wire::envelope::seal(
                    &self.key,
                    &data_key,
                    recipients,
                    nonce,
                    &item.context,
                    plaintext,
                );
                let text = SealedText(envelope.unwrap().to_text());
                Sealed { text, protection: Protection::Software }
            };
            Ok(items.into_iter().map(seal).collect())
        })
    }

    fn unseal(&self, item: UnsealItem) -> Pending<'_, Result<Opened, SealError>> {
        Box::pin(async move {
            self.up()?;
            self.opened.fetch_add(1, Ordering::SeqCst);
            let envelope = Envelope::parse_text(item.sealed.as_str());
            let envelope = envelope.map_err(|_fault| SealError::Integrity)?;
            let recipient = envelope.recipients().first().unwrap();
            let data_key = self.kek(&recipient.salt).unwrap(&recipient.wrapped);
            let data_key = data_key.map_err(|_integrity| SealError::Integrity)?;
            let bytes = wire::envelope::open(&envelope, &data_key, &item.context)
                .map_err(|_integrity| SealError::Integrity)?;
            Ok(Opened { bytes, protection: Protection::Software })
        })
    }
}

/// A counter as the host keeps one.
#[derive(Debug, Default)]
pub(crate) struct TestCounter {
    pub(crate) value: Mutex<Option<u64>>,
    pub(crate) is_down: AtomicBool,
    /// Whether answers to increments are lost.
    pub(crate) loses_answers: AtomicBool,
}

impl TestCounter {
    pub(crate) fn get(&self) -> Option<u64> {
        *self.value.lock().unwrap()
    }

    pub(crate) fn set(&self, value: Option<u64>) {
        *self.value.lock().unwrap() = value;
    }

    fn up(&self) -> Result<(), CounterError> {
        match self.is_down.load(Ordering::SeqCst) {
            true => Err(CounterError("the test took it down".into())),
            false => Ok(()),
        }
    }
}

impl Counter for TestCounter {
    fn read(&self) -> Pending<'_, Result<Option<u64>, CounterError>> {
        Box::pin(async { self.up().map(|()| self.get()) })
    }

    fn create(&self) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async {
            self.up()?;
            // A TPM begins where its other counters are.
            self.set(Some(41));
            Ok(41)
        })
    }

    fn increment(&self, from: u64) -> Pending<'_, Result<u64, CounterError>> {
        Box::pin(async move {
            self.up()?;
            assert!(self.get().is_some_and(|value| value >= from));
            let mut value = self.value.lock().unwrap();
            let next = value.unwrap().max(from + 1);
            *value = Some(next);
            match self.loses_answers.load(Ordering::SeqCst) {
                true => Err(CounterError("the answer was lost".into())),
                false => Ok(next),
            }
        })
    }
}

/// A source that has what a test gives it, and counts and notes what it is asked.
#[derive(Debug)]
pub(crate) struct TestSource {
    pub(crate) has: Mutex<BTreeMap<String, Vec<Draft>>>,
    pub(crate) asked: Mutex<Vec<Vec<Wanted>>>,
    pub(crate) is_silent: AtomicBool,
    /// Whether it gives the last version only when none is asked for.
    pub(crate) gives_latest_only: AtomicBool,
    /// Each answer takes a permit, where there is a gate.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
}

impl TestSource {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            has: Mutex::default(),
            asked: Mutex::default(),
            is_silent: AtomicBool::new(false),
            gives_latest_only: AtomicBool::new(false),
            gate: Mutex::default(),
        })
    }

    pub(crate) fn give(&self, drafts: Vec<Draft>) {
        let mut has = self.has.lock().unwrap();
        for draft in drafts {
            has.entry(draft.name.to_string()).or_default().push(draft);
        }
    }

    pub(crate) fn take_away(&self, name: &str) {
        self.has.lock().unwrap().remove(name);
    }

    /// Holds answers back until the gate has permits.
    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    pub(crate) fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Source for TestSource {
    fn label(&self) -> &str {
        "test"
    }

    fn fetch<'a>(
        &'a self,
        wanted: &'a [Wanted],
    ) -> Pending<'a, Result<Vec<Vec<Draft>>, SourceError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(wanted.to_vec());
            // Whoever holds the gate lets answers out one by one.
            let gate = self.gate.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.acquire().await.unwrap().forget();
            }
            if self.is_silent.load(Ordering::SeqCst) {
                let reason = "the test silenced it".into();
                return Err(SourceError::Silent { source_label: "test".into(), reason });
            }
            let has = self.has.lock().unwrap();
            let answer = |wanted: &Wanted| {
                let all = has.get(wanted.name.as_str()).cloned().unwrap_or_default();
                match &wanted.version {
                    Some(version) => {
                        all.into_iter().filter(|it| it.stored_version() == *version).collect()
                    }
                    None if self.gives_latest_only.load(Ordering::SeqCst) => {
                        all.into_iter().next_back().into_iter().collect()
                    }
                    None => all,
                }
            };
            Ok(wanted.iter().map(answer).collect())
        })
    }
}

/// A clock of a test's own, at the beginning of 2026.
pub(crate) fn clock() -> (StoreClock, ClockHand) {
    let (clock, hand) = Clock::manual("2026-01-01T00:00:00Z".parse().unwrap());
    (StoreClock::new(clock), hand)
}

pub(crate) fn date(text: &str) -> Date {
    Date::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> SecretName {
    text.parse().unwrap()
}

pub(crate) fn draft(name: &str, version: &str, value: &str) -> Draft {
    let value = Value::new(value.as_bytes().to_vec().into()).unwrap();
    let version = (!version.is_empty()).then(|| version.parse().unwrap());
    Draft::new(name.parse().unwrap(), version, value)
}

/// A query at the time of the test's clock.
pub(crate) fn query(name: &str, version: &str) -> Query {
    Query {
        name: name.parse().unwrap(),
        version: (!version.is_empty()).then(|| version.parse().unwrap()),
        at: Some(date("2026-01-01T00:00:00Z")),
    }
}

pub(crate) fn user() -> Author {
    Author::user(1000)
}
