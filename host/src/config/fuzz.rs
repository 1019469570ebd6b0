//! The body of the fuzz target of this file (`docs/fuzzing.md`).

use std::path::Path;

use daemon::config;

use super::file;

/// The content of a configuration file of the host.
pub fn config_host(data: &[u8]) {
    match config::check(Path::new("/f"), data, file::whole) {
        Ok(config) => {
            assert!(!config.providers.is_empty());
            let named = |name| config.providers.iter().filter(|it| it.name == name).count();
            assert!(config.providers.iter().all(|provider| named(provider.name.clone()) == 1));
            assert!(config.selection.order.iter().all(|name| named(name.clone()) == 1));
            assert!(config.state_dir.is_absolute());
            let _warnings = config.warnings();
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("/f: "));
            assert!(message.len() / 300 <= data.len().max(16), "{} bytes", message.len());
        }
    }
}
