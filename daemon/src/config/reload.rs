//! What reading a file again takes over, and what it leaves for a restart.

use crate::rules::Rules;

/// What came of reading the file of a running daemon again.
///
/// Only the rules are taken over. Devices, sockets and files are open by then.
#[derive(Debug)]
pub struct Reload {
    /// The rules of the file, to be put in force.
    pub rules: Rules,
    /// The other sections that differ from the running configuration, as the file heads them:
    /// `[listen]`. They wait for a restart; the log should say so.
    pub waiting: Vec<&'static str>,
}

impl Reload {
    /// Takes over the rules, and keeps in mind those of the sections that differ.
    pub fn new(rules: Rules, sections: impl IntoIterator<Item = (&'static str, bool)>) -> Self {
        let waiting = sections.into_iter().filter(|(_, differs)| *differs);
        Self { rules, waiting: waiting.map(|(section, _)| section).collect() }
    }
}
