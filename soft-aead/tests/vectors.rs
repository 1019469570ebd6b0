//! Published vectors, those of the dialect that brought these keys here, and what must fail.
#![expect(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "integration tests, and what they share"
)]

use soft_aead::{Failed, Key};

fn unhex(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// Encrypts and decrypts each vector; gives how many are valid and how many are not.
fn check(text: &str) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split(' ').collect();
        let [id, result, key, iv, aad, plaintext, ciphertext, tag] = fields[..] else {
            unreachable!("{line}");
        };
        let key = Key::new(&unhex(key).try_into().unwrap());
        let (iv, aad) = (unhex(iv), unhex(aad));
        let sealed = [unhex(ciphertext), unhex(tag)].concat();
        let opened = key.decrypt(&iv, &aad, &sealed);
        if result == "valid" {
            assert_eq!(*opened.unwrap(), unhex(plaintext), "{id}");
            assert_eq!(key.encrypt(&iv, &aad, &unhex(plaintext)).unwrap(), sealed, "{id}");
            valid += 1;
        } else {
            assert_eq!(opened.unwrap_err(), Failed, "{id} is decrypted");
            invalid += 1;
        }
    }
    (valid, invalid)
}

macro_rules! published {
    ($file:literal) => {
        include_str!(concat!("../../tests/vectors/published/", $file))
    };
}

#[test]
fn published_vectors_with_ivs_of_96_bits_hold() {
    assert_eq!(check(published!("wycheproof_aes_256_gcm.txt")), (39, 27));
    assert_eq!(check(published!("cavp_gcmEncryptExtIV256.txt")), (125, 0));
    assert_eq!(check(published!("cavp_gcmDecrypt256.txt")), (62, 63));
}

#[test]
fn published_vectors_with_ivs_of_any_length_hold() {
    assert_eq!(check(published!("wycheproof_aes_256_gcm_ivs.txt")), (37, 0));
}

/// The bytes 0 to 31.
fn counting_key() -> Key {
    Key::new(&std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

/// A text that the dialect returned: ciphertext and tag, in hexadecimal.
#[track_caller]
fn check_dialect(iv: &[u8], aad: &[u8], plaintext: &[u8], sealed: &str) {
    let sealed = unhex(sealed);
    assert_eq!(counting_key().encrypt(iv, aad, plaintext).unwrap(), sealed);
    assert_eq!(*counting_key().decrypt(iv, aad, &sealed).unwrap(), plaintext);
}

#[test]
fn iv_of_seven_bytes_gives_what_the_dialect_gives() {
    check_dialect(
        b"0123456",
        b"7891011",
        b"Hello World",
        "3a925a06b43e98593235c5c030747ae276a36e6aefbdc4a8125db3",
    );
}

#[test]
fn iv_of_twelve_bytes_gives_what_the_dialect_gives() {
    let iv = unhex("000102030405060708090a0b");
    check_dialect(
        &iv,
        b"ctx",
        b"Hello World",
        "0f67ba77aac59574ff2df3f623284fbc24a288956f53e0a7d8ec1d",
    );
}

#[test]
fn empty_text_gives_what_the_dialect_gives() {
    check_dialect(b"0123456", b"7891011", b"", "05d6323951c42ad8c5a23b1f8acd9089");
}

#[test]
fn empty_iv_fails() {
    assert_eq!(counting_key().encrypt(b"", b"aad", b"text").unwrap_err(), Failed);
    assert_eq!(counting_key().decrypt(b"", b"aad", &[0; 20]).unwrap_err(), Failed);
}

#[test]
fn empty_associated_data_is_not_absent_text() {
    let sealed = counting_key().encrypt(b"iv", b"", b"").unwrap();
    assert_eq!(sealed.len(), 16);
    assert_eq!(*counting_key().decrypt(b"iv", b"", &sealed).unwrap(), b"");
    assert_ne!(counting_key().encrypt(b"iv", b"x", b"").unwrap(), sealed);
}

#[test]
fn flipped_bit_fails() {
    let (iv, aad) = (*b"0123456", *b"7891011");
    let sealed = counting_key().encrypt(&iv, &aad, b"Hello World").unwrap();
    let flip = |bytes: &[u8], bit: usize| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    };
    for bit in 0..sealed.len() * 8 {
        let opened = counting_key().decrypt(&iv, &aad, &flip(&sealed, bit));
        assert_eq!(opened.unwrap_err(), Failed, "bit {bit} of the text");
    }
    for bit in 0..iv.len() * 8 {
        let opened = counting_key().decrypt(&flip(&iv, bit), &aad, &sealed);
        assert_eq!(opened.unwrap_err(), Failed, "bit {bit} of the iv");
        let opened = counting_key().decrypt(&iv, &flip(&aad, bit), &sealed);
        assert_eq!(opened.unwrap_err(), Failed, "bit {bit} of the associated data");
    }
}

#[test]
fn text_shorter_than_a_tag_fails() {
    for length in 0..16 {
        assert_eq!(counting_key().decrypt(b"iv", b"", &vec![0; length]).unwrap_err(), Failed);
    }
}

#[test]
fn debug_shows_nothing_of_the_key() {
    assert_eq!(format!("{:?}", counting_key()), "Key");
}
