//! The bodies of the fuzz targets of the host (`docs/fuzzing.md`), each where it sees what it
//! tests. Compiled for the fuzzer and for tests only.

pub use crate::config::fuzz::config_host;
pub use crate::front::http::fuzz::http_host;
pub use crate::front::keyd::fuzz::{http_keyd, keyd_glob, keyd_handle};
pub use crate::plugin::fuzz::{worker_answer, worker_call};

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn corpus_of_connections_holds() {
        replay("http_host", super::http_host);
    }

    #[test]
    fn corpus_of_the_aziot_dialect_holds() {
        replay("http_keyd", super::http_keyd);
        replay("keyd_handle", super::keyd_handle);
        replay("keyd_glob", super::keyd_glob);
    }

    #[test]
    fn corpus_of_configurations_holds() {
        replay("config_host", super::config_host);
    }

    #[test]
    fn corpus_of_worker_packets_holds() {
        replay("worker_call", super::worker_call);
        replay("worker_answer", super::worker_answer);
    }
}
