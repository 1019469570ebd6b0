//! Workers that end.

use std::time::{Duration, Instant};

use swtpm_fixtures::{SoftHsm, Swtpm};
use tests::{Setup, sealhost};

use crate::{mac, worker_of};

#[test]
fn killed_worker_is_replaced_and_its_keys_serve_again() {
    let (swtpm, hsm) = (Swtpm::start().unwrap(), SoftHsm::start("edge", "1234").unwrap());
    let host = Setup::default().with_tpm(&swtpm).with_hsm(&hsm).with_soft_worker("soft").start();
    for provider in ["tpm", "hsm", "soft"] {
        host.create(provider, "mac", provider);
        let before = mac(&host, provider).text("mac");
        let worker = worker_of(&host, provider).unwrap();
        sealhost::signal(worker, "KILL");
        let killed = Instant::now();
        host.wait_until("a new worker serves", |host| {
            let reply = mac(host, provider);
            if reply.status == 200 {
                assert_eq!(reply.text("mac"), before);
                return worker_of(host, provider).is_some_and(|now| now != worker);
            }
            reply.problem(503, "unavailable");
            false
        });
        assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    }
}
