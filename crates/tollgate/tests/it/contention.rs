//! Limits while many clients pull at them at once, at several gateways.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_database::Redis;

use crate::support::{Folder, Gateway, PATIENCE, get, http, modern, modern_http, undisturbed};

const CLIENTS: usize = 64;

/// A server whose tool `work` takes a while, and which counts how many are at it.
#[derive(Default)]
struct Site {
    at_once: AtomicUsize,
    most: AtomicUsize,
    done: AtomicUsize,
}

impl Site {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let site = Arc::new(Self::default());
        let own = Arc::clone(&site);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let site = Arc::clone(&own);
                std::thread::spawn(move || site.serve(stream));
            }
        });
        (site, address)
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).ok()? == 0 {
                    return None;
                }
            }
            let length =
                |line: &str| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok();
            let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
            stream.read_exact(&mut body).ok()?;
            let message: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = self.answer(message["method"].as_str().unwrap_or_default());
            let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }).to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                answer.len()
            );
            stream.get_mut().write_all(&[head.as_bytes(), answer.as_bytes()].concat()).ok()?;
        }
    }

    fn answer(&self, method: &str) -> Value {
        match method {
            "server/discover" => json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "site", "version": "1" } },
            }),
            "tools/list" => json!({
                "resultType": "complete", "ttlMs": 60_000, "cacheScope": "public",
                "tools": [{ "name": "work", "inputSchema": { "type": "object" } }],
            }),
            "tools/call" => {
                let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                self.most.fetch_max(now, Ordering::SeqCst);
                // The work.
                std::thread::sleep(Duration::from_millis(15));
                self.at_once.fetch_sub(1, Ordering::SeqCst);
                self.done.fetch_add(1, Ordering::SeqCst);
                json!({ "resultType": "complete", "content": [] })
            }
            _ => json!({ "resultType": "complete" }),
        }
    }
}

fn call(address: SocketAddr) -> bool {
    let message = modern(7, "tools/call", json!({ "name": "site__work", "arguments": {} }));
    http(address, &modern_http(address, &message)).status == 200
}

/// How many calls are let through of so many by each of 64 clients, who begin at the same moment.
fn rush(gateways: &[SocketAddr], each: usize) -> usize {
    let begin = Arc::new(Barrier::new(CLIENTS));
    let clients = (0..CLIENTS).map(|number| {
        let (address, begin) = (gateways[number % gateways.len()], Arc::clone(&begin));
        std::thread::spawn(move || {
            begin.wait();
            (0..each).filter(|_| call(address)).count()
        })
    });
    let clients: Vec<_> = clients.collect();
    clients.into_iter().map(|client| client.join().expect("a client")).sum()
}

fn config(site: SocketAddr, rules: &str) -> String {
    format!(
        "limits: {{ replicas: 2, rules: [ {rules} ] }}\nservers: {{ site: {{ url: 'http://{site}/mcp' }} }}\n"
    )
}

fn addresses(gateways: &[Gateway]) -> Vec<SocketAddr> {
    gateways.iter().map(|gateway| gateway.listen).collect()
}

#[test]
fn one_gateway_never_lets_more_through_than_its_limits_allow() {
    const RATE: usize = 40;
    const PLACES: usize = 5;
    let (site, address) = Site::start();
    let folder = Folder::new();
    let rules = format!(
        "{{ name: rate, per: [agent], rate: {{ requests: {RATE}, per: 24h }} }}, {{ name: places, concurrency: {PLACES} }}, \
         {{ name: tenant, per: [tenant], rate: {{ requests: 1000, per: 1h }} }}, {{ name: wide, rate: {{ requests: 5000 }} }}"
    );
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &config(address, &rules)));
    let begun = Instant::now();
    let mut done = 0;
    while done < RATE {
        done += rush(&[gateway.listen], 1);
        assert!(begun.elapsed() < PATIENCE, "{done}: less than allowed");
    }
    done += rush(&[gateway.listen], 2);
    assert_eq!((done, site.done.load(Ordering::SeqCst)), (RATE, RATE));
    assert!(site.most.load(Ordering::SeqCst) <= PLACES, "{}", site.most.load(Ordering::SeqCst));
}

#[test]
fn two_gateways_never_have_more_under_way_than_is_allowed_together() {
    const PLACES: usize = 6;
    let until_shared = |gateway: &Gateway| {
        let begun = Instant::now();
        while !get(gateway.admin, "/readyz").body.contains("\"counters\":\"shared\"") {
            assert!(begun.elapsed() < PATIENCE, "it is not shared");
        }
    };
    let ((redis, site, _folders, done), mut gateways) = undisturbed(|| {
        let redis = Redis::start();
        let (site, address) = Site::start();
        let text = config(address, &format!("{{ name: places, per: [tenant], concurrency: {PLACES} }}"));
        let folders = [Folder::new(), Folder::new()];
        let start = |folder: &Folder| {
            let file = folder.write("tollgate.yaml", &text);
            Gateway::start_with(&file, &[("REDIS_URL", &redis.url())])
        };
        let gateways: Vec<Gateway> = folders.iter().map(start).collect();
        gateways.iter().for_each(until_shared);
        let done = rush(&addresses(&gateways), 5);
        ((redis, site, folders, done), gateways)
    });
    let most = site.most.load(Ordering::SeqCst);
    assert!(done > PLACES && most <= PLACES, "{done} done, {most} at once");
    assert!(most > PLACES / 2, "{most}: more than the half of one gateway");
    // While the server is restarted there is at most one burst more: those under way it has forgotten.
    let (mut before, stop) = (done, Arc::new(AtomicUsize::new(0)));
    let (all, stopped) = (addresses(&gateways), Arc::clone(&stop));
    let rushing = std::thread::spawn(move || {
        let mut done = 0;
        while stopped.load(Ordering::SeqCst) == 0 {
            done += rush(&all, 1);
        }
        done
    });
    redis.stop();
    redis.start_again();
    gateways.iter().for_each(until_shared);
    stop.store(1, Ordering::SeqCst);
    before += rushing.join().expect("clients");
    assert_eq!(before, site.done.load(Ordering::SeqCst));
    let most = site.most.load(Ordering::SeqCst);
    assert!(most <= 2 * PLACES, "{most} at once");
    // A gateway that is killed keeps nobody out for ever: its places come free. Until then the other has what is left.
    let killed = gateways.pop().expect("two");
    killed.process.signal(rustix::process::Signal::KILL);
    assert!(rush(&addresses(&gateways), 1) > 0);
}

/// What gateways have taken of a quota and not given out when they are killed is lost, a hundredth each, and nothing is given
/// out twice.
#[test]
fn gateways_that_share_a_store_share_a_quota_and_a_kill_gives_nothing_back() {
    const CALLS: usize = 300;
    let (site, address) = Site::start();
    let folder = Folder::new();
    let rule = format!("{{ name: quota, per: [tenant], quota: {{ calls: {CALLS}, every: month }} }}");
    let file = folder.write("tollgate.yaml", &config(address, &rule));
    let mut gateways = vec![Gateway::start(&file), Gateway::start(&file)];
    let mut done = rush(&addresses(&gateways), 2);
    assert_eq!(done, 2 * CLIENTS);
    let killed = gateways.pop().expect("two");
    killed.process.signal(rustix::process::Signal::KILL);
    gateways.push(Gateway::start(&file));
    done += rush(&addresses(&gateways), 4);
    assert_eq!(done, site.done.load(Ordering::SeqCst));
    assert!((CALLS - 2 * CALLS / 100..=CALLS).contains(&done), "{done} of {CALLS}");
}
