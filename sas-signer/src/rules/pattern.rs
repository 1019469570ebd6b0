//! Patterns of fields: `*` stands for any characters, and everything else for itself.

/// Longest pattern, in bytes.
pub(super) const PATTERN_MAX_BYTES: usize = 512;

/// A pattern of one field. Fields have no slashes, so one kind of star is enough; a star in the
/// field of a device is matched by one in the pattern like any other character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Box<str>);

impl Pattern {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= PATTERN_MAX_BYTES && !text.contains('/');
        fits.then(|| Self(text.into()))
    }

    /// Tells whether the pattern matches the whole of `value`.
    ///
    /// What stands between two stars is best matched as early as it can be, so that one walk is
    /// enough.
    pub(super) fn matches(&self, value: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = value.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, value: &str, expected: bool) {
        assert_eq!(Pattern::parse(pattern).unwrap().matches(value), expected, "{pattern} {value}");
    }

    #[test]
    fn pattern_without_a_star_matches_itself_only() {
        check("dev-1", "dev-1", true);
        check("dev-1", "dev-12", false);
        check("dev-1", "Dev-1", false);
        check("dev-1", "xdev-1", false);
    }

    #[test]
    fn star_matches_any_characters_and_none() {
        check("*", "dev", true);
        check("line1-*", "line1-7", true);
        check("line1-*", "line1-", true);
        check("line1-*", "line12", false);
        check("*-a", "b-a", true);
        check("a*b*c", "a12b3c", true);
        check("a*b*c", "acb", false);
        check("ab*ba", "aba", false);
        check("**", "x", true);
        check("a*", "a*", true);
    }

    #[test]
    fn question_mark_is_no_wildcard() {
        check("a?", "ab", false);
        check("a?", "a?", true);
    }

    #[test]
    fn pattern_that_no_field_matches_is_refused() {
        assert_eq!(Pattern::parse(""), None);
        assert_eq!(Pattern::parse("a/*"), None);
    }

    #[test]
    fn pattern_at_limit_is_taken_and_one_past_it_refused() {
        assert!(Pattern::parse(&"a".repeat(PATTERN_MAX_BYTES)).is_some());
        assert_eq!(Pattern::parse(&"a".repeat(PATTERN_MAX_BYTES + 1)), None);
    }

    /// The definition, without any thought of speed.
    fn defined(pattern: &[u8], value: &[u8]) -> bool {
        match (pattern, value) {
            ([b'*', rest @ ..], _) => (0..=value.len()).any(|taken| defined(rest, &value[taken..])),
            ([wanted, rest @ ..], [found, left @ ..]) => wanted == found && defined(rest, left),
            ([], []) => true,
            ([], _) | (_, []) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_pattern_matches_as_it_is_defined(pattern in "[ab*]{1,8}", value in "[ab*]{0,10}") {
            let parsed = Pattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.matches(&value), defined(pattern.as_bytes(), value.as_bytes()));
        }
    }
}
