//! One client: what it asks for, and what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::counter::KnownCounter;
use super::key::{Known, states_of};
use super::{Tally, Unsettled};
use crate::dice::Dice;
use crate::http::{self, Response, b64};
use crate::sealhost::Sealhost;

/// Keys of a client; with so many it destroys before it makes another.
const KEYS_MAX: usize = 5;
/// Destroyed keys that are looked at again at each check.
const GONE_MAX: usize = 8;
const USAGES: [&str; 4] = ["seal", "mac", "sign", "import"];

/// A change of a key or a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is made or imported.
    Make,
    /// A key gets a new version.
    Rotate,
    /// A counter goes up.
    Raise,
    /// It is destroyed.
    Destroy,
}

/// How a client asks, and which refusals it was told to expect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ask {
    expected: &'static [(u16, &'static str)],
}

impl Ask {
    /// Sends a request; a reply that is cut short is none.
    ///
    /// # Panics
    /// When it is refused otherwise than expected.
    pub(super) fn send(
        self,
        socket: &Path,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Result<Response, Unsettled> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let reply = http::try_request(socket, method, target, body.as_bytes())
            .map_err(|_gone| Unsettled)?;
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        if reply.body.len() != length {
            return Err(Unsettled);
        }
        if reply.status < 300 {
            return Ok(reply);
        }
        let said = reply.json();
        let refusal = (reply.status, said["code"].as_str().unwrap_or_default());
        assert!(self.expected.contains(&refusal), "{method} {target}: {said}");
        Err(Unsettled)
    }
}

/// One client over all rounds, with keys and a counter of its own.
#[derive(Debug)]
pub struct Client {
    name: String,
    dice: Dice,
    ask: Ask,
    providers: &'static [&'static str],
    made: usize,
    keys: BTreeMap<String, Known>,
    counter: Option<(String, KnownCounter)>,
    /// The changes that were not answered since the last check.
    pending: BTreeMap<String, Change>,
    /// Each that was ever not answered.
    unanswered: BTreeSet<String>,
}

impl Client {
    /// A client that makes keys on these providers, and of whose requests none may be refused.
    #[must_use]
    pub fn new(number: usize, dice: Dice, providers: &'static [&'static str]) -> Self {
        Self {
            name: format!("c{number}"),
            dice,
            ask: Ask::default(),
            providers,
            made: 0,
            keys: BTreeMap::new(),
            counter: None,
            pending: BTreeMap::new(),
            unanswered: BTreeSet::new(),
        }
    }

    /// Gives it a counter of that kind.
    #[must_use]
    pub fn with_counter(mut self, kind: &'static str) -> Self {
        self.counter = Some((format!("n{}", self.name), KnownCounter::new(kind)));
        self
    }

    /// Lets its requests be refused so; what was refused may be done or not.
    #[must_use]
    pub const fn expecting(mut self, refusals: &'static [(u16, &'static str)]) -> Self {
        self.ask = Ask { expected: refusals };
        self
    }

    /// Makes requests of chance until one is not answered; returns how many were.
    pub fn work(&mut self, socket: &Path) -> usize {
        let mut answered = 0;
        while self.step(socket).is_ok() {
            answered += 1;
        }
        answered
    }

    /// Does everything once: makes keys of each usage, uses, rotates and destroys them, makes and
    /// raises a counter, and goes on where something is not answered. The same requests each time.
    pub fn run_script(&mut self, socket: &Path) -> usize {
        let provider = self.providers[0];
        let mut outcomes = Vec::new();
        let mut names = Vec::new();
        for usage in USAGES {
            let name = self.next_name();
            outcomes.push(self.make(socket, &name, provider, usage));
            names.push(name);
        }
        for name in &names[..2] {
            outcomes.push(self.change(socket, name, Change::Rotate));
        }
        if let Some((name, counter)) = &self.counter {
            let (name, lives) = (name.clone(), counter.lives);
            if !lives {
                outcomes.push(self.change(socket, &name, Change::Make));
            }
            outcomes.push(self.change(socket, &name, Change::Raise));
        }
        for name in &names {
            let pending = self.pending.contains_key(name);
            if let Some(key) = self.keys.get(name).filter(|_| !pending) {
                outcomes.push(key.use_again(&self.ask, socket, name));
            }
        }
        outcomes.push(self.change(socket, &names[1], Change::Destroy));
        outcomes.push(self.change(socket, &names[2], Change::Destroy));
        outcomes.into_iter().filter(Result::is_ok).count()
    }

    fn step(&mut self, socket: &Path) -> Result<(), Unsettled> {
        let living: Vec<String> = self
            .keys
            .iter()
            .filter(|(_, key)| !key.destroyed)
            .map(|(name, _)| name.clone())
            .collect();
        let counter = self.counter.as_ref().map(|(name, counter)| (name.clone(), counter.lives));
        if let Some((name, lives)) = counter
            && self.dice.below(3) == 0
        {
            let change = match (lives, self.dice.below(12)) {
                (false, _) => Change::Make,
                (true, 0) => Change::Destroy,
                (true, _) => Change::Raise,
            };
            return self.change(socket, &name, change);
        }
        let change = match self.dice.below(8) {
            _ if living.is_empty() => Change::Make,
            _ if living.len() > KEYS_MAX => Change::Destroy,
            0..=3 => Change::Make,
            4 | 5 => Change::Rotate,
            _ => Change::Destroy,
        };
        if change == Change::Make {
            let provider = self.providers[self.dice.below(self.providers.len())];
            let usage = USAGES[self.dice.below(USAGES.len())];
            let name = self.next_name();
            return self.make(socket, &name, provider, usage);
        }
        let name = living[self.dice.below(living.len())].clone();
        self.change(socket, &name, change)?;
        let key = self.keys.get_mut(&name).unwrap();
        if key.destroyed { Ok(()) } else { key.use_once(&self.ask, socket, &name) }
    }

    fn next_name(&mut self) -> String {
        self.made += 1;
        format!("{}-{}", self.name, self.made)
    }

    /// Makes a key and uses it once.
    fn make(
        &mut self,
        socket: &Path,
        name: &str,
        provider: &'static str,
        usage: &'static str,
    ) -> Result<(), Unsettled> {
        // Known from here on, so that a check knows what to look for.
        self.keys.insert(name.to_owned(), Known::new(provider, usage, name));
        let (target, body) = if usage == "import" {
            let body = json!({"usage": "mac", "key": b64(name), "providers": [provider]});
            (format!("/v1/keys/{name}/import"), body)
        } else {
            (format!("/v1/keys/{name}"), json!({"usage": usage, "providers": [provider]}))
        };
        let _made = self.ask_for(socket, name, Change::Make, "POST", &target, &body)?;
        let key = self.keys.get_mut(name).unwrap();
        key.use_once(&self.ask, socket, name)
    }

    /// Changes what is there already, or makes or raises a counter.
    fn change(&mut self, socket: &Path, name: &str, change: Change) -> Result<(), Unsettled> {
        if self.pending.contains_key(name) {
            return Err(Unsettled);
        }
        let counted = self.counter.as_ref().filter(|(counter, _)| counter == name);
        let kind = counted.map(|(_, counter)| counter.kind);
        let path = format!("/v1/{}/{name}", if kind.is_some() { "counters" } else { "keys" });
        let empty = json!({});
        let reply = match change {
            Change::Make => {
                let body = json!({"kind": kind});
                self.ask_for(socket, name, change, "POST", &path, &body)?
            }
            Change::Rotate => {
                let target = format!("{path}/rotate");
                self.ask_for(socket, name, change, "POST", &target, &empty)?
            }
            Change::Raise => {
                let target = format!("{path}/increment");
                self.ask_for(socket, name, change, "POST", &target, &empty)?
            }
            Change::Destroy => {
                let target = format!("{path}?confirm={name}");
                self.ask_for(socket, name, change, "DELETE", &target, &Value::Null)?
            }
        };
        match (&mut self.counter, kind) {
            (Some((_, counter)), Some(_)) => counter.answered(change, name, &reply),
            (Some(_) | None, _) => {
                let key = self.keys.get_mut(name).unwrap();
                match change {
                    Change::Rotate => key.versions += 1,
                    Change::Destroy => key.destroyed = true,
                    Change::Make | Change::Raise => {}
                }
            }
        }
        Ok(())
    }

    fn ask_for(
        &mut self,
        socket: &Path,
        name: &str,
        change: Change,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Result<Response, Unsettled> {
        self.pending.insert(name.to_owned(), change);
        let reply = self.ask.send(socket, method, target, body)?;
        self.pending.remove(name);
        Ok(reply)
    }

    /// Looks at everything it knows, and settles what was not answered.
    pub(super) fn check(&mut self, host: &Sealhost, tally: &mut Tally) {
        let pending = std::mem::take(&mut self.pending);
        self.unanswered.extend(pending.keys().cloned());
        let names: Vec<_> = self.keys.keys().cloned().collect();
        for name in names {
            let change = pending.get(&name).copied();
            let record = host.get(&format!("/v1/keys/{name}"));
            if change == Some(Change::Make) && record.status == 404 {
                tally.undone += 1;
                self.keys.remove(&name);
                continue;
            }
            let key = self.keys.get_mut(&name).unwrap();
            let states = states_of(&record.ok());
            match change.map(|change| key.settle(change, &states)) {
                None => {}
                Some(true) => tally.done += 1,
                Some(false) => tally.undone += 1,
            }
            assert_eq!(states, key.expected_states(), "{name}: {key:?}, unanswered: {change:?}");
            key.check(host, &name);
        }
        if let Some((name, counter)) = &mut self.counter {
            let change = pending.get(name).copied();
            let done = counter.check(host, name, change);
            match change {
                None => {}
                Some(_) if done => tally.done += 1,
                Some(_) => tally.undone += 1,
            }
        }
        self.forget_long_gone();
    }

    /// What was found destroyed after a restart is looked at some times more, and not for ever.
    fn forget_long_gone(&mut self) {
        let gone: Vec<_> =
            self.keys.iter().filter(|(_, key)| key.destroyed).map(|(name, _)| name).collect();
        let many = gone.len().saturating_sub(GONE_MAX);
        let forgotten: Vec<String> = gone.into_iter().take(many).cloned().collect();
        for name in forgotten {
            self.keys.remove(&name);
        }
    }

    /// Versions that are alive on a provider.
    pub(super) fn versions_on(&self, provider: &str) -> usize {
        let living = self.keys.values().filter(|key| key.provider == provider && !key.destroyed);
        living.map(|key| key.versions).sum()
    }

    /// Its living counters of a kind.
    pub(super) fn counters_of(&self, kind: &str) -> usize {
        let counter = self.counter.iter().filter(|(_, it)| it.kind == kind && it.lives);
        counter.count()
    }

    /// The keys and counters about which it ever got no answer.
    #[must_use]
    pub const fn unanswered(&self) -> &BTreeSet<String> {
        &self.unanswered
    }
}
