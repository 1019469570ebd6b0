//! What is particular to NSS softokn: a parameter string, no PIN, one serial number for all.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

mod bench;

use bench::{Key, on_nss};
use provider_core::{
    AeadInput, Capabilities, ErrorKind, Provider, ProviderError, Secrets, Settings, Usage,
};
use provider_pkcs11::Pkcs11Provider;

fn open(entries: &[(&str, &str)]) -> Result<Pkcs11Provider, ProviderError> {
    let settings = Settings::new(entries.iter().copied());
    Pkcs11Provider::open(settings, Secrets::default(), None).map(|(provider, _)| provider)
}

fn check_refused(entries: &[(&str, &str)], kind: ErrorKind, part: &str) {
    let error = open(entries).map(drop).unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.detail.contains(part), "{error}");
}

#[test]
fn missing_parameter_string_is_refused_by_the_call() {
    on_nss(|module, _| {
        let entries = [("module", module), ("token", "pkcs11:token=first")];
        check_refused(&entries, ErrorKind::InvalidParameter, "C_Initialize: CKR_ARGUMENTS_BAD");
    });
}

#[test]
fn second_parameter_string_in_one_process_is_refused() {
    on_nss(|module, args| {
        let first = [("module", module), ("token", "pkcs11:token=first"), ("init_args", args)];
        let _provider = open(&first).unwrap();
        let other = [("module", module), ("token", "pkcs11:token=first"), ("init_args", "x")];
        check_refused(&other, ErrorKind::InvalidParameter, "init_args differ");
    });
}

#[test]
fn databases_of_one_serial_do_not_share_keys() {
    on_nss(|module, args| {
        let open = |token| open(&[("module", module), ("token", token), ("init_args", args)]);
        let first = open("pkcs11:token=first").unwrap();
        let second = open("pkcs11:token=second").unwrap();
        let [here, there] =
            [&first, &second].map(|provider| Key::generate(provider, Usage::Seal, 1));
        assert_eq!(
            second.sign(here.key_ref(), &[1; 32]).unwrap_err().kind,
            ErrorKind::InvalidParameter
        );
        let input = [provider_core::key::SEAL_LABEL.as_slice(), b"x"].concat();
        first.mac(here.key_ref(), &input).unwrap();
        assert_eq!(first.mac(there.key_ref(), &input).unwrap_err().kind, ErrorKind::WrongDevice);
    });
}

#[test]
fn several_tokens_of_one_serial_are_ambiguous() {
    on_nss(|module, args| {
        let entries =
            [("module", module), ("token", "pkcs11:serial=0000000000000000"), ("init_args", args)];
        check_refused(&entries, ErrorKind::InvalidParameter, "names several tokens");
    });
}

#[test]
fn module_that_keeps_no_keys_is_refused_with_call_and_status() {
    on_nss(|module, _| {
        // NSS's list of root certificates is a whole PKCS#11 module whose token cannot be written.
        let roots = std::path::Path::new(module).with_file_name("libnssckbi.so");
        let module = ("module", roots.to_str().unwrap());
        let entries = [module, ("token", "pkcs11:token=Builtin%20Object%20Token")];
        check_refused(&entries, ErrorKind::Unsupported, "C_OpenSession: CKR_TOKEN_WRITE");
    });
}

#[test]
fn mechanism_that_is_advertised_and_fails_is_no_capability() {
    on_nss(|module, args| {
        // NSS offers CKM_AES_GCM and answers the question for the length of its output wrongly.
        let entries = [("module", module), ("token", "pkcs11:token=first"), ("init_args", args)];
        let provider = open(&entries).unwrap();
        let capabilities = provider.info().capabilities;
        assert!(!capabilities.contains(Capabilities::AEAD));
        assert!(capabilities.contains(Capabilities::AEAD_WRAPPED));
        let key = Key::generate(&provider, Usage::Aead, 1);
        let input = AeadInput { iv: b"0123456", aad: b"7891011", text: b"Hello World" };
        let sealed = key.encrypt(&provider, input).unwrap();
        assert_eq!(
            key.decrypt(&provider, AeadInput { text: &sealed, ..input }).unwrap(),
            input.text
        );
    });
}
