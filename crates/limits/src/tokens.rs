//! How many tokens a text has.
//!
//! The cheap estimate is a token for every four bytes, as the record counts. An encoding counts what a model would: that takes
//! about as long as a small call does in all, so it is done by a thread of its own, and no call waits for it. Of a long text the
//! beginning is counted, and the rest is taken to be like it. While more waits to be counted than there is room for, or before
//! an encoding is ready, the cheap estimate counts: nothing is ever free.

use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// How many bytes are taken for one token.
const BYTES_PER_TOKEN: u64 = 4;
/// How much of a text is counted.
const COUNTED_BYTES_MAX: usize = 64 * 1024;
/// How much of it at once: whatever a stranger writes, what is counted at once takes no longer than this allows.
const PIECE_BYTES: usize = 4096;
/// How many pairs of texts may wait to be counted. Of each text no more is held than is counted.
const WAITING_MAX: usize = 256;

/// By what tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Encoding {
    /// A token for every four bytes.
    #[default]
    Bytes,
    /// As GPT-4 and GPT-3.5 count.
    Cl100k,
    /// As GPT-4o and later count.
    O200k,
}

/// Something to be done with the numbers of tokens of two texts.
type Then = Box<dyn FnOnce([u64; 2]) + Send>;

struct Job {
    encoding: Encoding,
    texts: [Begin; 2],
    then: Then,
}

/// The begin of a text, and how long it is in all.
struct Begin {
    bytes: Box<[u8]>,
    whole: usize,
}

impl Encoding {
    /// A cheap estimate.
    pub fn estimate(bytes: usize) -> u64 {
        (bytes as u64).div_ceil(BYTES_PER_TOKEN)
    }

    /// Counts two texts, now or some time soon, and does something with the numbers.
    pub(crate) fn count(self, texts: [&[u8]; 2], then: impl FnOnce([u64; 2]) + Send + 'static) {
        let cheap = texts.map(|text| Self::estimate(text.len()));
        if self == Self::Bytes {
            return then(cheap);
        }
        let Some(counter) = counter() else { return then(cheap) };
        let texts = texts
            .map(|text| Begin { bytes: text[..text.len().min(COUNTED_BYTES_MAX)].into(), whole: text.len() });
        match counter.try_send(Job { encoding: self, texts, then: Box::new(then) }) {
            Ok(()) => {}
            Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => (job.then)(cheap),
        }
    }

    /// Counts a text of which this is the begin.
    fn count_now(self, Begin { bytes, whole }: &Begin) -> u64 {
        let encoder = match self {
            Self::Bytes => return Self::estimate(*whole),
            Self::Cl100k => tiktoken_rs::cl100k_base_singleton(),
            Self::O200k => tiktoken_rs::o200k_base_singleton(),
        };
        let tokens = pieces(bytes).map(|piece| encoder.count_ordinary(&String::from_utf8_lossy(piece)));
        let tokens: usize = tokens.sum();
        if bytes.len() == *whole {
            return tokens as u64;
        }
        let all = (tokens as u128).saturating_mul(*whole as u128).div_ceil(bytes.len().max(1) as u128);
        u64::try_from(all).unwrap_or(u64::MAX)
    }
}

/// Parts of a text that do not cut a character in two.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_begin = |at: &usize| rest.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
        let end = (1..=PIECE_BYTES.min(rest.len()))
            .rev()
            .take(4)
            .find(is_begin)
            .unwrap_or(PIECE_BYTES.min(rest.len()));
        let (piece, left) = rest.split_at(end);
        rest = left;
        Some(piece)
    })
}

/// The thread that counts; none if there can be none.
fn counter() -> Option<&'static SyncSender<Job>> {
    static COUNTER: OnceLock<Option<SyncSender<Job>>> = OnceLock::new();
    let begin = || {
        let (jobs, inbox) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("tokens".to_owned());
        thread.spawn(move || count_all(&inbox)).ok().map(|_| jobs)
    };
    COUNTER.get_or_init(begin).as_ref()
}

fn count_all(inbox: &Receiver<Job>) {
    while let Ok(Job { encoding, texts, then }) = inbox.recv() {
        then([encoding.count_now(&texts[0]), encoding.count_now(&texts[1])]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(encoding: Encoding, text: &[u8]) -> u64 {
        let bytes = text[..text.len().min(COUNTED_BYTES_MAX)].into();
        encoding.count_now(&Begin { bytes, whole: text.len() })
    }

    #[test]
    fn encodings_count_as_their_models_do() {
        let text = b"The quick brown fox jumps over the lazy dog.";
        let counted =
            [Encoding::Bytes, Encoding::Cl100k, Encoding::O200k].map(|encoding| count(encoding, text));
        assert_eq!(counted, [11, 10, 10]);
        assert_eq!(count(Encoding::O200k, b""), 0);
    }

    #[test]
    fn of_long_texts_the_rest_is_like_the_beginning() {
        let text = "fifteen letters ".repeat(20_000).into_bytes();
        let (whole, begin) = (count(Encoding::O200k, &text), count(Encoding::O200k, &text[..1600]));
        assert!((begin * 198..begin * 202).contains(&whole), "{begin} {whole}");
    }

    #[test]
    fn what_a_stranger_writes_takes_no_longer() {
        let begun = std::time::Instant::now();
        for text in ["a", " ", "\u{0}", "語", "🔑"] {
            assert!(count(Encoding::Cl100k, text.repeat(3_000_000).as_bytes()) > 0);
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn pieces_are_the_text_and_cut_no_character() {
        let text = "aß語🔑".repeat(3000);
        let all: Vec<&[u8]> = pieces(text.as_bytes()).collect();
        assert_eq!(all.concat(), text.as_bytes());
        assert!(all.iter().all(|piece| std::str::from_utf8(piece).is_ok() && piece.len() <= PIECE_BYTES));
    }

    #[test]
    fn texts_are_counted_by_a_thread_of_their_own() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let here = std::thread::current().id();
        Encoding::O200k.count([b"hello world", b""], move |tokens| {
            let _ = sender.send((tokens, std::thread::current().id()));
        });
        let (tokens, there) = receiver.recv_timeout(std::time::Duration::from_mins(1)).expect("counted");
        assert_eq!(tokens, [2, 0]);
        assert_ne!(here, there);
    }
}
