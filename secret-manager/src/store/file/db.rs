//! The SQLite file. It only moves rows; what they mean, and whether they are authentic, is decided
//! by its callers.

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde::Deserialize;
use wire::api::SealedText;
use wire::secrets::{Author, ContentType, Date, SecretName, SecretVersion, Tags};

use crate::context::Id;
use crate::error::OpenError;
use crate::secret::{Metadata, Standing, Tombstone};

/// The number of this layout; a file of a later one is refused.
const LAYOUT: i64 = 1;

/// Pages of the file that SQLite keeps in memory, in KiB (negative, as it writes KiB): those of
/// 10,000 short secrets.
const CACHE_KIB: i64 = -16_384;

const TABLES: &str = "
    CREATE TABLE store (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        id BLOB NOT NULL,
        state INTEGER NOT NULL,
        clock TEXT NOT NULL,
        seal TEXT NOT NULL
    ) STRICT;
    CREATE TABLE secrets (
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        metadata TEXT NOT NULL,
        write BLOB NOT NULL,
        sealed TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tombstones (
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        deleted_at TEXT NOT NULL,
        deleted_by TEXT NOT NULL,
        PRIMARY KEY (name, version)
    ) STRICT, WITHOUT ROWID;
";

/// The open file.
#[derive(Debug)]
pub(super) struct Db(Connection);

/// The row that says what the other rows are.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) id: Id,
    pub(super) number: u64,
    pub(super) clock: Date,
    pub(super) seal: SealedText,
}

/// What a row of a secret says, but for its sealed value.
#[derive(Debug)]
pub(super) struct SecretRow {
    pub(super) metadata: Arc<Metadata>,
    pub(super) write: Id,
}

/// Everything that the file holds but sealed values.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) secrets: Vec<SecretRow>,
    pub(super) tombstones: Vec<Tombstone>,
}

/// One change of a row.
#[derive(Debug)]
pub(super) enum Edit {
    Put { metadata: Arc<Metadata>, write: Id, sealed: SealedText },
    Remove(SecretName, SecretVersion),
    RemoveAll,
    Bury(Tombstone),
    Exhume(SecretName, Option<SecretVersion>),
}

impl Db {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        Self::connect(path).and_then(|db| db.prepare_layout(path)).map_err(|error| match error {
            Refusal::Layout(layout) => OpenError::Layout { path: path.into(), layout },
            Refusal::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    OpenError::InUse { path: path.into() }
                }
                Some(_) | None => OpenError::File { path: path.into(), reason: error.to_string() },
            },
        })
    }

    fn connect(path: &Path) -> Result<Self, Refusal> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(std::time::Duration::ZERO)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "cache_size", CACHE_KIB)?;
        // Rows were written by us; SQL hidden in an edited file must not run.
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        Ok(Self(connection))
    }

    fn prepare_layout(mut self, path: &Path) -> Result<Self, Refusal> {
        let transaction = self.0.transaction()?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match layout {
            LAYOUT => drop(transaction),
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", LAYOUT)?;
                transaction.commit()?;
                tracing::info!(path = %path.display(), "a new store of secrets was made");
            }
            other => return Err(Refusal::Layout(other)),
        }
        Ok(self)
    }

    /// The state; none in a file that was just made.
    pub(super) fn state(&self) -> rusqlite::Result<Option<State>> {
        let query = "SELECT id, state, clock, seal FROM store WHERE only_row = 1";
        let read = |row: &Row<'_>| {
            let number: i64 = row.get(1)?;
            Ok(State {
                id: id(row, 0)?,
                number: u64::try_from(number).map_err(|error| unreadable(1, error))?,
                clock: parsed(row, 2, Date::parse)?,
                seal: SealedText(row.get(3)?),
            })
        };
        self.0.query_row(query, [], read).optional()
    }

    pub(super) fn rows(&self) -> rusqlite::Result<Rows> {
        let mut rows = Rows::default();
        let query = "SELECT name, version, metadata, write FROM secrets ORDER BY name, version";
        let mut statement = self.0.prepare(query)?;
        for row in statement.query_map([], read_secret)? {
            rows.secrets.push(row?);
        }
        let query = "SELECT name, version, deleted_at, deleted_by FROM tombstones";
        let mut statement = self.0.prepare(query)?;
        for row in statement.query_map([], read_tombstone)? {
            rows.tombstones.push(row?);
        }
        Ok(rows)
    }

    /// The sealed value of a row, if that write is still there.
    pub(super) fn sealed(
        &self,
        metadata: &Metadata,
        write: &Id,
    ) -> rusqlite::Result<Option<SealedText>> {
        let query = "SELECT sealed FROM secrets WHERE name = ?1 AND version = ?2 AND write = ?3";
        let parameters =
            params![metadata.name.as_str(), metadata.version.as_str(), &write.as_bytes()[..]];
        let mut statement = self.0.prepare(query)?;
        statement.query_row(parameters, |row| row.get(0).map(SealedText)).optional()
    }

    /// Writes a change and the state that follows it, all or nothing, onto the disk.
    pub(super) fn commit(&mut self, edits: &[Edit], state: &State) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        edits.iter().try_for_each(|edit| apply(&transaction, edit))?;
        let number = i64::try_from(state.number).map_err(|error| unreadable(1, error))?;
        transaction.execute(
            "INSERT OR REPLACE INTO store VALUES (1, ?1, ?2, ?3, ?4)",
            params![&state.id.as_bytes()[..], number, state.clock.to_string(), state.seal.0],
        )?;
        transaction.commit()
    }

    /// Brings what was written into the main file, so that erased values are overwritten there.
    pub(super) fn checkpoint(&self) -> rusqlite::Result<()> {
        self.0.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()))
    }
}

fn apply(transaction: &Transaction<'_>, edit: &Edit) -> rusqlite::Result<()> {
    match edit {
        Edit::Put { metadata, write, sealed } => transaction
            .prepare("INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![
                metadata.name.as_str(),
                metadata.version.as_str(),
                written(metadata)?,
                &write.as_bytes()[..],
                sealed.0,
            ]),
        Edit::Remove(name, version) => transaction.execute(
            "DELETE FROM secrets WHERE name = ?1 AND version = ?2",
            params![name.as_str(), version.as_str()],
        ),
        Edit::RemoveAll => transaction.execute("DELETE FROM secrets", []),
        Edit::Bury(Tombstone { name, version, deleted_at, deleted_by }) => transaction.execute(
            "INSERT OR REPLACE INTO tombstones VALUES (?1, ?2, ?3, ?4)",
            params![
                name.as_str(),
                version.as_ref().map_or("", SecretVersion::as_str),
                deleted_at.to_string(),
                deleted_by.as_str(),
            ],
        ),
        Edit::Exhume(name, version) => transaction.execute(
            "DELETE FROM tombstones WHERE name = ?1 AND version = ?2",
            params![name.as_str(), version.as_ref().map_or("", SecretVersion::as_str)],
        ),
    }
    .map(drop)
}

/// The metadata column: what has no column of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    activation: Date,
    expiration: Date,
    content_type: Option<ContentType>,
    tags: Tags,
    created_at: Date,
    created_by: Author,
    updated_at: Date,
    updated_by: Author,
    standing: String,
    as_of: Date,
}

fn written(metadata: &Metadata) -> rusqlite::Result<String> {
    let column = serde_json::json!({
        "activation": metadata.activation,
        "expiration": metadata.expiration,
        "content_type": metadata.content_type,
        "tags": metadata.tags,
        "created_at": metadata.created_at,
        "created_by": metadata.created_by,
        "updated_at": metadata.updated_at,
        "updated_by": metadata.updated_by,
        "standing": metadata.standing.as_str(),
        "as_of": metadata.as_of,
    });
    serde_json::to_string(&column).map_err(|error| unreadable(2, error))
}

fn read_secret(row: &Row<'_>) -> rusqlite::Result<SecretRow> {
    let column: String = row.get(2)?;
    let column: Column = serde_json::from_str(&column).map_err(|error| unreadable(2, error))?;
    let standing = Standing::from_text(&column.standing);
    let metadata = Metadata {
        name: parsed(row, 0, SecretName::parse)?,
        version: parsed(row, 1, SecretVersion::parse)?,
        activation: column.activation,
        expiration: column.expiration,
        content_type: column.content_type,
        tags: column.tags,
        created_at: column.created_at,
        created_by: column.created_by,
        updated_at: column.updated_at,
        updated_by: column.updated_by,
        standing: standing.ok_or_else(|| unreadable(2, "unknown standing"))?,
        as_of: column.as_of,
    };
    Ok(SecretRow { metadata: Arc::new(metadata), write: id(row, 3)? })
}

fn read_tombstone(row: &Row<'_>) -> rusqlite::Result<Tombstone> {
    let version: String = row.get(1)?;
    let version = match version.as_str() {
        "" => None,
        version => Some(SecretVersion::parse(version).map_err(|error| unreadable(1, error))?),
    };
    Ok(Tombstone {
        name: parsed(row, 0, SecretName::parse)?,
        version,
        deleted_at: parsed(row, 2, Date::parse)?,
        deleted_by: parsed(row, 3, Author::parse)?,
    })
}

fn parsed<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|error| unreadable(column, error))
}

fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<Id> {
    let bytes: Vec<u8> = row.get(column)?;
    let bytes = bytes.try_into().map_err(|_length| unreadable(column, "another length"))?;
    Ok(Id::from_bytes(bytes))
}

fn unreadable(
    column: usize,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

/// Why the file did not open.
enum Refusal {
    Layout(i64),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}
