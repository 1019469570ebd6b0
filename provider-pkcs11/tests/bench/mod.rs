//! Runs each test in a process of its own, because a module reads its environment and keeps its
//! state once per process; and reaches the same module behind the provider's back.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use provider_core::{
    AeadInput, Capabilities, Identity, KeyBlob, KeyId, KeyRef, KeySpec, Provider, ProviderError,
    SecretBytes, Secrets, Settings, Usage,
};
use provider_pkcs11::Pkcs11Provider;
use swtpm_fixtures::{Nss, SoftHsm};

pub(crate) const PIN: &str = "12345678";
const STORE: &str = "SEALHOST_TEST_STORE";
const MODULE: &str = "SEALHOST_TEST_MODULE";

/// Runs the body of the calling test in a child process with a fresh SoftHSM token.
pub(crate) fn on_softhsm<F: FnOnce(&SoftHsm)>(body: F) {
    if let Some(store) = std::env::var_os(STORE) {
        return body(&SoftHsm::attach(Path::new(&store)).unwrap());
    }
    let hsm = SoftHsm::start("edge", PIN).unwrap();
    let conf = hsm.conf_path();
    run_child::<F>(&[(STORE, hsm.directory()), ("SOFTHSM2_CONF", &conf)]);
}

/// Runs the body of the calling test in a child process with a fresh SoftHSM token behind the module
/// of `tests/shim`, which fails when it is told to.
pub(crate) fn on_shim<F: FnOnce(&SoftHsm, &Shim)>(body: F) {
    if let (Some(store), Some(module)) = (std::env::var_os(STORE), std::env::var_os(MODULE)) {
        return body(&SoftHsm::attach(Path::new(&store)).unwrap(), &Shim(module.into()));
    }
    let hsm = SoftHsm::start("edge", PIN).unwrap();
    let shim = Shim(hsm.directory().join("shim.so"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/shim/shim.c");
    let flags = ["-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-o"];
    let mut compiler = Command::new("cc");
    let output = compiler.args(flags).args([&shim.0, &source]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    run_child::<F>(&[
        (STORE, hsm.directory()),
        ("SOFTHSM2_CONF", &hsm.conf_path()),
        (MODULE, &shim.0),
        ("SHIM_MODULE", Path::new(hsm.module_path())),
        ("SHIM_JOURNAL", &shim.file("journal")),
        ("SHIM_CONTROL", &shim.file("control")),
    ]);
}

/// The module of `tests/shim`, built.
pub(crate) struct Shim(PathBuf);

impl Shim {
    fn file(&self, extension: &str) -> PathBuf {
        self.0.with_extension(extension)
    }

    /// Says what happens from now on: functions, the first and the last of their calls, what is done
    /// to them, and its number.
    pub(crate) fn control(&self, rules: &[(&str, u32, u32, &str, u64)]) {
        let since = std::fs::metadata(self.file("journal")).map_or(0, |it| it.len());
        let mut text = format!("{since}\n");
        for (function, from, to, action, number) in rules {
            text += &format!("{function} {from} {to} {action} {number}\n");
        }
        std::fs::write(self.file("control"), text).unwrap();
    }

    /// How often a function was called since the control was given.
    pub(crate) fn calls(&self, function: &str) -> usize {
        let control = std::fs::read_to_string(self.file("control")).unwrap();
        let since: usize = control.lines().next().unwrap().parse().unwrap();
        let journal = std::fs::read_to_string(self.file("journal")).unwrap();
        journal[since..].lines().filter(|line| *line == function).count()
    }

    pub(crate) fn open(&self, hsm: &SoftHsm) -> Result<Pkcs11Provider, ProviderError> {
        let token = format!("pkcs11:token={}", hsm.label());
        let settings = Settings::new([("module", self.0.to_str().unwrap()), ("token", &token)]);
        Pkcs11Provider::open(settings, pin(PIN), None).map(|(provider, _)| provider)
    }
}

/// Runs the body of the calling test, with the module and its parameter string, in a child process
/// with fresh NSS databases.
pub(crate) fn on_nss<F: FnOnce(&str, &str)>(body: F) {
    if let (Some(args), Some(module)) = (std::env::var_os(STORE), std::env::var_os(MODULE)) {
        return body(module.to_str().unwrap(), args.to_str().unwrap());
    }
    let nss = Nss::start().unwrap();
    run_child::<F>(&[(STORE, Path::new(&nss.init_args())), (MODULE, nss.module_path())]);
}

/// Runs the one test whose body has the type `F`; fails when it fails, or when it did not run.
fn run_child<F>(environment: &[(&str, &Path)]) {
    let name = std::any::type_name::<F>().split("::").nth(1).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]);
    command.envs(environment.iter().map(|(key, value)| (key, value.as_os_str())));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "{said}{complained}");
}

pub(crate) fn settings(hsm: &SoftHsm) -> Settings {
    let token = format!("pkcs11:token={}", hsm.label());
    Settings::new([("module", hsm.module_path()), ("token", &token)])
}

pub(crate) fn pin(pin: &str) -> Secrets {
    Secrets::new([("pin", SecretBytes::copy_of(pin.as_bytes()))])
}

pub(crate) fn open(
    hsm: &SoftHsm,
    known: Option<&Identity>,
) -> Result<(Pkcs11Provider, Identity), ProviderError> {
    Pkcs11Provider::open(settings(hsm), pin(PIN), known)
}

/// Takes a mechanism away from the tokens of a store, from the next initialization of the module on.
pub(crate) fn hide(hsm: &SoftHsm, mechanism: &str) {
    let mut conf = std::fs::read_to_string(hsm.conf_path()).unwrap();
    // SoftHSM 2.6 does not see the first one after the minus.
    conf += &format!("slots.mechanisms = -CKM_MD5,{mechanism}\n");
    std::fs::write(hsm.conf_path(), conf).unwrap();
}

/// Where keys are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Inside,
    Wrapped,
}

/// Opens a token on which AES keys have a form.
pub(crate) fn open_for(hsm: &SoftHsm, form: Form) -> Pkcs11Provider {
    if form == Form::Wrapped {
        hide(hsm, "CKM_AES_GCM");
    }
    let (provider, _) = open(hsm, None).unwrap();
    let capabilities = provider.info().capabilities;
    assert_eq!(capabilities.contains(Capabilities::AEAD), form == Form::Inside);
    assert_eq!(capabilities.contains(Capabilities::AEAD_WRAPPED), form == Form::Wrapped);
    provider
}

/// A key and how it is named.
pub(crate) struct Key {
    pub(crate) usage: Usage,
    pub(crate) id: KeyId,
    pub(crate) blob: Vec<u8>,
}

impl Key {
    pub(crate) fn generate(provider: &Pkcs11Provider, usage: Usage, number: u8) -> Self {
        let spec = spec(usage, number);
        let KeyBlob(blob) = provider.generate(&spec).unwrap();
        Self { usage, id: spec.id, blob }
    }

    pub(crate) fn import(
        provider: &Pkcs11Provider,
        usage: Usage,
        number: u8,
        bytes: &[u8],
    ) -> Result<Self, ProviderError> {
        let spec = spec(usage, number);
        let KeyBlob(blob) = provider.import(&spec, &SecretBytes::copy_of(bytes))?;
        Ok(Self { usage, id: spec.id, blob })
    }

    pub(crate) fn key_ref(&self) -> KeyRef<'_> {
        KeyRef { usage: self.usage, id: self.id, blob: &self.blob }
    }

    pub(crate) fn mac(&self, provider: &Pkcs11Provider) -> Result<Vec<u8>, ProviderError> {
        provider.mac(self.key_ref(), b"message").map(|mac| mac.expose().to_vec())
    }
}

impl Key {
    pub(crate) fn encrypt(
        &self,
        provider: &Pkcs11Provider,
        input: AeadInput<'_>,
    ) -> Result<Vec<u8>, ProviderError> {
        provider.aead_encrypt(self.key_ref(), input)
    }

    pub(crate) fn decrypt(
        &self,
        provider: &Pkcs11Provider,
        input: AeadInput<'_>,
    ) -> Result<Vec<u8>, ProviderError> {
        provider.aead_decrypt(self.key_ref(), input).map(|text| text.expose().to_vec())
    }
}

pub(crate) fn spec(usage: Usage, number: u8) -> KeySpec {
    let id = KeyId([number; 16]);
    KeySpec { usage, algorithm: usage.default_algorithm(), id, state: None }
}

/// Somebody else in this process with the same module, logged in when the provider is.
pub(crate) struct Outsider {
    module: &'static str,
    slot: Slot,
    pub(crate) session: Session,
}

impl Outsider {
    pub(crate) fn enter(hsm: &SoftHsm) -> Self {
        let pkcs11 = Pkcs11::new(hsm.module_path()).unwrap();
        let slots = pkcs11.get_slots_with_initialized_token().unwrap();
        let labeled = |slot: &Slot| pkcs11.get_token_info(*slot).unwrap().label() == hsm.label();
        let slot = slots.into_iter().find(labeled).unwrap();
        let session = pkcs11.open_rw_session_no_drop(slot).unwrap();
        Self { module: hsm.module_path(), slot, session }
    }

    pub(crate) const fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn find(&self, template: &[Attribute]) -> Vec<ObjectHandle> {
        self.session.find_objects(template).unwrap()
    }

    /// C_CloseAllSessions, which the binding does not have.
    #[expect(unsafe_code, reason = "a C function that the binding does not have")]
    pub(crate) fn close_all_sessions(self) {
        type CloseAllSessions = unsafe extern "C" fn(std::ffi::c_ulong) -> std::ffi::c_ulong;
        // SAFETY: the module is loaded already, so that this runs no initializer.
        let library = unsafe { libloading::Library::new(self.module) }.unwrap();
        // SAFETY: PKCS#11 section 5.6 fixes the type of the function of this name.
        let close = unsafe { library.get::<CloseAllSessions>(b"C_CloseAllSessions\0") }.unwrap();
        // SAFETY: it takes a slot number and may be called at any time.
        let status = unsafe { close(self.slot.into()) };
        assert_eq!(status, 0);
    }

    /// C_Finalize.
    pub(crate) fn finalize(self) {
        Pkcs11::new(self.module).unwrap().finalize().unwrap();
    }
}
