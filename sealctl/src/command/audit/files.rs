//! The files of a log, and their lines.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use wire::audit::older_first;
use wire::limits::AUDIT_LINE_MAX_BYTES;

use crate::exit::Failure;
use crate::source::Source;

/// One file of a log, open.
pub(super) struct Part {
    pub(super) source: Source,
    reader: BufReader<Box<dyn Read>>,
}

/// What stands next in a file.
pub(super) enum Line {
    Whole(Vec<u8>),
    Torn(usize),
    TooLong,
    End,
}

/// Opens the files that are named; of one alone, the older ones beside it too.
pub(super) fn parts(named: &[Source]) -> Result<Vec<Part>, Failure> {
    match named {
        [source @ Source::File(newest)] => of_newest(source, newest),
        named => named.iter().map(|source| opened(source.clone())).collect(),
    }
}

fn opened(source: Source) -> Result<Part, Failure> {
    let reader = BufReader::new(source.open("the audit log")?);
    Ok(Part { source, reader })
}

/// The newest is opened first: where the host rotates meanwhile, it is one of the older by name,
/// and those after it are left out.
fn of_newest(source: &Source, newest: &Path) -> Result<Vec<Part>, Failure> {
    let file = File::open(newest).map_err(|error| source.unreadable(&error))?;
    let same = file.metadata().map_err(|error| source.unreadable(&error))?;
    let older = older(newest).map_err(|error| source.unreadable(&error))?;
    let mut parts = Vec::new();
    for path in older {
        let source = Source::File(path);
        let Source::File(path) = &source else { continue };
        let found = fs::metadata(path).map_err(|error| source.unreadable(&error))?;
        if (found.dev(), found.ino()) == (same.dev(), same.ino()) {
            break;
        }
        parts.push(opened(source)?);
    }
    let reader = BufReader::new(Box::new(file) as Box<dyn Read>);
    parts.push(Part { source: source.clone(), reader });
    Ok(parts)
}

fn older(newest: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (Some(dir), Some(name)) = (newest.parent(), newest.file_name()) else {
        return Ok(Vec::new());
    };
    // The parent of a bare name is an empty path.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?.file_name();
        if let Some(first) = older_first(entry.as_bytes(), name.as_bytes()) {
            found.push((first, newest.with_file_name(entry)));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

impl Part {
    /// Reads a line, at most one byte past the limit of one.
    pub(super) fn next_line(&mut self) -> Result<Line, Failure> {
        let mut line = Vec::new();
        let limit = u64::try_from(AUDIT_LINE_MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| self.source.unreadable(&error))?;
        Ok(match line.pop() {
            None => Line::End,
            Some(b'\n') => Line::Whole(line),
            Some(_) if line.len() >= AUDIT_LINE_MAX_BYTES => Line::TooLong,
            Some(_) => Line::Torn(line.len().saturating_add(1)),
        })
    }
}
