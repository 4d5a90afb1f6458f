//! HTTP/1.1 on plain sockets, as little of it as the fakes need.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// A request or status line with its headers.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// The first line, without its end.
    pub(crate) start: String,
    /// Names as sent, values trimmed.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub(crate) fn word(&self, nth: usize) -> &str {
        self.start.split(' ').nth(nth).unwrap_or_default()
    }
}

/// How the end of a body is known.
#[derive(Debug)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    ToEnd,
    Ended,
}

impl Framing {
    pub(crate) fn of_request(head: &Head) -> Self {
        Self::of(head, Self::Ended)
    }

    pub(crate) fn of_response(head: &Head, status: u16) -> Self {
        match status {
            100..200 | 204 | 304 => Self::Ended,
            _ => Self::of(head, Self::ToEnd),
        }
    }

    fn of(head: &Head, otherwise: Self) -> Self {
        if head.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return Self::Chunked;
        }
        match head.header("content-length").and_then(|v| v.parse().ok()) {
            Some(0) => Self::Ended,
            Some(n) => Self::Length(n),
            None => otherwise,
        }
    }
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    buffer: BytesMut,
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) struct Writer(OwnedWriteHalf);

pub(crate) fn split(stream: TcpStream) -> (Reader, Writer) {
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    (Reader { half: read, buffer: BytesMut::new() }, Writer(write))
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

impl Reader {
    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(64 * 1024);
        self.half.read_buf(&mut self.buffer).await
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        let mut from = 0;
        loop {
            if let Some(at) = self.buffer[from..].iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(from + at + 1);
                return Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()));
            }
            from = self.buffer.len();
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(broken("half a line")) };
            }
        }
    }

    /// The next head, or `None` when the peer closed between messages.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        let Some(start) = self.line().await? else { return Ok(None) };
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?.ok_or_else(|| broken("half a head"))?;
            if line.is_empty() {
                return Ok(Some(Head { start, headers }));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken("a header without a colon"))?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The next part of a body, or `None` at its end.
    pub(crate) async fn part(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        match framing {
            Framing::Ended => Ok(None),
            Framing::ToEnd => {
                if self.buffer.is_empty() && self.fill().await? == 0 {
                    *framing = Framing::Ended;
                    return Ok(None);
                }
                Ok(Some(self.take(usize::MAX)))
            }
            Framing::Length(left) => {
                if self.buffer.is_empty() && self.fill().await? == 0 {
                    return Err(broken("the body is shorter than its Content-Length"));
                }
                let part = self.take(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= part.len() as u64;
                if *left == 0 {
                    *framing = Framing::Ended;
                }
                Ok(Some(part))
            }
            Framing::Chunked => {
                let size =
                    self.line().await?.ok_or_else(|| broken("the body ends without its last chunk"))?;
                let digits = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).map_err(|_| broken("not a chunk size"))?;
                while self.buffer.len() < size + 2 {
                    if size == 0 && self.buffer.len() >= 2 {
                        break;
                    }
                    if self.fill().await? == 0 {
                        return Err(broken("half a chunk"));
                    }
                }
                if size == 0 {
                    while !self.line().await?.unwrap_or_default().is_empty() {}
                    *framing = Framing::Ended;
                    return Ok(None);
                }
                let part = self.take(size);
                self.buffer.advance(2);
                Ok(Some(part))
            }
        }
    }

    fn take(&mut self, at_most: usize) -> Vec<u8> {
        let n = self.buffer.len().min(at_most);
        self.buffer.split_to(n).to_vec()
    }

    /// The whole body.
    pub(crate) async fn body(&mut self, mut framing: Framing) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(part) = self.part(&mut framing).await? {
            all.extend_from_slice(&part);
        }
        Ok(all)
    }

    /// Whether the peer has said something more already.
    pub(crate) fn has_more(&self) -> bool {
        let stream: &TcpStream = self.half.as_ref();
        let next = rustix::net::recv(stream, &mut [0_u8; 1], rustix::net::RecvFlags::PEEK);
        !self.buffer.is_empty() || next.is_ok_and(|(_, bytes)| bytes > 0)
    }

    /// Returns once the peer has closed the connection.
    pub(crate) async fn gone(&mut self) {
        loop {
            match self.fill().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}

impl Writer {
    pub(crate) async fn all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await
    }

    pub(crate) async fn chunk(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.all(&framed).await
    }

    pub(crate) async fn last_chunk(&mut self) -> io::Result<()> {
        self.all(b"0\r\n\r\n").await
    }
}
