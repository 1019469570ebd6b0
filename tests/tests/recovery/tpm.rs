//! TPMs that are restarted, cut from power, or hang.

use std::time::{Duration, Instant};

use serde_json::json;
use swtpm_fixtures::Swtpm;
use tests::{Sealhost, Setup};

use crate::mac;

#[test]
fn tpm_that_is_restarted_serves_again_within_two_seconds() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    let sealed = host.seal("a", "x");
    swtpm.stop().unwrap();
    host.unseal("a", &sealed).problem(503, "unavailable");
    assert_eq!(host.provider("tpm")["state"], "down");
    swtpm.start_again().unwrap();
    let back = Instant::now();
    host.wait_until("the TPM is back", |host| host.unseal("a", &sealed).status == 200);
    assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    assert_eq!(host.provider("tpm")["state"], "open");
}

#[test]
fn way_back_needs_no_request() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "mac", "tpm");
    swtpm.stop().unwrap();
    mac(&host, "a").problem(503, "unavailable");
    swtpm.start_again().unwrap();
    let back = Instant::now();
    // Asking for the state makes no call to the device.
    host.wait_until("the host has noticed", |host| host.provider("tpm")["state"] == "open");
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
}

#[test]
fn twenty_keys_of_a_tpm_survive_its_restarts() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    let names: Vec<_> = (0..20).map(|number| format!("k{number}")).collect();
    let before: Vec<_> = names
        .iter()
        .map(|name| {
            host.create(name, "mac", "tpm");
            mac(&host, name).text("mac")
        })
        .collect();
    let check = |host: &Sealhost| {
        for (name, before) in names.iter().zip(&before) {
            assert_eq!(mac(host, name).text("mac"), *before, "{name}");
        }
    };
    for _ in 0..3 {
        // A restart between two requests is not even noticed.
        swtpm.start_again().unwrap();
        check(&host);
    }
    host.restart();
    check(&host);
}

#[test]
fn tpm_whose_power_was_cycled_serves_the_next_request() {
    let swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "seal", "tpm");
    host.create("m", "mac", "tpm");
    let (sealed, before) = (host.seal("a", "x"), mac(&host, "m").text("mac"));
    for _ in 0..5 {
        swtpm.power_cycle().unwrap();
        // It is not even started; whoever comes first starts it.
        let begun = Instant::now();
        assert_eq!(host.unseal("a", &sealed).status, 200);
        println!("good answer {:?} after the power was cycled", begun.elapsed());
        swtpm.power_cycle().unwrap();
        assert_eq!(mac(&host, "m").text("mac"), before);
    }
    assert_eq!(host.provider("tpm")["breaker"]["state"], "closed");
}

#[test]
fn tpm_that_was_stalled_past_the_deadline_serves_again_when_it_goes_on() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nmac = \"500ms\"\nopen = \"1s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).start();
    host.create("a", "mac", "tpm");
    let before = mac(&host, "a").text("mac");
    for _ in 0..3 {
        swtpm.suspend().unwrap();
        mac(&host, "a").problem(504, "timeout");
        host.wait_until("it is known to be silent", |host| {
            let breaker = host.provider("tpm")["breaker"].clone();
            breaker["cause"] == "silent" && breaker["state"] == "open"
        });
        let begun = Instant::now();
        mac(&host, "a").problem(503, "unavailable");
        assert!(begun.elapsed() < Duration::from_millis(400), "{:?}", begun.elapsed());
        swtpm.resume().unwrap();
        let back = Instant::now();
        host.wait_until("the TPM is back", |host| mac(host, "a").status == 200);
        println!("good answer {:?} after the stall", back.elapsed());
        assert!(back.elapsed() < Duration::from_secs(6), "{:?}", back.elapsed());
        assert_eq!(mac(&host, "a").text("mac"), before);
    }
}

#[test]
fn unclean_stops_leave_no_failed_authorizations_and_lose_no_key() {
    let mut swtpm = Swtpm::start().unwrap();
    let host = Setup::default().with_tpm(&swtpm).start();
    host.create("m", "mac", "tpm");
    host.create("s", "seal", "tpm");
    host.create("g", "sign", "tpm");
    host.post("/v1/keys/b", json!({"usage": "mac", "pcrs": {"sha256": [7]}})).done();
    let before = ["m", "b"].map(|key| mac(&host, key).text("mac"));
    let sealed = host.seal("s", "x");
    let mut slowest = Duration::ZERO;
    // Three such stops lock an emulator with keys that are not noDA.
    for _ in 0..10 {
        assert_eq!(["m", "b"].map(|key| mac(&host, key).text("mac")), before);
        assert_eq!(host.unseal("s", &sealed).status, 200);
        host.post("/v1/keys/g/sign", json!({"digest": tests::b64([1; 32])})).done();
        swtpm.stop().unwrap();
        mac(&host, "m").problem(503, "unavailable");
        swtpm.start_again().unwrap();
        let back = Instant::now();
        host.wait_until("the TPM is back", |host| mac(host, "m").status == 200);
        slowest = slowest.max(back.elapsed());
    }
    println!("good answer at most {slowest:?} after the TPM was there again, of 10");
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
    // What the TPM itself remembers, read by a new opening.
    let worker = crate::worker_of(&host, "tpm").unwrap();
    tests::sealhost::signal(worker, "KILL");
    host.wait_until("a new worker", |host| {
        crate::worker_of(host, "tpm").is_some_and(|it| it != worker)
            && host.provider("tpm")["state"] == "open"
    });
    let lockout = host.provider("tpm")["lockout"].clone();
    assert_eq!((&lockout["failures"], &lockout["locked"]), (&json!(0), &json!(false)));
}

#[test]
fn power_cuts_do_not_lock_the_tpm() {
    let mut swtpm = Swtpm::start().unwrap();
    let mut host = Setup::default().with_tpm(&swtpm).start();
    host.create("a", "mac", "tpm");
    let before = mac(&host, "a").text("mac");
    for _ in 0..6 {
        swtpm.start_again().unwrap();
        assert_eq!(mac(&host, "a").text("mac"), before);
        host.kill();
        host.start();
    }
    assert_eq!(mac(&host, "a").text("mac"), before);
}

#[test]
fn hung_tpm_is_a_timeout_and_does_not_slow_the_others() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\nmac = \"1s\"\nopen = \"1s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).with_soft().start();
    host.create("t", "mac", "tpm");
    host.create("s", "mac", "soft");
    let before = mac(&host, "t").text("mac");
    swtpm.suspend().unwrap();
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| {
            let begun = Instant::now();
            mac(&host, "t").problem(504, "timeout");
            begun.elapsed()
        });
        let mut served = 0;
        let mut slowest = Duration::ZERO;
        while !hung.is_finished() {
            let begun = Instant::now();
            mac(&host, "s").done();
            host.get("/v1/keys/nobody").problem(404, "not_found");
            host.get("/v1/status").done();
            slowest = slowest.max(begun.elapsed());
            served += 1;
        }
        let took = hung.join().unwrap();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
        assert!(served >= 20, "{served} rounds on the other provider meanwhile");
        assert!(slowest < Duration::from_millis(900), "one round took {slowest:?}");
    });
    swtpm.resume().unwrap();
    host.wait_until("the TPM serves again", |host| mac(host, "t").status == 200);
    assert_eq!(mac(&host, "t").text("mac"), before);
}

#[test]
fn create_on_a_hung_tpm_is_a_timeout_and_is_undone() {
    let mut swtpm = Swtpm::start().unwrap();
    let tpm = format!(
        "name = \"tpm\"\nplugin = \"provider_tpm\"\n[provider.settings]\ntcti = \"{}\"\n\
         [provider.deadlines]\ngenerate = \"500ms\"\nopen = \"1s\"\n",
        swtpm.tcti()
    );
    let host = Setup::default().with_provider(&tpm).start();
    swtpm.suspend().unwrap();
    host.post("/v1/keys/a", json!({"usage": "mac"})).problem(504, "timeout");
    swtpm.resume().unwrap();
    host.wait_until("the TPM is back", |host| host.provider("tpm")["state"] == "open");
    host.get("/v1/keys/a").problem(404, "not_found");
    host.create("a", "mac", "tpm");
    mac(&host, "a").done();
}
