//! Text for people: tables, lines, and nothing in them that a terminal would obey.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Table, presets};

use crate::exit::Failure;

const BETWEEN_COLUMNS: u16 = 2;

/// Writes to standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure::ReaderGone;
        }
        Failure::usage(
            format!("cannot write to standard output: {error}"),
            "check where the output goes",
        )
    })
}

/// Writes a JSON document to standard output, as it came.
pub(crate) fn print_document(document: &[u8]) -> Result<(), Failure> {
    print(document)?;
    print(b"\n")
}

/// Says something beside the output, where a person reads along.
pub(crate) fn note(text: &str) {
    if io::stderr().is_terminal() {
        warn(text);
    }
}

/// Says something beside the output that must not be missed.
pub(crate) fn warn(text: &str) {
    // Nobody is left to tell when this cannot be written.
    let _unwritten = writeln!(io::stderr(), "sealctl: {}", plain(text));
}

/// Writes beside the output, as it is.
pub(crate) fn beside(text: &str) {
    // Nobody is left to tell when this cannot be written.
    let _unwritten = io::stderr().write_all(text.as_bytes());
}

/// A table with a head, columns two blanks apart.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    table.add_rows(
        rows.into_iter().map(|row| row.iter().map(|cell| plain(cell)).collect::<Vec<_>>()),
    );
    for column in table.column_iter_mut() {
        column.set_padding((0, BETWEEN_COLUMNS));
    }
    table.trim_fmt() + "\n"
}

/// The text without control characters. Names of devices come from devices.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A time of the host, without the parts of a second.
pub(crate) fn time(text: &str) -> String {
    match text.split_once('.') {
        Some((seconds, _)) => plain(seconds) + "Z",
        None => plain(text),
    }
}

/// A word for a cell without a value.
pub(crate) const NOTHING: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_columns_two_blanks_apart_and_no_blanks_at_line_ends() {
        let rows =
            [vec!["tpm".to_owned(), "open".to_owned()], vec!["hsm-2".to_owned(), "-".to_owned()]];
        assert_eq!(table(&["NAME", "STATE"], rows), "NAME   STATE\ntpm    open\nhsm-2  -\n");
    }

    #[test]
    fn time_is_cut_to_seconds() {
        assert_eq!(time("2026-01-02T03:04:05.678Z"), "2026-01-02T03:04:05Z");
        assert_eq!(time("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05Z");
    }

    #[test]
    fn cell_cannot_control_the_terminal() {
        assert_eq!(table(&["A"], [vec!["x\x1b[31m\r".to_owned()]]), "A\nx\u{fffd}[31m\u{fffd}\n");
    }
}
