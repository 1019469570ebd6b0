//! The verbs, as the plan and the journal name them.

use std::str::FromStr;

macro_rules! verbs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A function of the contract (`provider_core::Provider`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Verb { $($(#[$doc])* $variant),+ }

        impl Verb {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

verbs! {
    /// Names what a PIN would be shown to.
    AuthSubject = "auth_subject",
    /// Opens the device.
    Open = "open",
    /// Ends the instance.
    Close = "close",
    /// Describes the device.
    Info = "info",
    /// Runs the known answers.
    SelfTest = "self_test",
    /// Makes a key.
    Generate = "generate",
    /// Imports a key.
    Import = "import",
    /// Removes a key.
    Destroy = "destroy",
    /// Computes a MAC.
    Mac = "mac",
    /// Draws random bytes.
    Random = "random",
    /// Gives the public half of a key.
    PublicKey = "public_key",
    /// Signs a digest.
    Sign = "sign",
    /// Encrypts a text.
    AeadEncrypt = "aead_encrypt",
    /// Decrypts a text.
    AeadDecrypt = "aead_decrypt",
    /// Gives the modulus of a key.
    RsaPublic = "rsa_public",
    /// Does the private operation of RSA.
    RsaPrivate = "rsa_private",
    /// Makes a counter.
    CounterCreate = "counter_create",
    /// Raises a counter.
    CounterIncrement = "counter_increment",
    /// Reads a counter.
    CounterRead = "counter_read",
    /// Removes a counter.
    CounterDestroy = "counter_destroy",
    /// Tells how near a lockout is.
    Condition = "condition",
}

impl Verb {
    /// Whether it can answer with an error.
    pub(crate) const fn can_fail(self) -> bool {
        !matches!(self, Self::Info | Self::Close)
    }

    /// Whether it has a number among those of `any`: a number of `info` and `close` would be one
    /// without a fault, and `condition` is asked by the host's own clock.
    pub(crate) const fn is_numbered(self) -> bool {
        self.can_fail() && !matches!(self, Self::Condition)
    }

    /// Whether it gives bytes of a length that it states itself.
    pub(crate) const fn gives_length(self) -> bool {
        matches!(
            self,
            Self::Open
                | Self::Generate
                | Self::Import
                | Self::AeadEncrypt
                | Self::AeadDecrypt
                | Self::RsaPublic
                | Self::RsaPrivate
                | Self::CounterCreate
        )
    }

    /// Whether it gives an answer of a fixed length.
    pub(crate) const fn gives_fixed(self) -> bool {
        matches!(
            self,
            Self::Mac
                | Self::Random
                | Self::PublicKey
                | Self::Sign
                | Self::CounterCreate
                | Self::CounterIncrement
                | Self::CounterRead
        )
    }
}

impl FromStr for Verb {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.iter().find(|verb| verb.name() == text);
        found.copied().ok_or("it begins with no verb of the contract, nor with `any`")
    }
}
