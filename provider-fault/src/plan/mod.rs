//! The plan: which call gets which fault. One rule a line, or several parted by `;`.
//!
//! Parsing is strict, because a rule that is silently not meant is a test that tests nothing.

mod fault;
mod verb;

use std::fmt;
use std::str::FromStr;

pub use fault::Fault;
pub use verb::Verb;

/// Longest plan, bytes.
pub(crate) const PLAN_MAX_BYTES: usize = 64 * 1024;

/// Rules in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One rule: which calls, and what happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whose calls; `None` is `any`.
    pub verb: Option<Verb>,
    /// Which of them.
    pub select: Select,
    /// Whether the device has done the call when the fault comes.
    pub after: bool,
    /// What happens.
    pub fault: Fault,
}

/// Which calls of a verb, by number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// All.
    Every,
    /// From one to another, both included.
    Range(u64, u64),
    /// From one on.
    From(u64),
}

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is too long.
    #[error("the plan has {0} bytes, more than {PLAN_MAX_BYTES}")]
    TooLong(usize),
    /// A rule is not one.
    #[error("rule {number} of the plan, \"{rule}\": {problem}")]
    Rule {
        /// Which, from 1.
        number: usize,
        /// Its text, cut.
        rule: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        if text.len() > PLAN_MAX_BYTES {
            return Err(PlanError::TooLong(text.len()));
        }
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let rules = lines.flat_map(|line| line.split(';')).map(str::trim);
        let rules = rules.filter(|rule| !rule.is_empty()).enumerate().map(|(index, rule)| {
            parse_rule(rule).map_err(|problem| PlanError::Rule {
                number: index.saturating_add(1),
                rule: rule.chars().take(80).collect(),
                problem,
            })
        });
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }
}

fn parse_rule(text: &str) -> Result<Rule, &'static str> {
    let mut words = text.split_whitespace();
    let whose = words.next().unwrap_or_default();
    let (verb, select) = match whose.split_once(':') {
        Some((verb, select)) => (verb, select.parse()?),
        None => (whose, Select::Every),
    };
    let verb = if verb == ANY { None } else { Some(verb.parse()?) };
    let mut rest = words.next();
    let after = rest == Some(AFTER);
    if after {
        rest = words.next();
    }
    let fault = Fault::parse(rest.ok_or("it has no fault")?, words.next())?;
    if words.next().is_some() {
        return Err("words follow the fault");
    }
    let rule = Rule { verb, select, after, fault };
    rule.check()?;
    Ok(rule)
}

const ANY: &str = "any";
const AFTER: &str = "after";

impl Rule {
    /// What a call gets while the device is out.
    pub(crate) const fn unplugged() -> Self {
        Self { verb: None, select: Select::Every, after: false, fault: Fault::Unplug }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.after && self.fault.is_in_the_answer() {
            return Err("a spoilt answer is always after the call; leave out `after`");
        }
        match self.verb {
            _ if self.fault == Fault::Wrong => match self.verb {
                Some(Verb::Info | Verb::Close) => Err("this verb has no answer to spoil"),
                Some(_) | None => Ok(()),
            },
            Some(verb) if !self.fault.fits(verb) => Err("this verb cannot have this fault"),
            None if self.fault.is_in_the_answer() => Err("name the verb whose answer is spoilt"),
            Some(_) | None => Ok(()),
        }
    }
}

impl FromStr for Select {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WANTED: &str = "after the colon stands `every`, a number from 1, `A-B` or `A-`";
        let number = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number > 0).ok_or(WANTED)
        };
        match text.split_once('-') {
            _ if text == EVERY => Ok(Self::Every),
            None => number(text).map(|only| Self::Range(only, only)),
            Some((from, "")) => number(from).map(Self::From),
            Some((from, to)) => match (number(from)?, number(to)?) {
                (from, to) if from > to => Err("a range begins with its lower number"),
                (from, to) => Ok(Self::Range(from, to)),
            },
        }
    }
}

const EVERY: &str = "every";

impl Select {
    /// Whether it has the call of this number.
    pub(crate) fn has(self, number: u64) -> bool {
        match self {
            Self::Every => true,
            Self::Range(from, to) => (from..=to).contains(&number),
            Self::From(from) => number >= from,
        }
    }
}

impl fmt::Display for Plan {
    /// The plan on one line.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.rules.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            rule.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.verb.map_or(ANY, Verb::name))?;
        match self.select {
            Select::Every => {}
            Select::Range(from, to) if from == to => write!(formatter, ":{from}")?,
            Select::Range(from, to) => write!(formatter, ":{from}-{to}")?,
            Select::From(from) => write!(formatter, ":{from}-")?,
        }
        if self.after {
            write!(formatter, " {AFTER}")?;
        }
        write!(formatter, " {}", self.fault)
    }
}

#[cfg(test)]
mod tests;
