//! Ranges of TPM handles that the operator gives us, written `0x81020000-0x8102000f`.

/// Some handles of one kind, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandleRange {
    first: u32,
    last: u32,
}

/// What a range must lie in and leave out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    /// The handles that may be used.
    pub(crate) within: HandleRange,
    /// Handles that others use by convention.
    pub(crate) not: &'static [u32],
    /// Most handles of one range.
    pub(crate) most: u32,
}

/// Persistent objects of the owner (TPM 2.0 Part 2, 7.4; TCG Registry of Reserved TPM 2.0 Handles
/// and Localities, 2.3.1), less the storage root key and the endorsement key.
pub(crate) const OWNER_PERSISTENT: Ground = Ground {
    within: HandleRange { first: 0x8100_0000, last: 0x817F_FFFF },
    not: &[0x8100_0001, 0x8101_0001],
    most: 64,
};

/// NV indices of the owner (TCG Registry of Reserved TPM 2.0 Handles and Localities, 2.2.2).
pub(crate) const OWNER_NV: Ground =
    Ground { within: HandleRange { first: 0x0180_0000, last: 0x01BF_FFFF }, not: &[], most: 64 };

/// Where counters are unless the operator says otherwise.
pub(crate) const COUNTERS_DEFAULT: HandleRange =
    HandleRange { first: 0x0182_0000, last: 0x0182_000F };

impl HandleRange {
    /// Reads a range.
    ///
    /// # Errors
    /// A sentence that completes "must be" or names the handle that is in the way.
    pub(crate) fn parse(text: &str, ground: &Ground) -> Result<Self, String> {
        let Ground { within, not, most } = ground;
        let range = text.split_once('-').and_then(|(first, last)| {
            let range = Self { first: handle(first)?, last: handle(last)? };
            (range.first <= range.last).then_some(range)
        });
        let range = range.filter(|range| within.first <= range.first && range.last <= within.last);
        let Some(range) = range.filter(|range| range.len() <= *most) else {
            return Err(format!(
                "must be FIRST-LAST, at most {most} handles from {:#x} to {:#x}",
                within.first, within.last
            ));
        };
        match not.iter().find(|taken| range.contains(**taken)) {
            None => Ok(range),
            Some(taken) => Err(format!("takes in {taken:#x}, which others use by convention")),
        }
    }

    /// The first handle.
    pub(crate) const fn first(&self) -> u32 {
        self.first
    }

    /// How many handles.
    pub(crate) const fn len(&self) -> u32 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Whether a handle is one of them.
    pub(crate) const fn contains(&self, handle: u32) -> bool {
        self.first <= handle && handle <= self.last
    }

    /// The handles in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..=self.last
    }
}

/// Eight hexadecimal digits behind `0x`, so that a range reads as the tools print it.
fn handle(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0x")?;
    let hexadecimal = digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if hexadecimal { u32::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<u32, &str>) {
        match (HandleRange::parse(text, &OWNER_PERSISTENT), expected) {
            (Ok(range), Ok(len)) => assert_eq!(range.len(), len, "{text}"),
            (Err(said), Err(words)) => assert!(said.contains(words), "{text}: {said}"),
            (seen, _) => panic!("{text}: {seen:?}"),
        }
    }

    #[test]
    fn range_includes_both_ends() {
        check("0x81020000-0x8102000f", Ok(16));
        check("0x81020000-0x81020000", Ok(1));
        let range = HandleRange::parse("0x81020000-0x81020001", &OWNER_PERSISTENT).unwrap();
        assert_eq!(range.iter().collect::<Vec<_>>(), [0x8102_0000, 0x8102_0001]);
    }

    #[test]
    fn range_has_a_greatest_length() {
        check("0x81020000-0x8102003F", Ok(64));
        check("0x81020000-0x81020040", Err("at most 64 handles"));
    }

    #[test]
    fn range_stays_with_the_owner() {
        check("0x81000002-0x81000003", Ok(2));
        check("0x817FFFFF-0x817fffff", Ok(1));
        check("0x817fffff-0x81800000", Err("from 0x81000000 to 0x817fffff"));
        check("0x80ffffff-0x81000000", Err("from 0x81000000 to 0x817fffff"));
    }

    #[test]
    fn range_leaves_out_what_others_use() {
        check("0x81000000-0x81000003", Err("takes in 0x81000001"));
        check("0x81010001-0x81010001", Err("takes in 0x81010001"));
    }

    #[test]
    fn default_range_of_counters_is_the_owners() {
        let range = HandleRange::parse("0x01820000-0x0182000f", &OWNER_NV);
        assert_eq!(range, Ok(COUNTERS_DEFAULT));
        for past in ["0x017fffff-0x01800000", "0x01bfffff-0x01c00000"] {
            assert!(HandleRange::parse(past, &OWNER_NV).is_err(), "{past}");
        }
        assert_eq!(HandleRange::parse("0x01800000-0x0180003f", &OWNER_NV).unwrap().len(), 64);
        assert!(HandleRange::parse("0x01800000-0x01800040", &OWNER_NV).is_err());
    }

    #[test]
    fn text_of_another_form_is_refused() {
        for text in [
            "",
            "-",
            "0x81020000",
            "0x81020001-0x81020000",
            "81020000-81020001",
            "0x8102000-0x8102001",
            "0x+8102000-0x81020000",
            " 0x81020000-0x81020001",
            "0x81020000-0x81020001-0x81020002",
        ] {
            check(text, Err("must be FIRST-LAST"));
        }
    }
}
