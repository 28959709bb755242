//! The codec must give the same records however the bytes are split, and never more
//! bytes than came in.

#![no_main]

use bytes::BytesMut;
use gantry_mesos::recordio::RecordIo;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fn decode(bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, bool) {
    let mut codec = RecordIo::new(1 << 16);
    let mut buffer = BytesMut::new();
    let mut records = Vec::new();
    for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(_) => return (records, false),
            }
        }
    }
    let complete = matches!(codec.decode_eof(&mut buffer), Ok(None));
    (records, complete)
}

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (step, bytes) = input;
    let split = decode(&bytes, usize::from(step).max(1));
    let whole = decode(&bytes, bytes.len().max(1));
    assert_eq!(split, whole);
    assert!(whole.0.iter().map(Vec::len).sum::<usize>() <= bytes.len());
});
