//! What a caller sees of each way in which a TPM or the line to it can fail, and that the request
//! after it works again: a proxy in front of the TPM does it to one command or to all.
#![expect(clippy::tests_outside_test_module, reason = "integration tests, and what they share")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use swtpm_fixtures::{Aim, CommandCounter, Deed, Swtpm};
use tests::{Response, Sealhost, Setup, b64};

/// TPM2_HMAC (TPM 2.0 Part 2, table 12).
const HMAC: u32 = 0x155;
/// The deadline of one call.
const DEADLINE: Duration = Duration::from_secs(2);
/// Until the request after a fault works, on a machine that is busy with other tests.
const BACK: Duration = Duration::from_secs(5);
const EVERY: u32 = u32::MAX;

/// A fault, done to so many TPM2_HMAC in a row; what the caller sees, and how many of these
/// commands one request makes, where that is told.
struct Row {
    fault: &'static str,
    deed: Deed,
    times: u32,
    key: &'static str,
    sees: (u16, &'static str),
    commands: Option<u64>,
}

const fn row(
    fault: &'static str,
    deed: Deed,
    times: u32,
    sees: (u16, &'static str),
    commands: u64,
) -> Row {
    Row { fault, deed, times, key: "t", sees, commands: Some(commands) }
}

const OK: (u16, &str) = (200, "");

/// Response codes: TPM 2.0 Part 2, table 16.
const ROWS: &[Row] = &[
    row("TPM_RC_RETRY once", Deed::Answer(0x922), 1, OK, 2),
    row("TPM_RC_YIELDED once", Deed::Answer(0x908), 1, OK, 2),
    row("TPM_RC_TESTING once", Deed::Answer(0x90A), 1, OK, 2),
    Row {
        commands: None,
        ..row("TPM_RC_RETRY for ever", Deed::Answer(0x922), EVERY, (429, "busy"), 0)
    },
    Row {
        commands: None,
        ..row("TPM_RC_YIELDED for ever", Deed::Answer(0x908), EVERY, (429, "busy"), 0)
    },
    row("TPM_RC_LOCKOUT", Deed::Answer(0x921), 1, (503, "locked_out"), 1),
    row("TPM_RC_LOCKOUT for ever", Deed::Answer(0x921), EVERY, (503, "locked_out"), 1),
    Row { key: "p", ..row("TPM_RC_PCR_CHANGED once, bound key", Deed::Answer(0x128), 1, OK, 2) },
    Row {
        key: "p",
        commands: None,
        ..row(
            "TPM_RC_PCR_CHANGED for ever, bound key",
            Deed::Answer(0x128),
            EVERY,
            (409, "state_mismatch"),
            0,
        )
    },
    row("TPM_RC_AUTH_FAIL once (a lost session)", Deed::Answer(0x98E), 1, OK, 2),
    row("TPM_RC_AUTH_FAIL for ever", Deed::Answer(0x98E), EVERY, (503, "unavailable"), 2),
    row("TPM_RC_REFERENCE_S0 once (a lost session)", Deed::Answer(0x918), 1, OK, 2),
    row("TPM_RC_REFERENCE_H0 for ever", Deed::Answer(0x910), EVERY, (503, "unavailable"), 2),
    row("TPM_RC_OBJECT_MEMORY", Deed::Answer(0x902), 1, (503, "unavailable"), 1),
    row("TPM_RC_SESSION_MEMORY", Deed::Answer(0x903), 1, (503, "unavailable"), 1),
    row("TPM_RC_FAILURE", Deed::Answer(0x101), 1, (500, "internal"), 1),
    row("an unknown code", Deed::Answer(0x1FF), 1, (500, "internal"), 1),
    row("bytes that are no response, once", Deed::Garbage, 1, OK, 2),
    row("bytes that are no response, for ever", Deed::Garbage, EVERY, (400, "integrity"), 2),
    row("an altered bit, once", Deed::Alter, 1, OK, 2),
    row("altered bits, for ever", Deed::Alter, EVERY, (400, "integrity"), 2),
    row("half a response, once", Deed::Truncate, 1, OK, 2),
    row("half a response, for ever", Deed::Truncate, EVERY, (503, "unavailable"), 2),
    row("a size of 4 GiB, once", Deed::Resize(u32::MAX), 1, OK, 2),
    row("a size of 4 GiB, for ever", Deed::Resize(u32::MAX), EVERY, (400, "integrity"), 2),
    row("a size of 9 bytes, for ever", Deed::Resize(9), EVERY, (400, "integrity"), 2),
    row("a byte that never comes", Deed::Promise, 1, (504, "timeout"), 1),
    row("a closed connection, once", Deed::Close, 1, OK, 2),
    row("closed connections, for ever", Deed::Close, EVERY, (503, "unavailable"), 2),
    row("an answer after 300 ms", Deed::Delay(Duration::from_millis(300)), 1, OK, 1),
    row(
        "an answer after the deadline",
        Deed::Delay(Duration::from_secs(4)),
        1,
        (504, "timeout"),
        1,
    ),
];

fn mac(host: &Sealhost, key: &str) -> Response {
    host.post(&format!("/v1/keys/{key}/mac"), json!({"message": b64("x")}))
}

/// What was seen that should not have been.
fn check(
    row: &Row,
    proxy: &CommandCounter,
    host: &Sealhost,
    right: &str,
) -> Result<String, String> {
    proxy.reset();
    proxy.order(Aim { command: Some(HMAC), skip: 0, times: row.times }, row.deed);
    let begun = Instant::now();
    let reply = mac(host, row.key);
    let took = begun.elapsed();
    let commands = proxy.counts().get(&HMAC).copied().unwrap_or_default();
    // The self test of a device that is in doubt may have added its own by now.
    let own_only = reply.status == 200 || row.sees.1 == "locked_out" || row.sees.1 == "internal";
    proxy.forget_orders();
    let code = match reply.status {
        200 => String::new(),
        _ => reply.json()["code"].as_str().unwrap_or_default().to_owned(),
    };
    let mended = Instant::now();
    host.wait_until("the request after it works", |host| mac(host, row.key).status == 200);
    let back = mended.elapsed();
    let seen = (reply.status, code.as_str());
    let line = format!(
        "{}: {} {}, {commands} commands, answered in {took:?}, works again after {back:?}",
        row.fault, seen.0, seen.1
    );
    let right_count = row.commands.is_none_or(|it| commands == it || (!own_only && commands > it));
    let right_mac = reply.status != 200 || reply.text("mac") == right;
    let in_time = took < 2 * DEADLINE && back < BACK;
    if seen == row.sees && right_count && right_mac && in_time {
        Ok(line)
    } else {
        Err(format!("{line}; wanted {:?} and {:?} commands", row.sees, row.commands))
    }
}

#[test]
fn every_fault_has_its_code_and_the_next_request_works() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_provider(&tpm(&proxy, "2s")).with_soft().start();
    host.create("t", "mac", "tpm");
    host.post("/v1/keys/p", json!({"usage": "mac", "pcrs": {"sha256": [7]}})).done();
    let right = |key: &str| mac(&host, key).text("mac");
    let macs = [("t", right("t")), ("p", right("p"))];
    let mut wrong = String::new();
    for row in ROWS {
        let right = &macs.iter().find(|(key, _)| *key == row.key).unwrap().1;
        match check(row, &proxy, &host, right) {
            Ok(line) => println!("{line}"),
            Err(line) => writeln!(wrong, "{line}").unwrap(),
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn tpm(proxy: &CommandCounter, mac: &str) -> String {
    format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nmac = \"{mac}\"\nqueue = \"{mac}\"\nopen = \"2s\"\n",
        proxy.tcti()
    )
}

#[test]
fn lockout_says_how_long_it_lasts_and_is_not_tried_again() {
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_tpm_at(&proxy.tcti()).start();
    host.create("t", "mac", "tpm");
    mac(&host, "t").done();
    proxy.reset();
    proxy.order(Aim { command: Some(HMAC), skip: 0, times: 1 }, Deed::Answer(0x921));
    let reply = mac(&host, "t");
    let problem = reply.problem(503, "locked_out");
    assert_eq!(proxy.counts().get(&HMAC), Some(&1), "a refused authorization was tried again");
    assert_eq!(problem["retryable"], true);
    assert_eq!(reply.header("retry-after"), Some("1000"), "{}", reply.head);
    assert!(problem["detail"].as_str().unwrap().contains("1000 s"), "{problem}");
}

#[test]
fn slow_tpm_answers_in_bounded_time_and_slows_nobody_else() {
    const CALLERS: usize = 8;
    let swtpm = Swtpm::start().unwrap();
    let proxy = CommandCounter::in_front_of(&swtpm).unwrap();
    let host = Setup::default().with_provider(&tpm(&proxy, "1s")).with_soft().start();
    host.create("t", "mac", "tpm");
    host.create("s", "mac", "soft");
    mac(&host, "t").done();
    let slow = Deed::Delay(Duration::from_millis(400));
    proxy.order(Aim { command: None, skip: 0, times: u32::MAX }, slow);
    let timed = |key: &str| {
        let begun = Instant::now();
        let reply = mac(&host, key);
        (reply, begun.elapsed())
    };
    let (answers, others) = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| timed("t"))).collect();
        let mut others = Vec::new();
        while !callers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            let (reply, took) = timed("s");
            reply.done();
            others.push(took);
        }
        let answers: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        (answers, others)
    });
    let statuses: Vec<_> = answers.iter().map(|(reply, _)| reply.status).collect();
    assert!(statuses.iter().all(|it| [200, 429].contains(it)), "{statuses:?}");
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    let slowest = answers.iter().map(|(_, took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(4), "{slowest:?}");
    let other = others.iter().max().copied().unwrap();
    println!("{statuses:?}: slowest {slowest:?}; {} others, slowest {other:?}", others.len());
    assert!(other < Duration::from_millis(400), "{other:?}");
    proxy.forget_orders();
    let begun = Instant::now();
    host.wait_until("the TPM is quick again", |host| mac(host, "t").status == 200);
    println!("quick again after {:?}", begun.elapsed());
    assert_eq!(host.provider("tpm")["state"], "open");
    assert_eq!(host.provider("tpm")["breaker"], json!({"state": "closed"}));
    assert_ne!(host.provider("tpm")["lockout"], Value::Null);
}
