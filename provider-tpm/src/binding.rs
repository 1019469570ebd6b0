//! PCR bindings: their text, and the policy that a key bound to them has
//! (TPM 2.0 Part 3, 23.7 TPM2_PolicyPCR).

use aws_lc_rs::digest::{self, SHA256};
use provider_core::{ProviderError, Result};

/// PCRs that a PC has (TCG PC Client Platform TPM Profile, 4.6).
const PCR_COUNT: u8 = 24;
/// TPM_CC_PolicyPCR.
const CC_POLICY_PCR: u32 = 0x0000_017F;

/// A bank of PCRs, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bank {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl Bank {
    const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of one value.
    pub(crate) const fn value_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// TPM_ALG_ID (TCG Algorithm Registry).
    const fn algorithm_id(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000B,
            Self::Sha384 => 0x000C,
            Self::Sha512 => 0x000D,
        }
    }
}

/// One bank and at least one PCR of it, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) bank: Bank,
    pub(crate) pcrs: Vec<u8>,
}

impl Binding {
    /// Reads the one canonical text of a binding, as `sha256:7,11`.
    ///
    /// # Errors
    /// `InvalidParameter`: the bank is unknown, a PCR is not a plain number from 0 to 23, or they
    /// do not ascend.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (bank, numbers) = text.split_once(':').unwrap_or((text, ""));
        let bank = Bank::ALL.into_iter().find(|known| known.name() == bank);
        let bank = bank.ok_or_else(|| {
            ProviderError::invalid("the PCR bank is not one of sha1, sha256, sha384, sha512")
        })?;
        let pcrs = numbers.split(',').map(pcr).collect::<Option<Vec<_>>>();
        let pcrs = pcrs.ok_or_else(|| {
            ProviderError::invalid("a PCR is not a number from 0 to 23 without leading zeros")
        })?;
        if !pcrs.is_sorted_by(|one, next| one < next) {
            return Err(ProviderError::invalid("PCRs must ascend, each once"));
        }
        Ok(Self { bank, pcrs })
    }

    /// The text.
    pub(crate) fn text(&self) -> String {
        let numbers: Vec<_> = self.pcrs.iter().map(u8::to_string).collect();
        format!("{}:{}", self.bank.name(), numbers.join(","))
    }

    /// The digest over the PCR values that TPM2_PolicyPCR compares, in the order of the PCRs.
    pub(crate) fn values_digest(values: &[Vec<u8>]) -> [u8; 32] {
        sha256(&values.concat())
    }

    /// The policy digest of a session that ran one TPM2_PolicyPCR with these values. Computed
    /// here and not asked of the TPM, so that nobody on the bus can choose it.
    pub(crate) fn policy(&self, values: &[Vec<u8>]) -> [u8; 32] {
        let mut input = vec![0; 32];
        input.extend(CC_POLICY_PCR.to_be_bytes());
        // TPML_PCR_SELECTION (Part 2, 10.9.7): one selection, of three octets.
        input.extend(1_u32.to_be_bytes());
        input.extend(self.bank.algorithm_id().to_be_bytes());
        input.push(3);
        input.extend(self.select());
        input.extend(Self::values_digest(values));
        sha256(&input)
    }

    fn select(&self) -> [u8; 3] {
        let bits = self.pcrs.iter().fold(0_u32, |bits, pcr| bits | 1 << (pcr % 32));
        let [first, second, third, _] = bits.to_le_bytes();
        [first, second, third]
    }
}

fn pcr(text: &str) -> Option<u8> {
    let number: u8 = text.parse().ok().filter(|number| *number < PCR_COUNT)?;
    (number.to_string() == text).then_some(number)
}

/// SHA-256, FIPS 180-4.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut output = [0; 32];
    output.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&[u8]>) {
        match (Binding::parse(text), expected) {
            (Ok(binding), Some(pcrs)) => {
                assert_eq!(binding.pcrs, pcrs);
                assert_eq!(binding.text(), text);
            }
            (Err(_), None) => {}
            (seen, _) => panic!("{text}: {seen:?}"),
        }
    }

    #[test]
    fn canonical_texts_pass() {
        check("sha256:7", Some(&[7]));
        check("sha1:0,23", Some(&[0, 23]));
        check("sha512:7,11", Some(&[7, 11]));
    }

    #[test]
    fn pcr_past_the_last_is_refused() {
        check("sha256:24", None);
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in
            ["sha256", "sha256:", "sha256:07", "sha256:+7", "sha256:7,", "SHA256:7", "md5:7"]
        {
            check(text, None);
        }
    }

    #[test]
    fn pcrs_out_of_order_or_double_are_refused() {
        check("sha256:11,7", None);
        check("sha256:7,7", None);
    }

    #[test]
    fn selection_sets_the_bit_of_each_pcr() {
        assert_eq!(Binding::parse("sha256:0,7,8,23").unwrap().select(), [0x81, 0x01, 0x80]);
    }
}
