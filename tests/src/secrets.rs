//! The secret manager under test: the built daemon on a private directory, over a host under test.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::audit;
use crate::faults::Faults;
use crate::http::{self, Response};
use crate::process::{self, Starting};
use crate::sealhost::Sealhost;

/// The key of the host that seals, as a path writes it.
const KEY: &str = "secrets%2Fstore";

/// The rule of a test that says nothing about rules: its own user may do everything.
const EVERYTHING: &str =
    "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";

/// A secret manager to be started: what its configuration says.
#[derive(Clone, Debug)]
pub struct SecretSetup {
    stores: String,
    rules: String,
    more: String,
    mode: &'static str,
}

impl SecretSetup {
    /// A sealed file behind a cache in memory.
    #[must_use]
    pub fn cached() -> Self {
        Self::of("[[store]]\ntype = \"memory\"\n").and_file()
    }

    /// A sealed file alone, so that each read is unsealed by the host.
    #[must_use]
    pub fn file() -> Self {
        Self::of("").and_file()
    }

    /// Stores as written, from the head to the base.
    #[must_use]
    pub fn of(stores: &str) -> Self {
        Self { stores: stores.into(), rules: EVERYTHING.into(), more: String::new(), mode: "0660" }
    }

    fn and_file(mut self) -> Self {
        self.stores.push_str("[[store]]\ntype = \"file\"\nkey = \"secrets/store\"\n");
        self
    }

    /// Replaces the rules.
    #[must_use]
    pub fn with_rules(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.rules);
        self
    }

    /// Adds sections as written.
    #[must_use]
    pub fn with(mut self, toml: &str) -> Self {
        let _infallible = write!(self.more, "\n{toml}\n");
        self
    }

    /// Lets every user of the machine connect; what they may do is the rules' matter.
    #[must_use]
    pub fn for_everybody(mut self) -> Self {
        self.mode = "0666";
        self
    }

    /// Starts the daemon on a new directory and waits until it is ready.
    #[must_use]
    pub fn start(self, host: &Sealhost) -> SecretManager {
        let mut manager = self.prepare(host);
        manager.start();
        manager
    }

    /// Prepares a directory, writes the configuration and makes the host's key, without starting
    /// anything.
    #[must_use]
    pub fn prepare(self, host: &Sealhost) -> SecretManager {
        if host.get(&format!("/v1/keys/{KEY}")).status == 404 {
            host.post(&format!("/v1/keys/{KEY}"), json!({"usage": "seal"})).done();
        }
        let dir = tempfile::Builder::new().prefix("secrets-test-").tempdir().unwrap();
        if self.mode == "0666" {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        }
        let manager = SecretManager {
            dir,
            setup: self,
            host: host.socket(),
            child: None,
            environment: Vec::new(),
        };
        manager.write_config();
        manager
    }
}

/// A secret manager under test. It is killed, and its directory removed, when this is dropped.
#[derive(Debug)]
pub struct SecretManager {
    dir: TempDir,
    setup: SecretSetup,
    host: PathBuf,
    child: Option<Child>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl SecretManager {
    /// Its directory: `state/`, `audit.log`, `config.toml`, `log`, `api.sock`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("api.sock")
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.dir().join("config.toml")
    }

    /// Its state directory.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The file of its store.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.state_dir().join("secrets.db")
    }

    /// Its audit file.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.dir().join("audit.log")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("log")
    }

    /// What it logged so far, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        process::read(&self.log_path())
    }

    /// The lines of its audit.
    #[must_use]
    pub fn audit(&self) -> Vec<Value> {
        audit::lines(&self.audit_path())
    }

    /// The lines of its audit, after `wire`'s verifier has accepted them all.
    #[must_use]
    pub fn verified_audit(&self) -> Vec<Value> {
        audit::verified(&self.audit_path())
    }

    /// The lines of its audit that a request left.
    #[must_use]
    pub fn audit_of(&self, request: &str) -> Vec<Value> {
        self.audit().into_iter().filter(|line| line["request"] == request).collect()
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon is running").id()
    }

    /// Lets its storage fail as these say, from the next start on. It must have no workers.
    pub fn suffer(&mut self, faults: &Faults) {
        self.environment = faults.environment();
    }

    /// Changes what the configuration says, for the next start or reload.
    pub fn reconfigure(&mut self, change: impl FnOnce(SecretSetup) -> SecretSetup) {
        self.setup = change(self.setup.clone());
        self.write_config();
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(&mut self) {
        if let Err(status) = self.try_start(&[]) {
            panic!("secret-manager ended with {status}:\n{}", self.log());
        }
    }

    /// Starts it with more arguments; the exit status when it does not become ready.
    ///
    /// # Errors
    /// The status with which it ended; its log says why.
    pub fn try_start(&mut self, arguments: &[&str]) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it is running already");
        let starting = Starting::new("secret-manager", self.dir(), arguments, &self.environment);
        self.child = Some(starting.until_ready()?);
        Ok(())
    }

    /// Asks it to stop, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.child.take().expect("the daemon is running").wait().unwrap()
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon is running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) {
        assert!(self.stop().success(), "{}", self.log());
        self.start();
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        process::signal(self.pid(), name);
    }

    /// Sends `GET`.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::request(&self.socket(), "GET", target, b"")
    }

    /// Sends `PUT` with a JSON body for a secret, whose name is written as in a path.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(…) in place")]
    pub fn put(&self, name: &str, body: Value) -> Response {
        let target = format!("/v1/secrets/{name}");
        http::request(&self.socket(), "PUT", &target, body.to_string().as_bytes())
    }

    /// Sends `POST` with a JSON body.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(…) in place")]
    pub fn post(&self, target: &str, body: Value) -> Response {
        http::request(&self.socket(), "POST", target, body.to_string().as_bytes())
    }

    /// Sends `DELETE`.
    #[must_use]
    pub fn delete(&self, target: &str) -> Response {
        http::request(&self.socket(), "DELETE", target, b"")
    }

    /// Stores a value as version `default`.
    #[track_caller]
    pub fn store(&self, name: &str, value: impl AsRef<[u8]>) {
        self.put(name, json!({"value": http::b64(value)})).done();
    }

    /// The value of a secret.
    #[track_caller]
    #[must_use]
    pub fn value(&self, name: &str) -> Vec<u8> {
        http::bytes(&self.get(&format!("/v1/secrets/{name}")).ok()["value"])
    }

    /// Asks again and again, with a bound, until something holds.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        process::wait_until(what, &self.log_path(), || holds(self));
    }

    fn write_config(&self) {
        let SecretSetup { stores, rules, more, mode } = &self.setup;
        let (dir, host) = (self.dir().display(), self.host.display());
        let text = format!(
            "[listen]\nsocket = \"{dir}/api.sock\"\nmode = \"{mode}\"\n\
             [state]\ndir = \"{dir}/state\"\n\
             [audit]\npath = \"{dir}/audit.log\"\n\
             [host]\nsocket = \"{host}\"\n{more}{stores}\n{rules}",
        );
        fs::write(self.config_path(), text).unwrap();
        fs::set_permissions(self.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Drop for SecretManager {
    fn drop(&mut self) {
        process::end(self.child.take(), &self.log_path());
    }
}
