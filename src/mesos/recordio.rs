//! RecordIO: `<decimal length>\n<exactly that many bytes>`, repeated. Chunk borders mean nothing.

use bytes::{Buf, Bytes, BytesMut};

/// Longest record that a [`Decoder`] takes by default: far above any state of a test topology.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A length has at most the digits of a `u64`.
const HEADER_BYTES_MAX: usize = 20;

/// A stream that can't be read on: there is no way to find the next record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The length isn't a number.
    #[error("expected a record's length in decimal digits, found {found:?}; the stream is lost, connect again")]
    Length {
        /// What stood there.
        found: String,
    },
    /// The record is longer than allowed.
    #[error("a record of {bytes} bytes is longer than the allowed {max_bytes}; the stream is lost, connect again")]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The bound.
        max_bytes: usize,
    },
}

/// Frames one record.
#[must_use]
pub fn encode(record: &[u8]) -> Bytes {
    let mut framed = format!("{}\n", record.len()).into_bytes();
    framed.extend_from_slice(record);
    framed.into()
}

/// Finds records in a stream of chunks.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    max_bytes: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(RECORD_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that takes records of at most this length.
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_bytes }
    }

    /// Takes the next chunk of the stream; read [`Decoder::next_record`] until it is `None` before the next one.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next complete record, if there is one.
    ///
    /// # Errors
    /// If the length can't be read or is beyond the bound. The decoder stays in that state.
    pub fn next_record(&mut self) -> Result<Option<Bytes>, RecordError> {
        let window = &self.buffer[..self.buffer.len().min(HEADER_BYTES_MAX + 1)];
        let Some(digits) = window.iter().position(|byte| *byte == b'\n') else {
            let plausible = window.len() <= HEADER_BYTES_MAX && window.iter().all(u8::is_ascii_digit);
            return if plausible { Ok(None) } else { Err(bad_length(window)) };
        };
        let text = &window[..digits];
        let length: u64 = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| bad_length(text))?;
        let too_long = RecordError::TooLong { bytes: length, max_bytes: self.max_bytes };
        let length = usize::try_from(length).ok().filter(|length| *length <= self.max_bytes).ok_or(too_long)?;
        if self.buffer.len() < digits + 1 + length {
            return Ok(None);
        }
        self.buffer.advance(digits + 1);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Whether a record has begun and isn't complete.
    #[must_use]
    pub fn is_in_record(&self) -> bool {
        !self.buffer.is_empty()
    }
}

fn bad_length(found: &[u8]) -> RecordError {
    RecordError::Length { found: String::from_utf8_lossy(found).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(decoder: &mut Decoder) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while let Some(record) = decoder.next_record().unwrap() {
            records.push(record.to_vec());
        }
        records
    }

    #[test]
    fn a_record_is_length_newline_bytes() {
        assert_eq!(&encode("{\"ü\"}".as_bytes())[..], "6\n{\"ü\"}".as_bytes());
    }

    #[test]
    fn what_is_no_length_is_fatal() {
        for bad in ["x", "\n", "-1\n", "+1\n", " 1\n", "123456789012345678901", "1x"] {
            let mut decoder = Decoder::default();
            decoder.push(bad.as_bytes());
            assert!(decoder.next_record().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_record_beyond_the_bound_is_refused_before_it_is_read() {
        let mut decoder = Decoder::new(4);
        decoder.push(b"4\nabcd5\n");
        assert_eq!(decoder.next_record().unwrap().unwrap(), "abcd");
        let refused = decoder.next_record();
        assert_eq!(refused, Err(RecordError::TooLong { bytes: 5, max_bytes: 4 }));
    }

    /// Bytes that look like headers now and then.
    fn noise() -> impl Strategy<Value = u8> {
        prop_oneof![4 => b'0'..=b'9', 2 => Just(b'\n'), 1 => any::<u8>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        /// Whatever comes: no record beyond the bound, none out of nothing, and no way back after an error.
        #[test]
        fn noise_is_read_within_bounds(
            chunks in prop::collection::vec(prop::collection::vec(noise(), 0..30), 0..20),
            max_bytes in 0usize..40,
        ) {
            let mut decoder = Decoder::new(max_bytes);
            let (mut fed, mut found, mut lost) = (0, 0, None);
            for chunk in chunks {
                decoder.push(&chunk);
                fed += chunk.len();
                loop {
                    match decoder.next_record() {
                        Ok(Some(record)) => {
                            prop_assert!(lost.is_none() && record.len() <= max_bytes);
                            found += record.len() + 2;
                        }
                        Ok(None) => {
                            prop_assert!(lost.is_none(), "an error is forgotten: {:?}", lost);
                            break;
                        }
                        Err(error) => {
                            lost = Some(error);
                            break;
                        }
                    }
                }
                prop_assert!(found <= fed);
            }
        }

        #[test]
        fn chunk_borders_mean_nothing(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            cuts in prop::collection::vec(1usize..20, 1..40),
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| encode(record).to_vec()).collect();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
                decoder.push(chunk);
                found.extend(all(&mut decoder));
                rest = tail;
            }
            prop_assert_eq!(found, records);
            prop_assert!(!decoder.is_in_record());
        }
    }
}
