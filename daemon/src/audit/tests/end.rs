//! What opening finds in the last lines, and how far back it looks.

use wire::audit::Reason;

use super::super::end::{CHECKED_BYTES, CHECKED_LINES};
use super::*;

/// An audit of so many lines, each about a key of this name.
fn lines(count: usize, key: &str) -> Vec<Vec<u8>> {
    let audit = Audit::new();
    let writer = audit.start(1);
    for _ in 1..count {
        append(&writer, &request(key));
    }
    drop(writer);
    audit.content().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// The same line about another operation: a record all the same.
fn edited(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(line.to_vec()).unwrap();
    let edited = text.replace("\"seal\"", "\"show\"");
    assert_ne!(text, edited);
    edited.into_bytes()
}

/// Opens an audit of these lines: it is whole, or the last good sequence and what is wrong after.
#[track_caller]
fn check(lines: &[Vec<u8>], expected: Result<(), (Option<u64>, Reason)>) {
    let audit = Audit::with(&lines.concat());
    let found = match audit.open() {
        Ok(_tail) => Ok(()),
        Err(error @ AuditError::Broken { good, reason, .. }) => {
            assert!(error.to_string().contains("restore registry and audit"), "{error}");
            Err((good, reason))
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(found, expected);
    assert_eq!(audit.content(), lines.concat(), "the file was changed");
}

#[test]
fn edited_line_is_found_at_the_line_after_it() {
    let mut lines = lines(6, "k");
    lines[2] = edited(&lines[2]);
    check(&lines, Err((Some(3), Reason::Chain)));
}

#[test]
fn missing_line_is_found() {
    let mut lines = lines(6, "k");
    lines.remove(3);
    check(&lines, Err((Some(3), Reason::Missing { expected: 4, found: 5 })));
}

#[test]
fn lines_in_another_order_are_found() {
    let mut lines = lines(6, "k");
    lines.swap(2, 3);
    check(&lines, Err((Some(2), Reason::Missing { expected: 3, found: 4 })));
}

#[test]
fn line_that_is_no_record_is_found() {
    let mut lines = lines(6, "k");
    lines[3] = b"hello\n".to_vec();
    check(&lines, Err((Some(3), Reason::NotARecord)));
}

#[test]
fn beginning_that_is_elsewhere_is_no_fault() {
    let lines = lines(6, "k");
    check(&lines[2..], Ok(()));
}

#[test]
fn edit_is_found_in_the_first_of_the_last_thousand_lines_and_not_in_the_one_before() {
    let whole = lines(CHECKED_LINES + 5, "k");
    check(&whole, Ok(()));
    let (first, seq) = (whole.len() - CHECKED_LINES, 6);
    let mut lines = whole.clone();
    lines[first] = edited(&lines[first]);
    check(&lines, Err((Some(seq), Reason::Chain)));
    let mut lines = whole;
    lines[first - 1] = edited(&lines[first - 1]);
    check(&lines, Ok(()));
}

#[test]
fn edit_is_found_in_the_last_mebibyte_and_not_before() {
    let whole = lines(400, &"k".repeat(3500));
    check(&whole, Ok(()));
    let bytes = |from: usize| whole[from..].iter().map(Vec::len).sum::<usize>();
    // The first line that is wholly within.
    let first = (0..whole.len()).find(|from| bytes(*from) < CHECKED_BYTES).unwrap();
    assert!(first > 100, "{first}");
    let seq = u64::try_from(first + 1).unwrap();
    let mut lines = whole.clone();
    lines[first] = edited(&lines[first]);
    check(&lines, Err((Some(seq), Reason::Chain)));
    let mut lines = whole.clone();
    lines[first - 1] = edited(&lines[first - 1]);
    check(&lines, Ok(()));
}
