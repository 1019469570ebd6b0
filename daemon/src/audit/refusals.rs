//! Refusals and malformed requests beyond a number a second become counted records, so that
//! callers without permission cannot fill the disk, however many they are.

use std::collections::BTreeMap;
use std::time::Duration;

use wire::audit::Principal;

/// Refusals of one user written each second as records of their own.
pub const REFUSALS_PER_SECOND: u32 = 10;

/// Refusals of all users written each second as records of their own.
pub const ALL_REFUSALS_PER_SECOND: u32 = 100;

/// Users who are told apart in one second; any more, and callers nobody knows, share one count.
pub const COUNTED_USERS: usize = 64;

const WINDOW: Duration = Duration::from_secs(1);

/// What becomes of one refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It is to be written as it is.
    Written,
    /// It was added to the count of its user, as the first or as a further one.
    Counted { first: bool },
}

/// A count that is ready to be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counted {
    /// Whose refusals: the first that was counted; none of the count that is shared.
    pub(super) principal: Option<Principal>,
    pub(super) count: u64,
}

/// The refusals of the current second, by uid; those without one are under none.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    windows: BTreeMap<Option<u32>, Window>,
    all_since: Duration,
    all_written: u32,
}

#[derive(Debug)]
struct Window {
    start: Duration,
    written: u32,
    counted: Option<Counted>,
}

impl Refusals {
    /// Decides about one refusal at `now`; what was due at `now` was taken before.
    pub(super) fn admit(&mut self, principal: Option<Principal>, now: Duration) -> Admission {
        if now.saturating_sub(self.all_since) >= WINDOW {
            (self.all_since, self.all_written) = (now, 0);
        }
        let principal = self.told_apart(principal);
        let new = || Window { start: now, written: 0, counted: None };
        let window = self.windows.entry(principal.map(|it| it.uid)).or_insert_with(new);
        match &mut window.counted {
            Some(counted) => {
                counted.count = counted.count.saturating_add(1);
                Admission::Counted { first: false }
            }
            None if window.written < REFUSALS_PER_SECOND
                && self.all_written < ALL_REFUSALS_PER_SECOND =>
            {
                window.written += 1;
                self.all_written += 1;
                Admission::Written
            }
            none => {
                *none = Some(Counted { principal, count: 1 });
                Admission::Counted { first: true }
            }
        }
    }

    /// Takes back that a refusal was written: it could not be, and nobody is answered.
    pub(super) fn withdraw(&mut self, principal: Option<Principal>) {
        let user = self.told_apart(principal).map(|it| it.uid);
        if let Some(window) = self.windows.get_mut(&user) {
            window.written = window.written.saturating_sub(1);
            self.all_written = self.all_written.saturating_sub(1);
        }
    }

    /// The user, where there is or may be a count for it.
    fn told_apart(&self, principal: Option<Principal>) -> Option<Principal> {
        let known = |principal: &Principal| {
            self.windows.contains_key(&Some(principal.uid))
                || self.windows.keys().flatten().count() < COUNTED_USERS
        };
        principal.filter(known)
    }

    /// Forgets the seconds that are over at `now` and returns their counts, by rising uid.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Counted> {
        self.take(|window| now.saturating_sub(window.start) >= WINDOW)
    }

    /// Forgets every second, over or not, and returns their counts, by rising uid.
    pub(super) fn all(&mut self) -> Vec<Counted> {
        self.take(|_| true)
    }

    /// Takes back a count that could not be written at `now`, to be due again a second later.
    pub(super) fn put_back(&mut self, counted: Counted, now: Duration) {
        let again = || Window { start: now, written: 0, counted: None };
        let user = counted.principal.map(|it| it.uid);
        let window = self.windows.entry(user).or_insert_with(again);
        let more = window.counted.map_or(0, |more| more.count);
        window.counted = Some(Counted { count: counted.count.saturating_add(more), ..counted });
    }

    /// Tells whether a count waits to be written.
    pub(super) fn is_waiting(&self) -> bool {
        self.windows.values().any(|window| window.counted.is_some())
    }

    fn take(&mut self, over: impl Fn(&Window) -> bool) -> Vec<Counted> {
        let taken: Vec<Counted> = self
            .windows
            .values()
            .filter(|window| over(window))
            .filter_map(|window| window.counted)
            .collect();
        self.windows.retain(|_, window| !over(window));
        taken
    }
}
