//! Both ends of the C boundary against each other, with a provider that needs no foreign code, so
//! that Miri can run it (`docs/fuzzing.md`). What a caller does wrong is done here on purpose.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]
#![expect(unsafe_code, reason = "a caller's end of the C boundary")]

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use provider_core::abi::{self, ABI_VERSION, Table};
use provider_core::call::{Instance, Plugin};
use provider_core::{
    Capabilities, CounterRef, ErrorKind, Identity, Info, KeyBlob, KeyId, KeyRef, KeySpec, Mac,
    Protection, Provider, ProviderError, PublicKey, Result, SecretBytes, Secrets, Settings,
    Signature, Usage,
};

/// Answers with what it is given.
#[derive(Debug)]
struct Echo {
    counter: AtomicU64,
}

impl Provider for Echo {
    fn open(
        mut settings: Settings,
        mut secrets: Secrets,
        known: Option<&Identity>,
    ) -> Result<(Self, Identity)> {
        let name = settings.take_required("name");
        settings.finish()?;
        let secret = secrets.take("root").ok_or_else(|| ProviderError::invalid("no root"))?;
        secrets.finish()?;
        let identity = Identity([name.as_bytes(), secret.expose()].concat());
        let same = known.is_none_or(|known| *known == identity);
        let other = || ProviderError::new(ErrorKind::WrongDevice, "another one");
        same.then(|| (Self { counter: AtomicU64::new(1) }, identity)).ok_or_else(other)
    }

    fn info(&self) -> Info {
        Info {
            kind: "echo".into(),
            manufacturer: "é".repeat(100),
            firmware: "1\n2".into(),
            notes: String::new(),
            protection: Protection::Software,
            capabilities: Capabilities::MAC,
            concurrency: 4,
        }
    }

    fn self_test(&self) -> Result<()> {
        Ok(())
    }

    fn generate(&self, spec: &KeySpec) -> Result<KeyBlob> {
        let state = spec.state.as_ref().map_or("", |state| state.as_str());
        Ok(KeyBlob([&spec.id.0, state.as_bytes()].concat()))
    }

    fn import(&self, _spec: &KeySpec, key: &SecretBytes) -> Result<KeyBlob> {
        Ok(KeyBlob(key.expose().to_vec()))
    }

    fn destroy(&self, _key: KeyRef<'_>) -> Result<()> {
        Ok(())
    }

    fn mac(&self, key: KeyRef<'_>, input: &[u8]) -> Result<Mac> {
        assert_ne!(input, b"panic", "as the test asks for");
        if input.is_empty() {
            return Err(ProviderError::new(
                ErrorKind::Busy,
                format!("of {} bytes", key.blob.len()),
            ));
        }
        let mut mac = [key.blob, input].concat();
        mac.resize(32, 1);
        Ok(Mac::new(mac.into()))
    }

    fn random(&self, output: &mut [u8]) -> Result<()> {
        output.fill(7);
        Ok(())
    }

    fn public_key(&self, key: KeyRef<'_>) -> Result<PublicKey> {
        let mut point = [4; 65];
        point[1..17].copy_from_slice(&key.id.0);
        Ok(PublicKey(point))
    }

    fn sign(&self, _key: KeyRef<'_>, digest: &[u8; 32]) -> Result<Signature> {
        Ok(Signature([*digest, *digest].concat().try_into().unwrap()))
    }

    fn counter_create(&self, id: KeyId) -> Result<(KeyBlob, u64)> {
        Ok((KeyBlob(id.0.to_vec()), 1))
    }

    fn counter_increment(&self, _counter: CounterRef<'_>) -> Result<u64> {
        Ok(self.counter.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn counter_read(&self, _counter: CounterRef<'_>) -> Result<u64> {
        Ok(self.counter.load(Ordering::Relaxed))
    }

    fn counter_destroy(&self, _counter: CounterRef<'_>) -> Result<()> {
        Ok(())
    }
}

static TABLE: Table = provider_core::export::table::<Echo>();

extern "C" fn entry(version: u32) -> *const Table {
    if version == ABI_VERSION { &raw const TABLE } else { ptr::null() }
}

fn plugin() -> Plugin {
    // SAFETY: duty 1 of `from_entry`: the table is a static of this program.
    unsafe { Plugin::from_entry(entry) }.unwrap()
}

fn open() -> Instance {
    let secrets = Secrets::new([("root", SecretBytes::new(vec![1, 2].into()))]);
    plugin().open(&Settings::new([("name", "a")]), &secrets, None).unwrap().0
}

const ID: KeyId = KeyId([5; 16]);

fn key(blob: &[u8]) -> KeyRef<'_> {
    KeyRef { usage: Usage::Mac, id: ID, blob }
}

#[test]
fn every_verb_passes_its_values_both_ways() {
    let instance = open();
    let spec = KeySpec {
        usage: Usage::Mac,
        algorithm: Usage::Mac.default_algorithm(),
        id: ID,
        state: Some(provider_core::StateBinding::new("sha256:7").unwrap()),
    };
    assert_eq!(instance.generate(&spec).unwrap().0, [&[5; 16][..], b"sha256:7"].concat());
    let imported = instance.import(&spec, &SecretBytes::new(vec![9; 1024].into())).unwrap();
    assert_eq!(imported.0, [9; 1024]);
    assert_eq!(instance.mac(key(b"blob"), b"input").unwrap().expose()[..10], *b"blobinput\x01");
    assert_eq!(instance.random(1024).unwrap().expose(), [7; 1024]);
    assert_eq!(instance.public_key(key(b"b")).unwrap().0[..17], [&[4][..], &[5; 16]].concat());
    assert_eq!(instance.sign(key(b"b"), &[3; 32]).unwrap().0, [3; 64]);
    assert_eq!(instance.counter_create(ID).unwrap(), (KeyBlob(vec![5; 16]), 1));
    let counter = CounterRef { id: ID, blob: b"b" };
    assert_eq!(instance.counter_increment(counter).unwrap(), 2);
    assert_eq!(instance.counter_read(counter).unwrap(), 2);
    instance.counter_destroy(counter).unwrap();
    instance.destroy(key(b"")).unwrap();
    instance.self_test().unwrap();
}

#[test]
fn description_is_cut_to_its_places() {
    let info = open().info().unwrap();
    assert_eq!((info.manufacturer.len(), info.firmware.as_str()), (64, "1?2"));
}

#[test]
fn detail_of_a_failure_is_that_of_the_thread() {
    let instance = open();
    std::thread::scope(|scope| {
        for length in 1..4 {
            let instance = &instance;
            scope.spawn(move || {
                for _ in 0..4 {
                    let error = instance.mac(key(&vec![1; length]), b"").unwrap_err();
                    let detail = format!("of {length} bytes");
                    assert_eq!((error.kind, error.detail), (ErrorKind::Busy, detail));
                }
            });
        }
    });
}

#[test]
fn panic_ends_the_instance_and_not_the_caller() {
    let instance = open();
    assert_eq!(instance.mac(key(b"b"), b"panic").unwrap_err().kind, ErrorKind::Panicked);
    assert_eq!(instance.random(1).unwrap_err().kind, ErrorKind::Panicked);
}

#[test]
fn other_identity_is_another_device() {
    let secrets = Secrets::new([("root", SecretBytes::new(vec![1].into()))]);
    let known = Identity(b"other".to_vec());
    let opened = plugin().open(&Settings::new([("name", "a")]), &secrets, Some(&known));
    assert_eq!(opened.unwrap_err().kind, ErrorKind::WrongDevice);
}

#[test]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers all calls")]
fn nulls_are_refused() {
    let invalid = i32::try_from(ErrorKind::InvalidParameter.number()).unwrap();
    let key = abi::KeyRef {
        size: u32::try_from(size_of::<abi::KeyRef>()).unwrap(),
        usage: Usage::Mac.number(),
        id: ID.0,
        blob: ptr::null(),
        blob_len: 0,
    };
    let mut mac = [0; 32];
    let null = ptr::null_mut();
    // SAFETY: NULL is what each function checks for; the other pointers are valid.
    unsafe {
        let mut instance = ptr::null_mut();
        let open = TABLE.open.unwrap();
        let status =
            open(ptr::null(), 0, ptr::null(), 0, ptr::null(), 0, null, null.cast(), null.cast());
        assert_eq!(status, invalid);
        let status = open(
            ptr::null(),
            1,
            ptr::null(),
            0,
            ptr::null(),
            0,
            null,
            null.cast(),
            &raw mut instance,
        );
        assert_eq!((status, instance.is_null()), (invalid, true));
        assert_eq!(TABLE.self_test.unwrap()(instance), invalid);
        assert_eq!(TABLE.info.unwrap()(instance, ptr::null_mut()), invalid);
        assert_eq!(TABLE.generate.unwrap()(instance, ptr::null(), null, null.cast()), invalid);
        assert_eq!(TABLE.destroy.unwrap()(instance, &raw const key), invalid);
        assert_eq!(
            TABLE.mac.unwrap()(instance, &raw const key, ptr::null(), 0, mac.as_mut_ptr()),
            invalid
        );
        assert_eq!(TABLE.random.unwrap()(instance, 1, null), invalid);
        TABLE.close.unwrap()(instance);
    }
    assert_eq!(mac, [0; 32]);
}
