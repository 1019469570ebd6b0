//! What became of each key, as a table and as a document.

use std::path::PathBuf;

use sealhost_client::KeydUsage;
use serde_json::{Value, json};
use wire::keyd::Kind;

use super::host::Lives;
use crate::screen::{NOTHING, table};

/// A key, and what became of it.
#[derive(Debug)]
pub(super) struct Row {
    /// `None`: it cannot be told.
    pub(super) id: Option<String>,
    pub(super) kind: Option<Kind>,
    pub(super) usage: Option<KeydUsage>,
    /// The file that has it in the clear.
    pub(super) file: Option<PathBuf>,
    pub(super) is_removed: bool,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Imported now, and proved.
    Imported(Lives),
    /// There already, and proved.
    There(Lives),
    /// There, and no file is left to prove it by.
    Unproved(Lives),
    /// What a run that is not dry would try to import.
    Would,
    /// The service's own; nobody needs it any more.
    Needless,
    /// Not moved: why, and what to do.
    Left { what: String, advice: String },
    /// Another one stopped the run before.
    NotTried,
}

impl Outcome {
    pub(super) fn left(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Left { what: what.into(), advice: advice.into() }
    }

    /// Whether there is nothing left to do about the key.
    pub(super) fn is_good(&self) -> bool {
        match self {
            Self::Imported(_)
            | Self::There(_)
            | Self::Unproved(_)
            | Self::Would
            | Self::Needless => true,
            Self::Left { .. } | Self::NotTried => false,
        }
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Imported(_) => "imported",
            Self::There(_) => "already there",
            Self::Unproved(_) => "already there, no file",
            Self::Would => "would be imported",
            Self::Needless => "not needed",
            Self::Left { .. } => "not moved",
            Self::NotTried => "not tried",
        }
    }

    const fn lives(&self) -> Option<&Lives> {
        match self {
            Self::Imported(lives) | Self::There(lives) | Self::Unproved(lives) => Some(lives),
            Self::Would | Self::Needless | Self::Left { .. } | Self::NotTried => None,
        }
    }
}

impl Row {
    pub(super) fn name(&self) -> String {
        match (&self.id, &self.file) {
            (Some(id), _) => id.clone(),
            (None, Some(file)) => file.display().to_string(),
            (None, None) => NOTHING.to_owned(),
        }
    }

    /// The file that still has the key in the clear.
    pub(super) fn plaintext(&self) -> Option<&PathBuf> {
        self.file.as_ref().filter(|_| !self.is_removed)
    }

    fn cells(&self) -> Vec<String> {
        let or_nothing = |text: Option<&str>| text.unwrap_or(NOTHING).to_owned();
        let lives = self.outcome.lives();
        let plaintext = match (&self.file, self.is_removed) {
            (None, _) => NOTHING,
            (Some(_), true) => "removed",
            (Some(_), false) => "there",
        };
        vec![
            or_nothing(self.id.as_deref()),
            or_nothing(self.kind.map(kind)),
            or_nothing(self.usage.map(usage)),
            self.outcome.as_str().to_owned(),
            or_nothing(lives.map(|lives| lives.provider.as_str())),
            or_nothing(lives.map(|lives| lives.protection.as_str())),
            plaintext.to_owned(),
        ]
    }

    fn document(&self) -> Value {
        let lives = self.outcome.lives();
        let mut document = json!({
            "id": self.id,
            "kind": self.kind.map(kind),
            "usage": self.usage.map(usage),
            "outcome": self.outcome.as_str(),
            "provider": lives.map(|lives| lives.provider.as_str()),
            "protection": lives.map(|lives| lives.protection.as_str()),
            "file": self.file,
            "removed": self.is_removed,
        });
        if let Outcome::Left { what, advice } = &self.outcome {
            document["error"] = json!(what);
            document["advice"] = json!(advice);
        }
        document
    }
}

/// The rows as a table.
pub(super) fn text(rows: &[Row]) -> String {
    let head = ["KEY", "KIND", "USAGE", "OUTCOME", "PROVIDER", "PROTECTION", "PLAINTEXT"];
    table(&head, rows.iter().map(Row::cells))
}

/// The rows and the sections as one document.
pub(super) fn document(rows: &[Row], sections: &str) -> Value {
    let keys: Vec<_> = rows.iter().map(Row::document).collect();
    json!({ "keys": keys, "config": sections })
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Key => "key",
        Kind::Pair => "pair",
    }
}

const fn usage(usage: KeydUsage) -> &'static str {
    match usage {
        KeydUsage::Encrypt => "encrypt",
        KeydUsage::Sign => "sign",
    }
}
