//! Names of the older files of a rotated log (`docs/audit.md` section 5).
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Least digits of the sequence in a name, so that other programs sort the names well.
const DIGITS: usize = 12;

/// The name of the older file that begins with this sequence, beside a newest file of this name.
pub fn older_name(newest: &[u8], first: u64) -> Vec<u8> {
    [newest, format!(".{first:0DIGITS$}").as_bytes()].concat()
}

/// The sequence of the first line, as the name of an older file says it; none for any other name.
pub fn older_first(name: &[u8], newest: &[u8]) -> Option<u64> {
    let digits = name.strip_prefix(newest)?.strip_prefix(b".")?;
    let first = str::from_utf8(digits).ok()?.parse().ok()?;
    // One name for one sequence: neither fewer digits nor a sign, neither more zeros.
    (older_name(newest, first) == name).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, first: Option<u64>) {
        assert_eq!(older_first(name.as_bytes(), b"audit.log"), first, "{name}");
    }

    #[test]
    fn name_of_an_older_file_has_the_sequence_in_at_least_twelve_digits() {
        check("audit.log.000000000001", Some(1));
        check("audit.log.999999999999", Some(999_999_999_999));
        check("audit.log.1000000000000", Some(1_000_000_000_000));
        check("audit.log.18446744073709551615", Some(u64::MAX));
        assert_eq!(older_name(b"audit.log", 17), b"audit.log.000000000017");
    }

    #[test]
    fn files_of_other_names_are_not_older_files() {
        for name in ["audit.log", "audit.log.1", "audit.log.0000000000001", "audit.log."] {
            check(name, None);
        }
        for name in ["audit.log.+00000000001", "audit.log.00000000000x", "audit.log2.000000000001"]
        {
            check(name, None);
        }
        check("audit.log.18446744073709551616", None);
    }
}
