//! A request body as it is written: it grows without leaving a copy behind.

use std::io;

use zeroize::Zeroizing;

const FIRST_BYTES: usize = 1024;

/// Bytes of which every copy is wiped.
///
/// # Limits
/// Holds at most the number of bytes given; one more is refused, and nothing of it is taken.
pub(crate) struct WipedBuffer {
    bytes: Zeroizing<Vec<u8>>,
    limit: usize,
}

impl WipedBuffer {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::new()), limit }
    }

    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.bytes
    }

    /// A `Vec` that grows by itself frees its old memory as it is.
    fn reserve(&mut self, needed: usize) {
        if needed <= self.bytes.capacity() {
            return;
        }
        let capacity = needed.max(self.bytes.capacity().saturating_mul(2)).max(FIRST_BYTES);
        let mut larger = Zeroizing::new(Vec::with_capacity(capacity));
        larger.extend_from_slice(&self.bytes);
        self.bytes = larger;
    }
}

impl io::Write for WipedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.bytes.len().saturating_add(bytes.len());
        if needed > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.reserve(needed);
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn check(limit: usize, parts: &[usize]) -> io::Result<usize> {
        let mut buffer = WipedBuffer::new(limit);
        for &bytes in parts {
            buffer.write_all(&vec![7; bytes])?;
        }
        let bytes = buffer.into_bytes();
        assert!(bytes.iter().all(|&byte| byte == 7));
        Ok(bytes.len())
    }

    #[test]
    fn bytes_at_limit_are_held() {
        assert_eq!(check(5000, &[1, 1023, 1, 3975]).unwrap(), 5000);
    }

    #[test]
    fn bytes_one_past_limit_are_refused() {
        let error = check(5000, &[4999, 2]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn growing_never_uses_the_growth_of_the_vector() {
        let mut buffer = WipedBuffer::new(1 << 20);
        for _ in 0..1000 {
            let needed = buffer.bytes.len() + 100;
            buffer.reserve(needed);
            let capacity = buffer.bytes.capacity();
            buffer.write_all(&[7; 100]).unwrap();
            assert_eq!(buffer.bytes.capacity(), capacity);
        }
    }
}
