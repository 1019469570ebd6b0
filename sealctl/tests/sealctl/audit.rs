//! `audit verify` on real files.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use wire::audit::{Chain, Kind, Record};
use wire::limits::AUDIT_LINE_MAX_BYTES;

use crate::{ended, sealctl};

const TIME: &str = "2026-01-02T03:04:05Z";

/// The lines of a log: a start, a change of a key, and a request.
fn lines() -> Vec<Vec<u8>> {
    let change = |kind| Record { request: Some("r-1"), ..Record::new(kind, TIME, 7) };
    lines_of(&[
        Record::new(Kind::Start, TIME, 7),
        change(Kind::Intent),
        change(Kind::Outcome),
        Record::new(Kind::Request, TIME, 7),
    ])
}

fn lines_of(records: &[Record<'_>]) -> Vec<Vec<u8>> {
    let mut chain = Chain::new();
    let line = |record| {
        let mut line = Vec::new();
        chain.append(record, &mut line).unwrap();
        line
    };
    records.iter().map(line).collect()
}

fn files(directory: &TempDir, parts: &[&[Vec<u8>]]) -> Vec<PathBuf> {
    let write = |(number, lines): (usize, &&[Vec<u8>])| {
        let path = directory.path().join(format!("part-{number}"));
        fs::write(&path, lines.concat()).unwrap();
        path
    };
    parts.iter().enumerate().map(write).collect()
}

/// What the program says of a log in these parts.
fn verify(options: &[&str], parts: &[&[Vec<u8>]]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut command = sealctl(&["audit", "verify", "--offline"]);
    command.args(options).args(files(&directory, parts));
    let (code, out, error) = ended(command.output().unwrap());
    assert_eq!(error, "");
    (code, out.replace(directory.path().to_str().unwrap(), "DIR"))
}

fn whole(options: &[&str], parts: &[&[Vec<u8>]], first_line: &str) {
    let (code, out) = verify(options, parts);
    assert_eq!((code, out.lines().next().unwrap()), (0, first_line), "{out}");
}

fn broken(options: &[&str], parts: &[&[Vec<u8>]], first_line: &str) {
    let (code, out) = verify(options, parts);
    assert_eq!((code, out.lines().next().unwrap()), (1, first_line), "{out}");
}

const WHOLE: &str = "whole: 4 lines, sequence 1 to 4, registry generation 7";

#[test]
fn whole_log_is_whole_and_says_what_is_not_found() {
    let (code, out) = verify(&[], &[&lines()]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with(WHOLE) && out.contains("not found this way: a change of the last line")
    );
}

#[test]
fn whole_log_in_json_has_the_end_of_the_chain() {
    let (code, out) = verify(&["--json"], &[&lines()]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let last = lines().pop().unwrap();
    let (chain, _) = Chain::after(last.trim_ascii_end()).unwrap();
    assert_eq!((code, &document["whole"], &document["last_seq"]), (0, &true.into(), &4.into()));
    assert_eq!(document["last_hash"], chain.last_hash());
}

#[test]
fn rotated_log_in_order_is_whole() {
    let lines = lines();
    whole(&[], &[&lines[..1], &lines[1..3], &lines[3..]], WHOLE);
}

#[test]
fn rotated_log_out_of_order_is_broken_in_the_second_part() {
    let lines = lines();
    broken(
        &[],
        &[&lines[..1], &lines[3..], &lines[1..3]],
        "broken: DIR/part-1 line 1: sequence 4 where 2 follows: the lines between are missing",
    );
    broken(
        &[],
        &[&lines[..1], &lines[..1]],
        "broken: DIR/part-1 line 1: sequence 1 where 2 follows: lines or files are repeated or out of order",
    );
}

#[test]
fn log_without_its_beginning_is_broken_unless_said_so() {
    let lines = lines();
    let part = [&lines[2..]];
    broken(
        &[],
        &part,
        "broken: its beginning is missing: it begins at sequence 3, and does not say that the lines before were removed",
    );
    whole(&["--continued"], &part, "whole: 2 lines, sequence 3 to 4, registry generation 7");
}

#[test]
fn changed_line_is_broken_at_the_line_after_it() {
    let mut lines = lines();
    let text = String::from_utf8(lines[1].clone()).unwrap();
    lines[1] = text.replace("03:04:05", "03:04:06").into_bytes();
    broken(
        &[],
        &[&lines],
        "broken: DIR/part-0 line 3: does not follow the line before: one of the two was changed",
    );
    let (_, out) = verify(&["--json"], &[&lines]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&document["whole"], &document["line"]), (&false.into(), &3.into()));
}

#[test]
fn removed_line_is_broken() {
    let mut lines = lines();
    lines.remove(1);
    assert_eq!(verify(&[], &[&lines]).0, 1);
}

#[test]
fn change_without_outcome_is_told() {
    let (code, out) = verify(&[], &[&lines()[..2]]);
    assert_eq!(code, 0);
    assert!(out.contains("no outcome: the change of sequence 2 (request r-1)"), "{out}");
}

#[test]
fn torn_last_line_is_told() {
    let mut lines = lines();
    lines.push(b"{\"seq\":5".to_vec());
    let (code, out) = verify(&[], &[&lines]);
    assert_eq!(code, 0);
    assert!(out.contains("after the last line: 8 bytes of one that is not complete"), "{out}");
}

#[test]
fn torn_line_in_an_earlier_part_is_broken_there() {
    let lines = lines();
    let mut first = lines[..2].to_vec();
    first.push(b"{".to_vec());
    broken(&[], &[&first, &lines[2..]], "broken: DIR/part-0 line 3: not an audit record");
}

#[test]
fn empty_log_is_whole() {
    whole(&[], &[&[]], "whole: 0 lines, sequence 0 to 0, registry generation 0");
}

/// A log of one line of this length, made longer by its key.
fn line_of(bytes: usize) -> Vec<Vec<u8>> {
    let with =
        |key: &str| lines_of(&[Record { key: Some(key), ..Record::new(Kind::Request, TIME, 1) }]);
    let rest = with("")[0].len() - 1;
    with(&"k".repeat(bytes - rest))
}

#[test]
fn line_at_limit_is_read() {
    let line = line_of(AUDIT_LINE_MAX_BYTES);
    assert_eq!(line[0].len(), AUDIT_LINE_MAX_BYTES + 1);
    whole(&[], &[&line], "whole: 1 lines, sequence 1 to 1, registry generation 1");
}

#[test]
fn line_one_past_limit_is_broken() {
    let mut line = line_of(AUDIT_LINE_MAX_BYTES);
    line[0].insert(1, b' ');
    broken(&[], &[&line], "broken: DIR/part-0 line 1: longer than 4096 bytes");
    line[0].pop();
    broken(&[], &[&line], "broken: DIR/part-0 line 1: longer than 4096 bytes");
}
