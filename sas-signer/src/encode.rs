//! Percent-encoding, as the libraries of the field do it, and strict decoding.
//!
//! Every encoding here is undone by [`decode`], so that no two resources have one text: what an
//! encoder would leave ambiguous is refused.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use wire::sas::Encoder;

/// What .NET leaves besides letters and digits.
const DOTNET: &[u8] = b"-_.!*()";
/// RFC 3986 section 2.3.
const UNRESERVED: &[u8] = b"-_.~";
/// ECMA-262, `encodeURIComponent`.
const JAVASCRIPT: &[u8] = b"-_.~!*'()";
/// What the Azure IoT Identity Service leaves in a resource: every visible character but these.
const IDENTITYD_ESCAPES: &[u8] = b"\"`<>#?{}=";
/// What it leaves in a signature: the form encoding of the WHATWG URL standard.
const FORM: &[u8] = b"*-._";

const LOWER_DIGITS: &[u8; 16] = b"0123456789abcdef";
const UPPER_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// The encoder cannot write this resource so that it is read back alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the encoder identityd does not escape '%', '&' and '+', and the resource has one")]
pub struct Ambiguous;

/// Encodes the URI of a resource.
///
/// An encoder that lowers expects a resource in lower case; see [`crate::resource::lowered`].
///
/// # Errors
/// [`Ambiguous`]: the encoder leaves a character that a reader takes for another.
///
/// # Spec
/// `docs/sas.md` section 2.
pub fn resource(encoder: Encoder, text: &str) -> Result<String, Ambiguous> {
    match encoder {
        Encoder::LowerHex | Encoder::LowerCase => {
            Ok(escape(text, DOTNET, Space::Plus, LOWER_DIGITS))
        }
        Encoder::UpperHex => Ok(escape(text, DOTNET, Space::Plus, UPPER_DIGITS)),
        Encoder::Rfc3986 => Ok(escape(text, UNRESERVED, Space::Escaped, UPPER_DIGITS)),
        Encoder::QuotePlus => Ok(escape(text, UNRESERVED, Space::Plus, UPPER_DIGITS)),
        Encoder::Javascript => Ok(escape(text, JAVASCRIPT, Space::Escaped, UPPER_DIGITS)),
        // Every other percent sign is one that was escaped itself.
        Encoder::AzureNode => {
            Ok(escape(text, UNRESERVED, Space::Escaped, UPPER_DIGITS).replace("%2A", "%2a"))
        }
        Encoder::Identityd if text.contains(['%', '&', '+']) => Err(Ambiguous),
        Encoder::Identityd => {
            let kept = |b: u8| b.is_ascii_graphic() && !IDENTITYD_ESCAPES.contains(&b);
            Ok(escape_but(text, kept, Space::Escaped, UPPER_DIGITS))
        }
    }
}

/// Encodes the base64 of a signature, whose only marks are `+`, `/` and `=`. Appends to `token`,
/// which has room for it, so that the signature stands in one place only.
pub(crate) fn signature(encoder: Encoder, text: &str, token: &mut String) {
    let (kept, digits) = match encoder {
        Encoder::LowerHex | Encoder::LowerCase => (DOTNET, LOWER_DIGITS),
        Encoder::UpperHex => (DOTNET, UPPER_DIGITS),
        Encoder::Rfc3986 | Encoder::QuotePlus | Encoder::AzureNode => (UNRESERVED, UPPER_DIGITS),
        Encoder::Javascript => (JAVASCRIPT, UPPER_DIGITS),
        Encoder::Identityd => (FORM, UPPER_DIGITS),
    };
    escape_into(text, |b| is_kept(b, kept), Space::Plus, digits, token);
}

/// Undoes every encoding: `+` is a space, and `%` stands before two digits in either case.
///
/// # Errors
/// Nothing, where a `%` stands elsewhere or the result is not UTF-8.
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => digit(rest.next()?)?.checked_mul(16)?.checked_add(digit(rest.next()?)?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[derive(Clone, Copy)]
enum Space {
    Plus,
    Escaped,
}

fn escape(text: &str, kept: &[u8], space: Space, digits: &[u8; 16]) -> String {
    escape_but(text, |b| is_kept(b, kept), space, digits)
}

fn is_kept(byte: u8, marks: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || marks.contains(&byte)
}

fn escape_but(text: &str, kept: impl Fn(u8) -> bool, space: Space, digits: &[u8; 16]) -> String {
    let mut escaped = String::with_capacity(text.len().saturating_mul(3));
    escape_into(text, kept, space, digits, &mut escaped);
    escaped
}

fn escape_into(
    text: &str,
    kept: impl Fn(u8) -> bool,
    space: Space,
    digits: &[u8; 16],
    escaped: &mut String,
) {
    let digit = |half: u8| digits.get(usize::from(half)).map_or('0', |digit| char::from(*digit));
    for byte in text.bytes() {
        match (byte, space) {
            (b' ', Space::Plus) => escaped.push('+'),
            _ if kept(byte) => escaped.push(char::from(byte)),
            _ => escaped.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKS: &str = "a-._~!*'() %+/&=?é";

    #[track_caller]
    fn check(encoder: Encoder, expected: &str) {
        let encoded = resource(encoder, MARKS).unwrap();
        assert_eq!(encoded, expected);
        assert_eq!(decode(&encoded).as_deref(), Some(MARKS));
    }

    #[test]
    fn lower_hex_is_that_of_http_utility() {
        check(Encoder::LowerHex, "a-._%7e!*%27()+%25%2b%2f%26%3d%3f%c3%a9");
        check(Encoder::LowerCase, "a-._%7e!*%27()+%25%2b%2f%26%3d%3f%c3%a9");
    }

    #[test]
    fn upper_hex_is_that_of_web_utility() {
        check(Encoder::UpperHex, "a-._%7E!*%27()+%25%2B%2F%26%3D%3F%C3%A9");
    }

    #[test]
    fn rfc3986_leaves_the_unreserved() {
        check(Encoder::Rfc3986, "a-._~%21%2A%27%28%29%20%25%2B%2F%26%3D%3F%C3%A9");
    }

    #[test]
    fn quote_plus_writes_a_space_as_plus() {
        check(Encoder::QuotePlus, "a-._~%21%2A%27%28%29+%25%2B%2F%26%3D%3F%C3%A9");
    }

    #[test]
    fn javascript_is_that_of_encode_uri_component() {
        check(Encoder::Javascript, "a-._~!*'()%20%25%2B%2F%26%3D%3F%C3%A9");
    }

    #[test]
    fn azure_node_writes_a_star_in_lower_case_hex() {
        check(Encoder::AzureNode, "a-._~%21%2a%27%28%29%20%25%2B%2F%26%3D%3F%C3%A9");
        assert_eq!(resource(Encoder::AzureNode, "%2A*%").as_deref(), Ok("%252A%2a%25"));
    }

    #[test]
    fn identityd_escapes_the_fewest() {
        let text = "h.net/devices/a:b@c,$'()*!=? \"é";
        let encoded = resource(Encoder::Identityd, text).unwrap();
        assert_eq!(encoded, "h.net/devices/a:b@c,$'()*!%3D%3F%20%22%C3%A9");
        assert_eq!(decode(&encoded).as_deref(), Some(text));
    }

    #[test]
    fn identityd_refuses_what_it_would_leave_ambiguous() {
        for text in ["a%", "a%41", "a&se=9", "a+b"] {
            assert_eq!(resource(Encoder::Identityd, text), Err(Ambiguous), "{text}");
        }
    }

    #[test]
    fn signature_is_encoded_in_the_style_of_its_encoder() {
        for encoder in Encoder::ALL {
            let mut token = String::new();
            signature(encoder, "a+/=", &mut token);
            let lower = matches!(encoder, Encoder::LowerHex | Encoder::LowerCase);
            assert_eq!(token, if lower { "a%2b%2f%3d" } else { "a%2B%2F%3D" });
        }
    }

    #[test]
    fn text_that_is_not_encoded_is_refused() {
        for text in ["%", "a%2", "%zz", "%+1", "%2%", "%c3", "%ff%fe"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn either_case_of_hex_is_decoded_once() {
        assert_eq!(decode("%2f%2F%252f").as_deref(), Some("//%2f"));
    }

    proptest! {
        #[test]
        fn encoding_of_any_encoder_is_undone(text in "\\PC{0,40}") {
            for encoder in Encoder::ALL {
                match resource(encoder, &text) {
                    Ok(encoded) => {
                        prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && b != b'&'));
                        prop_assert_eq!(decode(&encoded), Some(text.clone()));
                    }
                    Err(Ambiguous) => prop_assert_eq!(encoder, Encoder::Identityd),
                }
            }
        }
    }
}
