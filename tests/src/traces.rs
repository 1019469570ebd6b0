//! What is left of secrets in memory and in files.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::http::b64;
use crate::sealhost::Sealhost;

/// Bytes that are looked for; a copy of a secret is found by any whole piece of it.
const PIECE_BYTES: usize = 16;

/// A secret, in each of the forms in which it passes through the host.
#[derive(Clone)]
pub struct Secret {
    name: &'static str,
    /// The forms, each by its name.
    pub forms: Vec<(&'static str, Vec<u8>)>,
}

impl Secret {
    /// Bytes that travel in base64.
    #[must_use]
    pub fn bytes(name: &'static str, bytes: &[u8]) -> Self {
        let forms = vec![("raw", bytes.to_vec()), ("base64", b64(bytes).into_bytes())];
        Self { name, forms }
    }

    /// Text that travels as it is.
    #[must_use]
    pub fn text(name: &'static str, text: &str) -> Self {
        Self { name, forms: vec![("text", text.as_bytes().to_vec())] }
    }
}

/// Finds pieces of secrets in bytes.
pub struct Searcher {
    pieces: Vec<(String, Vec<u8>)>,
    /// By the first two bytes: whether any piece begins so.
    begins: Vec<bool>,
}

impl Searcher {
    /// Looks for whole pieces of these.
    ///
    /// # Panics
    /// When none is as long as a piece.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        let mut pieces = Vec::new();
        let mut begins = vec![false; 1 << 16];
        for secret in secrets {
            for (form, bytes) in &secret.forms {
                for piece in bytes.chunks_exact(PIECE_BYTES) {
                    begins[first_two(piece)] = true;
                    pieces.push((format!("{} ({form})", secret.name), piece.to_vec()));
                }
            }
        }
        assert!(!pieces.is_empty());
        Self { pieces, begins }
    }

    /// The names of what is found, each with its place.
    fn find(&self, haystack: &[u8], found: &mut impl FnMut(&str, usize)) {
        for (place, window) in haystack.windows(PIECE_BYTES).enumerate() {
            if self.begins[first_two(window)] {
                for (name, piece) in &self.pieces {
                    if window == piece {
                        found(name, place);
                    }
                }
            }
        }
    }

    /// Looks through everything that a process can read of itself.
    #[must_use]
    pub fn find_in_process(&self, pid: u32, who: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        let mut read = 0_usize;
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            let name = fields.nth(3).unwrap_or("anonymous");
            // What the kernel maps there is not ours, and cannot be read through the file.
            if !rights.starts_with('r') || name.starts_with("[v") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let start = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
            // A mapping may have gone since the list was read.
            if memory.read_exact_at(&mut bytes, start).is_err() {
                continue;
            }
            read += bytes.len();
            self.find(&bytes, &mut |what, place| {
                let at = start + u64::try_from(place).unwrap();
                all.insert(format!("{what} in {who}, {name} at {at:#x} of {range}"));
            });
        }
        assert!(read > 1 << 20, "only {read} bytes of {who} were read");
        all
    }

    /// Looks through a file, or every file of a directory.
    #[must_use]
    pub fn find_in_files(&self, path: &Path) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                all.extend(self.find_in_files(&entry.unwrap().path()));
            }
            return all;
        }
        let bytes = fs::read(path).unwrap();
        self.find(&bytes, &mut |what, _| {
            all.insert(format!("{what} in {}", path.display()));
        });
        all
    }
}

/// The host, its workers by the provider's name, and all files of the host.
#[derive(Debug)]
pub struct Traces<'a> {
    /// The host, which runs.
    pub host: &'a Sealhost,
    /// What is looked for.
    pub searcher: Searcher,
}

impl Traces<'_> {
    /// Looks through the host, its files, and the workers of these providers.
    ///
    /// # Panics
    /// When anything is found.
    #[track_caller]
    pub fn check(&self, workers: &[&str]) {
        let mut found = self.searcher.find_in_process(self.host.pid(), "the host");
        let mut looked_at = BTreeSet::new();
        for pid in self.host.workers() {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
            // One that was just started has no name yet, and has seen nothing.
            let Some(provider) = line.split(|byte| *byte == 0).nth(2) else { continue };
            let provider = String::from_utf8(provider.to_vec()).unwrap();
            if workers.contains(&provider.as_str()) {
                let who = format!("the worker of {provider}");
                found.extend(self.searcher.find_in_process(pid, &who));
                looked_at.insert(provider);
            }
        }
        assert_eq!(looked_at.len(), workers.len(), "workers looked at: {looked_at:?}");
        for path in [self.host.state_dir(), self.host.audit_path(), self.host.dir().join("log")] {
            found.extend(self.searcher.find_in_files(&path));
        }
        assert!(found.is_empty(), "{} places:\n{found:#?}", found.len());
    }
}

fn first_two(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Searcher")
    }
}

/// Does something on several connections at once.
pub fn at_once(work: impl Fn(usize) + Sync) {
    std::thread::scope(|scope| {
        for number in 0..4 {
            let work = &work;
            scope.spawn(move || work(number));
        }
    });
}
