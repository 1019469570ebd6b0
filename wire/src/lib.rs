//! What Sealhost clients and the host share: API types, errors, limits, formats.
