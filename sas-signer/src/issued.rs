//! The tokens that were signed and have not expired, for who administers them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wire::sas::{IssuedList, IssuedToken, SasKeyName};

/// Most tokens in the list. For one more, the one that expires first is forgotten, and counted.
pub const ISSUED_MAX_TOKENS: usize = 4096;

/// The list: what each token is for and until when, never its signature. In memory only; the audit
/// outlives it.
///
/// # Limits
/// 4,096 tokens.
#[derive(Debug, Default)]
pub struct Issued(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    /// By expiry, and then in the order of signing.
    tokens: BTreeMap<(u64, u64), IssuedToken>,
    signed: u64,
    forgotten: u64,
}

impl Issued {
    /// Adds a token at `now`, in seconds since 1970, UTC.
    pub fn add(&self, token: IssuedToken, now: u64) {
        let mut list = self.list();
        list.expire(now);
        if list.tokens.len() >= ISSUED_MAX_TOKENS {
            list.tokens.pop_first();
            list.forgotten = list.forgotten.saturating_add(1);
        }
        list.signed = list.signed.saturating_add(1);
        let place = (token.se, list.signed);
        list.tokens.insert(place, token);
    }

    /// The tokens that have not expired at `now`, of the keys that `visible` lets through.
    #[must_use]
    pub fn list_at(&self, now: u64, visible: impl Fn(&SasKeyName) -> bool) -> IssuedList {
        let mut list = self.list();
        list.expire(now);
        let tokens = list.tokens.values().filter(|token| visible(&token.key)).cloned().collect();
        IssuedList { tokens, forgotten: list.forgotten }
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn expire(&mut self, now: u64) {
        // The clock may go back again; what it expires is gone all the same.
        self.tokens = self.tokens.split_off(&(now.saturating_add(1), 0));
    }
}

#[cfg(test)]
mod tests {
    use wire::sas::Slot;

    use super::*;

    fn token(key: &str, se: u64) -> IssuedToken {
        IssuedToken {
            sr: "h.net%2fdevices%2fd".into(),
            skn: None,
            se,
            key: key.parse().unwrap(),
            slot: Slot::Primary,
            version: 1,
            issued_at: 0,
            uid: 0,
        }
    }

    fn check(issued: &Issued, now: u64, expiries: &[u64], forgotten: u64) {
        let list = issued.list_at(now, |_| true);
        let found: Vec<_> = list.tokens.iter().map(|token| token.se).collect();
        assert_eq!((found.as_slice(), list.forgotten), (expiries, forgotten));
    }

    #[test]
    fn tokens_are_listed_by_expiry_until_then() {
        let issued = Issued::default();
        for se in [30, 10, 20, 10] {
            issued.add(token("k", se), 0);
        }
        check(&issued, 9, &[10, 10, 20, 30], 0);
        check(&issued, 10, &[20, 30], 0);
        check(&issued, 30, &[], 0);
    }

    #[test]
    fn tokens_of_keys_that_the_caller_may_not_list_are_left_out() {
        let issued = Issued::default();
        issued.add(token("a", 10), 0);
        issued.add(token("b", 20), 0);
        let list = issued.list_at(0, |key| key.as_str() == "b");
        assert_eq!(list.tokens, [token("b", 20)]);
    }

    #[test]
    fn list_at_limit_keeps_all_and_one_past_it_forgets_the_first_to_expire() {
        let issued = Issued::default();
        let limit = u64::try_from(ISSUED_MAX_TOKENS).unwrap();
        (1..=limit).for_each(|se| issued.add(token("k", se), 0));
        let all: Vec<_> = (1..=limit).collect();
        check(&issued, 0, &all, 0);
        issued.add(token("k", limit + 1), 0);
        let all: Vec<_> = (2..=limit + 1).collect();
        check(&issued, 0, &all, 1);
    }

    #[test]
    fn token_that_expires_at_the_end_of_time_is_listed() {
        let issued = Issued::default();
        issued.add(token("k", u64::MAX), 0);
        check(&issued, u64::MAX - 1, &[u64::MAX], 0);
    }
}
