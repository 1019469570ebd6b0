//! The command line `sealctl`.

fn main() {}
