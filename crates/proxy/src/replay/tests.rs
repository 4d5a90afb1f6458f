//! Streams that break and are resumed: what the client sees, for any way to cut them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use tollgate_mcp::Segments;

use super::{Reader, Streams, parse};
use crate::mailbox::{Mailbox, NotTaken};
use crate::settings::ResumeSettings;

fn settings() -> ResumeSettings {
    ResumeSettings { events_max: 4, bytes_max: 100, session_bytes_max: 200, ..ResumeSettings::default() }
}

fn message(text: &str) -> Segments {
    Segments::from(Bytes::copy_from_slice(text.as_bytes()))
}

/// Reads the next event without waiting.
fn read(reader: &Reader) -> Poll<Option<(u64, String)>> {
    let next = reader.poll_next(&Context::from_waker(Waker::noop()));
    next.map(|next| {
        next.map(|(number, message)| (number, String::from_utf8_lossy(&message.into_bytes()).into()))
    })
}

fn read_all(reader: &Reader) -> Vec<String> {
    std::iter::from_fn(|| match read(reader) {
        Poll::Ready(Some((_, text))) => Some(text),
        Poll::Ready(None) | Poll::Pending => None,
    })
    .collect()
}

#[test]
fn a_client_comes_back_behind_the_last_event_it_saw() {
    let streams = Streams::default();
    let mailbox = Mailbox::new(8);
    mailbox.push(message("before it was a stream")).expect("room");
    let reader = streams.open(&mailbox, &settings());
    mailbox.push(message("a")).expect("room");
    assert_eq!(read(&reader), Poll::Ready(Some((1, "before it was a stream".to_owned()))));
    assert_eq!(read(&reader), Poll::Ready(Some((2, "a".to_owned()))));
    drop(reader);
    mailbox.push(message("b")).expect("a stream without a client takes what it can keep");
    mailbox.push_reply(message("reply"), 1).expect("room");
    mailbox.close();
    let (again, after) = streams.resume(b"1-1").expect("kept");
    assert_eq!((after, read_all(&again)), (1, vec!["a".to_owned(), "b".to_owned(), "reply".to_owned()]));
    assert_eq!(read(&again), Poll::Ready(None), "the stream ends behind its reply");
    let (from_the_start, _) = streams.resume(b"1-0").expect("kept");
    assert_eq!(read_all(&from_the_start).len(), 4);
    assert_eq!(read(&again), Poll::Ready(None), "there is one reader");
}

#[test]
fn who_comes_back_replaces_what_is_left_of_the_broken_connection() {
    let streams = Streams::default();
    let mailbox = Mailbox::new(8);
    let stale = streams.open(&mailbox, &settings());
    let (reader, _) = streams.resume(b"1-0").expect("kept");
    mailbox.push(message("a")).expect("room");
    assert_eq!(read(&stale), Poll::Ready(None));
    // Its end must not detach the one that replaced it.
    drop(stale);
    assert_eq!(read_all(&reader), ["a"]);
    assert!(mailbox.lock().history.as_ref().is_some_and(|history| history.attached));
}

#[test]
fn what_is_no_id_of_a_kept_event_is_refused() {
    let streams = Streams::default();
    let (one, two) = (Mailbox::new(8), Mailbox::new(8));
    let reader = streams.open(&one, &settings());
    let _other = streams.open(&two, &settings());
    for number in 1..=6 {
        one.push(message(&number.to_string())).expect("room");
        two.push(message("another stream's")).expect("room");
    }
    assert_eq!(read_all(&reader).len(), 6);
    for id in [
        "1-7",
        "1-1",
        "2-1",
        "3-0",
        "0-0",
        "1",
        "",
        "-",
        "1-",
        "-1",
        "a-b",
        "1-99999999999999999999",
        "\u{fe}",
    ] {
        assert!(streams.resume(id.as_bytes()).is_err(), "{id}");
    }
    // Four are kept: the two oldest have made room, and the second is the last that need not be there.
    let (again, _) = streams.resume(b"1-2").expect("kept");
    assert_eq!(read_all(&again), ["3", "4", "5", "6"]);
    assert_eq!(parse(b"12-345"), Some((12, 345)));
}

#[test]
fn a_stream_without_a_client_is_bounded_and_keeps_its_reply() {
    let streams = Streams::default();
    let mailbox = Mailbox::new(8);
    drop(streams.open(&mailbox, &settings()));
    mailbox.push(message(&"n".repeat(90))).expect("room");
    assert_eq!(mailbox.push(message(&"m".repeat(90))), Err(NotTaken));
    mailbox.push_reply(message(&"r".repeat(90)), 1).expect("a reply does not share the room");
    mailbox.close();
    let (reader, _) = streams.resume(b"1-0").expect("kept");
    assert_eq!(read_all(&reader), ["n".repeat(90), "r".repeat(90)]);
}

#[test]
fn a_reply_that_cannot_be_kept_makes_the_stream_one_that_cannot_be_resumed() {
    let streams = Streams::default();
    let mailbox = Mailbox::new(8);
    drop(streams.open(&mailbox, &settings()));
    mailbox.push(message("a")).expect("room");
    assert_eq!(mailbox.push_reply(message(&"r".repeat(101)), 1), Err(NotTaken));
    assert!(streams.resume(b"1-0").is_err());
    assert_eq!(streams.lock().used.load(Ordering::Relaxed), 0, "nothing is kept of it");
    // Who reads gets a reply of any size, once.
    let mailbox = Mailbox::new(8);
    let reader = streams.open(&mailbox, &settings());
    mailbox.push_reply(message(&"r".repeat(1000)), 1).expect("somebody reads");
    mailbox.close();
    assert_eq!(read_all(&reader).len(), 1);
    assert!(streams.resume(b"2-0").is_err());
}

#[test]
fn ended_streams_are_forgotten_after_a_while() {
    let streams = Streams::default();
    let long = settings();
    let none = ResumeSettings { keep: Duration::ZERO, ..settings() };
    let (ended, open) = (Mailbox::new(8), Mailbox::new(8));
    drop(streams.open(&ended, &long));
    let _open_reader = streams.open(&open, &long);
    ended.push(message("a")).expect("room");
    ended.close();
    streams.sweep(&long);
    streams.sweep(&long);
    assert!(streams.resume(b"1-0").is_ok(), "its time is not over");
    while streams.resume(b"1-0").is_ok() {
        streams.sweep(&none);
    }
    assert!(streams.resume(b"2-0").is_ok(), "one that goes on is kept");
    drop(ended);
    assert_eq!(streams.lock().used.load(Ordering::Relaxed), 0);
}

#[test]
fn old_ended_streams_make_way() {
    let streams = Streams::default();
    for _ in 0..200 {
        let mailbox = Mailbox::new(8);
        let _reader = streams.open(&mailbox, &settings());
        mailbox.push(message(&"x".repeat(50))).expect("room");
        mailbox.close();
    }
    let table = streams.lock();
    assert!(table.used.load(Ordering::Relaxed) <= 200, "{}", table.used.load(Ordering::Relaxed));
    assert!(table.streams.len() <= 5, "{}", table.streams.len());
}

#[derive(Debug, Clone)]
enum Step {
    /// The server says something of this size.
    Say(usize),
    /// The client's connection takes so many events.
    Deliver(usize),
    /// The connection breaks; the last events that it took never arrive.
    Cut(usize),
    /// The client comes back behind the last event that arrived.
    Resume,
    /// The other stream of the session says something.
    Other,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1usize..60).prop_map(Step::Say),
        4 => (1usize..5).prop_map(Step::Deliver),
        2 => (0usize..3).prop_map(Step::Cut),
        3 => Just(Step::Resume),
        1 => Just(Step::Other),
    ]
}

/// A client on one stream.
struct Client {
    reader: Option<Reader>,
    /// What the connection took and may yet lose.
    on_the_way: Vec<(u64, String)>,
    last: u64,
    seen: Vec<String>,
}

impl Client {
    fn deliver(&mut self, events: usize) {
        let Some(reader) = &self.reader else { return };
        for _ in 0..events {
            let Poll::Ready(Some(event)) = read(reader) else { return };
            self.on_the_way.push(event);
        }
    }

    fn cut(&mut self, lost: usize) {
        let arrived = self.on_the_way.len().saturating_sub(lost);
        for (number, text) in self.on_the_way.drain(..).take(arrived) {
            self.last = number;
            self.seen.push(text);
        }
        self.reader = None;
    }

    /// False if the client is told that it cannot.
    fn resume(&mut self, streams: &Streams) -> bool {
        // What a half-dead connection took is lost or has arrived: here it is lost.
        self.on_the_way.clear();
        match streams.resume(format!("1-{}", self.last).as_bytes()) {
            Ok((reader, after)) => {
                assert_eq!(after, self.last);
                self.reader = Some(reader);
                true
            }
            Err(_) => false,
        }
    }
}

proptest! {
    #[test]
    fn every_event_once_and_in_order_or_told_that_it_cannot(steps in vec(step(), 1..80), reply in 1usize..150) {
        let streams = Streams::default();
        let settings = settings();
        let (mailbox, other) = (Mailbox::new(4), Mailbox::new(4));
        let reader = streams.open(&mailbox, &settings);
        let other_reader = streams.open(&other, &settings);
        let mut client = Client { reader: Some(reader), on_the_way: Vec::new(), last: 0, seen: Vec::new() };
        let mut said = Vec::new();
        let mut told = false;
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Say(size) => {
                    let text = format!("{index}:{}", "x".repeat(size));
                    if mailbox.push(message(&text)).is_ok() {
                        said.push(text);
                    }
                }
                Step::Deliver(events) => client.deliver(events),
                Step::Cut(lost) => client.cut(lost),
                Step::Resume => told |= !client.resume(&streams),
                Step::Other => {
                    let _ = other.push(message("another stream's"));
                    let _ = read(&other_reader);
                }
            }
            prop_assert!(said.starts_with(&client.seen), "{:?} of {:?}", client.seen, said);
            let state = mailbox.lock();
            let history = state.history.as_ref().expect("a stream");
            let bytes: usize = state.messages.iter().map(Segments::len).sum();
            prop_assert_eq!(history.bytes, bytes);
            if !history.attached {
                prop_assert!(bytes <= 2 * settings.bytes_max);
            }
            drop(state);
            if told {
                return Ok(());
            }
        }
        let text = "r".repeat(reply);
        if mailbox.push_reply(message(&text), 1).is_ok() {
            said.push(text);
        } else {
            told = true;
        }
        mailbox.close();
        told |= !client.resume(&streams);
        client.deliver(usize::MAX);
        client.cut(0);
        prop_assert!(told || client.seen == said, "{:?} of {:?}", client.seen, said);
        prop_assert!(!client.seen.iter().any(|text| text.contains("another")));
        let used = Arc::clone(&streams.lock().used);
        drop((streams, mailbox, other, other_reader, client));
        prop_assert_eq!(used.load(Ordering::Relaxed), 0, "nothing is kept for nobody");
    }
}
