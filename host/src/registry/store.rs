//! The registry's SQLite file. It only moves rows; what they mean, and whether they are
//! authentic, is decided by its callers.

mod counter;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use provider_core::{AuthSubject, Identity, KeyBlob, KeyId, StateBinding};
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, Transaction, params};
use serde::de::DeserializeOwned;
use wire::audit::{Hex32, Mark};
use wire::name::{KeyName, ProviderName};

use super::authentic::RegistryId;
use super::model::{Instance, Key, Model, RecordKeyName, Stage, Terms, Version};

/// The number of this layout; a file of a later one is refused. Layout 1 had neither counters nor
/// refused subjects, layout 2 no checkpoint of the audit.
const LAYOUT: i64 = 3;

const TABLES: &str = "
    CREATE TABLE registry (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        id BLOB NOT NULL,
        generation INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE instances (
        name TEXT PRIMARY KEY,
        identity BLOB NOT NULL,
        record_key_id BLOB NOT NULL,
        record_key_blob BLOB NOT NULL
    ) STRICT;
    CREATE TABLE keys (
        name TEXT PRIMARY KEY,
        usage TEXT NOT NULL,
        algorithm TEXT NOT NULL,
        floor TEXT NOT NULL,
        fallback INTEGER NOT NULL,
        state TEXT,
        providers TEXT
    ) STRICT;
    CREATE TABLE versions (
        key TEXT NOT NULL REFERENCES keys (name),
        number INTEGER NOT NULL,
        stage TEXT NOT NULL,
        provider TEXT NOT NULL,
        id BLOB NOT NULL,
        blob BLOB NOT NULL,
        origin TEXT NOT NULL,
        protection TEXT NOT NULL,
        fallback INTEGER NOT NULL,
        created_at TEXT NOT NULL,
        created_by INTEGER NOT NULL,
        mac BLOB NOT NULL,
        PRIMARY KEY (key, number)
    ) STRICT;
    CREATE TABLE head (
        instance TEXT PRIMARY KEY,
        mac BLOB NOT NULL
    ) STRICT;
    CREATE TABLE refused_pins (
        instance TEXT PRIMARY KEY,
        reason TEXT NOT NULL
    ) STRICT;
";

/// Came with the second layout, as the counters did; some files of the first have it.
const LATER_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS refused_subjects (
        subject BLOB PRIMARY KEY,
        reason TEXT NOT NULL
    ) STRICT;
";

const AUDIT_MARK: &str = "
    CREATE TABLE audit_mark (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL
    ) STRICT;
";

/// The head's MACs, by the instance that made them.
pub(super) type HeadMacs = BTreeMap<ProviderName, [u8; 32]>;

/// The open file.
#[derive(Debug)]
pub(super) struct Store(Connection);

/// Everything that the file holds.
pub(super) struct Stored {
    pub(super) id: RegistryId,
    pub(super) model: Model,
    pub(super) head: HeadMacs,
}

impl Store {
    /// Opens the file, or makes it with the id given.
    pub(super) fn open(path: &Path, new_id: &RegistryId) -> rusqlite::Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "secure_delete", "ON")?;
        connection.pragma_update(None, "foreign_keys", "ON")?;
        // Rows were written by us; SQL hidden in an edited file must not run.
        connection.pragma_update(None, "trusted_schema", "OFF")?;
        let mut store = Self(connection);
        store.prepare_layout(new_id)?;
        Ok(store)
    }

    fn prepare_layout(&mut self, new_id: &RegistryId) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match layout {
            LAYOUT => return Ok(()),
            0 => {
                transaction.execute_batch(TABLES)?;
                let statement = "INSERT INTO registry VALUES (1, ?1, 0)";
                transaction.execute(statement, params![&new_id[..]])?;
            }
            1 | 2 => {}
            later => return Err(rusqlite::Error::IntegralValueOutOfRange(0, later)),
        }
        if layout < 2 {
            transaction.execute_batch(LATER_TABLES)?;
            transaction.execute_batch(counter::TABLES)?;
        }
        transaction.execute_batch(AUDIT_MARK)?;
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        transaction.commit()
    }

    pub(super) fn load(&self) -> rusqlite::Result<Stored> {
        let (id, generation) = self.0.query_row(
            "SELECT id, generation FROM registry WHERE only_row = 1",
            [],
            |row| Ok((array(row, 0)?, unsigned(row, 1)?)),
        )?;
        let mut model = Model { generation, ..Model::default() };
        for instance in collect(&self.0, "SELECT * FROM instances", read_instance)? {
            model.instances.insert(instance.name.clone(), instance);
        }
        let mut keys: BTreeMap<KeyName, Key> = BTreeMap::new();
        for key in collect(&self.0, "SELECT * FROM keys", read_key)? {
            keys.insert(key.name.clone(), key);
        }
        let versions = "SELECT * FROM versions ORDER BY key, number";
        for (name, version) in collect(&self.0, versions, read_version)? {
            if let Some(key) = keys.get_mut(&name) {
                key.versions.push(version);
            }
        }
        model.keys = keys.into_iter().map(|(name, key)| (name, Arc::new(key))).collect();
        counter::load(&self.0, &mut model)?;
        let mark = "SELECT sequence, hash FROM audit_mark WHERE only_row = 1";
        let read =
            |row: &Row<'_>| Ok(Mark { sequence: unsigned(row, 0)?, hash: Hex32(array(row, 1)?) });
        model.audit_mark = self.0.query_row(mark, [], read).optional()?;
        let head = collect(&self.0, "SELECT * FROM head", |row| {
            Ok((name(row, 0, ProviderName::parse)?, array(row, 1)?))
        })?;
        Ok(Stored { id, model, head: head.into_iter().collect() })
    }

    /// Writes one change: the rows given, the generation, and the head, all or nothing.
    pub(super) fn commit(
        &mut self,
        generation: u64,
        head: &HeadMacs,
        write: impl FnOnce(&Rows<'_>) -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let transaction = self.0.transaction()?;
        write(&Rows(&transaction))?;
        transaction.execute("UPDATE registry SET generation = ?1", params![signed(generation)?])?;
        transaction.execute("DELETE FROM head", [])?;
        for (instance, mac) in head {
            transaction.execute(
                "INSERT INTO head VALUES (?1, ?2)",
                params![instance.as_str(), &mac[..]],
            )?;
        }
        transaction.commit()
    }

    pub(super) fn refused_pin(&self, instance: &ProviderName) -> rusqlite::Result<Option<String>> {
        let query = "SELECT reason FROM refused_pins WHERE instance = ?1";
        self.0.query_row(query, params![instance.as_str()], |row| row.get(0)).optional()
    }

    pub(super) fn set_refused_pin(
        &self,
        instance: &ProviderName,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        match reason {
            Some(reason) => self.0.execute(
                "INSERT OR REPLACE INTO refused_pins VALUES (?1, ?2)",
                params![instance.as_str(), reason],
            ),
            None => self.0.execute(
                "DELETE FROM refused_pins WHERE instance = ?1",
                params![instance.as_str()],
            ),
        }
        .map(drop)
    }
}

impl Store {
    /// What refused a PIN, and why.
    pub(super) fn refused_subjects(&self) -> rusqlite::Result<Vec<(AuthSubject, String)>> {
        let query = "SELECT subject, reason FROM refused_subjects";
        collect(&self.0, query, |row| Ok((AuthSubject(row.get(0)?), row.get(1)?)))
    }

    pub(super) fn set_refused_subject(
        &self,
        subject: &AuthSubject,
        reason: Option<&str>,
    ) -> rusqlite::Result<()> {
        match reason {
            Some(reason) => self.0.execute(
                "INSERT OR REPLACE INTO refused_subjects VALUES (?1, ?2)",
                params![subject.0, reason],
            ),
            None => self
                .0
                .execute("DELETE FROM refused_subjects WHERE subject = ?1", params![subject.0]),
        }
        .map(drop)
    }
}

/// The rows of a change that is being written.
pub(super) struct Rows<'a>(&'a Transaction<'a>);

impl Rows<'_> {
    pub(super) fn put_instance(&self, instance: &Instance) -> rusqlite::Result<()> {
        let statement = "INSERT OR REPLACE INTO instances VALUES (?1, ?2, ?3, ?4)";
        let parameters = params![
            instance.name.as_str(),
            instance.identity.0,
            &instance.record_key.id.0[..],
            instance.record_key.blob.0,
        ];
        self.0.execute(statement, parameters).map(drop)
    }

    /// Writes a key's terms and all its versions as they now are.
    pub(super) fn put_key(&self, key: &Key) -> rusqlite::Result<()> {
        let Terms { usage, algorithm, floor, fallback, state, providers } = &key.terms;
        let providers = providers
            .as_ref()
            .map(|names| names.iter().map(ProviderName::as_str).collect::<Vec<_>>().join(" "));
        self.0.execute(
            "INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (name) DO UPDATE SET usage = ?2, algorithm = ?3, floor = ?4,
             fallback = ?5, state = ?6, providers = ?7",
            params![
                key.name.as_str(),
                usage.as_str(),
                algorithm.as_str(),
                floor.as_str(),
                fallback,
                state.as_ref().map(StateBinding::as_str),
                providers,
            ],
        )?;
        self.0.execute("DELETE FROM versions WHERE key = ?1", params![key.name.as_str()])?;
        key.versions.iter().try_for_each(|version| self.put_version(&key.name, version))
    }

    pub(super) fn put_audit_mark(&self, mark: &Mark) -> rusqlite::Result<()> {
        let statement = "INSERT OR REPLACE INTO audit_mark VALUES (1, ?1, ?2)";
        self.0.execute(statement, params![signed(mark.sequence)?, &mark.hash.0[..]]).map(drop)
    }

    pub(super) fn remove_key(&self, name: &KeyName) -> rusqlite::Result<()> {
        self.0.execute("DELETE FROM versions WHERE key = ?1", params![name.as_str()])?;
        self.0.execute("DELETE FROM keys WHERE name = ?1", params![name.as_str()]).map(drop)
    }

    fn put_version(&self, key: &KeyName, version: &Version) -> rusqlite::Result<()> {
        let statement =
            "INSERT INTO versions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
        let parameters = params![
            key.as_str(),
            version.number,
            version.stage.as_str(),
            version.provider.as_str(),
            &version.id.0[..],
            &version.blob[..],
            version.origin.as_str(),
            version.protection.as_str(),
            version.fallback,
            version.created_at,
            version.created_by,
            &version.mac[..],
        ];
        self.0.execute(statement, parameters).map(drop)
    }
}

fn read_instance(row: &Row<'_>) -> rusqlite::Result<Instance> {
    Ok(Instance {
        name: name(row, 0, ProviderName::parse)?,
        identity: Identity(row.get(1)?),
        record_key: RecordKeyName { id: KeyId(array(row, 2)?), blob: KeyBlob(row.get(3)?) },
    })
}

fn read_key(row: &Row<'_>) -> rusqlite::Result<Key> {
    let state: Option<String> = row.get(5)?;
    let state = state.map(|text| StateBinding::new(&text)).transpose();
    let providers: Option<String> = row.get(6)?;
    let providers = providers
        .map(|text| text.split(' ').map(ProviderName::parse).collect::<Result<Vec<_>, _>>());
    Ok(Key {
        name: name(row, 0, KeyName::parse)?,
        terms: Terms {
            usage: word(row, 1)?,
            algorithm: word(row, 2)?,
            floor: word(row, 3)?,
            fallback: row.get(4)?,
            state: state.map_err(|error| unreadable(5, error))?,
            providers: providers.transpose().map_err(|error| unreadable(6, error))?,
        },
        versions: Vec::new(),
    })
}

fn read_version(row: &Row<'_>) -> rusqlite::Result<(KeyName, Version)> {
    let stage: String = row.get(2)?;
    let blob: Vec<u8> = row.get(5)?;
    let version = Version {
        number: row.get(1)?,
        stage: Stage::from_text(&stage).ok_or_else(|| unreadable(2, "unknown stage"))?,
        provider: name(row, 3, ProviderName::parse)?,
        id: KeyId(array(row, 4)?),
        blob: Arc::from(blob),
        origin: word(row, 6)?,
        protection: word(row, 7)?,
        fallback: row.get(8)?,
        created_at: row.get(9)?,
        created_by: row.get(10)?,
        digest: [0; 32],
        mac: array(row, 11)?,
    };
    Ok((name(row, 0, KeyName::parse)?, version))
}

fn collect<T>(
    connection: &Connection,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(query)?.query_map([], read)?.collect()
}

fn name<T, E: std::error::Error + Send + Sync + 'static>(
    row: &Row<'_>,
    column: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    parse(&text).map_err(|error| unreadable(column, error))
}

/// One of the API's words, stored as its text.
fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    let value = serde_json::Value::String(text);
    serde_json::from_value(value).map_err(|error| unreadable(column, error))
}

fn array<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    let bytes: Vec<u8> = row.get(column)?;
    bytes.try_into().map_err(|_length| unreadable(column, "another length"))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|error| unreadable(column, error))
}

fn signed(number: u64) -> rusqlite::Result<i64> {
    i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

fn unreadable(
    column: usize,
    reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}
