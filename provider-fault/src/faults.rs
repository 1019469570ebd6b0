//! What a call of now gets: the plan as it is at this moment, and the number of the call.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use provider_core::{ErrorKind, Need, ProviderError, Result, Settings};

use crate::answer::Answer;
use crate::boundary;
use crate::journal::{Counts, Journal};
use crate::plan::{Fault, Plan, PlanError, Rule, Verb};

/// The plan of an instance and how far it is.
#[derive(Debug)]
pub(crate) struct Faults {
    written: String,
    file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The text that `plan` was parsed from.
    text: String,
    plan: Plan,
    counts: Counts,
    journal: Option<Journal>,
}

/// One call, on its way.
#[derive(Debug)]
pub(crate) struct Turn {
    after: Vec<Fault>,
    answer: Option<Fault>,
}

impl Faults {
    /// Takes its own settings, and leaves those of the plugin behind.
    ///
    /// # Errors
    /// `InvalidParameter`: the plan is none, or a file cannot be read or written.
    pub(crate) fn take(settings: &mut Settings) -> Result<Self> {
        let written = settings.take("plan").unwrap_or_default();
        let file = settings.take("plan_file").map(PathBuf::from);
        let place = settings.take("journal").map(PathBuf::from);
        for path in [&file, &place].into_iter().flatten() {
            if !path.is_absolute() {
                let what = "plan_file and journal must be absolute paths";
                return Err(ProviderError::invalid(what));
            }
        }
        let text = read(&written, file.as_ref())?;
        let plan: Plan = text.parse().map_err(refused)?;
        let (journal, counts) = match place {
            None => (None, Counts::default()),
            Some(place) => {
                let opened = Journal::open(&place, &plan.to_string()).map_err(unwritten)?;
                (Some(opened.0), opened.1)
            }
        };
        let state = Mutex::new(State { text, plan, counts, journal });
        Ok(Self { written, file, state })
    }

    /// What the plan and the journal need of the machine: the directories that they are in, because
    /// a file that is put in the place of another is another file.
    pub(crate) fn needs(settings: &mut Settings) -> Vec<Need> {
        let _written = settings.take("plan");
        let directory =
            |file: String| Path::new(&file).parent().and_then(Path::to_str).map(str::to_owned);
        let plan = settings.take("plan_file").and_then(directory).map(Need::Read);
        let journal = settings.take("journal").and_then(directory).map(Need::Write);
        plan.into_iter().chain(journal).collect()
    }

    /// Counts a call, notes it, and does to it what comes before the device.
    ///
    /// # Errors
    /// The error that the plan wants; `InvalidParameter`: the plan was changed and is none now.
    pub(crate) fn begin(&self, verb: Verb) -> Result<Turn> {
        let rules = self.rules(verb)?;
        let of = |after| rules.iter().filter(move |rule| rule.after == after);
        let answer = of(false).map(|rule| rule.fault).find(|fault| fault.is_in_the_answer());
        for rule in of(false) {
            happen(rule.fault)?;
        }
        Ok(Turn { after: of(true).map(|rule| rule.fault).collect(), answer })
    }

    /// The rules that a call of now gets. The lock is free again before anything happens.
    fn rules(&self, verb: Verb) -> Result<Vec<Rule>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let text = read(&self.written, self.file.as_ref())?;
        if text != state.text {
            state.plan = text.parse().map_err(refused)?;
            state.text = text;
            state.counts = Counts::default();
            let plan = state.plan.to_string();
            state.journal.as_mut().map_or(Ok(()), |it| it.plan(&plan)).map_err(unwritten)?;
        }
        let (own, any) = state.counts.count(verb);
        let mut rules: Vec<_> = state
            .plan
            .rules
            .iter()
            .filter(|rule| match rule.verb {
                Some(named) => named == verb && rule.select.has(own),
                // One without a number has a share in `any every` only.
                None => {
                    rule.fault.fits(verb)
                        && rule.select.has(if verb.is_numbered() { any } else { 0 })
                }
            })
            .copied()
            .collect();
        if state.counts.unplugged && verb.can_fail() {
            rules = vec![Rule::unplugged()];
        }
        state.counts.unplugged |= rules.iter().any(|rule| rule.fault == Fault::Unplug);
        state.journal.as_mut().map_or(Ok(()), |it| it.call(verb, &rules)).map_err(unwritten)?;
        Ok(rules)
    }
}

impl Turn {
    /// Calls the device, or claims to have, and does to the answer what the plan wants.
    ///
    /// # Errors
    /// Those of the call, and those that the plan wants.
    pub(crate) fn finish<T: Answer>(self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        if let (Some(Fault::Wrong), Some(claim)) = (self.answer, T::claim()) {
            return Ok(claim);
        }
        let answer = call()?;
        for fault in self.after {
            happen(fault)?;
        }
        Ok(match self.answer {
            Some(Fault::Wrong) => answer.wrong(),
            Some(Fault::Empty | Fault::Unwritten) => answer.empty(),
            Some(Fault::Long) => {
                boundary::lie_about_the_length();
                answer
            }
            Some(_) | None => answer,
        })
    }
}

/// What happens to a call beside its answer.
#[expect(clippy::exit, clippy::panic, reason = "what a plugin must not do is what this one is for")]
fn happen(fault: Fault) -> Result<()> {
    match fault {
        Fault::Slow(time) => thread::sleep(time),
        Fault::Leak(bytes) => {
            // Written to, so that it is memory and not only addresses.
            let _kept: &mut [u8] = Vec::leak(vec![0xA5; bytes]);
        }
        Fault::Hang => loop {
            thread::sleep(Duration::from_secs(3600));
        },
        Fault::Crash => std::process::abort(),
        Fault::Exit => std::process::exit(3),
        Fault::Panic => std::panic::panic_any("the plan wants a panic"),
        Fault::Fails(kind) => return Err(ProviderError::new(kind, "the plan wants it")),
        Fault::Unplug => {
            return Err(ProviderError::new(ErrorKind::DeviceGone, "the plan has it unplugged"));
        }
        Fault::Wrong | Fault::Empty | Fault::Unwritten | Fault::Long => {}
    }
    Ok(())
}

/// The text of the plan now. A file that is not there has no faults in it.
fn read(written: &str, file: Option<&PathBuf>) -> Result<String> {
    let Some(file) = file else { return Ok(written.to_owned()) };
    match fs::read_to_string(file) {
        Ok(text) => Ok(format!("{written}\n{text}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(written.to_owned()),
        Err(error) => Err(ProviderError::invalid(format!("plan_file cannot be read: {error}"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn refused(error: PlanError) -> ProviderError {
    ProviderError::invalid(error.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it stands in map_err")]
fn unwritten(error: io::Error) -> ProviderError {
    ProviderError::invalid(format!("journal cannot be read or written: {error}"))
}
