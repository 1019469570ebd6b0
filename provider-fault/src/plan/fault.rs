//! The faults, as the plan names them.

use std::fmt;
use std::time::Duration;

use provider_core::ErrorKind;

use super::Verb;

/// Longest `slow`: a call that takes longer is a `hang`.
const SLOW_MAX: Duration = Duration::from_secs(3600);
/// Most bytes that one call leaks.
const LEAK_MAX_BYTES: usize = 1 << 30;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It takes so much longer.
    Slow(Duration),
    /// It keeps so many bytes of memory, for ever.
    Leak(usize),
    /// It never ends.
    Hang,
    /// The process is killed by a signal (`SIGABRT`).
    Crash,
    /// The process ends by itself, with status 3.
    Exit,
    /// The provider panics.
    Panic,
    /// It fails in this way.
    Fails(ErrorKind),
    /// It and all that follow fail as `gone`, until the plan changes.
    Unplug,
    /// Its answer has one bit flipped; a verb without an answer claims to have done it.
    Wrong,
    /// Its output has no bytes, and it succeeds.
    Empty,
    /// It writes no output, and succeeds.
    Unwritten,
    /// It states a length past every buffer, and succeeds.
    Long,
}

/// The ways to fail, by name. `panic` is a fault of its own.
const KINDS: [(&str, ErrorKind); 14] = [
    ("invalid", ErrorKind::InvalidParameter),
    ("unsupported", ErrorKind::Unsupported),
    ("too_large", ErrorKind::TooLarge),
    ("not_found", ErrorKind::KeyNotFound),
    ("exists", ErrorKind::KeyExists),
    ("state_mismatch", ErrorKind::StateMismatch),
    ("integrity", ErrorKind::Integrity),
    ("busy", ErrorKind::Busy),
    ("auth", ErrorKind::DeviceAuth),
    ("locked_out", ErrorKind::LockedOut),
    ("gone", ErrorKind::DeviceGone),
    ("exhausted", ErrorKind::Exhausted),
    ("internal", ErrorKind::Internal),
    ("wrong_device", ErrorKind::WrongDevice),
];

const PLAIN: [(&str, Fault); 9] = [
    ("hang", Fault::Hang),
    ("crash", Fault::Crash),
    ("exit", Fault::Exit),
    ("panic", Fault::Panic),
    ("unplug", Fault::Unplug),
    ("wrong", Fault::Wrong),
    ("empty", Fault::Empty),
    ("unwritten", Fault::Unwritten),
    ("long", Fault::Long),
];

impl Fault {
    pub(super) fn parse(word: &str, argument: Option<&str>) -> Result<Self, &'static str> {
        let plain = PLAIN.iter().find(|(name, _)| *name == word).map(|(_, fault)| *fault);
        let kind = || KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
        match (word, argument) {
            ("slow", Some(text)) => duration(text).map(Self::Slow),
            ("slow", None) => Err("`slow` needs a time, such as 50ms or 2s"),
            ("leak", Some(text)) => bytes(text).map(Self::Leak),
            ("leak", None) => Err("`leak` needs a size, such as 64KiB or 1MiB"),
            (_, argument) => match plain.or_else(|| kind().map(Self::Fails)) {
                None => Err("there is no such fault"),
                Some(_) if argument.is_some() => Err("words follow the fault"),
                Some(fault) => Ok(fault),
            },
        }
    }

    /// Whether it is in what the call answers, so that the device does the call.
    pub(crate) const fn is_in_the_answer(self) -> bool {
        matches!(self, Self::Wrong | Self::Empty | Self::Unwritten | Self::Long)
    }

    /// Whether a verb can have it.
    pub(crate) const fn fits(self, verb: Verb) -> bool {
        match self {
            Self::Slow(_) | Self::Leak(_) | Self::Hang | Self::Crash | Self::Exit | Self::Panic => {
                true
            }
            Self::Fails(_) | Self::Unplug | Self::Wrong => verb.can_fail(),
            Self::Empty | Self::Long => verb.gives_length(),
            Self::Unwritten => verb.gives_fixed(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PLAIN.iter().find(|(_, fault)| fault == self).map(|(name, _)| *name);
        let kind =
            |kind: ErrorKind| KINDS.iter().find(|(_, it)| *it == kind).map(|(name, _)| *name);
        match *self {
            Self::Slow(time) => write!(formatter, "slow {}ms", time.as_millis()),
            Self::Leak(bytes) => write!(formatter, "leak {bytes}B"),
            // Every kind is in the list but the one that is a fault of its own.
            Self::Fails(failure) => formatter.write_str(kind(failure).unwrap_or("panic")),
            Self::Hang
            | Self::Crash
            | Self::Exit
            | Self::Panic
            | Self::Unplug
            | Self::Wrong
            | Self::Empty
            | Self::Unwritten
            | Self::Long => formatter.write_str(name.unwrap_or_default()),
        }
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const WANTED: &str = "a time is a number with ms or s, at most one hour";
    let (number, unit) = split(text).ok_or(WANTED)?;
    let time = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        _ => return Err(WANTED),
    };
    if time > SLOW_MAX { Err(WANTED) } else { Ok(time) }
}

fn bytes(text: &str) -> Result<usize, &'static str> {
    const WANTED: &str = "a size is a number with B, KiB or MiB, at most 1024MiB";
    let (number, unit) = split(text).ok_or(WANTED)?;
    let one: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        _ => return Err(WANTED),
    };
    let bytes = number.checked_mul(one).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| *bytes <= LEAK_MAX_BYTES).ok_or(WANTED)
}

/// A number and the unit that follows it.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}
