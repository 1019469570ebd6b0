//! The address from which systemd connects: 16 hexadecimal digits at most, `/unit/`, the unit,
//! `/`, the credential; in the abstract namespace.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// What systemd asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// The full name of the unit.
    pub(super) unit: &'a str,
    /// The name of the credential in it.
    pub(super) credential: &'a str,
}

impl<'a> Asked<'a> {
    /// Reads an address, without the zero byte that makes it abstract.
    pub(super) fn parse(address: &'a [u8]) -> Option<Self> {
        let address = std::str::from_utf8(address).ok()?;
        let (random, rest) = address.split_once("/unit/")?;
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if !(1..=16).contains(&random.len()) || !random.bytes().all(is_hex) {
            return None;
        }
        let (unit, credential) = rest.split_once('/')?;
        let whole = !unit.is_empty() && !credential.is_empty() && !credential.contains('/');
        let printable = !address.bytes().any(|b| b.is_ascii_control());
        (whole && printable).then_some(Self { unit, credential })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &[u8], asked: Option<(&str, &str)>) {
        let found = Asked::parse(address).map(|asked| (asked.unit, asked.credential));
        assert_eq!(found, asked, "{}", String::from_utf8_lossy(address));
    }

    #[test]
    fn unit_and_credential_are_read() {
        check(b"9fc3/unit/web.service/db", Some(("web.service", "db")));
        check(b"0/unit/web@a.service/db.password", Some(("web@a.service", "db.password")));
        check(b"ffffffffffffffff/unit/a.mount/b", Some(("a.mount", "b")));
    }

    #[test]
    fn other_addresses_are_none() {
        for address in [
            &b""[..],
            b"/unit/web.service/db",
            b"9FC3/unit/web.service/db",
            b"00000000000000000/unit/web.service/db",
            b"9fc3/unit/web.service",
            b"9fc3/unit/web.service/",
            b"9fc3/unit//db",
            b"9fc3/unit/web.service/a/b",
            b"9fc3/user/web.service/db",
            b"9fc3/cryptsetup-tpm2/root",
            b"9fc3/unit/web\n.service/db",
            b"9fc3/unit/web.service/d\0b",
            b"9fc3/unit/web.service/\xff",
        ] {
            check(address, None);
        }
    }
}
