//! Key patterns: `*` stands for any characters within a segment, `**` across segments, and
//! everything else for itself.

/// Longest pattern, in bytes; as long as a key name.
pub const PATTERN_BYTES: usize = 128;

/// A key pattern that can match some key name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Pattern(String);

/// Why a text is not a key pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternFault {
    /// It is empty.
    #[error("is empty; write \"**\" for every key")]
    Empty,
    /// It is too long.
    #[error("of {0} bytes exceeds limit of {PATTERN_BYTES}; shorten it with \"*\"")]
    TooLong(usize),
    /// It has a character that no key name has.
    #[error(
        "has {0:?}, which no key name has; use letters, digits, \".\", \"_\", \"-\", \"/\", \"*\""
    )]
    Character(char),
    /// A segment is empty or starts as no segment does.
    #[error(
        "has a segment that no key name has; start each with a letter, a digit, \"_\" or \"*\""
    )]
    Segment,
    /// Three stars or more in a row.
    #[error("has more than two stars in a row; \"*\" stays in a segment, \"**\" crosses segments")]
    Stars,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternFault> {
        if text.is_empty() {
            return Err(PatternFault::Empty);
        }
        if text.len() > PATTERN_BYTES {
            return Err(PatternFault::TooLong(text.len()));
        }
        let known = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
        if let Some(other) = text.chars().find(|c| !known(*c)) {
            return Err(PatternFault::Character(other));
        }
        if text.split('/').any(|segment| segment.is_empty() || segment.starts_with(['.', '-'])) {
            return Err(PatternFault::Segment);
        }
        if text.contains("***") {
            return Err(PatternFault::Stars);
        }
        Ok(Self(text.into()))
    }

    /// Tells whether the pattern matches the whole of `name`.
    ///
    /// Walks both once and, on a mismatch, lets the last `*` take one character more, or, where
    /// that would cross a segment, the last `**`. An earlier star never needs another try: what
    /// stands between two stars is best matched as early as it can be.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        let mut within: Option<(usize, usize)> = None;
        let mut across: Option<(usize, usize)> = None;
        loop {
            match (pattern.get(p), name.get(n)) {
                (Some(b'*'), _) if pattern.get(p + 1) == Some(&b'*') => {
                    p += 2;
                    across = Some((p, n));
                    within = None;
                    continue;
                }
                (Some(b'*'), _) => {
                    p += 1;
                    within = Some((p, n));
                    continue;
                }
                (Some(wanted), Some(found)) if wanted == found => {
                    (p, n) = (p + 1, n + 1);
                    continue;
                }
                (None, None) => return true,
                (Some(_) | None, Some(_)) | (Some(_), None) => {}
            }
            if let Some((after, taken)) = within
                && name.get(taken).is_some_and(|next| *next != b'/')
            {
                within = Some((after, taken + 1));
                (p, n) = (after, taken + 1);
            } else if let Some((after, taken)) = across
                && taken < name.len()
            {
                across = Some((after, taken + 1));
                within = None;
                (p, n) = (after, taken + 1);
            } else {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches(name), expected, "{pattern:?} on {name:?}");
    }

    #[track_caller]
    fn check_fault(pattern: &str, fault: PatternFault) {
        assert_eq!(Pattern::parse(pattern), Err(fault));
    }

    #[test]
    fn literal_matches_itself_only() {
        check("secrets/db", "secrets/db", true);
        check("secrets/db", "secrets/db2", false);
        check("secrets/db", "secrets/d", false);
        check("secrets/db", "secrets", false);
        check("a.b", "axb", false);
    }

    #[test]
    fn star_stays_within_its_segment() {
        check("secrets/*", "secrets/db", true);
        check("secrets/*", "secrets/db/old", false);
        check("*", "secrets", true);
        check("*", "secrets/db", false);
        check("*/db", "secrets/db", true);
    }

    #[test]
    fn star_matches_nothing_too() {
        check("db*", "db", true);
        check("*db*", "db", true);
        check("secrets/*", "secrets", false);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("**", "secrets/db/old", true);
        check("secrets/**", "secrets/db/old", true);
        check("secrets/**", "secrets", false);
        check("**/old", "secrets/db/old", true);
        check("**/old", "secrets/db/older", false);
        check("a/**/z", "a/b/c/z", true);
        check("a/**/z", "a/z", false);
    }

    #[test]
    fn star_after_two_stars_is_tried_in_each_segment() {
        check("**/x*z", "a/xb/xcz", true);
        check("**x*z/end", "x1/xyz/end", true);
        check("**x*z/end", "x1/xy/end", false);
    }

    #[test]
    fn pattern_of_the_limit_is_taken_and_one_byte_more_is_refused() {
        assert!(Pattern::parse(&"a".repeat(PATTERN_BYTES)).is_ok());
        check_fault(&"a".repeat(PATTERN_BYTES + 1), PatternFault::TooLong(129));
    }

    #[test]
    fn pattern_that_no_name_matches_is_refused() {
        check_fault("", PatternFault::Empty);
        check_fault("a?", PatternFault::Character('?'));
        check_fault("a b", PatternFault::Character(' '));
        check_fault("ä", PatternFault::Character('ä'));
        check_fault("/a", PatternFault::Segment);
        check_fault("a/", PatternFault::Segment);
        check_fault("a//b", PatternFault::Segment);
        check_fault(".internal", PatternFault::Segment);
        check_fault("a/.b", PatternFault::Segment);
        check_fault("-a", PatternFault::Segment);
        check_fault("a***", PatternFault::Stars);
    }

    /// The definition, without any thought of speed.
    fn defined(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([b'*', b'*', rest @ ..], _) => {
                (0..=name.len()).any(|taken| defined(rest, &name[taken..]))
            }
            ([b'*', rest @ ..], _) => (0..=name.len())
                .take_while(|taken| !name[..*taken].contains(&b'/'))
                .any(|taken| defined(rest, &name[taken..])),
            ([wanted, rest @ ..], [found, left @ ..]) => wanted == found && defined(rest, left),
            ([], []) => true,
            ([], _) | (_, []) => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_pattern_matches_as_it_is_defined(
            pattern in "([ab/]|\\*|\\*\\*){1,10}", name in "[ab/]{0,12}",
        ) {
            if let Ok(parsed) = Pattern::parse(&pattern) {
                prop_assert_eq!(parsed.matches(&name), defined(pattern.as_bytes(), name.as_bytes()));
            }
        }
    }
}
