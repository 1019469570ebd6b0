//! Known answers: RFC 4231 section 4, HMAC-SHA256.

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
