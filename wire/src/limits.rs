//! Every limit that a client can meet, in one place. Each has a test at the limit and one past it.

/// Longest key name, in bytes.
pub const KEY_NAME_MAX_BYTES: usize = 128;

/// Longest provider name and provider kind, in bytes.
pub const PROVIDER_NAME_MAX_BYTES: usize = 32;

/// Longest plaintext of one envelope, in bytes.
pub const PLAINTEXT_MAX_BYTES: usize = 1024 * 1024;

/// Longest canonical encoding of an encryption context, in bytes.
pub const CONTEXT_MAX_BYTES: usize = 8 * 1024;

/// Most items in one batch.
pub const BATCH_MAX_ITEMS: usize = 256;

/// Longest request body, in bytes.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Longest message of `mac` and `verify`, in bytes: one HMAC command of a TPM.
pub const MESSAGE_MAX_BYTES: usize = 1024;

/// Most random bytes in one reply.
pub const RANDOM_MAX_BYTES: usize = 1024;

/// Longest imported HMAC key, in bytes; the shortest is one byte.
pub const IMPORT_KEY_MAX_BYTES: usize = 1024;

/// Length of an imported private number of P-256, in bytes.
pub const PRIVATE_NUMBER_BYTES: usize = 32;

/// Length of an HMAC-SHA256 value, in bytes.
pub const MAC_BYTES: usize = 32;

/// Length of the SHA-256 digest that `sign` takes, in bytes.
pub const DIGEST_BYTES: usize = 32;

/// Longest DER encoding of an ECDSA P-256 signature, in bytes.
pub const SIGNATURE_MAX_BYTES: usize = 72;

/// Most recipients of one envelope; at least one is there.
pub const RECIPIENTS_MAX: usize = 16;

/// Longest binary envelope, in bytes: the longest ciphertext with its tag, and room for a header
/// with the longest name and most recipients.
pub const ENVELOPE_MAX_BYTES: usize = PLAINTEXT_MAX_BYTES + 4096;

/// Longest line of the audit log, in bytes, without its newline.
pub const AUDIT_LINE_MAX_BYTES: usize = 4096;
