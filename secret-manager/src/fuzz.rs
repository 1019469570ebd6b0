//! The bodies of the fuzz targets of this crate (`docs/fuzzing.md`), each where it sees what it
//! tests. Compiled for the fuzzer and for tests only.

pub use crate::legacy::fuzz::legacy_import;
pub use crate::serve::fuzz::{config_secrets, credential_name, http_secrets};
pub use crate::source::mqtt::fuzz::{mqtt_message, mqtt_packet, mqtt_topic};

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_connections_holds() {
        replay("http_secrets", super::http_secrets);
        replay("credential_name", super::credential_name);
    }

    #[test]
    fn corpus_of_configurations_holds() {
        replay("config_secrets", super::config_secrets);
    }

    #[test]
    fn corpus_of_files_of_edge_secrets_holds() {
        replay("legacy_import", super::legacy_import);
    }

    #[test]
    fn corpus_of_mqtt_holds() {
        replay("mqtt_packet", super::mqtt_packet);
        replay("mqtt_message", super::mqtt_message);
        replay("mqtt_topic", super::mqtt_topic);
    }
}
