//! The daemon under test: a private directory, a configuration, the built binary.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use serde_json::{Value, json};
use swtpm_fixtures::{SoftHsm, Swtpm};
use tempfile::TempDir;

use crate::audit;
use crate::faults::Faults;
use crate::http::{self, Response};
use crate::in_front;
use crate::process::{self, Starting};

pub use crate::process::{built, children, signal};

/// The rule of a test that says nothing about rules: its own user may do everything.
const EVERYTHING: &str =
    "[[rule]]\nprincipal = { uid = 0 }\nkeys = [\"**\"]\noperations = [\"*\"]\n";

/// A daemon to be started: what its configuration says.
#[derive(Clone, Debug)]
pub struct Setup {
    floor: String,
    fallback_after: String,
    order: Option<Vec<String>>,
    providers: String,
    rules: String,
    more: String,
    mode: &'static str,
    audit: Option<PathBuf>,
    rotation: String,
    pub(crate) keyd: Option<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            floor: "software".into(),
            fallback_after: "200ms".into(),
            order: None,
            providers: String::new(),
            rules: EVERYTHING.into(),
            more: String::new(),
            mode: "0660",
            audit: None,
            rotation: String::new(),
            keyd: None,
        }
    }
}

impl Setup {
    /// Nothing but one software provider, `soft`, in the host's process.
    #[must_use]
    pub fn soft() -> Self {
        Self::default().with_soft()
    }

    /// Adds the software provider `soft`, in the host's process.
    #[must_use]
    pub fn with_soft(self) -> Self {
        self.with_ours("soft", "provider_soft", "isolation = \"in-process\"\n", "", "")
    }

    /// Adds the software provider under another name, in a worker.
    #[must_use]
    pub fn with_soft_worker(self, name: &str) -> Self {
        self.with_ours(name, "provider_soft", "", "", "")
    }

    /// Adds the software provider under another name, in a worker and behind the fault plugin;
    /// [`Sealhost::plan`] says what happens to its calls. `more` is the rest of its section.
    #[must_use]
    pub fn with_soft_behind_faults(self, name: &str, more: &str) -> Self {
        let text = in_front::section(name, "provider_soft", "", "", more, "");
        self.with_provider(&text)
    }

    /// Adds the TPM provider `tpm` on an emulator.
    #[must_use]
    pub fn with_tpm(self, swtpm: &Swtpm) -> Self {
        self.with_tpm_at(&swtpm.tcti())
    }

    /// Adds the TPM provider `tpm` at a TCTI.
    #[must_use]
    pub fn with_tpm_at(self, tcti: &str) -> Self {
        let settings = format!("tcti = \"{tcti}\"\n");
        let env = "[provider.env]\nTSS2_LOG = \"all+none\"\n";
        self.with_ours("tpm", "provider_tpm", "", &settings, env)
    }

    /// Adds the PKCS#11 provider `hsm` on a SoftHSM token.
    #[must_use]
    pub fn with_hsm(self, hsm: &SoftHsm) -> Self {
        let settings = format!(
            "module = \"{}\"\ntoken = \"pkcs11:token={}\"\npin_source = \"file:{}\"\n",
            hsm.module_path(),
            hsm.label(),
            hsm.pin_file().display(),
        );
        let env = format!("[provider.env]\nSOFTHSM2_CONF = \"{}\"\n", hsm.conf_path().display());
        self.with_ours("hsm", "provider_pkcs11", "", &settings, &env)
    }

    /// Adds one of our providers: `head` are lines of its section, `more` is what follows its
    /// settings. Where the run wants it, the fault plugin stands in front.
    fn with_ours(self, name: &str, plugin: &str, head: &str, settings: &str, more: &str) -> Self {
        let text = in_front::wanted().map_or_else(
            || {
                format!(
                    "name = \"{name}\"\nplugin = \"{plugin}\"\n{head}\
                     [provider.settings]\n{settings}{more}"
                )
            },
            |plan| in_front::section(name, plugin, head, settings, more, &plan),
        );
        self.with_provider(&text)
    }

    /// Adds a provider as written.
    #[must_use]
    pub fn with_provider(mut self, toml: &str) -> Self {
        let _infallible = write!(self.providers, "\n[[provider]]\n{toml}");
        self
    }

    /// What the configuration says of providers.
    pub(crate) fn providers_text(&self) -> &str {
        &self.providers
    }

    /// Replaces the rules.
    #[must_use]
    pub fn with_rules(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.rules);
        self
    }

    /// Lets every user of the machine connect; what they may do is the rules' matter.
    #[must_use]
    pub fn for_everybody(mut self) -> Self {
        self.mode = "0666";
        self
    }

    /// Puts the audit elsewhere than beside the configuration.
    #[must_use]
    pub fn with_audit(mut self, path: &Path) -> Self {
        self.audit = Some(path.to_owned());
        self
    }

    /// Adds keys to `[audit]` as written.
    #[must_use]
    pub fn with_rotation(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.rotation);
        self
    }

    /// Sets the floor of new keys.
    #[must_use]
    pub fn with_floor(mut self, floor: &str) -> Self {
        floor.clone_into(&mut self.floor);
        self
    }

    /// Sets how long a provider is gone before seals go elsewhere.
    #[must_use]
    pub fn with_fallback_after(mut self, duration: &str) -> Self {
        duration.clone_into(&mut self.fallback_after);
        self
    }

    /// Sets the order of providers.
    #[must_use]
    pub fn with_order(mut self, order: &[&str]) -> Self {
        self.order = Some(order.iter().map(|name| (*name).to_owned()).collect());
        self
    }

    /// Adds sections as written.
    #[must_use]
    pub fn with(mut self, toml: &str) -> Self {
        let _infallible = write!(self.more, "\n{toml}\n");
        self
    }

    /// Starts the daemon on a new directory and waits until it is ready.
    #[must_use]
    pub fn start(self) -> Sealhost {
        let mut host = self.prepare();
        host.start();
        host
    }

    /// Prepares a directory and writes the configuration, without starting anything.
    #[must_use]
    pub fn prepare(self) -> Sealhost {
        let dir = tempfile::Builder::new().prefix("sealhost-test-").tempdir().unwrap();
        if self.mode == "0666" {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
        }
        let host = Sealhost { dir, setup: self, child: None, environment: Vec::new() };
        for directory in [host.plugin_dir(), host.dir().join("faults")] {
            fs::DirBuilder::new().mode(0o755).create(directory).unwrap();
        }
        for plugin in ["provider_soft", "provider_tpm", "provider_pkcs11", "provider_fault"] {
            host.install(&built(&format!("lib{plugin}.so")), plugin);
        }
        host.write_config();
        host
    }
}

/// A daemon under test. It is killed, and its directory removed, when this is dropped.
#[derive(Debug)]
pub struct Sealhost {
    dir: TempDir,
    setup: Setup,
    child: Option<Child>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Sealhost {
    /// Its directory: `state/`, `plugins/`, `audit.log`, `config.toml`, `log`, `api.sock`.
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

    /// Its audit file.
    #[must_use]
    pub fn audit_path(&self) -> PathBuf {
        self.setup.audit.clone().unwrap_or_else(|| self.dir().join("audit.log"))
    }

    /// Where its plugins are.
    #[must_use]
    pub fn plugin_dir(&self) -> PathBuf {
        self.dir().join("plugins")
    }

    /// What it logged so far, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        process::read(&self.dir().join("log"))
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

    /// The process ids of its workers.
    #[must_use]
    pub fn workers(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Puts a plugin into its plugin directory.
    pub fn install(&self, file: &Path, plugin: &str) {
        let to = self.plugin_dir().join(format!("lib{plugin}.so"));
        // The daemon loads what its own user or root owns; somebody else may have built this.
        let ours = fs::metadata(file).unwrap().uid() == rustix::process::geteuid().as_raw();
        if !ours || fs::hard_link(file, &to).is_err() {
            fs::copy(file, &to).unwrap();
        }
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Lets its storage fail as these say, from the next start on. It must have no workers.
    pub fn suffer(&mut self, faults: &Faults) {
        self.environment = faults.environment();
    }

    /// Changes what the configuration says, for the next start or reload.
    pub fn reconfigure(&mut self, change: impl FnOnce(Setup) -> Setup) {
        self.setup = change(self.setup.clone());
        self.write_config();
    }

    /// Starts it and waits until it says that it is ready.
    pub fn start(&mut self) {
        if let Err(status) = self.try_start() {
            panic!("sealhost ended with {status}:\n{}", self.log());
        }
    }

    /// Starts it; the exit status when it does not become ready.
    ///
    /// # Errors
    /// The status with which it ended; its log says why.
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        let child = self.spawn().until_ready()?;
        self.child = Some(child);
        Ok(())
    }

    /// Starts it and kills it after a while, wherever it then is.
    pub fn start_and_kill(&mut self, after: Duration) {
        let mut child = self.spawn().child;
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Starts it with more arguments; the exit status when it does not become ready.
    ///
    /// # Errors
    /// The status with which it ended; its log says why.
    pub fn try_start_with(&mut self, arguments: &[&str]) -> Result<(), ExitStatus> {
        assert!(self.child.is_none(), "it is running already");
        let child =
            Starting::new("sealhost", self.dir(), arguments, &self.environment).until_ready()?;
        self.child = Some(child);
        Ok(())
    }

    fn spawn(&self) -> Starting {
        assert!(self.child.is_none(), "it is running already");
        Starting::new("sealhost", self.dir(), &[], &self.environment)
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
        signal(self.pid(), name);
    }

    /// Sends `GET`.
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        http::request(&self.socket(), "GET", target, b"")
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

    /// Makes a key on one provider and returns its record.
    #[track_caller]
    pub fn create(&self, key: &str, usage: &str, provider: &str) -> Value {
        let body = json!({"usage": usage, "providers": [provider]});
        self.post(&format!("/v1/keys/{key}"), body).ok()
    }

    /// Seals a text and returns the envelope.
    #[track_caller]
    #[must_use]
    pub fn seal(&self, key: &str, text: &str) -> String {
        let body = json!({"plaintext": http::b64(text)});
        self.post(&format!("/v1/keys/{key}/seal"), body).text("sealed")
    }

    /// Unseals an envelope.
    #[must_use]
    pub fn unseal(&self, key: &str, sealed: &str) -> Response {
        self.post(&format!("/v1/keys/{key}/unseal"), json!({"sealed": sealed}))
    }

    /// What a provider's state is.
    #[must_use]
    pub fn provider(&self, name: &str) -> Value {
        let list = self.get("/v1/providers").ok();
        let found = list["providers"].as_array().unwrap().iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no provider {name} in {list}")).clone()
    }

    /// Asks again and again, with a bound, until something holds.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        process::wait_until(what, &self.dir().join("log"), || holds(self));
    }

    /// Changes the plan of a provider behind the fault plugin; it holds from the next call on.
    pub fn plan(&self, provider: &str, plan: &str) {
        let file = self.dir().join(format!("faults/{provider}.plan"));
        let next = file.with_extension("next");
        fs::write(&next, plan).unwrap();
        fs::rename(next, file).unwrap();
    }

    /// The calls that a provider behind the fault plugin got, with the faults they got, since its
    /// plan was changed.
    #[must_use]
    pub fn journal(&self, provider: &str) -> Vec<String> {
        let journal = process::read(&self.dir().join(format!("faults/{provider}.journal")));
        let calls = journal.rsplit_once("plan ").map_or("", |(_, calls)| calls);
        calls.lines().skip(1).map(str::to_owned).collect()
    }

    fn write_config(&self) {
        let Setup { floor, fallback_after, order, providers, rules, more, mode, rotation, .. } =
            &self.setup;
        let audit = self.audit_path();
        let dir = self.dir().display();
        let order = order.as_ref().map(|order| format!("order = {order:?}\n")).unwrap_or_default();
        let keyd = self.setup.keyd.as_ref().map_or_else(String::new, |keyd| {
            format!("[listen.keyd]\nsocket = \"{dir}/keyd.sock\"\nmode = \"{mode}\"\n{keyd}\n")
        });
        let text = format!(
            "[listen]\nsocket = \"{dir}/api.sock\"\nmode = \"{mode}\"\n\
             [state]\ndir = \"{dir}/state\"\n\
             [plugins]\ndir = \"{dir}/plugins\"\n\
             [audit]\npath = \"{}\"\n{rotation}\n\
             [selection]\nfloor = \"{floor}\"\nfallback_after = \"{fallback_after}\"\n{order}\
             {keyd}{more}{providers}\n{rules}",
            audit.display(),
        );
        let text = text.replace(in_front::HOST_DIR, &dir.to_string());
        fs::write(self.config_path(), text).unwrap();
        fs::set_permissions(self.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Drop for Sealhost {
    fn drop(&mut self) {
        process::end(self.child.take(), &self.dir().join("log"));
    }
}
