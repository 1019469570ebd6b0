//! The journal: one line a call, so that calls are counted across restarts of the worker, and a
//! test can read which of them got a fault.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::plan::{Rule, Verb};

/// How many calls there were under the present plan.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    by_verb: [u64; Verb::ALL.len()],
    any: u64,
    /// Whether a call has pulled the device out.
    pub(crate) unplugged: bool,
}

impl Counts {
    /// Counts a call: its number among those of its verb, and among those that `any` means.
    pub(crate) fn count(&mut self, verb: Verb) -> (u64, u64) {
        let mut own = 0;
        for (counted, count) in Verb::ALL.iter().zip(&mut self.by_verb) {
            if *counted == verb {
                *count = count.saturating_add(1);
                own = *count;
            }
        }
        if verb.is_numbered() {
            self.any = self.any.saturating_add(1);
        }
        (own, self.any)
    }
}

/// A file with the calls so far.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Opens a journal, or begins one. Calls under another plan than the present one do not count.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn open(path: &Path, plan: &str) -> io::Result<(Self, Counts)> {
        let begun = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let file = File::options().create(true).append(true).open(path)?;
        let mut journal = Self { file };
        let counts = match replay(&begun) {
            (last, counts) if last == Some(plan) => counts,
            (_, _) => {
                journal.plan(plan)?;
                Counts::default()
            }
        };
        Ok((journal, counts))
    }

    /// Notes that another plan holds from now on.
    pub(crate) fn plan(&mut self, plan: &str) -> io::Result<()> {
        self.file.write_all(format!("{PLAN} {plan}\n").as_bytes())
    }

    /// Notes a call and the faults that it gets, before it gets them.
    pub(crate) fn call(&mut self, verb: Verb, rules: &[Rule]) -> io::Result<()> {
        let mut line = verb.name().to_owned();
        for rule in rules {
            line.push_str(if rule.after { " after " } else { " " });
            line.push_str(&rule.fault.to_string());
        }
        line.push('\n');
        // One write, so that a process that dies leaves whole lines.
        self.file.write_all(line.as_bytes())
    }
}

const PLAN: &str = "plan";

/// The last plan of a journal and what was counted under it.
fn replay(text: &str) -> (Option<&str>, Counts) {
    let mut plan = None;
    let mut counts = Counts::default();
    for line in text.lines() {
        let (head, rest) = line.split_once(' ').unwrap_or((line, ""));
        if head == PLAN {
            (plan, counts) = (Some(rest), Counts::default());
        } else if let Ok(verb) = head.parse() {
            let _numbers = counts.count(verb);
            counts.unplugged |= rest.split(' ').any(|word| word == "unplug");
        }
    }
    (plan, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Select};

    fn rule(after: bool, fault: Fault) -> Rule {
        Rule { verb: None, select: Select::Every, after, fault }
    }

    #[test]
    fn counts_of_the_same_plan_go_on_and_those_of_another_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, _counts) = Journal::open(&path, "mac:2 gone").unwrap();
        journal.call(Verb::Mac, &[]).unwrap();
        journal.call(Verb::Info, &[]).unwrap();
        let (_journal, mut counts) = Journal::open(&path, "mac:2 gone").unwrap();
        assert_eq!(counts.count(Verb::Mac), (2, 2));
        let (_journal, mut counts) = Journal::open(&path, "mac:3 gone").unwrap();
        assert_eq!(counts.count(Verb::Mac), (1, 1));
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "plan mac:2 gone\nmac\ninfo\nplan mac:3 gone\n"
        );
    }

    #[test]
    fn device_that_was_pulled_out_stays_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let (mut journal, counts) = Journal::open(&path, "").unwrap();
        assert!(!counts.unplugged);
        journal.call(Verb::Mac, &[rule(true, Fault::Crash), rule(false, Fault::Unplug)]).unwrap();
        let (_journal, counts) = Journal::open(&path, "").unwrap();
        assert!(counts.unplugged);
        assert!(fs::read_to_string(&path).unwrap().ends_with("mac after crash unplug\n"));
    }
}
