//! What sources bring of their own accord, on its way into the chain.

pub(super) mod directory;
pub(super) mod mqtt;
