//! The daemon `sealhost`.

fn main() {}
