//! One table of the file, taken key by key. Whatever is wrong is noted, and the reading goes on,
//! so that all faults are listed at once; what nobody took is a fault too.

use std::fmt::Display;

use toml::{Table, Value};

use super::fault::{ConfigFault, Problem};
use super::value::kind;

/// A table that is being read.
#[derive(Debug)]
pub struct Section<'f> {
    /// What stands before a key in a fault, `[listen] `; empty at the top of the file.
    prefix: String,
    table: Table,
    /// The keys that were asked for, and so are known.
    known: Vec<&'static str>,
    faults: &'f mut Vec<ConfigFault>,
}

/// The proof that a fault was noted: there is no value, and the file will be refused.
#[derive(Clone, Copy, Debug)]
pub struct Noted(());

/// A value, or the proof that its fault was noted.
pub type Read<T> = Result<T, Noted>;

impl<'f> Section<'f> {
    /// The top of the file.
    pub(super) const fn root(table: Table, faults: &'f mut Vec<ConfigFault>) -> Self {
        Self { prefix: String::new(), table, known: Vec::new(), faults }
    }

    /// Takes a value that may be absent.
    ///
    /// # Errors
    /// The proof that what `read` says was noted.
    pub fn optional<T, E: Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Read<Option<T>> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => read(&value).map(Some).map_err(|problem| self.fault(key, problem)),
        }
    }

    /// Takes a value, or the default where it is absent.
    ///
    /// # Errors
    /// The proof that what `read` says was noted.
    pub fn defaulted<T, E: Display>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Read<T> {
        self.optional(key, read).map(|found| found.unwrap_or(default))
    }

    /// Takes a value that must be there; `example` is how an operator would write it.
    ///
    /// # Errors
    /// The proof that what `read` says, or the absence, was noted.
    pub fn required<T, E: Display>(
        &mut self,
        key: &'static str,
        example: &'static str,
        read: impl FnOnce(&Value) -> Result<T, E>,
    ) -> Read<T> {
        match self.optional(key, read)? {
            Some(value) => Ok(value),
            None => Err(self.fault(key, Problem::Missing(example))),
        }
    }

    /// Takes a list that may be absent; every element that does not fit is a fault.
    ///
    /// # Errors
    /// The proof that a fault of the list or of an element was noted.
    pub fn list<T, E: Display>(
        &mut self,
        key: &'static str,
        wanted: &'static str,
        mut read: impl FnMut(&Value) -> Result<T, E>,
    ) -> Read<Option<Vec<T>>> {
        let values = match self.take(key) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(other) => {
                return Err(self.fault(key, Problem::Type { found: kind(&other), wanted }));
            }
        };
        let mut noted = None;
        let mut list = Vec::with_capacity(values.len());
        for value in &values {
            match read(value) {
                Ok(element) => list.push(element),
                Err(problem) => noted = Some(self.fault(key, problem)),
            }
        }
        noted.map_or(Ok(Some(list)), Err)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Takes a table; an absent one is read as an empty one, which has its defaults and misses
    /// what it must have.
    ///
    /// # Errors
    /// The proof that another type was noted.
    pub fn table(&mut self, key: &'static str) -> Read<Section<'_>> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                return Err(
                    self.fault(key, Problem::Type { found: kind(&other), wanted: "a table" })
                );
            }
        };
        let prefix = if self.prefix.is_empty() {
            format!("[{key}] ")
        } else {
            format!("{}{key}.", self.prefix)
        };
        Ok(self.inner(prefix, table))
    }

    /// Takes an array of tables; an absent one is empty.
    ///
    /// # Errors
    /// The proof that another type was noted.
    pub fn tables(&mut self, key: &'static str) -> Read<Vec<Table>> {
        const WANTED: &str = "tables, each headed by the name in double brackets";
        self.list(key, WANTED, |value| {
            let other = Problem::Type { found: kind(value), wanted: WANTED };
            value.as_table().cloned().ok_or(other)
        })
        .map(Option::unwrap_or_default)
    }

    /// Reads another table into the same list of faults; `prefix` stands before its keys.
    pub const fn inner(&mut self, prefix: String, table: Table) -> Section<'_> {
        Section { prefix, table, known: Vec::new(), faults: self.faults }
    }

    /// What stands before a key in a fault, for tables within this one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Takes every entry that was not asked for, where the keys are the operator's to choose.
    pub fn entries(&mut self) -> Table {
        std::mem::take(&mut self.table)
    }

    /// Notes a fault of a key.
    pub fn fault(&mut self, key: &str, problem: impl Display) -> Noted {
        let key = format!("{}{}", self.prefix, written(key));
        self.faults.push(ConfigFault { key, problem: problem.to_string() });
        Noted(())
    }

    /// Notes a fault of the table itself.
    pub fn fault_here(&mut self, problem: impl Display) -> Noted {
        let key = self.prefix.trim_end_matches([' ', '.']).to_owned();
        self.faults.push(ConfigFault { key, problem: problem.to_string() });
        Noted(())
    }

    /// Ends the reading: every key that is left is a fault.
    pub fn finish(self) {
        for (key, value) in &self.table {
            let path = match (self.prefix.is_empty(), value) {
                (true, Value::Table(_)) => format!("[{}]", written(key)),
                (true, Value::Array(_)) => format!("[[{}]]", written(key)),
                (true | false, _) => format!("{}{}", self.prefix, written(key)),
            };
            let nearest = nearest(key, &self.known);
            let problem = Problem::Unknown { nearest, known: self.known.clone() };
            self.faults.push(ConfigFault { key: path, problem: problem.to_string() });
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }
}

/// Writes a key as TOML has it: bare where it can be, else in quotes.
fn written(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !key.is_empty() && key.chars().all(bare) { key.to_owned() } else { format!("{key:?}") }
}

/// The known key that is a slip of the hand away.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    const SLIPS: usize = 2;
    let near = |known: &&'static str| {
        let slips = distance(key, known, SLIPS);
        (slips <= SLIPS && slips < known.len()).then_some((slips, *known))
    };
    known.iter().filter_map(near).min().map(|(_, known)| known)
}

/// Characters to insert, remove or replace to get from one text to the other (Levenshtein), or
/// more than `most` where the lengths alone say so.
fn distance(one: &str, other: &str, most: usize) -> usize {
    let lengths = one.chars().count().abs_diff(other.chars().count());
    if lengths > most {
        return lengths;
    }
    // The distances from the part of `one` read so far to each prefix of `other`.
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (read, from) in one.chars().enumerate() {
        let mut above_left = read;
        let mut left = read.saturating_add(1);
        let mut next = vec![left];
        for (to, above) in other.chars().zip(row.iter().skip(1)) {
            let replaced = above_left.saturating_add(usize::from(from != to));
            left = replaced.min(above.saturating_add(1)).min(left.saturating_add(1));
            above_left = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
