//! The audit log: foreign lines into the verifier, and our own lines with one bit changed.

use crate::api::{Origin, Protection};
use crate::audit::{Chain, Counts, Kind, Outcome, Principal, Record, Verifier};
use crate::code::Code;
use crate::limits::AUDIT_LINE_MAX_BYTES;

/// Lines of a file. Those that are accepted have the sequence and the hash that follow.
pub fn audit_log(data: &[u8]) {
    for mut verifier in [Verifier::from_start(), Verifier::continued()] {
        let mut accepted = 0_u64;
        for line in data.split(|byte| *byte == b'\n') {
            match verifier.feed(line) {
                Ok(entry) => {
                    assert!(line.len() <= AUDIT_LINE_MAX_BYTES);
                    let after = Chain::after(line);
                    assert!(after.is_ok_and(|(chain, alone)| {
                        alone == entry && chain.next_sequence() == entry.seq.saturating_add(1)
                    }));
                    accepted = accepted.saturating_add(1);
                }
                Err(fault) => {
                    assert_eq!(fault.line, accepted.saturating_add(1));
                    assert!(fault.to_string().len() <= 200);
                    break;
                }
            }
        }
        let summary = verifier.finish();
        assert_eq!(summary.lines, accepted);
        let last = summary.first_sequence.saturating_add(accepted).saturating_sub(1);
        assert!(accepted == 0 || summary.last_sequence == last);
    }
}

/// Writes records of what the fuzzer chose, reads them back, and changes one bit of a line that
/// has one after it: that is always found.
pub fn audit_written(data: &[u8]) {
    let Some((&[place_high, place_low], texts)) = data.split_first_chunk() else { return };
    let texts = String::from_utf8_lossy(texts);
    let (mut chain, mut file) = (Chain::new(), Vec::new());
    let mut before = chain.clone();
    for (index, text) in texts.split('\n').take(8).enumerate() {
        let length = file.len();
        let number = u64::try_from(text.len()).unwrap_or(u64::MAX);
        match chain.append(&record(index, number, text), &mut file) {
            Ok(sequence) => assert_eq!(sequence, before.next_sequence()),
            Err(_too_long) => assert_eq!((file.len(), &chain), (length, &before)),
        }
        before = chain.clone();
    }
    let Some(summary) = verify(&file) else {
        assert!(file.is_empty(), "our own lines are refused");
        return;
    };
    assert_eq!(summary, (before.next_sequence().saturating_sub(1), before.last_hash().to_owned()));
    let mut lines = file.split_inclusive(|byte| *byte == b'\n');
    let last = lines.next_back().map_or(0, <[u8]>::len);
    let covered = file.len().saturating_sub(last);
    let bit = usize::from(u16::from_be_bytes([place_high, place_low]));
    if let Some(place) = (bit / 8).checked_rem(covered)
        && let Some(byte) = file.get_mut(place)
    {
        *byte ^= 1 << (bit % 8);
        assert_eq!(verify(&file), None, "bit {bit} does not matter");
    }
}

fn verify(file: &[u8]) -> Option<(u64, String)> {
    let mut verifier = Verifier::from_start();
    for line in file.strip_suffix(b"\n")?.split(|byte| *byte == b'\n') {
        verifier.feed(line).ok()?;
    }
    let summary = verifier.finish();
    Some((summary.last_sequence, summary.last_hash))
}

fn record(index: usize, number: u64, text: &str) -> Record<'_> {
    let small = u32::try_from(number).unwrap_or(u32::MAX);
    let empty = Record::new(Kind::Request, text, number % 5);
    match index % 4 {
        0 => empty,
        1 => Record {
            request: Some(text),
            principal: Some(Principal { uid: small, gid: 0, pid: -1 }),
            operation: Some(text),
            key: Some(text),
            version: Some(small),
            ..empty
        },
        2 => Record {
            provider: Some(text),
            protection: Some(Protection::Emulated),
            origin: Some(Origin::Generated),
            fallback: true,
            outcome: Some(Outcome::Failed(Code::Busy)),
            duration_us: Some(number),
            items: Some(Counts { total: small, failed: 0 }),
            ..empty
        },
        _ => Record {
            secret: Some(text),
            secret_version: Some(text),
            from: Some(text),
            unit: Some(text),
            resource: Some(text),
            expires_at: Some(number),
            outcome: Some(Outcome::Ok),
            repeated: Some(number),
            torn_bytes: Some(number),
            ..empty
        },
    }
}
