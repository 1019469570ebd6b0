//! Known answers: HMAC-SHA256 (RFC 4231 section 4), AES-256-GCM, and a private number of P-256
//! (RFC 6979 section A.2.5).

/// Key, data and HMAC of one case.
pub(super) struct HmacCase {
    pub(super) name: &'static str,
    pub(super) key: &'static [u8],
    pub(super) data: &'static [u8],
    pub(super) mac: [u8; 32],
}

/// The cases with full-length output. Case 1 is a 20-byte key, 2 a 4-byte one, 6 and 7 one past
/// the block length.
pub(super) const HMAC_SHA256: &[HmacCase] = &[
    HmacCase {
        name: "case 1",
        key: &[0x0b; 20],
        data: b"Hi There",
        mac: *b"\xb0\x34\x4c\x61\xd8\xdb\x38\x53\x5c\xa8\xaf\xce\xaf\x0b\xf1\x2b\x88\x1d\xc2\x00\xc9\x83\x3d\xa7\x26\xe9\x37\x6c\x2e\x32\xcf\xf7",
    },
    HmacCase {
        name: "case 2",
        key: b"Jefe",
        data: b"what do ya want for nothing?",
        mac: *b"\x5b\xdc\xc1\x46\xbf\x60\x75\x4e\x6a\x04\x24\x26\x08\x95\x75\xc7\x5a\x00\x3f\x08\x9d\x27\x39\x83\x9d\xec\x58\xb9\x64\xec\x38\x43",
    },
    HmacCase {
        name: "case 3",
        key: &[0xaa; 20],
        data: &[0xdd; 50],
        mac: *b"\x77\x3e\xa9\x1e\x36\x80\x0e\x46\x85\x4d\xb8\xeb\xd0\x91\x81\xa7\x29\x59\x09\x8b\x3e\xf8\xc1\x22\xd9\x63\x55\x14\xce\xd5\x65\xfe",
    },
    HmacCase {
        name: "case 6",
        key: &[0xaa; 131],
        data: b"Test Using Larger Than Block-Size Key - Hash Key First",
        mac: *b"\x60\xe4\x31\x59\x1e\xe0\xb6\x7f\x0d\x8a\x26\xaa\xcb\xf5\xb7\x7f\x8e\x0b\xc6\x21\x37\x28\xc5\x14\x05\x46\x04\x0f\x0e\xe3\x7f\x54",
    },
    HmacCase {
        name: "case 7",
        key: &[0xaa; 131],
        data: b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.",
        mac: *b"\x9b\x09\xff\xa7\x1b\x94\x2f\xcb\x27\x63\x5f\xbc\xd5\xb0\xe9\x44\xbf\xdc\x63\x64\x4f\x07\x13\x93\x8a\x7f\x51\x53\x5c\x3a\x35\xe2",
    },
];

/// What a text becomes under the key of the bytes 0 to 31.
pub(super) struct AeadCase {
    pub(super) name: &'static str,
    pub(super) iv: &'static [u8],
    pub(super) aad: &'static [u8],
    pub(super) text: &'static [u8],
    pub(super) sealed: &'static [u8],
}

/// Computed by three independent programs; two have an initialization vector that is not of 96
/// bits.
pub(super) const AES_256_GCM: &[AeadCase] = &[
    AeadCase {
        name: "seven bytes of iv",
        iv: b"0123456",
        aad: b"7891011",
        text: b"Hello World",
        sealed: b"\x3a\x92\x5a\x06\xb4\x3e\x98\x59\x32\x35\xc5\xc0\x30\x74\x7a\xe2\x76\xa3\x6e\x6a\xef\xbd\xc4\xa8\x12\x5d\xb3",
    },
    AeadCase {
        name: "twelve bytes of iv",
        iv: b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b",
        aad: b"ctx",
        text: b"Hello World",
        sealed: b"\x0f\x67\xba\x77\xaa\xc5\x95\x74\xff\x2d\xf3\xf6\x23\x28\x4f\xbc\x24\xa2\x88\x95\x6f\x53\xe0\xa7\xd8\xec\x1d",
    },
    AeadCase {
        name: "no text",
        iv: b"0123456",
        aad: b"7891011",
        text: b"",
        sealed: b"\x05\xd6\x32\x39\x51\xc4\x2a\xd8\xc5\xa2\x3b\x1f\x8a\xcd\x90\x89",
    },
];

/// The private number of RFC 6979 section A.2.5.
pub(super) const P256_PRIVATE: [u8; 32] = *b"\xc9\xaf\xa9\xd8\x45\xba\x75\x16\x6b\x5c\x21\x57\x67\xb1\xd6\x93\x4e\x50\xc3\xdb\x36\xe8\x9b\x12\x7b\x8a\x62\x2b\x12\x0f\x67\x21";

/// Its point, Ux and Uy there.
pub(super) const P256_PUBLIC: [u8; 65] = *b"\x04\x60\xfe\xd4\xba\x25\x5a\x9d\x31\xc9\x61\xeb\x74\xc6\x35\x6d\x68\xc0\x49\xb8\x92\x3b\x61\xfa\x6c\xe6\x69\x62\x2e\x60\xf2\x9f\xb6\x79\x03\xfe\x10\x08\xb8\xbc\x99\xa4\x1a\xe9\xe9\x56\x28\xbc\x64\xf2\xf1\xb2\x0c\x2d\x7e\x9f\x51\x77\xa3\xc2\x94\xd4\x46\x22\x99";

/// The order of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3): one past the greatest private
/// number.
pub(super) const P256_ORDER: [u8; 32] = *b"\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";

/// How a SHA-256 digest begins within a signature of PKCS#1 v1.5 (RFC 8017 section 9.2, note 1).
pub(super) const SHA256_DIGEST_INFO: [u8; 19] =
    *b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// SHA-256 of `abc` (FIPS 180-4, its example).
pub(super) const SHA256_OF_ABC: [u8; 32] = *b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad";
