//! The body of the fuzz target of this room (`docs/fuzzing.md`).

use super::name::Asked;

/// The address from which the service manager connects.
pub fn credential_name(data: &[u8]) {
    let Some(asked) = Asked::parse(data) else { return };
    let rest = format!("/unit/{}/{}", asked.unit, asked.credential);
    let random = str::from_utf8(data).ok().and_then(|address| address.strip_suffix(&rest));
    assert!(random.is_some_and(|it| (1..=16).contains(&it.len())));
    for part in [asked.unit, asked.credential] {
        assert!(!part.is_empty() && !part.contains('/') && !part.contains(|c: char| c < ' '));
    }
}
