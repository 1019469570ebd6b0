//! A host with two providers: `soft`, which keeps working, and `c`, which has the fault.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Response, Sealhost, Setup, b64};

use crate::build::{install_c, install_panics};

/// What the configuration says of the provider `c`.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    source: &'static str,
    head: String,
    root: String,
    settings: String,
    deadlines: String,
}

/// A provider of a source in `tests/plugins/`.
pub(crate) fn faulty(source: &'static str) -> Faulty {
    let (head, settings, deadlines) = <(String, String, String)>::default();
    Faulty { source, head, root: "generated".into(), settings, deadlines }
}

/// The Rust provider that panics in a verb.
pub(crate) fn panics_in(verb: &str) -> Faulty {
    faulty(PANICS).settings(&format!("in = \"{verb}\""))
}

const PANICS: &str = "plugin_panics";

impl Faulty {
    /// A line of its `[[provider]]`.
    pub(crate) fn head(mut self, line: &str) -> Self {
        self.head += &format!("{line}\n");
        self
    }

    /// Runs it in the host's process.
    pub(crate) fn in_process(self) -> Self {
        self.head("isolation = \"in-process\"")
    }

    /// Where the host reads its root, instead of making one.
    pub(crate) fn root(mut self, source: &str) -> Self {
        source.clone_into(&mut self.root);
        self
    }

    /// A line of its settings.
    pub(crate) fn settings(mut self, line: &str) -> Self {
        self.settings += &format!("{line}\n");
        self
    }

    /// A line of its deadlines.
    pub(crate) fn deadline(mut self, line: &str) -> Self {
        self.deadlines += &format!("{line}\n");
        self
    }

    /// The setup of a host with `soft` and this.
    pub(crate) fn setup(&self) -> Setup {
        let Self { source, head, root, settings, deadlines } = self;
        Setup::soft().with_provider(&format!(
            "name = \"c\"\nplugin = \"{source}\"\n{head}\
             [provider.settings]\nroot_source = \"{root}\"\n{settings}\
             [provider.deadlines]\n{deadlines}"
        ))
    }

    /// A host with the plugin in its place, not started yet.
    pub(crate) fn prepare(&self) -> Sealhost {
        let host = self.setup().prepare();
        match self.source {
            PANICS => install_panics(&host),
            source => install_c(&host, source),
        }
        host
    }

    /// The same, started.
    pub(crate) fn start(&self) -> Sealhost {
        let mut host = self.prepare();
        host.start();
        host
    }

    /// The same, started and with the provider open, and with a mac key `m` and a seal key `s`
    /// in it.
    pub(crate) fn start_open(&self) -> Sealhost {
        let host = self.start();
        assert_eq!(host.provider("c")["state"], "open", "{}", host.log());
        host.create("m", "mac", "c");
        host.create("s", "seal", "c");
        host
    }
}

/// Asks for a MAC under the key `m`.
pub(crate) fn mac(host: &Sealhost, message: &[u8]) -> Response {
    host.post("/v1/keys/m/mac", json!({"message": b64(message)}))
}

/// Shows that the other provider makes keys, seals and unseals.
#[track_caller]
pub(crate) fn soft_works(host: &Sealhost, key: &str) {
    host.create(key, "seal", "soft");
    let sealed = host.seal(key, "untouched");
    assert_eq!(host.unseal(key, &sealed).text("plaintext"), b64("untouched"));
}

/// Shows that the provider with the fault does all that the fault does not touch.
#[track_caller]
pub(crate) fn faulty_works(host: &Sealhost) {
    let sealed = host.seal("s", "still there");
    assert_eq!(host.unseal("s", &sealed).text("plaintext"), b64("still there"));
}

/// Waits until the provider is open.
#[track_caller]
pub(crate) fn wait_until_open(host: &Sealhost) -> Value {
    host.wait_until("opening", |host| host.provider("c")["state"] == "open");
    host.provider("c")
}

/// Shows that the provider is in a state other than open, for a reason that has these parts, and
/// that the log, the caller and the other provider know it.
#[track_caller]
pub(crate) fn check_not_open(host: &Sealhost, state: &str, parts: &[&str]) {
    let status = host.provider("c");
    assert_eq!(status["state"], state, "{status}");
    let reason = status["reason"].as_str().unwrap();
    for part in parts {
        assert!(reason.contains(part), "no {part:?} in {reason:?}");
    }
    assert!(logged(host, &["WARN", "provider is not open", "provider=c", parts[0]]));
    let body = json!({"usage": "mac", "providers": ["c"]});
    let refused = host.post("/v1/keys/refused", body);
    match state {
        "absent" => refused.problem(400, "unsupported"),
        _ => refused.problem(503, "unavailable"),
    };
    let _absent = host.get("/v1/keys/refused").problem(404, "not_found");
    soft_works(host, "other");
}

/// Calls that wait for a turn at the provider.
pub(crate) fn waiting(host: &Sealhost) -> u32 {
    let metrics = String::from_utf8(host.get("/metrics").body).unwrap();
    let line = |line: &&str| line.contains("provider_queue_length") && line.contains("\"c\"");
    let line = metrics.lines().find(line).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Whether one line of the log has all parts.
pub(crate) fn logged(host: &Sealhost, parts: &[&str]) -> bool {
    host.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
}

/// Fails when something takes longer.
#[track_caller]
pub(crate) fn within<T>(limit: Duration, what: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = what();
    let took = begun.elapsed();
    assert!(took < limit, "it took {took:?}, more than {limit:?}");
    done
}
