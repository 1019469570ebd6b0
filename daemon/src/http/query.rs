//! What paths and queries are made of. Nothing is decoded here: what a segment or a value may
//! hold is for the reader of its type.
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use wire::code::{Code, Fault};

/// Splits a path at its slashes: at most `N` segments, and none for the rest; an escaped slash
/// (`%2F`) splits nothing.
///
/// Returns nothing for a path of more segments.
#[must_use]
pub fn segments<const N: usize>(path: &str) -> Option<[Option<&str>; N]> {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let found = std::array::from_fn(|_| segments.next());
    segments.next().is_none().then_some(found)
}

/// The parameters of a query, each with a value, each once.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// Takes a query apart; an empty one has no parameters.
    ///
    /// # Errors
    /// `invalid`: a parameter without exactly one `=`, or one that is there twice.
    pub fn parse(query: Option<&'a str>) -> Result<Self, Fault> {
        let query = Self(query.unwrap_or_default());
        for (index, parameter) in query.parameters().enumerate() {
            let (name, _) = parameter
                .split_once('=')
                .filter(|(_, value)| !value.contains('='))
                .ok_or_else(|| invalid("a parameter of the query is not one name and one value"))?;
            if query.pairs().take(index).any(|(before, _)| before == name) {
                return Err(invalid("the query has a parameter twice"));
            }
        }
        Ok(query)
    }

    /// Refuses every parameter but these.
    ///
    /// # Errors
    /// `invalid`: there is another one.
    pub fn only(self, known: &[&str]) -> Result<(), Fault> {
        if self.pairs().all(|(name, _)| known.contains(&name)) {
            return Ok(());
        }
        Err(invalid(match known {
            [] => "this endpoint takes no query",
            _ => "the query has an unknown parameter",
        }))
    }

    /// Returns the value of a parameter, as it was written.
    #[must_use]
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.pairs().find_map(|(found, value)| (found == name).then_some(value))
    }

    fn pairs(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.parameters().filter_map(|parameter| parameter.split_once('='))
    }

    fn parameters(self) -> impl Iterator<Item = &'a str> {
        // An empty text splits into one empty part.
        self.0.split('&').filter(move |_| !self.0.is_empty())
    }
}

fn invalid(detail: &str) -> Fault {
    Fault::new(Code::Invalid, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a query that may have `a` and `b`.
    #[track_caller]
    fn check(query: &str, expected: Result<[Option<&str>; 2], &str>) {
        let read = Query::parse(Some(query)).and_then(|query| {
            query.only(&["a", "b"])?;
            Ok([query.value("a"), query.value("b")])
        });
        assert_eq!(read.map_err(|fault| fault.detail), expected.map_err(str::to_owned), "{query}");
    }

    #[test]
    fn query_of_known_parameters_is_read() {
        check("", Ok([None, None]));
        check("b=2", Ok([None, Some("2")]));
        check("b=&a=1%262", Ok([Some("1%262"), Some("")]));
    }

    #[test]
    fn query_of_what_is_no_parameter_is_invalid() {
        for query in ["a", "&", "a=1&", "&a=1", "a=1=2", "a=1&&b=2", "a&b"] {
            check(query, Err("a parameter of the query is not one name and one value"));
        }
    }

    #[test]
    fn parameter_given_twice_is_invalid() {
        check("a=1&a=1", Err("the query has a parameter twice"));
        check("a=1&b=2&a=3", Err("the query has a parameter twice"));
    }

    #[test]
    fn unknown_parameter_is_invalid() {
        check("a=1&c=2", Err("the query has an unknown parameter"));
        check("=1", Err("the query has an unknown parameter"));
        let fault = Query::parse(Some("a=1")).unwrap().only(&[]).unwrap_err();
        assert_eq!(fault.detail, "this endpoint takes no query");
    }

    #[test]
    fn path_at_the_number_of_segments_is_split_and_one_more_is_none() {
        assert_eq!(segments::<2>("/a/b%2Fc"), Some([Some("a"), Some("b%2Fc")]));
        assert_eq!(segments::<2>("/a/b/"), None);
        assert_eq!(segments::<3>("/a/"), Some([Some("a"), Some(""), None]));
        assert_eq!(segments::<1>("/"), Some([Some("")]));
    }
}
