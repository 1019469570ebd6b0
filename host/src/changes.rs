//! One lock for each key that is being changed, so that changes of one key follow each other and
//! changes of different keys do not wait for each other's devices.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use wire::name::KeyName;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The locks that are held or waited for.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<HashMap<KeyName, Lock>>);

/// The right to change one key.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    changes: &'a Changes,
    name: KeyName,
    held: Option<OwnedMutexGuard<()>>,
}

impl Changes {
    /// Waits for the right to change a key.
    pub(crate) async fn of(&self, name: &KeyName) -> Change<'_> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(name.clone()).or_default())
        };
        Change { changes: self, name: name.clone(), held: Some(lock.lock_owned().await) }
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        drop(self.held.take());
        let mut locks = self.changes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if locks.get(&self.name).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lock_of_a_finished_change_is_forgotten() {
        let changes = Changes::default();
        let name = KeyName::parse("a").unwrap();
        drop(changes.of(&name).await);
        drop(changes.of(&name).await);
        assert!(changes.0.lock().unwrap().is_empty());
    }
}
