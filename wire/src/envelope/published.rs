//! Published test vectors, as `tests/vectors/published/extract.py` wrote them.

/// The text of a file of published vectors.
macro_rules! published {
    ($file:literal) => {
        include_str!(concat!("../../../tests/vectors/published/", $file))
    };
}
pub(super) use published;

/// The lines of a file, each of `N` fields.
#[track_caller]
pub(super) fn vectors<const N: usize>(text: &str) -> Vec<[String; N]> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    fields.map(|fields| fields.try_into().unwrap()).collect()
}

pub(super) fn array<const N: usize>(hex: &str) -> [u8; N] {
    unhex(hex).try_into().unwrap()
}

pub(super) fn unhex(hex: &str) -> Vec<u8> {
    let digits = if hex == "-" { "" } else { hex };
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}
