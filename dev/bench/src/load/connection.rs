//! One connection of the generator: at most one request under way.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::request::Template;
use super::response::Reader;

pub(super) struct Connection {
    stream: TcpStream,
    template: Template,
    /// Bytes of the request that are sent.
    sent: usize,
    out: Option<Out>,
    reader: Reader,
    open: bool,
    /// Whether the epoll was told to wait for room to write.
    waits_for_room: bool,
}

/// The request under way.
#[derive(Clone, Copy)]
struct Out {
    id: u64,
    intended: Instant,
}

/// A whole answer; `Connection::body` shows it until `finish`.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) id: u64,
    pub(super) intended: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, template: Template) -> Connection {
        let sent = template.len();
        Connection {
            stream,
            template,
            sent,
            out: None,
            reader: Reader::default(),
            open: true,
            waits_for_room: false,
        }
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.is_some()
    }

    /// Begins a request; what does not fit into the socket follows when there is room.
    pub(super) fn send(&mut self, id: u64, intended: Instant) -> Result<(), String> {
        self.template.set_id(id);
        self.sent = 0;
        self.out = Some(Out { id, intended });
        self.write()
    }

    /// Sends what is left of the request and fits. An error gives the connection up.
    pub(super) fn write(&mut self) -> Result<(), String> {
        self.write_what_fits().inspect_err(|_| self.abandon())
    }

    fn write_what_fits(&mut self) -> Result<(), String> {
        while self.sent < self.template.len() {
            let head = self.template.head.get(self.sent..).unwrap_or(&[]);
            let tail = match &self.template.tail {
                Some(tail) => &tail[self.sent.saturating_sub(self.template.head.len())..],
                None => &[],
            };
            match self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(tail)]) {
                Ok(0) => return Err("the connection takes no more".to_owned()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Whether waiting for room must begin (true) or end (false); none if nothing changes.
    pub(super) fn changed_interest(&mut self) -> Option<bool> {
        let wants = self.open && self.out.is_some() && self.sent < self.template.len();
        let changed = wants != self.waits_for_room;
        self.waits_for_room = wants;
        changed.then_some(wants)
    }

    /// Reads what is there; none if the answer is not whole yet. An error gives the connection up.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<Answered>, String> {
        self.read_what_is_there(buffer).inspect_err(|_| self.abandon())
    }

    fn read_what_is_there(&mut self, buffer: &mut [u8]) -> Result<Option<Answered>, String> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the connection was closed".to_owned()),
                Ok(length) => {
                    let Some(out) = self.out else { return Err("bytes that nobody asked for".to_owned()) };
                    self.reader.push(&buffer[..length]);
                    let complete = self.reader.complete().map_err(|malformed| malformed.0.to_owned())?;
                    if let Some(head) = complete {
                        self.open &= !head.closes;
                        let Out { id, intended } = out;
                        return Ok(Some(Answered { status: head.status, id, intended }));
                    }
                    if length < buffer.len() {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Body of the answer.
    pub(super) fn body(&self) -> &[u8] {
        self.reader.body()
    }

    /// Ends the request, so that the next can begin. An error gives the connection up.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.out = None;
        if !self.open {
            return Err("the server closes the connection".to_owned());
        }
        self.reader.next().map_err(|malformed| malformed.0.to_owned()).inspect_err(|_| self.abandon())
    }

    /// Gives the connection up if a request is under way or it broke.
    pub(super) fn abandon(&mut self) {
        self.out = None;
        self.open = false;
    }

    pub(super) fn into_stream(self) -> Option<TcpStream> {
        let usable = self.open && self.out.is_none();
        (usable && self.stream.set_nonblocking(false).is_ok()).then_some(self.stream)
    }
}
