//! Rules as the configuration file has them, and every way in which they can be wrong.

use std::collections::BTreeMap;
use std::fmt;

use nix::unistd::{Group, User};
use serde::Deserialize;

use super::pattern::{Pattern, PatternFault};
use super::{Keys, OPERATIONS, Operation, Rule, Who};
use crate::peer::UnitName;

/// One `[[rule]]` of a configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// Whom it allows something.
    pub principal: RawPrincipal,
    /// The patterns of the keys it is about.
    #[serde(default)]
    pub keys: Vec<String>,
    /// The operations it allows; `*` is all.
    pub operations: Vec<String>,
}

/// The principal of a rule: exactly one of the five.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPrincipal {
    /// A user by number.
    pub uid: Option<u32>,
    /// A user by name.
    pub user: Option<String>,
    /// A primary or supplementary group by number.
    pub gid: Option<u32>,
    /// A primary or supplementary group by name.
    pub group: Option<String>,
    /// A unit of the system manager by its full name; that of a template is all its instances.
    pub unit: Option<String>,
}

/// One thing that is wrong with one rule, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleFault {
    /// Which rule, from 1 in the order of the file.
    pub rule: usize,
    /// The key in the rule: `principal`, `keys`, `operations`.
    pub key: &'static str,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// None, or more than one, of the five ways to name a principal.
    #[error("names {0} principals; give exactly one of uid, user, gid, group, unit")]
    Principals(usize),
    /// The user does not exist.
    #[error("there is no user {0:?}; create the user or correct the name")]
    NoSuchUser(String),
    /// The group does not exist.
    #[error("there is no group {0:?}; create the group or correct the name")]
    NoSuchGroup(String),
    /// The text is no full name of a service.
    #[error("{0:?} is no service; give its full name, such as \"web.service\"")]
    NoSuchUnit(String),
    /// The list of users or groups could not be read.
    #[error("{name:?} could not be looked up ({reason}); use its number instead")]
    Lookup {
        /// The user or group.
        name: String,
        /// The answer of the operating system.
        reason: String,
    },
    /// A number that stands for nobody.
    #[error("4294967295 stands for nobody; give a real number")]
    Nobody,
    /// No operation is allowed.
    #[error("allows nothing; name at least one operation, or remove the rule")]
    NoOperations,
    /// The operation does not exist.
    #[error("there is no operation {name:?}; use \"*\" or some of: {known}")]
    NoSuchOperation {
        /// The name.
        name: String,
        /// The operations that exist.
        known: String,
    },
    /// An operation on keys, but no key pattern.
    #[error("{0:?} acts on keys and none is given; add a pattern, or \"**\" for every key")]
    NoKeys(&'static str),
    /// Key patterns, but no operation that acts on keys.
    #[error("are given, but no operation of the rule acts on keys; remove them")]
    NeedlessKeys,
    /// A key pattern that can match nothing.
    #[error("the pattern {pattern:?} {fault}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        fault: PatternFault,
    },
}

/// Everything that is wrong with a set of rules; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleFaults(pub Vec<RuleFault>);

impl fmt::Display for RuleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}, {}: {}", self.rule, self.key, self.fault)
    }
}

impl fmt::Display for RuleFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RuleFaults {}

pub(super) fn check(
    raw: &[RawRule],
    operations: &'static [Operation],
) -> Result<Vec<Rule>, RuleFaults> {
    // The set is a constant of the daemon; past the limit the rest could not be told apart.
    let operations = operations.get(..OPERATIONS).unwrap_or(operations);
    let mut faults = Vec::new();
    let mut rules = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let mut found = Vec::new();
        let who = principal(&raw.principal).map_err(|fault| found.push(("principal", fault)));
        let mask = operation_mask(&raw.operations, operations, &mut found);
        let keys = patterns(&raw.keys, &mut found);
        keys_fit(raw, mask, operations, &mut found);
        faults.extend(found.into_iter().map(|(key, fault)| RuleFault {
            rule: index + 1,
            key,
            fault,
        }));
        if let Ok(who) = who {
            rules.push(Rule { who, operations: mask, keys: Keys::Patterns(keys) });
        }
    }
    if faults.is_empty() { Ok(rules) } else { Err(RuleFaults(faults)) }
}

type Found = Vec<(&'static str, Fault)>;

fn principal(raw: &RawPrincipal) -> Result<Who, Fault> {
    let numbered = |number: u32| if number == u32::MAX { Err(Fault::Nobody) } else { Ok(number) };
    match (raw.uid, &raw.user, raw.gid, &raw.group, &raw.unit) {
        (Some(uid), None, None, None, None) => numbered(uid).map(Who::User),
        (None, Some(name), None, None, None) => user_id(name).map(Who::User),
        (None, None, Some(gid), None, None) => numbered(gid).map(Who::Group),
        (None, None, None, Some(name), None) => group_id(name).map(Who::Group),
        (None, None, None, None, Some(name)) => service(name).map(Who::Unit),
        (uid, user, gid, group, unit) => {
            let given =
                [uid.is_some(), user.is_some(), gid.is_some(), group.is_some(), unit.is_some()];
            Err(Fault::Principals(given.into_iter().filter(|given| *given).count()))
        }
    }
}

/// Services only: of the other kinds a user can have some made under names of its choice.
fn service(name: &str) -> Result<UnitName, Fault> {
    let unit = UnitName::parse(name).filter(|unit| unit.as_str().ends_with(".service"));
    unit.ok_or_else(|| Fault::NoSuchUnit(name.into()))
}

fn user_id(name: &str) -> Result<u32, Fault> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(Fault::NoSuchUser(name.into())),
        Err(error) => Err(Fault::Lookup { name: name.into(), reason: error.to_string() }),
    }
}

fn group_id(name: &str) -> Result<u32, Fault> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err(Fault::NoSuchGroup(name.into())),
        Err(error) => Err(Fault::Lookup { name: name.into(), reason: error.to_string() }),
    }
}

fn operation_mask(names: &[String], operations: &[Operation], found: &mut Found) -> u64 {
    if names.is_empty() {
        found.push(("operations", Fault::NoOperations));
    }
    let bits: BTreeMap<&str, u64> =
        operations.iter().enumerate().map(|(bit, known)| (known.name, 1 << bit)).collect();
    let mut mask = 0;
    for name in names {
        if name == "*" {
            mask |= bits.values().fold(0, |all, bit| all | bit);
        } else if let Some(bit) = bits.get(name.as_str()) {
            mask |= bit;
        } else {
            let known: Vec<&str> = operations.iter().map(|known| known.name).collect();
            let fault = Fault::NoSuchOperation { name: name.clone(), known: known.join(", ") };
            found.push(("operations", fault));
        }
    }
    mask
}

fn patterns(texts: &[String], found: &mut Found) -> Vec<Pattern> {
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        match Pattern::parse(text) {
            Ok(pattern) => patterns.push(pattern),
            Err(fault) => found.push(("keys", Fault::Pattern { pattern: text.clone(), fault })),
        }
    }
    patterns
}

fn keys_fit(raw: &RawRule, mask: u64, operations: &[Operation], found: &mut Found) {
    let named = |bit: usize| mask & (1 << bit) != 0;
    let on_keys = operations.iter().enumerate().find(|(bit, known)| named(*bit) && known.needs_key);
    match on_keys {
        Some((_, known)) if raw.keys.is_empty() => found.push(("keys", Fault::NoKeys(known.name))),
        None if !raw.keys.is_empty() && mask != 0 => found.push(("keys", Fault::NeedlessKeys)),
        Some(_) | None => {}
    }
}
