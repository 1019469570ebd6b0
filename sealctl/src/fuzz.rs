//! The body of the fuzz target of this crate (`docs/fuzzing.md`). Compiled for the fuzzer and for
//! tests only.

/// The configuration of an aziot Key Service.
pub fn keyd_config(data: &[u8]) {
    crate::command::keyd::fuzz::keyd_config(data);
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn corpus_of_keyd_configurations_holds() {
        super::replay::replay("keyd_config", super::keyd_config);
    }
}
