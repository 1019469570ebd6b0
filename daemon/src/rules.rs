//! Who may do what with which keys: default deny, and no user is above the rules.
//!
//! A rule names one principal, operations and key patterns. Operations are names given by the
//! caller, keys are names; what they mean is not known here. [`Authorized`] is made only by
//! [`Rules::authorize`], so that a stage which asks for one cannot be reached without a rule that
//! allows it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::peer::{Principal, UnitName, knowable};

mod pattern;
mod raw;

use pattern::Pattern;

pub use pattern::{PATTERN_BYTES, PatternFault};
pub use raw::{Fault, RawPrincipal, RawRule, RuleFault, RuleFaults};

/// Most operations that a daemon can have rules for.
pub const OPERATIONS: usize = 64;

/// An operation that rules can allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Operation {
    /// Its name in rules and in the audit.
    pub name: &'static str,
    /// Whether it acts on a key; one that does not is allowed without a key pattern.
    pub needs_key: bool,
}

/// A checked set of access rules.
#[derive(Clone, Debug)]
pub struct Rules {
    operations: &'static [Operation],
    rules: Vec<Rule>,
    granted: Vec<Rule>,
}

/// By which door a request comes in, where a daemon has several.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Door {
    /// The daemon's own: its rules count.
    Own,
    /// The one that grants are for, [`Rules::grant`]: the rules count, and the grants.
    Granted,
}

#[derive(Clone, Debug)]
struct Rule {
    who: Who,
    /// Bit n stands for the n-th operation of the set.
    operations: u64,
    keys: Keys,
}

#[derive(Clone, Debug)]
enum Keys {
    Patterns(Vec<Pattern>),
    Test(Arc<dyn KeyTest>),
}

/// Tells keys by their names in a way of a daemon's own, where patterns do not.
pub trait KeyTest: fmt::Debug + Send + Sync {
    /// Whether `key` is one of those meant.
    fn matches(&self, key: &str) -> bool;
}

#[derive(Clone, Debug)]
enum Who {
    User(u32),
    Group(u32),
    Unit(UnitName),
}

/// The proof that a rule allows a principal one operation, on one key where it needs one.
#[derive(Debug)]
pub struct Authorized<'a> {
    principal: &'a Principal,
    operation: &'static str,
    key: Option<&'a str>,
}

/// No rule allows it. The same answer whether the key exists or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("permission denied")]
pub struct Denied;

impl Rules {
    /// Returns the empty set, which allows nothing.
    #[must_use]
    pub fn none(operations: &'static [Operation]) -> Self {
        Self { operations, rules: Vec::new(), granted: Vec::new() }
    }

    /// Checks the rules of a configuration file against the operations that exist.
    ///
    /// Users and groups are looked up here, once; a user that gets another uid later needs a
    /// reload.
    ///
    /// # Limits
    /// 64 operations.
    ///
    /// # Errors
    /// Every fault of every rule, each with its rule, key and what to do.
    pub fn check(raw: &[RawRule], operations: &'static [Operation]) -> Result<Self, RuleFaults> {
        let granted = Vec::new();
        raw::check(raw, operations).map(|rules| Self { operations, rules, granted })
    }

    /// Adds a rule of a form of its own, for [`Door::Granted`] alone: a user may do these operations,
    /// those of them that exist and need a key, with the keys that a test tells.
    pub fn grant(&mut self, uid: u32, operations: &[&str], keys: Arc<dyn KeyTest>) {
        let places = self.operations.iter().zip(0_u32..);
        let bits = places
            .filter(|(known, _)| known.needs_key && operations.contains(&known.name))
            .filter_map(|(_, place)| 1_u64.checked_shl(place));
        let operations = bits.fold(0, std::ops::BitOr::bitor);
        self.granted.push(Rule { who: Who::User(uid), operations, keys: Keys::Test(keys) });
    }

    /// Asks whether a rule allows `principal` the operation, on `key` where it needs one.
    ///
    /// Internal keys, whose names start with `.`, are denied to everybody.
    ///
    /// # Errors
    /// [`Denied`]: no rule allows it, the operation does not exist, or a key was given without
    /// need or not given where needed.
    pub fn authorize<'a>(
        &self,
        principal: &'a Principal,
        operation: &str,
        key: Option<&'a str>,
    ) -> Result<Authorized<'a>, Denied> {
        self.authorize_at(Door::Own, principal, operation, key)
    }

    /// The same at a door.
    ///
    /// # Errors
    /// As [`authorize`](Self::authorize).
    pub fn authorize_at<'a>(
        &self,
        door: Door,
        principal: &'a Principal,
        operation: &str,
        key: Option<&'a str>,
    ) -> Result<Authorized<'a>, Denied> {
        let index = self.operations.iter().position(|known| known.name == operation);
        let known = index.and_then(|index| self.operations.get(index).map(|known| (index, known)));
        let (index, known) = known.ok_or(Denied)?;
        if known.needs_key != key.is_some() || key.is_some_and(|key| key.starts_with('.')) {
            return Err(Denied);
        }
        let shift = u32::try_from(index).ok();
        let bit = shift.and_then(|shift| 1_u64.checked_shl(shift)).ok_or(Denied)?;
        let allows = |rule: &Rule| {
            rule.operations & bit != 0
                && rule.who.is(principal)
                && key.is_none_or(|key| rule.keys.has(key))
        };
        if !self.at(door).any(allows) {
            return Err(Denied);
        }
        Ok(Authorized { principal, operation: known.name, key })
    }

    /// Asks whether a rule allows `principal` the operation on some key.
    ///
    /// For requests about several keys, each of which is to be asked for by [`Rules::visible`].
    ///
    /// # Errors
    /// [`Denied`]: no rule allows it on any key.
    pub fn authorize_some<'a>(
        &self,
        principal: &'a Principal,
        operation: &str,
    ) -> Result<Authorized<'a>, Denied> {
        self.authorize_some_at(Door::Own, principal, operation)
    }

    /// The same at a door.
    ///
    /// # Errors
    /// As [`authorize_some`](Self::authorize_some).
    pub fn authorize_some_at<'a>(
        &self,
        door: Door,
        principal: &'a Principal,
        operation: &str,
    ) -> Result<Authorized<'a>, Denied> {
        let index = self.operations.iter().position(|known| known.name == operation);
        let known = index.and_then(|index| self.operations.get(index).map(|known| (index, known)));
        let (index, known) = known.ok_or(Denied)?;
        let bit = u32::try_from(index).ok().and_then(|shift| 1_u64.checked_shl(shift));
        let bit = bit.ok_or(Denied)?;
        if !self.at(door).any(|rule| rule.operations & bit != 0 && rule.who.is(principal)) {
            return Err(Denied);
        }
        Ok(Authorized { principal, operation: known.name, key: None })
    }

    fn at(&self, door: Door) -> impl Iterator<Item = &Rule> {
        let granted = match door {
            Door::Own => &[][..],
            Door::Granted => &self.granted,
        };
        self.rules.iter().chain(granted)
    }

    /// Tells whether a list shown to `principal` may contain `key`: as [`Rules::authorize`].
    #[must_use]
    pub fn visible(&self, principal: &Principal, operation: &str, key: &str) -> bool {
        self.authorize(principal, operation, Some(key)).is_ok()
    }

    /// Tells why rules that name a unit allow nobody anything here, if there are any.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let units = self.rules.iter().filter(|rule| matches!(rule.who, Who::Unit(_))).count();
        let unknowable = if units > 0 { knowable().err() } else { None };
        unknowable.map(|why| format!("{units} rules name a unit and allow nothing: it {why}"))
    }

    /// Returns the number of rules and grants.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len().saturating_add(self.granted.len())
    }

    /// Tells whether there is no rule, so that everything is denied.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.granted.is_empty()
    }
}

impl Keys {
    fn has(&self, key: &str) -> bool {
        match self {
            Self::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(key)),
            Self::Test(test) => test.matches(key),
        }
    }
}

impl Who {
    fn is(&self, principal: &Principal) -> bool {
        match self {
            Self::User(uid) => principal.uid() == *uid,
            Self::Group(gid) => principal.is_in_group(*gid),
            Self::Unit(wanted) => principal.unit().is_some_and(|unit| unit.is(wanted)),
        }
    }
}

impl<'a> Authorized<'a> {
    /// Returns who was authorized.
    #[must_use]
    pub fn principal(&self) -> &'a Principal {
        self.principal
    }

    /// Returns what it is authorized to do.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the key that the operation may act on; none when it needs no key.
    #[must_use]
    pub fn key(&self) -> Option<&'a str> {
        self.key
    }
}

/// The rules in force, replaced whole on reload.
#[derive(Debug)]
pub struct RuleBook(RwLock<Arc<Rules>>);

impl RuleBook {
    /// Puts the first rules in force.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self(RwLock::new(Arc::new(rules)))
    }

    /// Returns the rules in force now; a reload does not change what was returned.
    #[must_use]
    pub fn current(&self) -> Arc<Rules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other rules in force for every request that asks from now on.
    ///
    /// Broken rules never get here: [`Rules::check`] makes none of them, and the last good ones
    /// stay in force.
    pub fn replace(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }
}

#[cfg(test)]
mod tests;
