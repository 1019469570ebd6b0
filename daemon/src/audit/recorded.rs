//! The proof that a reply may go out.

/// The proof that a request needs no further record before its reply.
#[derive(Debug)]
#[must_use = "a reply asks for the proof that it was recorded"]
pub struct Recorded(Evidence);

/// What a [`Recorded`] rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Evidence {
    /// A line of its own, with this sequence.
    Line(u64),
    /// A place in the count of refusals of its user.
    Counted,
    /// Nothing, for this reason.
    Exempt(Exempt),
}

/// What is answered without a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exempt {
    /// The state of the daemon, asked for by monitoring all the time.
    Status,
    /// The metrics, asked for by monitoring all the time.
    Metrics,
}

impl Recorded {
    /// Lets a reply go out unrecorded, for the reason given.
    pub fn exempt(reason: Exempt) -> Self {
        Self(Evidence::Exempt(reason))
    }

    /// Made by the writer alone.
    pub(super) fn by(evidence: Evidence) -> Self {
        Self(evidence)
    }

    /// Returns what the proof rests on.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.0
    }
}
