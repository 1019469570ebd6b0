//! What each answer of a device looks like when it is wrong, or when nothing was written.

use provider_core::condition::Standing;
use provider_core::key::{MAC_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES};
use provider_core::{
    AuthSubject, Condition, Identity, KeyBlob, Mac, PublicKey, RsaModulus, SecretBytes, Signature,
};

/// An answer that can be spoilt.
pub(crate) trait Answer: Sized {
    /// The answer of a verb that has none, for claiming it without calling.
    fn claim() -> Option<Self> {
        None
    }

    /// The same with one bit flipped, in a place that is no mark of its form.
    fn wrong(self) -> Self;

    /// What the caller finds where nothing was written.
    fn empty(self) -> Self;
}

impl Answer for () {
    fn claim() -> Option<Self> {
        Some(())
    }

    fn wrong(self) -> Self {}

    fn empty(self) -> Self {}
}

impl Answer for Mac {
    fn wrong(self) -> Self {
        let mut bytes = zeroize::Zeroizing::new(self.expose().to_vec());
        flip(&mut bytes);
        Self::new(bytes)
    }

    fn empty(self) -> Self {
        let length = if self.is_empty() { MAC_BYTES } else { self.len() };
        Self::new(zeroize::Zeroizing::new(vec![0; length]))
    }
}

/// Secret bytes whose length is stated with them, as that of a MAC is not.
pub(crate) struct Secret(pub(crate) SecretBytes);

impl Answer for Secret {
    fn wrong(self) -> Self {
        Self(self.0.wrong())
    }

    fn empty(self) -> Self {
        Self(SecretBytes::copy_of(&[]))
    }
}

/// A ciphertext and its tag.
impl Answer for Vec<u8> {
    fn wrong(mut self) -> Self {
        flip(&mut self);
        self
    }

    fn empty(self) -> Self {
        Self::new()
    }
}

/// A wrong one has another bit than the lowest flipped: an even number is no modulus.
impl Answer for RsaModulus {
    fn wrong(mut self) -> Self {
        if let Some(last) = self.0.last_mut() {
            *last ^= 2;
        }
        self
    }

    fn empty(self) -> Self {
        Self(Vec::new())
    }
}

impl Answer for KeyBlob {
    fn wrong(mut self) -> Self {
        flip(&mut self.0);
        self
    }

    fn empty(self) -> Self {
        Self(Vec::new())
    }
}

impl Answer for Identity {
    fn wrong(mut self) -> Self {
        flip(&mut self.0);
        self
    }

    fn empty(self) -> Self {
        Self(Vec::new())
    }
}

impl Answer for Option<AuthSubject> {
    fn wrong(self) -> Self {
        self.map(|mut subject| {
            flip(&mut subject.0);
            subject
        })
    }

    fn empty(self) -> Self {
        None
    }
}

impl Answer for PublicKey {
    fn wrong(mut self) -> Self {
        flip(&mut self.0);
        self
    }

    fn empty(self) -> Self {
        Self([0; PUBLIC_KEY_BYTES])
    }
}

impl Answer for Signature {
    fn wrong(mut self) -> Self {
        flip(&mut self.0);
        self
    }

    fn empty(self) -> Self {
        Self([0; SIGNATURE_BYTES])
    }
}

/// The value of a counter: a wrong one is less by one.
impl Answer for u64 {
    fn wrong(self) -> Self {
        self.saturating_sub(1)
    }

    fn empty(self) -> Self {
        0
    }
}

impl Answer for (KeyBlob, u64) {
    fn wrong(self) -> Self {
        (self.0.wrong(), self.1)
    }

    fn empty(self) -> Self {
        (self.0.empty(), self.1.empty())
    }
}

/// A wrong one says of a calm device that it is locked, and of any other that it is calm.
impl Answer for Condition {
    fn wrong(self) -> Self {
        let standing = match self.standing {
            Standing::Calm => Standing::Locked,
            Standing::TriesUsed | Standing::LastTry | Standing::Locked => Standing::Calm,
        };
        Self { standing, ..self }
    }

    fn empty(self) -> Self {
        self
    }
}

/// Flips the lowest bit of the last byte.
fn flip(bytes: &mut [u8]) {
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_modulus_is_another_one_that_callers_take() {
        let modulus = RsaModulus(vec![0x81; 256]);
        let wrong = modulus.clone().wrong();
        assert!(wrong.is_whole() && wrong != modulus);
    }
}
