//! How often a loop of chance goes round: a few times in `./check`, thousands of times when asked.

/// The rounds of a loop: the number in `TESTS_ROUNDS`, where that is set, or else the usual one.
///
/// # Panics
/// When what is set is no number.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a knob of the tests alone; no daemon reads it")]
pub fn rounds(usual: usize) -> usize {
    match std::env::var("TESTS_ROUNDS") {
        Ok(text) => text.parse().unwrap_or_else(|_error| panic!("TESTS_ROUNDS is {text}")),
        Err(_unset) => usual,
    }
}
