//! Where keys and tokens are not: in files, logs, the audit, and the signer's memory after use.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use serde_json::json;

use crate::harness::{Signer, file_has};

/// Bytes of a key that occur nowhere else.
const KEY: &str = "c2FzLWtleS1tYXJrZXItdGhhdC1pcy1sb25nLWVub3VnaA==";
const KEY_BYTES: &str = "sas-key-marker-that-is-long-enough";

/// How often a marker stands in the writable memory of a process.
fn count(pid: u32, marker: &str) -> usize {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut found = 0;
    for map in
        maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|it| it.starts_with("rw")))
    {
        let (start, end) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            found += bytes.windows(marker.len()).filter(|it| *it == marker.as_bytes()).count();
        }
    }
    found
}

#[test]
fn imported_key_and_token_are_in_no_file_and_the_key_not_in_memory() {
    let signer = Signer::start_soft();
    let body =
        json!({"connection_string": format!("HostName=h.net;DeviceId=d;SharedAccessKey={KEY}")});
    signer.post("/v1/keys/dev/import", body).done();
    let token = signer.token("dev", json!({})).text("token");
    let signature = token.split("sig=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let body = json!({"token": token, "key": "dev"});
    assert_eq!(signer.post("/v1/verify", body).ok()["valid"], true);
    // The connection that carried the key is closed when this has been answered.
    signer.get("/v1/status").done();
    for name in ["log", "audit/audit.log", "state/slots.json", "config.toml"] {
        for marker in [KEY, KEY_BYTES, &signature] {
            assert!(!file_has(&signer.path(name), marker), "{marker} is in {name}");
        }
    }
    for marker in [KEY, KEY_BYTES] {
        assert_eq!(count(signer.pid(), marker), 0, "{marker} is in memory");
    }
    // The search finds what is there: the cached token.
    assert!(count(signer.pid(), &signature) >= 1);
}

#[test]
fn signer_leaves_no_core_and_cannot_be_read_by_others() {
    let signer = Signer::start_soft();
    let limits = fs::read_to_string(format!("/proc/{}/limits", signer.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).all(|limit| limit == "0"), "{core}");
}
