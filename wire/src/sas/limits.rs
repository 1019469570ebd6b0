//! Every limit that a client of the SAS signer can meet. Each has a test at it and one past it.

/// Longest host name, in bytes (RFC 1123 section 2.1).
pub const HOST_NAME_MAX_BYTES: usize = 253;

/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const HOST_LABEL_MAX_BYTES: usize = 63;

/// Longest name of an event hub, in bytes.
pub const ENTITY_NAME_MAX_BYTES: usize = 256;

/// Longest device, module, publisher or registration id, in characters.
pub const ID_MAX_CHARS: usize = 128;

/// Longest id scope of the device provisioning service, in bytes.
pub const ID_SCOPE_MAX_BYTES: usize = 32;

/// Longest policy name (`skn`), in bytes.
pub const POLICY_NAME_MAX_BYTES: usize = 64;

/// Longest name of a SAS key, in bytes: with `sas/` before it and `/secondary` behind it, a key
/// name of the host.
pub const SAS_KEY_NAME_MAX_BYTES: usize = 114;

/// Longest life of a token, in seconds: 366 days. Rules set shorter ones.
pub const TTL_MAX_SECONDS: u64 = 366 * 24 * 60 * 60;

/// Longest string to sign, in bytes: one HMAC command of a TPM, which the host's `mac` takes.
pub const STRING_TO_SIGN_MAX_BYTES: usize = crate::limits::MESSAGE_MAX_BYTES;

/// Longest token, in bytes: the longest string to sign, and room for the other parameters.
pub const TOKEN_MAX_BYTES: usize = STRING_TO_SIGN_MAX_BYTES + 512;

/// Longest resource that a token is verified for, in bytes.
pub const RESOURCE_MAX_BYTES: usize = 2048;

/// Longest connection string, in bytes.
pub const CONNECTION_STRING_MAX_BYTES: usize = 4096;

/// Longest text of a key, in bytes: base64 of the longest key that the host imports.
pub const KEY_TEXT_MAX_BYTES: usize = 1368;
