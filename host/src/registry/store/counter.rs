//! The rows of counters.

use std::sync::Arc;

use provider_core::KeyId;
use rusqlite::{Connection, Row, params};
use wire::name::{KeyName, ProviderName};

use super::{Rows, array, collect, name, signed, unreadable, unsigned, word};
use crate::registry::counter::{Counter, DeviceHome, Home};
use crate::registry::model::{Model, Stage};

/// A device counter has a provider and no value, one of the registry a value and no provider.
pub(super) const TABLES: &str = "
    CREATE TABLE counters (
        name TEXT PRIMARY KEY,
        provider TEXT,
        protection TEXT,
        id BLOB,
        blob BLOB,
        stage TEXT,
        value INTEGER,
        created_at TEXT NOT NULL,
        created_by INTEGER NOT NULL,
        mac BLOB NOT NULL,
        CHECK ((provider IS NULL) <> (value IS NULL))
    ) STRICT;
    CREATE TABLE counter_floor (
        only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
        value INTEGER NOT NULL
    ) STRICT;
    INSERT INTO counter_floor VALUES (1, 0);
";

pub(super) fn load(connection: &Connection, model: &mut Model) -> rusqlite::Result<()> {
    for counter in collect(connection, "SELECT * FROM counters", read_counter)? {
        model.counters.insert(counter.name.clone(), Arc::new(counter));
    }
    let floor = "SELECT value FROM counter_floor WHERE only_row = 1";
    model.counter_floor = connection.query_row(floor, [], |row| unsigned(row, 0))?;
    Ok(())
}

impl Rows<'_> {
    pub(in crate::registry) fn put_counter(&self, counter: &Counter) -> rusqlite::Result<()> {
        let (device, value) = match &counter.home {
            Home::Device(device) => (Some(device), None),
            Home::Registry { value } => (None, Some(signed(*value)?)),
        };
        let parameters = params![
            counter.name.as_str(),
            device.map(|device| device.provider.as_str()),
            device.map(|device| device.protection.as_str()),
            device.map(|device| &device.id.0[..]),
            device.map(|device| &device.blob[..]),
            device.map(|device| device.stage.as_str()),
            value,
            counter.created_at,
            counter.created_by,
            &counter.mac[..],
        ];
        let statement =
            "INSERT OR REPLACE INTO counters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        self.0.execute(statement, parameters).map(drop)
    }

    pub(in crate::registry) fn remove_counter(&self, name: &KeyName) -> rusqlite::Result<()> {
        let statement = "DELETE FROM counters WHERE name = ?1";
        self.0.execute(statement, params![name.as_str()]).map(drop)
    }

    pub(in crate::registry) fn set_counter_floor(&self, value: u64) -> rusqlite::Result<()> {
        let statement = "UPDATE counter_floor SET value = ?1";
        self.0.execute(statement, params![signed(value)?]).map(drop)
    }
}

fn read_counter(row: &Row<'_>) -> rusqlite::Result<Counter> {
    let provider: Option<String> = row.get(1)?;
    let home = if provider.is_some() {
        let blob: Vec<u8> = row.get(4)?;
        let stage: String = row.get(5)?;
        Home::Device(DeviceHome {
            provider: name(row, 1, ProviderName::parse)?,
            protection: word(row, 2)?,
            id: KeyId(array(row, 3)?),
            blob: Arc::from(blob),
            stage: Stage::from_text(&stage).ok_or_else(|| unreadable(5, "unknown stage"))?,
        })
    } else {
        Home::Registry { value: unsigned(row, 6)? }
    };
    Ok(Counter {
        name: name(row, 0, KeyName::parse)?,
        home,
        created_at: row.get(7)?,
        created_by: row.get(8)?,
        digest: [0; 32],
        mac: array(row, 9)?,
    })
}
