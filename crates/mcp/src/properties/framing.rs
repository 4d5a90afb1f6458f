//! Framing: what is encoded is decoded, and how a stream is cut makes no difference.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::generate::{object, text, write};
use crate::{
    Line, LineDecoder, Segments, SseDecoder, SseError, SseEvent, encode_comment, encode_event, encode_line,
    encode_named,
};

/// Cuts a stream into chunks of these sizes, used over and over.
fn chunks<'a>(mut stream: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = Bytes> + 'a {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = (*sizes.next()?).min(stream.len());
        let (chunk, rest) = stream.split_at(size);
        stream = rest;
        (!chunk.is_empty()).then(|| Bytes::copy_from_slice(chunk))
    })
}

fn decode_events(stream: &[u8], sizes: &[usize], max: usize) -> (Vec<Result<SseEvent, SseError>>, bool) {
    let mut decoder = SseDecoder::new(max);
    let mut events = Vec::new();
    for chunk in chunks(stream, sizes) {
        decoder.push(chunk);
        events.extend(decoder.by_ref());
    }
    let has_partial = decoder.has_partial();
    (events, has_partial)
}

fn decode_lines(stream: &[u8], sizes: &[usize], max: usize) -> Vec<Line> {
    let mut decoder = LineDecoder::new(max);
    let mut lines = Vec::new();
    for chunk in chunks(stream, sizes) {
        decoder.push(chunk);
        lines.extend(decoder.by_ref());
    }
    lines.extend(decoder.finish());
    lines
}

/// The standard's own procedure, over the whole stream at once.
fn decode_by_the_book(stream: &[u8]) -> Vec<SseEvent> {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut previous = 0;
    for &byte in stream {
        match (previous, byte) {
            (b'\r', b'\n') => {}
            (_, b'\r' | b'\n') => lines.push(Vec::new()),
            _ => lines.last_mut().unwrap().push(byte),
        }
        previous = byte;
    }
    lines.pop();
    let mut events = Vec::new();
    let (mut data, mut event, mut id, mut retry) = (None::<Vec<u8>>, String::new(), None, None);
    for line in lines {
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" if line.is_empty() => {
                let event = std::mem::take(&mut event);
                let (data, id, retry) = (data.take(), id.take(), retry.take());
                if data.is_some() || id.is_some() || retry.is_some() {
                    let event = (!event.is_empty()).then_some(event.into());
                    events.push(SseEvent { event, data: data.unwrap_or_default().into(), id, retry });
                }
            }
            b"data" => match &mut data {
                None => data = Some(value.to_vec()),
                Some(data) => data.extend([b"\n", value].concat()),
            },
            b"event" => event = String::from_utf8_lossy(value).into_owned(),
            b"id" if !value.contains(&0) => id = Some(String::from_utf8_lossy(value).into_owned()),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                // A number that is too large is none, and leaves an earlier one as it is.
                retry = String::from_utf8_lossy(value).parse().ok().or(retry);
            }
            _ => {}
        }
    }
    events
}

/// Streams that are nearly right.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"data: a",
        b"data:b",
        b"data",
        b"data: {\"id\":1}",
        b"event: message",
        b"event: x",
        b"event:",
        b"id: 7",
        b"id",
        b"id: a\0",
        b"retry: 10",
        b"retry: x",
        b": ping",
        b":",
        b"foo: bar",
        b"\n",
        b"\n",
        b"\n\n",
        b"\r",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\xEF\xBB\xBF",
        b"event: \xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xc3\xa9",
        b"0123456789",
    ];
    vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|pieces| pieces.concat())
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![vec(1..4_usize, 1..5), vec(1..100_usize, 1..5)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_pass_as_events(
        messages in vec((object(), prop::option::of("[ -~]{0,20}"), any::<bool>()), 0..6),
        noise in vec(any::<u8>(), 1..50), sizes in sizes(),
    ) {
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for (node, id, comment) in messages {
            let text = write(&node, &noise);
            let split = text.len() / 2;
            let segments: Segments = [&text.as_bytes()[..split], &text.as_bytes()[split..]]
                .into_iter().map(Bytes::copy_from_slice).collect();
            stream.extend(encode_event(&segments, id.as_deref()).into_bytes());
            if comment {
                stream.extend(encode_comment());
            }
            let data = text.replace(['\r', '\n'], " ");
            sent.push(Ok(SseEvent { event: Some("message".into()), data: data.into(), id, retry: None }));
        }
        prop_assert_eq!(decode_events(&stream, &sizes, usize::MAX), (sent, false));
    }

    #[test]
    fn any_text_passes_as_a_named_event(event in "[a-z/]{1,10}", data in text(), sizes in sizes()) {
        let data = data.replace('\0', "");
        let (events, _) = decode_events(&encode_named(&event, &data), &sizes, usize::MAX);
        let unified = data.replace("\r\n", "\n").replace('\r', "\n");
        prop_assert_eq!(events, vec![Ok(SseEvent { event: Some(event.into()), data: unified.into(), ..SseEvent::default() })]);
    }

    #[test]
    fn messages_pass_as_lines(
        messages in vec(object(), 0..6), noise in vec(any::<u8>(), 1..50), sizes in sizes(),
    ) {
        let texts: Vec<_> = messages.iter().map(|node| write(node, &noise)).collect();
        let stream: Vec<u8> =
            texts.iter().flat_map(|text| encode_line(&Bytes::from(text.clone()).into()).into_bytes()).collect();
        let sent: Vec<_> = texts.iter().map(|text| Line::Message(text.replace(['\r', '\n'], " ").into())).collect();
        prop_assert_eq!(decode_lines(&stream, &sizes, usize::MAX), sent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn events_are_decoded_by_the_book_however_they_are_cut(stream in stream(), sizes in sizes()) {
        let (events, _) = decode_events(&stream, &sizes, usize::MAX);
        let expected: Vec<_> = decode_by_the_book(&stream).into_iter().map(Ok).collect();
        prop_assert_eq!(events, expected);
    }

    #[test]
    fn bounds_hold_however_events_are_cut(stream in stream(), sizes in sizes(), max in 0..30_usize) {
        let (whole, whole_partial) = decode_events(&stream, &[usize::MAX], max);
        let (cut, cut_partial) = decode_events(&stream, &sizes, max);
        prop_assert_eq!(&whole, &cut);
        prop_assert_eq!(whole_partial, cut_partial);
        for event in whole.into_iter().flatten() {
            prop_assert!(event.data.len() <= max);
        }
    }

    #[test]
    fn bounds_hold_however_lines_are_cut(stream in stream(), sizes in sizes(), max in 0..30_usize) {
        let whole = decode_lines(&stream, &[usize::MAX], max);
        prop_assert_eq!(&whole, &decode_lines(&stream, &sizes, max));
        for line in whole {
            if let Line::Message(line) = line {
                prop_assert!(line.len() <= max);
            }
        }
    }
}
