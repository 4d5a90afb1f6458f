//! A stream of events: how it is cut makes no difference, bounds hold, and what is encoded is decoded.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate_mcp::{Segments, SseDecoder, SseError, SseEvent, encode_event};

fn decode(stream: &[u8], chunk_size: usize, max: usize) -> (Vec<Result<SseEvent, SseError>>, bool) {
    let mut decoder = SseDecoder::new(max);
    let mut events = Vec::new();
    for chunk in stream.chunks(chunk_size.max(1)) {
        decoder.push(Bytes::copy_from_slice(chunk));
        events.extend(decoder.by_ref());
    }
    let has_partial = decoder.has_partial();
    (events, has_partial)
}

fuzz_target!(|data: &[u8]| {
    let Some((&[size, max], stream)) = data.split_first_chunk::<2>() else { return };
    let (size, max) = (usize::from(size), usize::from(max) * 4);
    let whole = decode(stream, stream.len(), max);
    assert_eq!(whole, decode(stream, size, max));
    for event in whole.0.into_iter().flatten() {
        assert!(event.data.len() <= max);
    }

    let encoded = encode_event(&Segments::from(Bytes::copy_from_slice(stream)), Some("7")).into_bytes();
    let (events, has_partial) = decode(&encoded, size, usize::MAX);
    let [Ok(event)] = events.as_slice() else { panic!("{events:?}") };
    assert!(!has_partial);
    assert_eq!(event.id.as_deref(), Some("7"));
    assert!(
        event
            .data
            .iter()
            .zip(stream)
            .all(|(got, sent)| got == sent || (*got == b' ' && b"\r\n".contains(sent)))
    );
    assert_eq!(event.data.len(), stream.len());
});
