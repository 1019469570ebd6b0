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
    AeadInput, Capabilities, CounterRef, ErrorKind, Identity, Info, KeyBlob, KeyId, KeyRef,
    KeySpec, Mac, Protection, Provider, ProviderError, PublicKey, Result, RsaModulus, RsaResult,
    SecretBytes, Secrets, Settings, Signature, Usage,
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

    /// The text, then as much of a tag as the blob says.
    fn aead_encrypt(&self, key: KeyRef<'_>, input: AeadInput<'_>) -> Result<Vec<u8>> {
        assert_eq!((input.iv, input.aad), (&b"iv"[..], &b"aad"[..]));
        Ok([input.text, key.blob].concat())
    }

    fn aead_decrypt(&self, _key: KeyRef<'_>, input: AeadInput<'_>) -> Result<SecretBytes> {
        let text = input.text.split_last_chunk::<16>();
        let (text, _tag) = text.ok_or_else(|| ProviderError::new(ErrorKind::Integrity, "short"))?;
        Ok(SecretBytes::copy_of(text))
    }

    fn rsa_public(&self, key: KeyRef<'_>) -> Result<RsaModulus> {
        Ok(RsaModulus(key.blob.to_vec()))
    }

    /// As many bytes of the input as the blob has, or zeros where it begins with one.
    fn rsa_private(&self, key: KeyRef<'_>, input: &[u8]) -> Result<RsaResult> {
        let mut result = input.to_vec();
        result.resize(key.blob.len(), 0);
        if key.blob[0] == 0 {
            result.fill(0);
        }
        Ok(RsaResult::new(result.into()))
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
fn aead_verbs_pass_their_values_both_ways() {
    let instance = open();
    for text in [&b""[..], b"t", &[7; 32 * 1024]] {
        let input = AeadInput { iv: b"iv", aad: b"aad", text };
        let sealed = instance.aead_encrypt(key(&[9; 16]), input).unwrap();
        assert_eq!(sealed, [text, &[9; 16]].concat());
        let input = AeadInput { text: &sealed, ..input };
        assert_eq!(instance.aead_decrypt(key(b"b"), input).unwrap().expose(), text);
    }
}

#[test]
fn aead_result_of_another_length_breaks_the_contract() {
    let input = AeadInput { iv: b"iv", aad: b"aad", text: b"text" };
    for tag in [&[9; 15][..], &[9; 17]] {
        let error = open().aead_encrypt(key(tag), input).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal);
    }
    // Nothing but zeros was not written.
    let input = AeadInput { text: &[0; 4], ..input };
    assert_eq!(open().aead_encrypt(key(&[0; 16]), input).unwrap_err().kind, ErrorKind::Internal);
    let error = open().aead_decrypt(key(b"b"), input).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Integrity);
}

#[test]
fn rsa_verbs_pass_their_values_both_ways() {
    for bytes in [256, 512] {
        let modulus = vec![0x81; bytes];
        assert_eq!(open().rsa_public(key(&modulus)).unwrap().0, modulus);
        let result = open().rsa_private(key(&modulus), &vec![3; bytes]).unwrap();
        assert_eq!(result.expose(), vec![3; bytes]);
    }
}

#[test]
fn rsa_modulus_of_another_form_breaks_the_contract() {
    let (mut low, mut even) = ([0x81; 256], [0x81; 256]);
    (low[0], even[255]) = (0x7f, 0x80);
    for modulus in [&low[..], &even, &[0x81; 255], &[0x81; 257], &[0x81; 513], &[]] {
        let error = open().rsa_public(key(modulus)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{} bytes", modulus.len());
    }
}

#[test]
fn rsa_result_of_another_length_or_of_nothing_breaks_the_contract() {
    for bytes in [255, 257, 513] {
        let error = open().rsa_private(key(&[1; 256]), &vec![3; bytes]).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Internal, "{bytes} bytes");
    }
    let mut number = [0; 256];
    assert_eq!(open().rsa_private(key(&[1; 256]), &number).unwrap().expose(), number);
    number[255] = 1;
    assert_eq!(open().rsa_private(key(&[1; 256]), &number).unwrap().expose(), number);
    let error = open().rsa_private(key(&[0; 256]), &number).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
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
        let length = null.cast::<usize>();
        for function in [TABLE.aead_encrypt.unwrap(), TABLE.aead_decrypt.unwrap()] {
            let status = function(instance, &raw const key, ptr::null(), null, length);
            assert_eq!(status, invalid);
        }
        assert_eq!(TABLE.rsa_public.unwrap()(instance, ptr::null(), null, length), invalid);
        let status = TABLE.rsa_private.unwrap()(instance, ptr::null(), null, 0, null, length);
        assert_eq!(status, invalid);
        TABLE.close.unwrap()(instance);
    }
    assert_eq!(mac, [0; 32]);
}

/// Opens an instance as a program in C does.
fn open_raw() -> *mut abi::Instance {
    let parameter = |key: &'static str, value: &'static [u8]| abi::Parameter {
        key: key.as_ptr(),
        key_len: key.len(),
        value: value.as_ptr(),
        value_len: value.len(),
    };
    let (name, root) = (parameter("name", b"a"), parameter("root", b"r"));
    let (mut identity, mut length) = ([0; 1024], 0);
    let mut instance = ptr::null_mut();
    // SAFETY: every pointer is valid for its length or capacity.
    let status = unsafe {
        TABLE.open.unwrap()(
            &raw const name,
            1,
            &raw const root,
            1,
            ptr::null(),
            0,
            identity.as_mut_ptr(),
            &raw mut length,
            &raw mut instance,
        )
    };
    assert_eq!((status, length), (0, 2));
    instance
}

#[test]
#[expect(clippy::multiple_unsafe_ops_per_block, reason = "one argument covers all calls")]
fn aead_input_that_is_null_or_too_small_is_refused_and_nothing_is_written() {
    let invalid = i32::try_from(ErrorKind::InvalidParameter.number()).unwrap();
    let bytes = |size: usize| u32::try_from(size).unwrap();
    let key = abi::KeyRef {
        size: bytes(size_of::<abi::KeyRef>()),
        usage: Usage::Aead.number(),
        id: ID.0,
        blob: [9; 16].as_ptr(),
        blob_len: 16,
    };
    let whole = abi::AeadInput {
        size: bytes(size_of::<abi::AeadInput>()),
        iv: b"iv".as_ptr(),
        iv_len: 2,
        aad: b"aad".as_ptr(),
        aad_len: 3,
        text: b"text".as_ptr(),
        text_len: 4,
    };
    let small = abi::AeadInput { size: whole.size - 1, ..whole };
    let null_text = abi::AeadInput { text: ptr::null(), ..whole };
    let impossible = abi::AeadInput { iv_len: usize::MAX, ..whole };
    let instance = open_raw();
    let (mut out, mut length) = ([0; 20], 77);
    // SAFETY: the outputs have their capacity; what is wrong with the inputs is checked for.
    unsafe {
        for function in [TABLE.aead_encrypt.unwrap(), TABLE.aead_decrypt.unwrap()] {
            for input in
                [ptr::null(), &raw const small, &raw const null_text, &raw const impossible]
            {
                let (out, length) = (out.as_mut_ptr(), &raw mut length);
                assert_eq!(function(instance, &raw const key, input, out, length), invalid);
            }
        }
        let encrypt = TABLE.aead_encrypt.unwrap();
        let (key, input, null) = (&raw const key, &raw const whole, ptr::null_mut());
        assert_eq!(encrypt(instance, key, input, null, &raw mut length), invalid);
        assert_eq!(encrypt(instance, key, input, out.as_mut_ptr(), ptr::null_mut()), invalid);
        assert_eq!((out, length), ([0; 20], 77));
        assert_eq!(encrypt(instance, key, input, out.as_mut_ptr(), &raw mut length), 0);
        TABLE.close.unwrap()(instance);
    }
    assert_eq!((&out[..4], &out[4..], length), (&b"text"[..], &[9; 16][..], 20));
}
