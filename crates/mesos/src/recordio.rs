//! RecordIO, the framing of every Mesos stream.
//!
//! A record is its length in ASCII decimal digits, a line feed, and that many
//! bytes; nothing follows it (Mesos `3rdparty/stout/include/stout/recordio.hpp`).
//! Records have nothing to do with the chunks of HTTP.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;
use tokio_util::codec::{Decoder, Encoder};

/// Default limit of one record: 256 MiB.
///
/// The largest honest record is the SUBSCRIBED event of the operator API with the
/// state of a whole cluster, tens of megabytes at 10,000 agents.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// Longest length line: as many digits as the largest 64-bit number has.
const LENGTH_DIGITS_MAX: usize = 20;

/// Why a stream of records cannot be read any further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordIoError {
    /// Something other than a decimal number stands where a length should.
    #[error("not a RecordIO stream: expected a decimal record length, found {found:?}")]
    BadLength {
        /// What stands there, as far as it was read (at most 21 bytes).
        found: String,
    },
    /// A record is announced that is larger than the limit.
    #[error("a record of {announced} bytes is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The announced length, in bytes; `u64::MAX` if larger than that.
        announced: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The stream ended within a record.
    #[error("the stream ended within a record ({present} of {expected} bytes)")]
    Truncated {
        /// Bytes that had come.
        present: usize,
        /// Bytes announced; 0 if the stream ended within the length itself.
        expected: usize,
    },
    /// The transport failed.
    #[error("reading the stream failed: {0}")]
    Io(#[from] io::Error),
}

/// Codec for one stream of records, for use with `tokio_util::codec` or by hand.
///
/// Never allocates by the announced length: memory grows with the bytes that
/// really came. After an error the stream cannot be resumed.
#[derive(Clone, Debug)]
pub struct RecordIo {
    limit: usize,
    /// Length of the record whose bytes are being awaited.
    expected: Option<usize>,
}

impl Default for RecordIo {
    fn default() -> Self {
        Self::new(RECORD_BYTES_MAX)
    }
}

impl RecordIo {
    /// A codec that refuses records of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            expected: None,
        }
    }

    fn length(&self, src: &mut BytesMut) -> Result<Option<usize>, RecordIoError> {
        let line = &src[..src.len().min(LENGTH_DIGITS_MAX + 1)];
        let Some(end) = line.iter().position(|b| !b.is_ascii_digit()) else {
            if line.len() > LENGTH_DIGITS_MAX {
                return Err(bad_length(line));
            }
            return Ok(None);
        };
        if end == 0 || line[end] != b'\n' {
            return Err(bad_length(&line[..=end]));
        }
        let announced = line[..end].iter().fold(0u64, |n, b| {
            n.saturating_mul(10).saturating_add(u64::from(b - b'0'))
        });
        src.advance(end + 1);
        match usize::try_from(announced) {
            Ok(length) if length <= self.limit => Ok(Some(length)),
            _ => Err(RecordIoError::TooLarge {
                announced,
                limit: self.limit,
            }),
        }
    }
}

fn bad_length(found: &[u8]) -> RecordIoError {
    RecordIoError::BadLength {
        found: String::from_utf8_lossy(found).into_owned(),
    }
}

impl Decoder for RecordIo {
    type Item = Bytes;
    type Error = RecordIoError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, RecordIoError> {
        let expected = match self.expected {
            Some(expected) => expected,
            None => match self.length(src)? {
                Some(expected) => *self.expected.insert(expected),
                None => return Ok(None),
            },
        };
        if src.len() < expected {
            return Ok(None);
        }
        self.expected = None;
        Ok(Some(src.split_to(expected).freeze()))
    }

    fn decode_eof(&mut self, src: &mut BytesMut) -> Result<Option<Bytes>, RecordIoError> {
        match self.decode(src)? {
            Some(record) => Ok(Some(record)),
            None if src.is_empty() && self.expected.is_none() => Ok(None),
            None => Err(RecordIoError::Truncated {
                present: src.len(),
                expected: self.expected.unwrap_or(0),
            }),
        }
    }
}

impl<T: AsRef<[u8]>> Encoder<T> for RecordIo {
    type Error = RecordIoError;

    fn encode(&mut self, record: T, dst: &mut BytesMut) -> Result<(), RecordIoError> {
        let record = record.as_ref();
        if record.len() > self.limit {
            let announced = record.len() as u64;
            return Err(RecordIoError::TooLarge {
                announced,
                limit: self.limit,
            });
        }
        let length = record.len().to_string();
        dst.reserve(length.len() + 1 + record.len());
        dst.put_slice(length.as_bytes());
        dst.put_u8(b'\n');
        dst.put_slice(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(records: &[Vec<u8>]) -> BytesMut {
        let mut out = BytesMut::new();
        for record in records {
            RecordIo::default().encode(record, &mut out).unwrap();
        }
        out
    }

    /// Feeds the pieces one after the other and returns all records.
    fn decode<'a>(
        limit: usize,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Vec<u8>>, RecordIoError> {
        let mut codec = RecordIo::new(limit);
        let mut buffer = BytesMut::new();
        let mut records = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some(record) = codec.decode(&mut buffer)? {
                records.push(record.to_vec());
            }
        }
        while let Some(record) = codec.decode_eof(&mut buffer)? {
            records.push(record.to_vec());
        }
        Ok(records)
    }

    fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let text = "[0-9a-zäß→😀\n]{0,40}".prop_map(String::into_bytes);
        let bytes = proptest::collection::vec(any::<u8>(), 0..60);
        proptest::collection::vec(prop_oneof![text, bytes], 0..12)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_records(records in records(), step in 1usize..70) {
            let wire = encode(&records);
            prop_assert_eq!(decode(1000, wire.chunks(step)).unwrap(), records);
        }

        #[test]
        fn every_single_cut_gives_the_same_records(records in records()) {
            let wire = encode(&records);
            for cut in 0..=wire.len() {
                let (a, b) = wire.split_at(cut);
                prop_assert_eq!(&decode(1000, [a, b]).unwrap(), &records);
            }
        }

        #[test]
        fn a_cut_stream_is_never_a_clean_end(
            record in proptest::collection::vec(any::<u8>(), 1..60), keep in 0.0..1.0f64,
        ) {
            let wire = encode(&[record]);
            let keep = 1 + (keep * (wire.len() - 1) as f64) as usize;
            let is_truncated = matches!(
                decode(1000, [&wire[..keep]]),
                Err(RecordIoError::Truncated { .. })
            );
            prop_assert!(is_truncated);
        }

        #[test]
        fn garbage_never_panics_nor_yields_more_than_it_holds(
            garbage in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..50,
        ) {
            if let Ok(records) = decode(64, garbage.chunks(step)) {
                prop_assert!(records.iter().map(Vec::len).sum::<usize>() <= garbage.len());
            }
        }
    }

    #[test]
    fn hostile_lengths_are_refused_without_allocating() {
        let mut codec = RecordIo::default();
        let mut buffer = BytesMut::from(&b"268435457\n"[..]);
        assert!(matches!(
            codec.decode(&mut buffer),
            Err(RecordIoError::TooLarge {
                announced: 268_435_457,
                ..
            })
        ));
        assert!(matches!(
            decode(10, [&b"99999999999999999999\n"[..]]),
            Err(RecordIoError::TooLarge {
                announced: u64::MAX,
                ..
            })
        ));
        for bad in [
            "x",
            "-1\n",
            "+1\n",
            " 1\n",
            "\n",
            "1\r\n",
            "1x",
            "0x1\n",
            "000000000000000000001",
        ] {
            let error = decode(10, [bad.as_bytes()]).unwrap_err();
            assert!(
                matches!(error, RecordIoError::BadLength { .. }),
                "{bad:?}: {error}"
            );
        }
        // Allowed length, no bytes yet: nothing is reserved for it.
        let mut buffer = BytesMut::from(&b"268435456\n"[..]);
        assert!(codec.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() < 1024);
    }

    #[test]
    fn empty_records_and_leading_zeros_are_allowed() {
        assert_eq!(
            decode(10, [&b"0\n0\n002\nab"[..]]).unwrap(),
            [&b""[..], b"", b"ab"]
        );
        assert!(RecordIo::new(1).encode("ab", &mut BytesMut::new()).is_err());
    }
}
