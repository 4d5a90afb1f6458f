//! A real rsyslogd, over TLS or plain TCP, that can be stopped and started again; and a way to it that breaks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Starts a program, and ends it by the signal that is said on standard input, or at the end of whoever started it.
const GUARD: &str = r#"
trap '' HUP INT TERM
"$@" </dev/null &
server=$!
read -r word
kill -"${word:-KILL}" $server
wait $server
"#;

const START_MAX: Duration = Duration::from_secs(30);

pub(crate) struct Rsyslog {
    folder: tempfile::TempDir,
    tls: bool,
    port: u16,
    /// The authority that vouches for it, in PEM.
    pub(crate) ca_pem: Arc<str>,
    guard: Option<Child>,
    /// How often it was killed.
    kills: usize,
}

/// A message as it was received.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) priority: String,
    pub(crate) host: String,
    pub(crate) data: String,
    pub(crate) process: String,
    pub(crate) kind: String,
    pub(crate) entry: Value,
}

impl Rsyslog {
    pub(crate) fn start(tls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_pem = certificates(folder.path());
        let mut server = Self { folder, tls, port: 0, ca_pem, guard: None, kills: 0 };
        server.start_again();
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Starts it where it was.
    pub(crate) fn start_again(&mut self) {
        let at = self.folder.path().display().to_string();
        let tls = |text: &str| if self.tls { text.to_owned() } else { String::new() };
        let text = format!(
            "global(workDirectory=\"{at}\" maxMessageSize=\"256k\" {})\n\
             module(load=\"imtcp\" {})\n\
             main_queue(queue.type=\"direct\")\n\
             template(name=\"whole\" type=\"string\" string=\"\\n%pri% %hostname% %procid% %msgid% %structured-data%\t%msg%\\n\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{}\" listenPortFileName=\"{at}/port\")\n\
             action(type=\"omfile\" file=\"{at}/out\" template=\"whole\")\n",
            tls(&format!(
                "defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{at}/ca.pem\" \
                 defaultNetstreamDriverCertFile=\"{at}/cert.pem\" defaultNetstreamDriverKeyFile=\"{at}/key.pem\""
            )),
            tls("streamDriver.name=\"gtls\" streamDriver.mode=\"1\" streamDriver.authMode=\"anon\""),
            self.port,
        );
        let (config, port) = (self.path("rsyslog.conf"), self.path("port"));
        std::fs::write(&config, text).expect("written");
        _ = std::fs::remove_file(&port);
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard", program(), "-n", "-C", "-f"]).arg(&config);
        guard.arg("-i").arg(self.path("pid"));
        let log = std::fs::File::create(self.path("log")).expect("a log");
        guard.stdin(Stdio::piped()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.guard = Some(guard.process_group(0).spawn().expect("sh starts"));
        let deadline = Instant::now() + START_MAX;
        loop {
            let told = std::fs::read_to_string(&port).ok().and_then(|text| text.trim().parse().ok());
            // It tells only what it chose itself.
            let listens = told.or((self.port > 0).then_some(self.port));
            if let Some(listens) = listens.filter(|port| {
                std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok()
            }) {
                self.port = listens;
                return;
            }
            let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "rsyslogd does not start:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it by a signal: `TERM` or `KILL`.
    pub(crate) fn stop(&mut self, signal: &str) {
        if let Some(mut guard) = self.guard.take() {
            let mut input = guard.stdin.take().expect("its input");
            _ = writeln!(input, "{signal}");
            drop(input);
            _ = guard.wait();
            self.kills += usize::from(signal == "KILL");
        }
    }

    /// Everything that it has written.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let text = std::fs::read_to_string(self.path("out")).unwrap_or_default();
        // The last line may be under way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // Of itself it has something to say too.
        let lines = whole.lines().filter(|line| line.contains("[tollgate@"));
        // One that was killed may have written half a line.
        let (messages, torn): (Vec<_>, Vec<_>) = lines.map(message).partition(Option::is_some);
        assert!(torn.len() <= self.kills, "{} lines are no messages", torn.len());
        messages.into_iter().flatten().collect()
    }

    /// Everything that it has written, once the entry of this number is there: it has read what it writes a moment later.
    pub(crate) async fn written(&self, last: u64) -> Vec<Message> {
        let deadline = Instant::now() + crate::rig::SOON;
        loop {
            let messages = self.messages();
            let is_there = messages.iter().any(|message| message.entry["seq"] == last);
            if is_there || Instant::now() >= deadline {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The entries of [`Self::written`].
    pub(crate) async fn written_entries(&self, last: u64) -> Vec<Value> {
        self.written(last).await.into_iter().map(|message| message.entry).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        self.stop("KILL");
    }
}

fn message(line: &str) -> Option<Message> {
    let (head, json) = line.split_once('\t')?;
    let mut words = head.splitn(5, ' ').map(str::to_owned);
    Some(Message {
        priority: words.next()?,
        host: words.next()?,
        process: words.next()?,
        kind: words.next()?,
        data: words.next()?,
        entry: serde_json::from_str(json).ok()?,
    })
}

/// A server that reads, and keeps what it reads in memory.
pub(crate) struct Forgetful {
    read: Arc<Mutex<Vec<u8>>>,
    /// Told to drop all connections, and then to have dropped them.
    gone: watch::Sender<u64>,
    connections: Arc<AtomicI64>,
}

impl Forgetful {
    pub(crate) async fn start() -> (SocketAddr, Self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let server = Self { read: Arc::default(), gone: watch::Sender::new(0), connections: Arc::default() };
        let (read, gone) = (Arc::clone(&server.read), server.gone.clone());
        let connections = Arc::clone(&server.connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (read, connections) = (Arc::clone(&read), Arc::clone(&connections));
                let mut gone = gone.subscribe();
                tokio::spawn(async move {
                    let mut some = [0; 4096];
                    loop {
                        tokio::select! {
                            size = stream.read(&mut some) => match size {
                                Ok(size) if size > 0 => {
                                    read.lock().expect("a lock").extend_from_slice(&some[..size]);
                                }
                                _ => break,
                            },
                            _ = gone.changed() => break,
                        }
                    }
                    drop(stream);
                    connections.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        (address, server)
    }

    /// Ends all connections, and forgets what was read.
    pub(crate) async fn forget(&self) {
        self.gone.send_modify(|times| *times += 1);
        while self.connections.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.read.lock().expect("a lock").clear();
    }

    pub(crate) fn entries(&self) -> Vec<Value> {
        let read = self.read.lock().expect("a lock").clone();
        let text = String::from_utf8(read).expect("text");
        let (mut rest, mut entries) = (&*text, Vec::new());
        while let Some((length, more)) = rest.split_once(' ')
            && let Some((message, more)) = more.split_at_checked(length.parse().expect("a length"))
        {
            let (_, json) = message.split_once("] {").expect("an entry");
            entries.push(serde_json::from_str(&format!("{{{json}")).expect("JSON"));
            rest = more;
        }
        entries
    }
}

fn program() -> &'static str {
    let places = ["/usr/sbin/rsyslogd", "/usr/local/sbin/rsyslogd", "/sbin/rsyslogd"];
    let found = places.into_iter().find(|path| Path::new(path).is_file());
    found.expect("rsyslogd is not installed: `cargo xtask setup` does it, or says how")
}

/// An authority, and a certificate of it for this machine.
fn certificates(folder: &Path) -> Arc<str> {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let ca = authority.self_signed(&authority_key).expect("a certificate").pem();
    let own =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("parameters");
    let key = KeyPair::generate().expect("a key");
    let issuer = Issuer::from_params(&authority, &authority_key);
    let certificate = own.signed_by(&key, &issuer).expect("a certificate").pem();
    for (name, text) in [("ca.pem", &ca), ("cert.pem", &certificate), ("key.pem", &key.serialize_pem())] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    ca.into()
}

/// A way to a server that breaks, by a reset, once so many bytes have gone through; every other connection is whole.
pub(crate) struct BrittleWay {
    pub(crate) address: SocketAddr,
    /// After how many bytes the next connection breaks; below 0: not at all.
    pub(crate) breaks_after: Arc<AtomicI64>,
}

impl BrittleWay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let breaks_after = Arc::new(AtomicI64::new(-1));
        let breaks = Arc::clone(&breaks_after);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let after = usize::try_from(breaks.swap(-1, Ordering::SeqCst)).ok();
                tokio::spawn(carry(client, server, after));
            }
        });
        Self { address, breaks_after }
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, breaks_after: Option<usize>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let Some(mut left) = breaks_after else {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        return;
    };
    let (mut out, mut back) = ([0; 1024], [0; 1024]);
    while left > 0 {
        tokio::select! {
            read = client.read(&mut out) => match read {
                Ok(size) if size > 0 => {
                    let size = size.min(left);
                    left -= size;
                    _ = server.write_all(&out[..size]).await;
                }
                _ => return,
            },
            read = server.read(&mut back) => match read {
                Ok(size) if size > 0 => _ = client.write_all(&back[..size]).await,
                _ => return,
            },
        }
    }
    // Both are dropped with bytes unread: resets.
}
