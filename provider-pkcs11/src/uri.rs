//! Which token: the path attributes of a PKCS#11 URI that name one, and nothing else of it.

use std::fmt;

use cryptoki::slot::TokenInfo;

/// Characters of a foreign text in a message; every attribute that there is is shorter.
const SHOWN_CHARS: usize = 32;

/// A token as the operator names it. Every attribute that is there must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenUri {
    pub(crate) token: Option<String>,
    pub(crate) manufacturer: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) serial: Option<String>,
    pub(crate) slot_id: Option<u64>,
}

impl TokenUri {
    /// Reads `pkcs11:token=edge;serial=0123` and the like.
    ///
    /// # Limits
    /// `token` and `manufacturer` 32 bytes, `model` and `serial` 16, as in CK_TOKEN_INFO.
    ///
    /// # Errors
    /// What is wrong and what to do, for the operator. A PIN in the text is not repeated.
    ///
    /// # Spec
    /// RFC 7512 section 2.3.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("pkcs11:").ok_or("it must begin with pkcs11:")?;
        if path.contains("pin-value") {
            return Err("it holds a pin-value; remove it and name the PIN by pin_source".into());
        }
        if path.contains('?') {
            return Err("it has query attributes; use the settings module and pin_source".into());
        }
        let mut uri = Self::default();
        for attribute in path.split(';') {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| format!("attribute {:?} has no value", shown(attribute)))?;
            uri.take(name, value)?;
        }
        Ok(uri)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let twice = match name {
            "token" => self.token.replace(decode(name, value, 32)?).is_some(),
            "manufacturer" => self.manufacturer.replace(decode(name, value, 32)?).is_some(),
            "model" => self.model.replace(decode(name, value, 16)?).is_some(),
            "serial" => self.serial.replace(decode(name, value, 16)?).is_some(),
            "slot-id" => self.slot_id.replace(slot_number(value)?).is_some(),
            _ => {
                let name = shown(name);
                return Err(format!(
                    "attribute {name:?} names no token; known are token, serial, manufacturer, \
                     model and slot-id"
                ));
            }
        };
        if twice { Err(format!("{name} stands twice")) } else { Ok(()) }
    }

    /// Whether a token is the named one. The number of the slot is not looked at.
    pub(crate) fn matches(&self, token: &TokenInfo) -> bool {
        let same = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|w| w == is);
        same(&self.token, token.label())
            && same(&self.manufacturer, token.manufacturer_id())
            && same(&self.model, token.model())
            && same(&self.serial, token.serial_number())
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot_id.map(|number| number.to_string());
        let attributes = [
            ("token", &self.token),
            ("serial", &self.serial),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("slot-id", &slot),
        ];
        let present = attributes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        for (place, (name, value)) in present.enumerate() {
            write!(formatter, "{}{name}=", if place == 0 { "pkcs11:" } else { ";" })?;
            for byte in value.bytes() {
                if is_plain(byte) {
                    write!(formatter, "{}", char::from(byte))?;
                } else {
                    write!(formatter, "%{byte:02X}")?;
                }
            }
        }
        Ok(())
    }
}

/// The beginning of a text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

/// Undoes the percent encoding of one value.
fn decode(name: &str, value: &str, most: usize) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let decoded = if byte == b'%' {
            let digits = [rest.next(), rest.next()].map(|digit| digit.and_then(hex_digit));
            let [Some(high), Some(low)] = digits else {
                return Err(format!("{name} has a % without two hexadecimal digits"));
            };
            (high << 4) | low
        } else if is_plain(byte) {
            byte
        } else {
            return Err(format!("{name} has a character that must be percent-encoded"));
        };
        bytes.push(decoded);
    }
    if bytes.is_empty() || bytes.len() > most {
        return Err(format!("{name} has {} bytes; 1 to {most} are possible", bytes.len()));
    }
    String::from_utf8(bytes).map_err(|_invalid| format!("{name} is not UTF-8"))
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Whether a byte stands for itself in a value: RFC 3986 `unreserved`, and `pk11-res-avail` of
/// RFC 7512.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:[]@!$'()*+,=&".contains(&byte)
}

fn slot_number(value: &str) -> Result<u64, String> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number.ok_or_else(|| "slot-id must be a decimal number".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, &str>) {
        match (TokenUri::parse(text), expected) {
            (Ok(uri), Ok(shown)) => assert_eq!(uri.to_string(), shown),
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (outcome, _) => panic!("{text}: {outcome:?}"),
        }
    }

    #[test]
    fn label_alone_names_a_token() {
        check("pkcs11:token=edge", Ok("pkcs11:token=edge"));
    }

    #[test]
    fn all_attributes_are_read_in_any_order() {
        check(
            "pkcs11:model=M;slot-id=7;serial=01;manufacturer=Ex%20Ltd;token=a",
            Ok("pkcs11:token=a;serial=01;manufacturer=Ex%20Ltd;model=M;slot-id=7"),
        );
    }

    #[test]
    fn other_scheme_is_refused() {
        check("token=edge", Err("begin with pkcs11:"));
    }

    #[test]
    fn empty_path_is_refused() {
        check("pkcs11:", Err("has no value"));
    }

    #[test]
    fn object_attribute_is_refused() {
        check("pkcs11:token=edge;object=key", Err("\"object\" names no token"));
    }

    #[test]
    fn long_attribute_is_cut_in_the_message() {
        for text in [format!("pkcs11:{}=a", "x".repeat(600)), format!("pkcs11:{}", "x".repeat(600))]
        {
            let said = TokenUri::parse(&text).unwrap_err();
            assert!(said.len() < 200, "{said}");
        }
    }

    #[test]
    fn vendor_attribute_is_refused() {
        check("pkcs11:token=edge;x-size=1", Err("\"x-size\""));
    }

    #[test]
    fn pin_value_is_refused_and_not_repeated() {
        check("pkcs11:token=edge?pin-value=987654", Err("pin_source"));
        let said = TokenUri::parse("pkcs11:token=edge;pin-value=987654").unwrap_err();
        assert!(!said.contains("987654"), "{said}");
    }

    #[test]
    fn query_is_refused() {
        check("pkcs11:token=edge?module-path=/x.so", Err("query attributes"));
    }

    #[test]
    fn attribute_twice_is_refused() {
        check("pkcs11:token=a;token=b", Err("token stands twice"));
    }

    #[test]
    fn label_at_the_limit_passes_and_one_past_is_refused() {
        let (at, past) = ("a".repeat(32), "a".repeat(33));
        check(&format!("pkcs11:token={at}"), Ok(&format!("pkcs11:token={at}")));
        check(&format!("pkcs11:token={past}"), Err("token has 33 bytes"));
    }

    #[test]
    fn serial_at_the_limit_passes_and_one_past_is_refused() {
        let (at, past) = ("1".repeat(16), "1".repeat(17));
        check(&format!("pkcs11:serial={at}"), Ok(&format!("pkcs11:serial={at}")));
        check(&format!("pkcs11:serial={past}"), Err("serial has 17 bytes"));
    }

    #[test]
    fn malformed_percent_is_refused() {
        check("pkcs11:token=a%2", Err("% without two"));
        check("pkcs11:token=a%zz", Err("% without two"));
    }

    #[test]
    fn bare_space_is_refused() {
        check("pkcs11:token=my token", Err("must be percent-encoded"));
    }

    #[test]
    fn bytes_that_are_not_text_are_refused() {
        check("pkcs11:token=%FF", Err("not UTF-8"));
    }

    #[test]
    fn slot_number_with_a_sign_is_refused() {
        check("pkcs11:slot-id=+1", Err("decimal"));
    }

    proptest! {
        #[test]
        fn any_label_survives_being_written_and_read(label in "\\PC{1,8}") {
            let uri = TokenUri { token: Some(label), ..TokenUri::default() };
            prop_assert_eq!(TokenUri::parse(&uri.to_string()), Ok(uri));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "pkcs11:[a-z=;%?0-9 é-]{0,40}") {
            if let Ok(uri) = TokenUri::parse(&text) {
                prop_assert_eq!(TokenUri::parse(&uri.to_string()), Ok(uri));
            }
        }
    }
}
