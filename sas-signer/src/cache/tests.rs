use std::sync::atomic::{AtomicU32, Ordering};

use daemon::clock::ClockHand;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use wire::api::{Origin, Protection};

use super::*;
use crate::token::Unsigned;

const START: i64 = 1_700_000_000;
const TTL: u64 = 100;

/// A cache, the hand of its clock, and a count of signings.
struct Bench {
    cache: Cache,
    hand: ClockHand,
    signings: AtomicU32,
}

impl Bench {
    fn new() -> Self {
        let (clock, hand) = Clock::manual(Timestamp::from_second(START).unwrap());
        let cache = Cache::new(clock, RENEW_AT_PERCENT);
        Self { cache, hand, signings: AtomicU32::new(0) }
    }

    fn set(&self, second: i64) {
        self.hand.set(Timestamp::from_second(second).unwrap());
    }

    fn advance(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    async fn ask(&self, wanted: &Wanted, fresh: bool) -> Result<(u64, bool), Fault> {
        let sign = |expires_at| async move {
            self.signings.fetch_add(1, Ordering::Relaxed);
            Ok(signed(wanted, expires_at))
        };
        let (signed, from_cache) = self.cache.token(wanted, fresh, sign).await?;
        Ok((signed.token.expires_at(), from_cache))
    }

    async fn ask_in_vain(&self, wanted: &Wanted) -> Result<(u64, bool), Fault> {
        let sign = |_| async { Err(Fault::new(Code::Unavailable, "gone")) };
        let (signed, from_cache) = self.cache.token(wanted, false, sign).await?;
        Ok((signed.token.expires_at(), from_cache))
    }

    /// Asks, and says what is expected: how much longer the token lives from the start, and how
    /// many were signed by now.
    #[track_caller]
    fn check(&self, expires_in: i64, signings: u32) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let (expires_at, _) = self.ask(&wanted("d"), false).await.unwrap();
            let expected = (u64::try_from(START + expires_in).unwrap(), signings);
            let found = (expires_at, self.signings.load(Ordering::Relaxed));
            assert_eq!(found, expected, "at {place}");
        }
    }
}

fn wanted(device: &str) -> Wanted {
    let json = format!(r#"{{"profile":"iot-hub-device","hub":"h.net","device":"{device}"}}"#);
    Wanted {
        profile: serde_json::from_str(&json).unwrap(),
        key: "k".parse().unwrap(),
        slot: Slot::Primary,
        ttl_seconds: TTL,
        encoder: Encoder::LowerHex,
        order: Order::SrSigSeSkn,
    }
}

fn signed(wanted: &Wanted, expires_at: u64) -> Signed {
    let by = By {
        version: 1,
        provider: "soft".parse().unwrap(),
        protection: Protection::Software,
        origin: Origin::ImportedClear,
    };
    let token = Unsigned::new(&wanted.profile, wanted.encoder, wanted.order, expires_at).unwrap();
    Signed { token: token.sign(&[0; 32]), by }
}

#[tokio::test]
async fn s11_token_is_renewed_at_80_percent_of_its_life_and_once() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(79);
    bench.check(100, 1).await;
    bench.advance(1);
    bench.check(180, 2).await;
    bench.check(180, 2).await;
}

#[tokio::test]
async fn s11_token_is_not_handed_out_once_the_clock_jumped_past_its_expiry() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.set(START + 100);
    bench.check(200, 2).await;
    bench.check(200, 2).await;
}

#[tokio::test]
async fn s11_token_is_renewed_once_when_the_clock_jumped_into_its_last_fifth() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.set(START + 80);
    bench.check(180, 2).await;
    bench.check(180, 2).await;
}

#[tokio::test]
async fn s11_token_is_renewed_once_when_the_clock_was_set_back() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.set(START - 1000);
    bench.check(-900, 2).await;
    bench.check(-900, 2).await;
    bench.advance(80);
    bench.check(-820, 3).await;
}

#[tokio::test]
async fn s11_token_is_renewed_when_the_clock_was_set_back_to_after_it_was_signed() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(50);
    bench.set(START + 47);
    bench.check(147, 2).await;
    bench.check(147, 2).await;
}

#[tokio::test]
async fn s11_clock_that_is_corrected_by_two_seconds_renews_nothing() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(50);
    bench.set(START + 48);
    bench.check(100, 1).await;
}

#[tokio::test]
async fn s11_token_does_not_outlive_its_life_while_the_clock_is_held_back() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(100);
    bench.set(START);
    let fault = bench.ask_in_vain(&wanted("d")).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
}

#[tokio::test]
async fn s11_token_that_is_due_is_handed_out_while_the_host_is_gone_until_it_expires() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(99);
    let expires_at = u64::try_from(START + 100).unwrap();
    assert_eq!(bench.ask_in_vain(&wanted("d")).await, Ok((expires_at, true)));
    bench.advance(1);
    assert_eq!(bench.ask_in_vain(&wanted("d")).await.unwrap_err().code, Code::Unavailable);
    bench.check(200, 2).await;
}

#[tokio::test]
async fn s11_token_that_expires_while_it_is_signed_is_signed_again() {
    let bench = Bench::new();
    let wanted = &wanted("d");
    let sign = |expires_at| {
        let count = bench.signings.fetch_add(1, Ordering::Relaxed);
        if count == 0 {
            bench.set(START + 500);
        }
        async move { Ok(signed(wanted, expires_at)) }
    };
    let (signed, from_cache) = bench.cache.token(wanted, false, sign).await.unwrap();
    let expires_at = u64::try_from(START + 600).unwrap();
    assert_eq!((signed.token.expires_at(), from_cache), (expires_at, false));
}

#[tokio::test]
async fn s11_token_that_expires_each_time_while_it_is_signed_is_a_timeout() {
    let bench = Bench::new();
    let wanted = &wanted("d");
    let sign = |expires_at| {
        bench.advance(TTL);
        async move { Ok(signed(wanted, expires_at)) }
    };
    let fault = bench.cache.token(wanted, false, sign).await.map(drop).unwrap_err();
    assert_eq!(fault.code, Code::Timeout);
}

/// Asks from many tasks at once, with a signing that waits for them all to have asked.
async fn crowd(bench: &Arc<Bench>, fails: bool) -> Vec<Result<(u64, bool), Code>> {
    let gate = Arc::new(Semaphore::new(0));
    let ask = |bench: Arc<Bench>, gate: Arc<Semaphore>| async move {
        let wanted = &wanted("d");
        let sign = |expires_at| {
            let (bench, gate) = (&bench, &gate);
            async move {
                bench.signings.fetch_add(1, Ordering::Relaxed);
                let _opened = gate.acquire().await;
                let fault = Fault::new(Code::Unavailable, "gone");
                if fails { Err(fault) } else { Ok(signed(wanted, expires_at)) }
            }
        };
        let found = bench.cache.token(wanted, false, sign).await;
        found.map(|(signed, from)| (signed.token.expires_at(), from)).map_err(|fault| fault.code)
    };
    let tasks: Vec<_> =
        (0..16).map(|_| tokio::spawn(ask(Arc::clone(bench), Arc::clone(&gate)))).collect();
    // One thread runs them all, each until it waits.
    tokio::task::yield_now().await;
    gate.add_permits(1);
    let mut found = Vec::new();
    for task in tasks {
        found.push(task.await.unwrap());
    }
    found
}

#[tokio::test]
async fn s11_first_token_is_signed_once_for_all_who_wait() {
    let bench = Arc::new(Bench::new());
    let found = crowd(&bench, false).await;
    let expires_at = u64::try_from(START + 100).unwrap();
    assert!(found.iter().all(|it| it.is_ok_and(|(se, _)| se == expires_at)), "{found:?}");
    assert_eq!(found.iter().filter(|it| it.is_ok_and(|(_, from_cache)| !from_cache)).count(), 1);
    assert_eq!(bench.signings.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn s11_token_that_is_due_is_renewed_once_and_the_old_one_given_meanwhile() {
    let bench = Arc::new(Bench::new());
    bench.check(100, 1).await;
    bench.advance(90);
    let found = crowd(&bench, false).await;
    let [old, new] = [100, 190].map(|seconds| u64::try_from(START + seconds).unwrap());
    assert_eq!(found.iter().filter(|it| **it == Ok((new, false))).count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|it| **it == Ok((old, true))).count(), 15, "{found:?}");
    assert_eq!(bench.signings.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn failure_to_sign_is_shared_by_all_who_waited_for_it() {
    let bench = Arc::new(Bench::new());
    let found = crowd(&bench, true).await;
    assert_eq!(found, vec![Err(Code::Unavailable); 16]);
    assert_eq!(bench.signings.load(Ordering::Relaxed), 1);
    bench.check(100, 2).await;
}

#[tokio::test]
async fn signing_that_is_given_up_is_begun_by_the_next() {
    let bench = Arc::new(Bench::new());
    let given_up = {
        let bench = Arc::clone(&bench);
        tokio::spawn(async move {
            let wanted = wanted("d");
            let never = |_| std::future::pending::<Result<Signed, Fault>>();
            bench.cache.token(&wanted, false, never).await.map(drop)
        })
    };
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.is_err());
    bench.check(100, 1).await;
}

#[tokio::test]
async fn fresh_token_is_signed_and_kept() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.advance(1);
    let found = bench.ask(&wanted("d"), true).await;
    assert_eq!(found, Ok((u64::try_from(START + 101).unwrap(), false)));
    bench.check(101, 2).await;
}

#[tokio::test]
async fn token_that_differs_in_anything_is_another() {
    let bench = Bench::new();
    let same = wanted("d");
    let others = [
        wanted("e"),
        Wanted { key: "j".parse().unwrap(), ..same.clone() },
        Wanted { slot: Slot::Secondary, ..same.clone() },
        Wanted { ttl_seconds: TTL + 1, ..same.clone() },
        Wanted { encoder: Encoder::UpperHex, ..same.clone() },
        Wanted { order: Order::SrSeSigSkn, ..same.clone() },
    ];
    bench.check(100, 1).await;
    for other in &others {
        assert!(!bench.ask(other, false).await.unwrap().1, "{other:?}");
    }
    assert!(bench.ask(&same, false).await.unwrap().1);
}

#[tokio::test]
async fn key_that_is_forgotten_is_asked_again() {
    let bench = Bench::new();
    bench.check(100, 1).await;
    bench.cache.forget(&"j".parse().unwrap());
    bench.check(100, 1).await;
    bench.cache.forget(&"k".parse().unwrap());
    assert!(bench.cache.is_empty());
    bench.check(100, 2).await;
}

#[tokio::test]
async fn cache_at_limit_keeps_all_and_one_past_it_forgets_the_first_to_expire() {
    let bench = Bench::new();
    let first = wanted("d0");
    let _first = bench.ask(&first, false).await.unwrap();
    bench.advance(1);
    for number in 1..CACHE_MAX_TOKENS {
        let _other = bench.ask(&wanted(&format!("d{number}")), false).await.unwrap();
    }
    assert_eq!(bench.cache.len(), CACHE_MAX_TOKENS);
    assert!(bench.ask(&first, false).await.unwrap().1);
    let _one_more = bench.ask(&wanted("more"), false).await.unwrap();
    assert_eq!(bench.cache.len(), CACHE_MAX_TOKENS);
    assert!(bench.ask(&wanted("more"), false).await.unwrap().1);
    assert!(!bench.ask(&first, false).await.unwrap().1);
}

#[tokio::test]
async fn expired_tokens_are_forgotten_when_another_is_cached() {
    let bench = Bench::new();
    for device in ["a", "b"] {
        let _token = bench.ask(&wanted(device), false).await.unwrap();
    }
    bench.advance(TTL);
    assert_eq!(bench.cache.len(), 2);
    let _token = bench.ask(&wanted("c"), false).await.unwrap();
    assert_eq!(bench.cache.len(), 1);
}

#[test]
fn fraction_of_life_is_within_its_limits() {
    let (clock, _hand) = Clock::manual(Timestamp::UNIX_EPOCH);
    for (set, taken) in [(0, 1), (1, 1), (99, 99), (100, 99)] {
        assert_eq!(Cache::new(clock.clone(), set).renew_at_percent, taken);
    }
}
