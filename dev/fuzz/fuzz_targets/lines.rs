//! Lines of stdio: how the stream is cut makes no difference, and bounds hold.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tollgate_mcp::{Line, LineDecoder, Segments, encode_line};

fn decode(stream: &[u8], chunk_size: usize, max: usize) -> Vec<Line> {
    let mut decoder = LineDecoder::new(max);
    let mut lines = Vec::new();
    for chunk in stream.chunks(chunk_size.max(1)) {
        decoder.push(Bytes::copy_from_slice(chunk));
        lines.extend(decoder.by_ref());
    }
    lines.extend(decoder.finish());
    assert!(!decoder.has_partial());
    lines
}

fuzz_target!(|data: &[u8]| {
    let Some((&[size, max], stream)) = data.split_first_chunk::<2>() else { return };
    let (size, max) = (usize::from(size), usize::from(max) * 4);
    let whole = decode(stream, stream.len(), max);
    assert_eq!(whole, decode(stream, size, max));
    for line in whole {
        match line {
            Line::Message(line) => assert!(line.len() <= max && !line.contains(&b'\n')),
            Line::Oversize { id: Some(id), .. } => assert!(!id.is_empty()),
            Line::Oversize { .. } => {}
        }
    }

    let encoded = encode_line(&Segments::from(Bytes::copy_from_slice(stream))).into_bytes();
    assert_eq!(encoded.iter().filter(|&&byte| byte == b'\n').count(), 1);
    assert!(decode(&encoded, size, usize::MAX).len() <= 1);
});
