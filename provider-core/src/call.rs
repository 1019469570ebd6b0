//! The caller's end of the boundary: a [`Table`](abi::Table) as safe Rust.
//!
//! The host, its workers and the conformance kit call plugins through this file only, so a
//! provider in C and one in Rust are treated alike. Nothing a plugin returns is believed: lengths,
//! numbers and texts are checked before they become values.
#![expect(unsafe_code, reason = "this file is the caller's end of the C boundary")]

mod aead;
mod condition;
mod counter;
mod rsa;
mod sign;

use std::mem::offset_of;
use std::ptr::{self, NonNull};

use zeroize::Zeroizing;

use crate::abi;
use crate::error::{ErrorKind, ProviderError, Result};
use crate::key::{
    AuthSubject, BLOB_MAX_BYTES, Capabilities, DETAIL_MAX_BYTES, IDENTITY_MAX_BYTES, Identity,
    Info, KeyBlob, KeyRef, KeySpec, MAC_BYTES, Mac, NEEDS_MAX_BYTES, Protection, RANDOM_MAX_BYTES,
    SUBJECT_MAX_BYTES,
};
use crate::needs::Needs;
use crate::secret::SecretBytes;
use crate::settings::{Secrets, Settings};

/// Why a table was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// The entry returned NULL.
    #[error("the plugin does not speak ABI version {}", abi::ABI_VERSION)]
    Version,
    /// The table is not one of ours.
    #[error("the plugin's table does not begin with the magic of a provider")]
    Magic,
    /// The table is of another version than the entry promised.
    #[error("the plugin answers with ABI version {version}, not {}", abi::ABI_VERSION)]
    OtherVersion {
        /// The version that its table states.
        version: u32,
    },
    /// A required function is missing.
    #[error("the plugin's table has no function {0}")]
    Missing(&'static str),
}

/// A plugin whose table was checked. Plugins are never unloaded.
#[derive(Clone, Copy, Debug)]
pub struct Plugin {
    table: Required,
}

/// How every version of a [`Table`](abi::Table) begins.
#[repr(C)]
struct TableHead {
    magic: u64,
    size: u32,
    abi_version: u32,
}

/// The table with the required functions known to be there.
#[derive(Clone, Copy, Debug)]
struct Required {
    open: OpenFn,
    close: unsafe extern "C" fn(*mut abi::Instance),
    info: unsafe extern "C" fn(*mut abi::Instance, *mut abi::Info) -> i32,
    self_test: unsafe extern "C" fn(*mut abi::Instance) -> i32,
    generate:
        unsafe extern "C" fn(*mut abi::Instance, *const abi::KeySpec, *mut u8, *mut usize) -> i32,
    import_key: unsafe extern "C" fn(
        *mut abi::Instance,
        *const abi::KeySpec,
        *const u8,
        usize,
        *mut u8,
        *mut usize,
    ) -> i32,
    destroy: unsafe extern "C" fn(*mut abi::Instance, *const abi::KeyRef) -> i32,
    mac: unsafe extern "C" fn(
        *mut abi::Instance,
        *const abi::KeyRef,
        *const u8,
        usize,
        *mut u8,
    ) -> i32,
    random: unsafe extern "C" fn(*mut abi::Instance, usize, *mut u8) -> i32,
    last_error: unsafe extern "C" fn(*mut u8, usize, *mut usize),
    public_key: Option<PublicKeyFn>,
    sign: Option<SignFn>,
    auth_subject: Option<AuthSubjectFn>,
    counters: Option<counter::Functions>,
    needs: Option<NeedsFn>,
    condition: Option<ConditionFn>,
    aead: Option<aead::Functions>,
    rsa: Option<rsa::Functions>,
}

type ConditionFn = unsafe extern "C" fn(*mut abi::Instance, *mut abi::Condition) -> i32;
type OpenFn = unsafe extern "C" fn(
    *const abi::Parameter,
    usize,
    *const abi::Parameter,
    usize,
    *const u8,
    usize,
    *mut u8,
    *mut usize,
    *mut *mut abi::Instance,
) -> i32;
type PublicKeyFn = unsafe extern "C" fn(*mut abi::Instance, *const abi::KeyRef, *mut u8) -> i32;
type AuthSubjectFn = unsafe extern "C" fn(*const abi::Parameter, usize, *mut u8, *mut usize) -> i32;
type NeedsFn = AuthSubjectFn;
type SignFn =
    unsafe extern "C" fn(*mut abi::Instance, *const abi::KeyRef, *const u8, *mut u8) -> i32;

impl Plugin {
    /// Asks an entry for its table and checks it.
    ///
    /// # Errors
    /// [`TableError`], before any function of the table was called.
    ///
    /// # Safety
    /// 1. `entry` is the entry of a library that follows `docs/abi.md` and is never unloaded.
    pub unsafe fn from_entry(entry: abi::Entry) -> std::result::Result<Self, TableError> {
        // SAFETY: duty 1.
        let table = NonNull::new(unsafe { entry(abi::ABI_VERSION) }.cast_mut());
        let table = table.ok_or(TableError::Version)?;
        let table = table.as_ptr().cast_const();
        // SAFETY: duty 1: whatever its version, a table begins with these three fields.
        let head = unsafe { table.cast::<TableHead>().read() };
        if head.magic != abi::MAGIC {
            return Err(TableError::Magic);
        }
        if head.abi_version != abi::ABI_VERSION {
            return Err(TableError::OtherVersion { version: head.abi_version });
        }
        let size = usize::try_from(head.size).unwrap_or(0).min(size_of::<abi::Table>());
        // A plugin built before a field was appended has a shorter table: what it lacks is NULL,
        // and NULL functions are `None`, whose bytes are zero.
        let mut copy = Box::new(EMPTY_TABLE);
        // SAFETY: duty 1: the plugin's table is `size` bytes long, ours is no shorter, and a
        // prefix that ends within a pointer cannot pass the check below, which looks at whole ones.
        unsafe {
            ptr::copy_nonoverlapping(table.cast::<u8>(), (&raw mut *copy).cast::<u8>(), size);
        };
        Ok(Self { table: Required::check(&copy, size)? })
    }

    /// Names what opening would show a PIN to; see
    /// [`Provider::auth_subject`](crate::Provider::auth_subject). `None` also where the plugin has
    /// no such function.
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract.
    pub fn auth_subject(&self, settings: &Settings) -> Result<Option<AuthSubject>> {
        let Some(function) = self.table.auth_subject else { return Ok(None) };
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| parameter(key, value.as_bytes())).collect();
        let mut subject = vec![0; SUBJECT_MAX_BYTES];
        let mut subject_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(settings.as_ptr(), settings.len(), subject.as_mut_ptr(), &raw mut subject_len)
        };
        self.table.check_status(status)?;
        if subject_len == 0 {
            return Ok(None);
        }
        Ok(Some(AuthSubject(cut(subject, subject_len, "subject")?)))
    }

    /// What opening needs of the machine; see [`Provider::needs`](crate::Provider::needs). Nothing
    /// also where the plugin has no such function.
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract.
    pub fn needs(&self, settings: &Settings) -> Result<Needs> {
        let Some(function) = self.table.needs else { return Ok(Needs::default()) };
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| parameter(key, value.as_bytes())).collect();
        let mut text = vec![0; NEEDS_MAX_BYTES];
        let mut text_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            function(settings.as_ptr(), settings.len(), text.as_mut_ptr(), &raw mut text_len)
        };
        self.table.check_status(status)?;
        if text_len == 0 {
            return Ok(Needs::default());
        }
        let text = cut(text, text_len, "text of needs")?;
        let text = String::from_utf8(text).map_err(|_error| broken("needs are not UTF-8"))?;
        Needs::parse(&text).map_err(|error| broken(&error.detail))
    }

    /// Opens a device; see [`Provider::open`](crate::Provider::open).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract; `WrongDevice` also when it
    /// opened a device of another identity than the known one.
    pub fn open(
        &self,
        settings: &Settings,
        secrets: &Secrets,
        known: Option<&Identity>,
    ) -> Result<(Instance, Identity)> {
        let settings: Vec<_> =
            settings.iter().map(|(key, value)| parameter(key, value.as_bytes())).collect();
        let secrets: Vec<_> =
            secrets.iter().map(|(key, value)| parameter(key, value.expose())).collect();
        let known_bytes = known.map_or(&[][..], |identity| &identity.0);
        let mut identity = vec![0; IDENTITY_MAX_BYTES];
        let mut identity_len = usize::MAX;
        let mut instance = ptr::null_mut();
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            (self.table.open)(
                settings.as_ptr(),
                settings.len(),
                secrets.as_ptr(),
                secrets.len(),
                known_bytes.as_ptr(),
                known_bytes.len(),
                identity.as_mut_ptr(),
                &raw mut identity_len,
                &raw mut instance,
            )
        };
        self.table.check_status(status)?;
        let pointer = NonNull::new(instance).ok_or_else(|| broken("open gave no instance"))?;
        let instance = Instance { table: self.table, pointer };
        let identity = Identity(cut(identity, identity_len, "identity")?);
        if known.is_some_and(|known| *known != identity) {
            let detail = "the plugin opened another device than the recorded one";
            return Err(ProviderError::new(ErrorKind::WrongDevice, detail));
        }
        Ok((instance, identity))
    }
}

/// One opened device. Closed when dropped.
#[derive(Debug)]
pub struct Instance {
    table: Required,
    pointer: NonNull<abi::Instance>,
}

// SAFETY: ABI rule 5: an instance takes calls from any thread.
unsafe impl Send for Instance {}
// SAFETY: ABI rule 5: from several at once, as many as `concurrency` says, which the owner of the
// instance keeps to; a provider in Rust takes any number.
unsafe impl Sync for Instance {}

impl Drop for Instance {
    fn drop(&mut self) {
        // SAFETY: the pointer came from `open`, and having `&mut self` no call is inside or follows.
        unsafe { (self.table.close)(self.pointer.as_ptr()) }
    }
}

impl Instance {
    /// See [`Provider::info`](crate::Provider::info).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when a number or text is outside the contract.
    pub fn info(&self) -> Result<Info> {
        let mut info = abi::Info {
            size: struct_bytes::<abi::Info>(),
            protection: 0,
            capabilities: 0,
            concurrency: 0,
            kind: [0; abi::KIND_BYTES],
            manufacturer: [0; abi::NAME_BYTES],
            firmware: [0; abi::NAME_BYTES],
            notes: [0; abi::NOTES_BYTES],
        };
        // SAFETY: ABI rule 2: a struct of ours, with its size set.
        let status = unsafe { (self.table.info)(self.pointer.as_ptr(), &raw mut info) };
        self.table.check_status(status)?;
        let kind = fixed_text(&info.kind, "kind")?;
        if kind.is_empty()
            || !kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        {
            return Err(broken("kind is not one lower-case word"));
        }
        Ok(Info {
            kind,
            manufacturer: fixed_text(&info.manufacturer, "manufacturer")?,
            firmware: fixed_text(&info.firmware, "firmware")?,
            notes: fixed_text(&info.notes, "notes")?,
            protection: Protection::from_number(info.protection)
                .ok_or_else(|| broken("unknown protection number"))?,
            capabilities: Capabilities(info.capabilities),
            concurrency: info.concurrency.clamp(1, CONCURRENCY_MAX),
        })
    }

    /// See [`Provider::self_test`](crate::Provider::self_test).
    ///
    /// # Errors
    /// Those of the provider.
    pub fn self_test(&self) -> Result<()> {
        // SAFETY: the instance is open.
        let status = unsafe { (self.table.self_test)(self.pointer.as_ptr()) };
        self.table.check_status(status)
    }

    /// See [`Provider::generate`](crate::Provider::generate).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract.
    pub fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let spec = spec_to_c(spec);
        let mut blob = vec![0; BLOB_MAX_BYTES];
        let mut blob_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            (self.table.generate)(
                self.pointer.as_ptr(),
                &raw const spec,
                blob.as_mut_ptr(),
                &raw mut blob_len,
            )
        };
        self.table.check_status(status)?;
        Ok(KeyBlob(cut(blob, blob_len, "blob")?))
    }

    /// See [`Provider::import`](crate::Provider::import).
    ///
    /// # Errors
    /// Those of the provider; `Internal` when it broke the contract.
    pub fn import(&self, spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        let spec = spec_to_c(spec);
        let mut blob = vec![0; BLOB_MAX_BYTES];
        let mut blob_len = usize::MAX;
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            (self.table.import_key)(
                self.pointer.as_ptr(),
                &raw const spec,
                key.expose().as_ptr(),
                key.len(),
                blob.as_mut_ptr(),
                &raw mut blob_len,
            )
        };
        self.table.check_status(status)?;
        Ok(KeyBlob(cut(blob, blob_len, "blob")?))
    }

    /// See [`Provider::destroy`](crate::Provider::destroy).
    ///
    /// # Errors
    /// Those of the provider.
    pub fn destroy(&self, key: KeyRef<'_>) -> Result<()> {
        let key = key_to_c(key);
        // SAFETY: ABI rule 1.
        let status = unsafe { (self.table.destroy)(self.pointer.as_ptr(), &raw const key) };
        self.table.check_status(status)
    }

    /// See [`Provider::mac`](crate::Provider::mac).
    ///
    /// # Errors
    /// Those of the provider.
    pub fn mac(&self, key: KeyRef<'_>, data: &[u8]) -> Result<Mac> {
        let key = key_to_c(key);
        let mut mac = Zeroizing::new(vec![0; MAC_BYTES]);
        // SAFETY: ABI rules 1 and 2: every pointer is valid for its length or capacity.
        let status = unsafe {
            (self.table.mac)(
                self.pointer.as_ptr(),
                &raw const key,
                data.as_ptr(),
                data.len(),
                mac.as_mut_ptr(),
            )
        };
        self.table.check_status(status)?;
        // A provider that reports success and writes nothing would give every caller the same key.
        if mac.iter().all(|&byte| byte == 0) {
            return Err(broken("mac gave no bytes"));
        }
        Ok(Mac::new(mac))
    }

    /// See [`Provider::random`](crate::Provider::random).
    ///
    /// # Errors
    /// Those of the provider; `TooLarge` past the limit.
    pub fn random(&self, length: usize) -> Result<SecretBytes> {
        if length > RANDOM_MAX_BYTES {
            return Err(ProviderError::over_limit("random request", length, RANDOM_MAX_BYTES));
        }
        let mut bytes = Zeroizing::new(vec![0; length]);
        // SAFETY: ABI rule 2: valid for `length` bytes.
        let status =
            unsafe { (self.table.random)(self.pointer.as_ptr(), length, bytes.as_mut_ptr()) };
        self.table.check_status(status)?;
        if length >= 16 && bytes.iter().all(|&byte| byte == 0) {
            return Err(broken("random gave no bytes"));
        }
        Ok(SecretBytes::new(bytes))
    }
}

/// More threads than a device will want: what a provider says beyond it is cut.
pub const CONCURRENCY_MAX: u32 = 64;

const EMPTY_TABLE: abi::Table = abi::Table {
    magic: 0,
    size: 0,
    abi_version: 0,
    open: None,
    close: None,
    info: None,
    self_test: None,
    generate: None,
    import_key: None,
    destroy: None,
    mac: None,
    random: None,
    last_error: None,
    public_key: None,
    sign: None,
    auth_subject: None,
    counter_create: None,
    counter_increment: None,
    counter_read: None,
    counter_destroy: None,
    needs: None,
    condition: None,
    aead_encrypt: None,
    aead_decrypt: None,
    rsa_public: None,
    rsa_private: None,
};

impl Required {
    fn check(table: &abi::Table, size: usize) -> std::result::Result<Self, TableError> {
        // A field counts only when the plugin's table reaches its end.
        let reaches = |offset: usize| offset + size_of::<usize>() <= size;
        macro_rules! required {
            ($field:ident) => {
                table
                    .$field
                    .filter(|_| reaches(offset_of!(abi::Table, $field)))
                    .ok_or(TableError::Missing(stringify!($field)))?
            };
        }
        Ok(Self {
            open: required!(open),
            close: required!(close),
            info: required!(info),
            self_test: required!(self_test),
            generate: required!(generate),
            import_key: required!(import_key),
            destroy: required!(destroy),
            mac: required!(mac),
            random: required!(random),
            last_error: required!(last_error),
            public_key: table.public_key.filter(|_| reaches(offset_of!(abi::Table, public_key))),
            sign: table.sign.filter(|_| reaches(offset_of!(abi::Table, sign))),
            auth_subject: table
                .auth_subject
                .filter(|_| reaches(offset_of!(abi::Table, auth_subject))),
            // The last of the four tells that the table reaches all of them.
            counters: counter::Functions::of(table)
                .filter(|_| reaches(offset_of!(abi::Table, counter_destroy))),
            needs: table.needs.filter(|_| reaches(offset_of!(abi::Table, needs))),
            condition: table.condition.filter(|_| reaches(offset_of!(abi::Table, condition))),
            // As of counters, the last of each two.
            aead: aead::Functions::of(table)
                .filter(|_| reaches(offset_of!(abi::Table, aead_decrypt))),
            rsa: rsa::Functions::of(table).filter(|_| reaches(offset_of!(abi::Table, rsa_private))),
        })
    }

    /// Turns a status into a result, with the detail of this thread's failure.
    fn check_status(&self, status: i32) -> Result<()> {
        if status == 0 {
            return Ok(());
        }
        let mut detail = vec![0; DETAIL_MAX_BYTES];
        let mut detail_len = 0;
        // SAFETY: ABI rule 2: valid for the capacity.
        unsafe { (self.last_error)(detail.as_mut_ptr(), detail.len(), &raw mut detail_len) };
        detail.truncate(detail_len);
        let detail = printable(&String::from_utf8_lossy(&detail));
        let kind = u32::try_from(status).ok().and_then(ErrorKind::from_number);
        Err(kind.map_or_else(
            || {
                ProviderError::new(
                    ErrorKind::Internal,
                    format!("unknown status {status}: {detail}"),
                )
            },
            |kind| ProviderError::new(kind, detail.clone()),
        ))
    }
}

fn broken(what: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Internal, format!("the plugin broke the contract: {what}"))
}

fn absent() -> ProviderError {
    ProviderError::new(ErrorKind::Unsupported, "the plugin has no such function")
}

/// Cuts an output buffer to what the plugin says it wrote.
fn cut(mut buffer: Vec<u8>, length: usize, what: &str) -> Result<Vec<u8>> {
    if length == 0 || length > buffer.len() {
        return Err(broken(&format!("{what} of impossible length")));
    }
    buffer.truncate(length);
    Ok(buffer)
}

fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn fixed_text(bytes: &[u8], what: &str) -> Result<String> {
    let end = bytes.iter().position(|&byte| byte == 0);
    let text = end.and_then(|end| bytes.get(..end)).and_then(|text| std::str::from_utf8(text).ok());
    text.map(printable).ok_or_else(|| broken(&format!("{what} is not closed UTF-8 text")))
}

const fn parameter(key: &str, value: &[u8]) -> abi::Parameter {
    abi::Parameter {
        key: key.as_ptr(),
        key_len: key.len(),
        value: value.as_ptr(),
        value_len: value.len(),
    }
}

/// The C form of a specification; it borrows the state binding, which outlives the call.
fn spec_to_c(spec: &KeySpec) -> abi::KeySpec {
    let state = spec.state.as_ref().map_or("", |state| state.as_str());
    abi::KeySpec {
        size: struct_bytes::<abi::KeySpec>(),
        usage: spec.usage.number(),
        algorithm: spec.algorithm.number(),
        id: spec.id.0,
        state: state.as_ptr(),
        state_len: state.len(),
    }
}

/// The C form of a reference; it borrows the blob, which outlives the call.
fn key_to_c(key: KeyRef<'_>) -> abi::KeyRef {
    abi::KeyRef {
        size: struct_bytes::<abi::KeyRef>(),
        usage: key.usage.number(),
        id: key.id.0,
        blob: key.blob.as_ptr(),
        blob_len: key.blob.len(),
    }
}

fn struct_bytes<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}
