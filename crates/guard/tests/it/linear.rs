//! Twice the text takes twice the time, whatever the text is.

use std::time::Duration;

use bytes::Bytes;
use tollgate_guard::{Action, Guard, RuleSet, Scanner};
use tollgate_mcp::Span;

/// Texts that make each detector look as far as it does, over and over.
const UNITS: &[&str] = &[
    "a@",
    "a.b@",
    "1 ",
    "1-",
    "12 345 ",
    "4111 1111 ",
    "(1",
    "+49 ",
    "0 ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "eyJ",
    "eyJhbGciOiJIUzI1NiJ9.",
    "AKIA",
    "ghp_",
    "x://a:b",
    "password=",
    "token:",
    "key=a1",
    "ignore ",
    "ignore all ",
    "send the conversation ",
    "read ssh ",
    "<!--",
    "<!-- ignore",
    "<p style=display:none>",
    "<important>",
    "\u{1B}[",
    "\u{1B}]",
    "\u{200B}",
    "\u{202A}",
    "\u{E0041}",
    "%41",
    "\\x41",
    "&#65;",
    "\\u0041",
    "%41%41%41%41 ",
    "aWdub3JlIGFsbCBwcmV2aW91cyBpbnN0cnVj",
    "/aWdub3JlIGFsbCBwcmV2aW91cyBpbnN0cnVj",
    "6162636465666768",
    "](",
    "![](http://a?b=",
    "[](https://a?data={",
    "a:",
    "::",
    "ab:cd:",
    "1.1.1.1",
    "1.",
    "AB12",
    "DE89 3704 ",
    "Bearer ",
    "basic ",
    "[redacted:",
    "\"",
    "\\",
    "é",
    "字",
    "you are now ",
    "from now on ",
    "AccountKey=",
    "DefaultEndpointsProtocol=a",
    "#",
    "###",
    "[[[",
    "=",
    "__",
    "a_",
    "Aa1",
];

/// The CPU time of this thread: other tests run at the same time.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// The least of three.
fn timed(mut one: impl FnMut()) -> Duration {
    let times = (0..3).map(|_| {
        let began = now();
        one();
        now().saturating_sub(began)
    });
    times.min().unwrap_or_default()
}

/// Not linear would be a factor of sixteen for four times the text.
#[test]
fn four_times_the_text_takes_about_four_times_as_long() {
    let scanner = Scanner::new(RuleSet::ALL, Vec::new());
    let small = 16 << 10;
    for unit in UNITS {
        let of = |bytes: usize| unit.repeat(bytes / unit.len());
        let (one, four) = (of(small), of(4 * small));
        let scan = |text: &str| timed(|| scanner.scan(text, "", &mut Vec::new()));
        let (short, long) = (scan(&one), scan(&four));
        println!("{unit:40} {:>6} ns for each byte", long.as_nanos() / four.len() as u128);
        assert!(long < short * 9 + Duration::from_millis(5), "{unit:?}: {short:?} and {long:?}");
    }
}

#[test]
fn many_small_blocks_are_read_as_one_in_linear_time() {
    let guard = Guard::new(Scanner::default(), 0, |_| Action::Mask, b"key", true);
    let of = |count: usize| {
        let blocks = vec![r#"{"type":"text","text":"a@b.co"}"#; count].join(",");
        Bytes::from(format!(r#"{{"content":[{blocks}]}}"#))
    };
    let inspect = |bytes: &Bytes| timed(|| drop(guard.inspect(bytes, Span::all(bytes), &[], "")));
    let (short, long) = (inspect(&of(2_000)), inspect(&of(8_000)));
    assert!(long < short * 9 + Duration::from_millis(5), "{short:?} and {long:?}");
}
