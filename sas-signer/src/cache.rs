//! Tokens in memory, until a set fraction of their life is over.
//!
//! A token that is due is renewed by the next who asks for it, once, however many ask; the others
//! get the old one while it lives. What a token is worth is judged by two clocks: the time of day,
//! which the service will judge it by, and the time passed, which no administrator can set. The
//! later of the two counts, so a token neither outlives its expiry when the clock jumps forward
//! nor lives on when it jumps back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use wire::code::{Code, Fault};
use wire::sas::{Encoder, Order, Profile, SasKeyName, Slot};

use crate::mac::By;
use crate::token::Token;

/// Most tokens in memory. For one more, the one that expires first is forgotten.
pub const CACHE_MAX_TOKENS: usize = 1024;

/// The part of its life, in percent, after which a token is renewed, unless set otherwise.
pub const RENEW_AT_PERCENT: u8 = 80;

/// By how much the time of day may fall behind the time passed before the clock has been set back.
const SET_BACK: Duration = Duration::from_secs(2);

/// How often a token that expired while it was signed is signed again.
const ATTEMPTS: u32 = 2;

/// What is the same for everybody who gets the same token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// What is signed.
    pub profile: Profile,
    /// The key that signs.
    pub key: SasKeyName,
    /// Which of the two.
    pub slot: Slot,
    /// How long the token lives.
    pub ttl_seconds: u64,
    /// How it is written.
    pub encoder: Encoder,
    /// The order of its parameters.
    pub order: Order,
}

/// A token, and what signed it.
#[derive(Debug)]
pub struct Signed {
    /// The token.
    pub token: Token,
    /// The key version.
    pub by: By,
}

/// Tokens in memory.
///
/// # Limits
/// 1,024 tokens.
///
/// # Secrets
/// The tokens, which are wiped when they are forgotten: expired ones when another is cached.
#[derive(Debug)]
pub struct Cache {
    clock: Clock,
    renew_at_percent: u8,
    entries: Mutex<HashMap<Wanted, Arc<Entry>>>,
}

#[derive(Debug, Default)]
struct Entry {
    kept: Mutex<Option<Arc<Kept>>>,
    /// Held by who signs.
    signing: tokio::sync::Mutex<()>,
    ended: Mutex<Ended>,
}

/// How the signings of a token have ended so far, so that who waited for one shares its failure
/// instead of waiting for the next.
#[derive(Clone, Debug, Default)]
struct Ended {
    count: u64,
    fault: Option<Fault>,
}

#[derive(Debug)]
struct Kept {
    signed: Arc<Signed>,
    at: Now,
    life: Duration,
}

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
struct Now {
    unix_seconds: u64,
    passed: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It has most of its life before it.
    Good,
    /// It is to be renewed, and good meanwhile.
    Due,
    /// It is not to be given to anybody.
    Over,
}

impl Cache {
    /// An empty cache that renews after so many percent of a token's life, 1 to 99; values beyond
    /// are taken as the nearest of the two.
    #[must_use]
    pub fn new(clock: Clock, renew_at_percent: u8) -> Self {
        let renew_at_percent = renew_at_percent.clamp(1, 99);
        Self { clock, renew_at_percent, entries: Mutex::default() }
    }

    /// A token from memory, or one that `sign` makes, given the time of its expiry in seconds
    /// since 1970; and whether it came from memory.
    ///
    /// `fresh` asks for one that is made now. When `sign` fails for another reason than that, a
    /// token that has not expired is given all the same.
    ///
    /// # Errors
    /// Those of `sign`; `timeout`: each token had expired before it was signed.
    pub async fn token<F>(
        &self,
        wanted: &Wanted,
        fresh: bool,
        sign: impl Fn(u64) -> F,
    ) -> Result<(Arc<Signed>, bool), Fault>
    where
        F: Future<Output = Result<Signed, Fault>>,
    {
        let entry = self.entry(wanted);
        if !fresh && let (State::Good, Some(kept)) = self.look(&entry) {
            return Ok((kept, true));
        }
        let before = locked(&entry.ended).count;
        let _signing = match entry.signing.try_lock() {
            Ok(signing) => signing,
            Err(_) => {
                if !fresh && let (State::Due, Some(kept)) = self.look(&entry) {
                    return Ok((kept, true));
                }
                entry.signing.lock().await
            }
        };
        if !fresh {
            // Whoever held the lock may have made it meanwhile, or have failed for us too.
            if let (State::Good, Some(kept)) = self.look(&entry) {
                return Ok((kept, true));
            }
            let ended = locked(&entry.ended).clone();
            if let (true, Some(fault)) = (ended.count > before, ended.fault) {
                return self.still_good(&entry).map(|kept| (kept, true)).ok_or(fault);
            }
        }
        let signed = self.signed(&entry, wanted.ttl_seconds, sign).await;
        {
            let mut ended = locked(&entry.ended);
            ended.count = ended.count.saturating_add(1);
            ended.fault = signed.as_ref().err().cloned();
        }
        match signed {
            Ok(signed) => Ok((signed, false)),
            Err(fault) if fresh => Err(fault),
            Err(fault) => self.still_good(&entry).map(|kept| (kept, true)).ok_or(fault),
        }
    }

    /// Forgets the tokens of a key, whose bytes are others now.
    ///
    /// One that is being signed for somebody is given to them, and not kept.
    pub fn forget(&self, key: &SasKeyName) {
        self.entries().retain(|wanted, _| wanted.key != *key);
    }

    /// How many tokens are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether no token is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    async fn signed<F>(
        &self,
        entry: &Entry,
        ttl_seconds: u64,
        sign: impl Fn(u64) -> F,
    ) -> Result<Arc<Signed>, Fault>
    where
        F: Future<Output = Result<Signed, Fault>>,
    {
        for _attempt in 0..ATTEMPTS {
            let at = self.now();
            let expires_at = at.unix_seconds.saturating_add(ttl_seconds);
            let signed = Arc::new(sign(expires_at).await?);
            let life = Duration::from_secs(ttl_seconds);
            let kept = Kept { signed: Arc::clone(&signed), at, life };
            // The clock may have jumped meanwhile, or the device been slow.
            if kept.state(self.now(), self.renew_at_percent) != State::Over {
                *locked(&entry.kept) = Some(Arc::new(kept));
                return Ok(signed);
            }
        }
        Err(Fault::new(Code::Timeout, "the token expires before it can be signed"))
    }

    fn still_good(&self, entry: &Entry) -> Option<Arc<Signed>> {
        match self.look(entry) {
            (State::Good | State::Due, kept) => kept,
            (State::Over, _) => None,
        }
    }

    fn look(&self, entry: &Entry) -> (State, Option<Arc<Signed>>) {
        let kept = locked(&entry.kept).clone();
        // The time is read after the token, so that it is never older than what it judges.
        match kept {
            Some(kept) => {
                let state = kept.state(self.now(), self.renew_at_percent);
                (state, Some(Arc::clone(&kept.signed)))
            }
            None => (State::Over, None),
        }
    }

    fn is_alive(&self, entry: &Entry) -> bool {
        match self.look(entry) {
            (State::Good | State::Due, _) => true,
            (State::Over, _) => false,
        }
    }

    fn entry(&self, wanted: &Wanted) -> Arc<Entry> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(wanted) {
            return Arc::clone(entry);
        }
        entries.retain(|_, entry| Arc::strong_count(entry) > 1 || self.is_alive(entry));
        if entries.len() >= CACHE_MAX_TOKENS {
            make_room(&mut entries);
        }
        let entry = Arc::new(Entry::default());
        // Where all are being signed at once, this one is not kept.
        if entries.len() < CACHE_MAX_TOKENS {
            entries.insert(wanted.clone(), Arc::clone(&entry));
        }
        entry
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Wanted, Arc<Entry>>> {
        locked(&self.entries)
    }

    fn now(&self) -> Now {
        let unix_seconds = u64::try_from(self.clock.now().as_second()).unwrap_or(0);
        Now { unix_seconds, passed: self.clock.passed() }
    }
}

impl Kept {
    fn state(&self, now: Now, renew_at_percent: u8) -> State {
        let by_day = Duration::from_secs(now.unix_seconds.saturating_sub(self.at.unix_seconds));
        let passed = now.passed.saturating_sub(self.at.passed);
        let age = by_day.max(passed);
        let due = self.life.saturating_mul(u32::from(renew_at_percent)) / 100;
        if age >= self.life || now.unix_seconds >= self.signed.token.expires_at() {
            State::Over
        } else if age >= due || self.is_set_back(now, passed) {
            State::Due
        } else {
            State::Good
        }
    }

    /// Whether the clock was set back since it was signed: its expiry is further away than its
    /// life then, which rules limit.
    fn is_set_back(&self, now: Now, passed: Duration) -> bool {
        let expected = Duration::from_secs(self.at.unix_seconds).saturating_add(passed);
        expected.saturating_sub(Duration::from_secs(now.unix_seconds)) > SET_BACK
    }
}

/// Forgets one token: the one that expires first, of those that nobody is using.
fn make_room(entries: &mut HashMap<Wanted, Arc<Entry>>) {
    let expiry = |entry: &Entry| {
        let kept = locked(&entry.kept);
        kept.as_ref().map_or(0, |kept| kept.signed.token.expires_at())
    };
    let unused = entries.iter().filter(|(_, entry)| Arc::strong_count(entry) == 1);
    let first = unused.min_by_key(|(_, entry)| expiry(entry)).map(|(wanted, _)| wanted.clone());
    if let Some(first) = first {
        entries.remove(&first);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
