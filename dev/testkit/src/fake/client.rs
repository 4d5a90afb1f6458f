//! A raw HTTP/1.1 client: what is asked goes out to the letter, what comes back is shown as it is.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::soon;
use super::wire::{Framing, Reader, Writer, split};

/// One HTTP request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// `POST`, `GET`, …
    pub verb: String,
    /// Path and query.
    pub target: String,
    /// Headers; `Host` and `Content-Length` are added if they are not among them.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Ask {
    /// A request without headers and body.
    pub fn new(verb: &str, target: &str) -> Self {
        Self { verb: verb.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without the headers of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    /// The same with another value in this header.
    pub fn set(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// The same with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Request line and headers as they go out.
    pub fn head(&self, addr: SocketAddr) -> Vec<u8> {
        use std::fmt::Write as _;
        let mut text = format!("{} {} HTTP/1.1\r\n", self.verb, self.target);
        let has = |name: &str| self.header(name).is_some();
        if !has("host") {
            let _ = write!(text, "Host: {addr}\r\n");
        }
        if !has("content-length") && !has("transfer-encoding") && self.verb == "POST" {
            let _ = write!(text, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// A whole HTTP response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Header names as sent, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything in it as text: status, headers, body. For searching what must not be there.
    pub fn everything(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, self.text())
    }
}

/// One server-sent event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its `event` field.
    pub event: String,
    /// Its `data` lines, joined.
    pub data: String,
    /// Its `id` field.
    pub id: Option<String>,
    /// Its `retry` field.
    pub retry: Option<u64>,
}

/// A response whose body is still coming in. Dropping it closes the connection.
#[derive(Debug)]
pub struct Live {
    /// The status.
    pub status: u16,
    /// Header names as sent, and values.
    pub headers: Vec<(String, String)>,
    reader: Reader,
    _writer: Writer,
    framing: Framing,
    rest: Vec<u8>,
    searched: usize,
}

impl Live {
    /// The first header of this name, compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The next event that has data; `None` at the clean end of the stream.
    pub async fn event(&mut self) -> io::Result<Option<Event>> {
        loop {
            match self.any_event().await? {
                Some(event) if event.data.is_empty() => {}
                event => return Ok(event),
            }
        }
    }

    /// The next event that has data or an id; `None` at the clean end of the stream.
    pub async fn any_event(&mut self) -> io::Result<Option<Event>> {
        loop {
            while let Some(at) = event_end(&self.rest[self.searched..]) {
                let at = self.searched + at;
                self.searched = 0;
                let block: Vec<u8> = self.rest.drain(..at).collect();
                let event = parse_event(&String::from_utf8_lossy(&block));
                if !event.data.is_empty() || event.id.is_some() {
                    return Ok(Some(event));
                }
            }
            self.searched = self.rest.len().saturating_sub(3);
            match self.reader.part(&mut self.framing).await? {
                Some(part) => self.rest.extend_from_slice(&part),
                None => return Ok(None),
            }
        }
    }

    /// The next bytes of the body as they come; `None` at its end.
    pub async fn part(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.reader.part(&mut self.framing).await
    }

    /// The rest of the body.
    pub async fn finish(mut self) -> io::Result<Reply> {
        let mut body = std::mem::take(&mut self.rest);
        while let Some(part) = self.reader.part(&mut self.framing).await? {
            body.extend_from_slice(&part);
        }
        Ok(Reply { status: self.status, headers: self.headers, body })
    }
}

fn event_end(bytes: &[u8]) -> Option<usize> {
    let blank =
        |pattern: &[u8]| bytes.windows(pattern.len()).position(|w| w == pattern).map(|at| at + pattern.len());
    match (blank(b"\n\n"), blank(b"\r\n\r\n")) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn parse_event(block: &str) -> Event {
    let mut event = Event::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut event.event),
            "data" => data.push(value),
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            _ => {}
        }
    }
    event.data = data.join("\n");
    event
}

/// All events of a finished body.
pub(super) fn events(body: &[u8]) -> Vec<Event> {
    let mut rest = body.to_vec();
    let mut all = Vec::new();
    while let Some(at) = event_end(&rest) {
        let block: Vec<u8> = rest.drain(..at).collect();
        let event = parse_event(&String::from_utf8_lossy(&block));
        if !event.data.is_empty() {
            all.push(event);
        }
    }
    all
}

/// A raw HTTP client that keeps its connection for as long as the other side does. Nothing is tried twice.
#[derive(Debug)]
pub struct Kept {
    http: Http,
    open: Option<(Reader, Writer)>,
    /// How many connections it has opened.
    pub opened: u64,
}

impl Kept {
    /// A client of this address, not connected yet.
    pub fn new(http: impl Into<Http>) -> Self {
        Self { http: http.into(), open: None, opened: 0 }
    }

    /// Whether a connection is kept.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Connects, if it is not.
    pub async fn connect(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(split(TcpStream::connect(self.http.addr).await?));
            self.opened += 1;
        }
        Ok(())
    }

    /// Sends a request and reads its whole response. A connection that the response says is closed is not kept.
    pub async fn send(&mut self, ask: &Ask) -> io::Result<Reply> {
        self.connect().await?;
        let Some((mut reader, mut writer)) = self.open.take() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let ask = self.http.complete(ask);
        let mut bytes = ask.head(self.http.addr);
        bytes.extend_from_slice(&ask.body);
        writer.all(&bytes).await?;
        let head = reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.word(1).parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let body = reader.body(Framing::of_response(&head, status)).await?;
        if !head.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            self.open = Some((reader, writer));
        }
        Ok(Reply { status, headers: head.headers, body })
    }

    /// Returns once the other side has closed the kept connection.
    pub async fn closed(&mut self) {
        if let Some((reader, _)) = &mut self.open {
            reader.gone().await;
        }
        self.open = None;
    }
}

/// A raw HTTP client of one address. Each request has its own connection.
#[derive(Debug, Clone)]
pub struct Http {
    /// The address.
    pub addr: SocketAddr,
    /// Headers that it adds to every request that has none of that name.
    pub always: Vec<(String, String)>,
}

impl From<SocketAddr> for Http {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr)
    }
}

impl Http {
    /// A client of this address.
    pub fn new(addr: SocketAddr) -> Self {
        Self { addr, always: Vec::new() }
    }

    /// The same, which says this with every request.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.always.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, which presents this key or token with every request.
    pub fn bearing(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// A request as it goes out.
    fn complete(&self, ask: &Ask) -> Ask {
        let missing = self.always.iter().filter(|(name, _)| ask.header(name).is_none());
        missing.fold(ask.clone(), |ask, (name, value)| ask.with(name, value))
    }

    /// Sends a request and reads the head of its response.
    pub async fn open(&self, ask: &Ask) -> io::Result<Live> {
        let ask = self.complete(ask);
        let mut bytes = ask.head(self.addr);
        bytes.extend_from_slice(&ask.body);
        self.open_raw(&bytes).await
    }

    /// Sends bytes and reads the head of the response to them.
    pub async fn open_raw(&self, bytes: &[u8]) -> io::Result<Live> {
        let (mut reader, mut writer) = split(TcpStream::connect(self.addr).await?);
        let head = {
            // A server may answer and close before it has read everything: what it said counts.
            let send = writer.all(bytes);
            let head = reader.head();
            tokio::pin!(send, head);
            let mut sent = false;
            loop {
                tokio::select! {
                    _ = &mut send, if !sent => sent = true,
                    head = &mut head => break head?,
                }
            }
        };
        let head = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = head.word(1).parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let framing = Framing::of_response(&head, status);
        Ok(Live {
            status,
            headers: head.headers,
            reader,
            _writer: writer,
            framing,
            rest: Vec::new(),
            searched: 0,
        })
    }

    /// Sends a request and reads its whole response.
    ///
    /// # Panics
    /// If there is none, or not in time.
    pub async fn send(&self, ask: &Ask) -> Reply {
        let what = format!("{} {}", ask.verb, ask.target);
        let whole = async { self.open(ask).await?.finish().await };
        soon(&what, whole).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends bytes and reads one whole response to them.
    ///
    /// # Panics
    /// If there is none, or not in time.
    pub async fn send_raw(&self, bytes: &[u8]) -> Reply {
        let whole = async { self.open_raw(bytes).await?.finish().await };
        soon("raw bytes", whole).await.unwrap_or_else(|error| panic!("raw bytes: {error}"))
    }
}
