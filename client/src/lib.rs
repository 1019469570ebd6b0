//! Client library for Sealhost, async and blocking.
