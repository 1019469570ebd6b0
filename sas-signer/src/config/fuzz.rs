//! The body of the fuzz target of this file (`docs/fuzzing.md`).

use std::path::Path;

use daemon::config;

/// The content of a configuration file of the SAS signer.
pub fn config_sas(data: &[u8]) {
    match config::check(Path::new("/f"), data, super::whole) {
        Ok(config) => {
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
