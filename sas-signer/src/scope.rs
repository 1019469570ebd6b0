//! What a resource covers: everything below it, by path segment.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::fmt;

use wire::sas::{Scheme, has_percent_escape};

/// A resource, decoded and split into its segments; the first is the host or the id scope.
///
/// The scheme is dropped: `sb`, `amqps`, `http` and `https` are names for one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<String>);

impl Path {
    /// Reads a decoded resource.
    ///
    /// One slash may end it. What a reader with other rules could take for another resource is
    /// refused: a scheme of another kind, empty and dot segments, control characters, backslashes
    /// and percent escapes, which are there only when something was encoded twice.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => rest,
            Some(_) => return None,
            None => text,
        };
        let text = text.strip_suffix('/').unwrap_or(text);
        let bad = |segment: &str| {
            matches!(segment, "" | "." | "..")
                || segment.contains(|c: char| c.is_control() || c == '\\')
                || has_percent_escape(segment)
        };
        if text.split('/').any(bad) {
            return None;
        }
        Some(Self(text.split('/').map(str::to_owned).collect()))
    }

    /// Whether this is `other` or above it. Hosts are compared without regard to case (RFC 4343),
    /// everything else as it is.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (Some((host, above)), Some((other_host, below))) =
            (self.0.split_first(), other.0.split_first())
        else {
            return false;
        };
        host.eq_ignore_ascii_case(other_host) && below.starts_with(above)
    }

    /// The publisher, where the resource is one or below one.
    #[must_use]
    pub fn publisher(&self) -> Option<&str> {
        match self.0.as_slice() {
            [_, _, publishers, publisher, ..] if publishers == "publishers" => Some(publisher),
            _ => None,
        }
    }
}

/// Without scheme and last slash.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("/"))
    }
}

fn is_scheme(text: &str) -> bool {
    Scheme::ALL.iter().any(|scheme| scheme.as_str() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(above: &str, below: &str, covers: bool) {
        let path = |text| Path::parse(text).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(path(above).covers(&path(below)), covers, "{above} {below}");
    }

    #[test]
    fn s5_resource_covers_itself_and_what_is_below_it() {
        check("https://c.net/t/publishers/0001", "https://c.net/t/publishers/0001", true);
        check("https://c.net/t/publishers/0001", "https://c.net/t/publishers/0001/messages", true);
        check("c.net", "c.net/t/publishers/0001", true);
    }

    #[test]
    fn s5_resource_covers_no_longer_name_no_other_and_nothing_above() {
        check("https://c.net/t/publishers/0001", "https://c.net/t/publishers/00012", false);
        check("https://c.net/t/publishers/0001", "https://c.net/t/publishers/0002", false);
        check("https://c.net/t/publishers/0001", "https://c.net/t", false);
        check("https://c.net/t", "https://c.net.evil.net/t", false);
        check("https://c.net/t", "https://c.net/T", false);
    }

    #[test]
    fn scheme_case_of_the_host_and_last_slash_do_not_matter() {
        check("sb://C.net/t/", "amqps://c.NET/t", true);
        check("https://c.net/t", "c.net/t/x", true);
    }

    #[test]
    fn resource_that_could_be_read_in_two_ways_is_refused() {
        for text in [
            "",
            "/",
            "//",
            "a//b",
            "/a",
            "a/./b",
            "a/../b",
            "a/..",
            "a\\b",
            "a\nb",
            "a%2fb",
            "a/b//",
            "ftp://a",
            "https://",
            "https:///a",
            "https://sb://a",
            "HTTPS://a",
        ] {
            assert_eq!(Path::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn publisher_is_the_segment_behind_publishers() {
        let publisher = |text| Path::parse(text).unwrap().publisher().map(str::to_owned);
        assert_eq!(publisher("https://c.net/t/publishers/0001").as_deref(), Some("0001"));
        assert_eq!(publisher("c.net/t/publishers/0001/messages").as_deref(), Some("0001"));
        for text in
            ["c.net/t", "c.net/t/publishers", "c.net/publishers/a/b", "c.net/t/PUBLISHERS/x"]
        {
            assert_eq!(publisher(text), None, "{text}");
        }
    }
}
