use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use super::*;

const RIGHT: &str = r#"{"jsonrpc":"2.0","id":@,"result":{"content":[{"type":"text","text":"heard gate"}]}}"#;

/// A server that answers each request on each connection by `answer(how many came before)`; none closes.
fn serve(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                let mut buffer = [0; 4096];
                for before in 0.. {
                    let Ok(length @ 1..) = stream.read(&mut buffer) else { return };
                    let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let id = request.split("\"id\":").nth(1).unwrap()[..10].to_owned();
                    let Some(body) = answer(before, &id) else { return };
                    let body = body.replace('@', &id);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    if stream.write_all((head + &body).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load(address: SocketAddr, connections: usize) -> Load {
    let envelope = Envelope { address, path: "/mcp", headers: vec![] };
    let template = Template::post(&envelope, &format!("{{\"id\":{ID_SLOT}}}"), None);
    let opened = (0..connections).map(|_| (TcpStream::connect(address).unwrap(), template.clone())).collect();
    Load::new(opened, Check::Small).unwrap()
}

fn run(load: &mut Load, pace: Pace, millis: u64) -> Outcome {
    load.run(8, pace, Duration::from_millis(millis), &AtomicBool::new(false)).unwrap()
}

#[test]
fn counts_right_answers_in_both_paces() {
    let mut load = load(serve(|_, _| Some(RIGHT.to_owned())), 4);
    let closed = run(&mut load, Pace::Closed, 50);
    assert_eq!((closed.errors, closed.first_error), (0, None));
    assert!(closed.answered >= 1);
    assert_eq!(closed.answered, closed.latency_ns.len());
    let fixed = run(&mut load, Pace::Fixed { rate_per_s: 200.0 }, 100);
    assert_eq!((fixed.errors, fixed.answered), (0, 20), "{:?}", fixed.first_error);
    assert_eq!(load.into_streams().len(), 4);
}

#[test]
fn a_wrong_answer_is_an_error() {
    let other =
        serve(|before, _| Some(if before == 2 { RIGHT.replace("gate", "wall") } else { RIGHT.to_owned() }));
    let outcome = run(&mut load(other, 1), Pace::Fixed { rate_per_s: 100.0 }, 50);
    assert_eq!((outcome.errors, outcome.answered), (1, 4));
    assert!(outcome.first_error.unwrap().contains("heard wall"));
}

#[test]
fn an_answer_to_another_request_is_an_error() {
    let stale = serve(|before, _| Some(RIGHT.replace('@', if before == 1 { "1000000001" } else { "@" })));
    let outcome = run(&mut load(stale, 1), Pace::Fixed { rate_per_s: 100.0 }, 50);
    assert_eq!((outcome.errors, outcome.answered), (1, 4));
}

#[test]
fn a_closed_connection_is_an_error_and_the_run_ends() {
    let closing = serve(|before, _| (before < 3).then(|| RIGHT.to_owned()));
    let outcome = run(&mut load(closing, 2), Pace::Fixed { rate_per_s: 400.0 }, 100);
    assert_eq!(outcome.answered, 6);
    assert_eq!(outcome.errors, 2, "{:?}", outcome.first_error);
}

#[test]
fn a_slow_answer_makes_the_waiting_ones_late() {
    // The fifth answer takes 200 ms; on one connection everything due meanwhile waits behind it, and that must show.
    let slow = serve(|before, _| {
        if before == 4 {
            std::thread::sleep(Duration::from_millis(200));
        }
        Some(RIGHT.to_owned())
    });
    let outcome = run(&mut load(slow, 1), Pace::Fixed { rate_per_s: 100.0 }, 400);
    assert_eq!((outcome.errors, outcome.answered), (0, 40));
    let late = outcome.latency_ns.count_between(50_000_000, u64::MAX);
    assert!(late >= 10, "only {late} calls were late");
}

#[test]
fn stops_when_told() {
    let mut load = load(serve(|_, _| Some(RIGHT.to_owned())), 1);
    assert!(load.run(1, Pace::Closed, Duration::from_mins(1), &AtomicBool::new(true)).is_err());
}
