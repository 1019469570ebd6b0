//! The signer under test: a private directory, a configuration, the built binary, and the host
//! behind it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::faults::Faults;
use tests::sealhost::{built, signal};
use tests::{Response, Sealhost, Setup, http};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything to everybody who is root, by templates of stars.
pub(crate) const EVERYTHING: &str = r#"
[[rule]]
principal = { uid = 0 }
keys = ["**"]
operations = ["*"]
[[rule.token]]
profile = "iot-hub-device"
hub = "*"
device = "*"
longest_ttl = "366d"
[[rule.token]]
profile = "event-hubs-publisher"
namespace = "*"
entity = "*"
publisher = "*"
policies = ["*"]
longest_ttl = "366d"
"#;

/// A key of 32 bytes, as IoT Hub shows it.
pub(crate) const K1: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another one.
pub(crate) const K2: &str = "IB8eHRwbGhkYFxYVFBMSERAPDg0MCwoJCAcGBQQDAgE=";

/// A signer under test. It is killed, and its directory removed, when this is dropped.
pub(crate) struct Signer {
    /// The host behind it.
    pub(crate) host: Sealhost,
    dir: TempDir,
    rules: String,
    more: String,
    child: Option<Child>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Signer {
    /// Starts a host with software keys, and a signer of these rules over it.
    pub(crate) fn start_with(rules: &str) -> Self {
        let mut signer = Self::over(Setup::soft().start(), rules);
        signer.start();
        signer
    }

    /// Starts a host and a signer that lets root do everything.
    pub(crate) fn start_soft() -> Self {
        Self::start_with(EVERYTHING)
    }

    /// Prepares a signer over a host.
    pub(crate) fn over(host: Sealhost, rules: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("sas-signer-test-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir(dir.path().join("audit")).unwrap();
        let (rules, more) = (rules.to_owned(), String::new());
        let signer = Self { host, dir, rules, more, child: None, environment: Vec::new() };
        signer.write_config();
        signer
    }

    /// Changes rules and other sections, for the next start or reload.
    pub(crate) fn reconfigure(&mut self, rules: &str, more: &str) {
        rules.clone_into(&mut self.rules);
        more.clone_into(&mut self.more);
        self.write_config();
    }

    /// Lets its storage fail as these say, from the next start on.
    pub(crate) fn suffer(&mut self, faults: &Faults) {
        self.environment = faults.environment();
    }

    /// Its directory, where everything is that it writes.
    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }

    fn write_config(&self) {
        let dir = self.dir.path().display();
        let text = format!(
            "[listen]\nsocket = \"{dir}/api.sock\"\nmode = \"0666\"\n\
             [state]\ndir = \"{dir}/state\"\n\
             [audit]\npath = \"{dir}/audit/audit.log\"\n\
             [host]\nsocket = \"{}\"\n{}\n{}",
            self.host.socket().display(),
            self.more,
            self.rules,
        );
        fs::write(self.path("config.toml"), text).unwrap();
        fs::set_permissions(self.path("config.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("api.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn start(&mut self) {
        if let Err(status) = self.try_start() {
            panic!("sas-signer ended with {status}:\n{}", self.log());
        }
    }

    pub(crate) fn try_start(&mut self) -> Result<(), ExitStatus> {
        let notify_path = self.path("notify.sock");
        let _absent_at_first = fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        notify.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = Command::new(built("sas-signer"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(["--log", "debug"])
            .env("NOTIFY_SOCKET", &notify_path)
            .envs(self.environment.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let patience = Instant::now() + PATIENCE;
        let mut message = [0; 4096];
        loop {
            if let Ok(length) = notify.recv(&mut message) {
                let said = String::from_utf8_lossy(&message[..length]).into_owned();
                if said.lines().any(|line| line == "READY=1") {
                    self.child = Some(child);
                    return Ok(());
                }
            }
            if let Some(status) = child.try_wait().unwrap() {
                return Err(status);
            }
            assert!(Instant::now() < patience, "not ready in time:\n{}", self.log());
        }
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.take().unwrap().wait().unwrap()
    }

    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        http::request(&self.socket(), "GET", target, b"")
    }

    pub(crate) fn post(&self, target: &str, body: Value) -> Response {
        http::request(&self.socket(), "POST", target, body.to_string().as_bytes())
    }

    /// Imports a key of IoT Hub.
    #[track_caller]
    pub(crate) fn import(&self, name: &str, key: &str, slot: &str) -> Value {
        let body = json!({"key": key, "form": "decoded", "slot": slot});
        self.post(&format!("/v1/keys/{name}/import"), body).ok()
    }

    /// Asks for a token of a device.
    pub(crate) fn token(&self, key: &str, more: Value) -> Response {
        let resource = json!({"profile": "iot-hub-device", "hub": "h.net", "device": "d"});
        let mut body = json!({"resource": resource, "key": key});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.post("/v1/tokens", body)
    }

    /// The lines of its audit, after `wire`'s verifier has accepted them all.
    pub(crate) fn verified_audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("audit/audit.log")).unwrap();
        let mut verifier = wire::audit::Verifier::from_start();
        for line in text.lines() {
            verifier.feed(line.as_bytes()).unwrap_or_else(|fault| panic!("{fault}: {line}"));
        }
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asks again and again, with a bound, until something holds.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let patience = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < patience, "{what} did not happen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill();
            let _gone_already = child.wait();
        }
    }
}

/// Whether bytes stand in a file.
pub(crate) fn file_has(path: &Path, needle: &str) -> bool {
    let content = fs::read(path).unwrap();
    content.windows(needle.len()).any(|window| window == needle.as_bytes())
}
