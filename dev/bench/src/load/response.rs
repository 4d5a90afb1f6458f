//! Just enough of HTTP/1.1 to read what a proxy answers: a length or chunks, and whether the connection stays.

use memchr::memmem;

/// Longest head of a response, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Longest response with its head, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why bytes are not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Collects one response after the other from the bytes of a connection.
#[derive(Default)]
pub(crate) struct Reader {
    received: Vec<u8>,
    head: Option<Head>,
    /// Decoded chunks.
    chunks: Vec<u8>,
    /// How far the chunks are decoded.
    decoded: usize,
}

/// The head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// The server will close the connection after this response.
    pub(crate) closes: bool,
    end: usize,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Reader {
    /// Takes what was read from the connection.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
    }

    /// The head, as soon as it is complete.
    pub(crate) fn head(&mut self) -> Result<Option<Head>, Malformed> {
        if self.head.is_none() {
            let Some(end) = memmem::find(&self.received, b"\r\n\r\n") else {
                let fits = self.received.len() <= HEAD_BYTES_MAX;
                return if fits { Ok(None) } else { Err(Malformed("the head has no end")) };
            };
            let head = parse_head(&self.received[..end], end + 4)?;
            self.decoded = head.end;
            self.chunks.clear();
            self.head = Some(head);
        }
        Ok(self.head)
    }

    /// The head's header of that name, if the head is complete. The name must be in lower case.
    pub(crate) fn header(&self, header: &str) -> Option<&str> {
        let end = self.head?.end;
        let text = std::str::from_utf8(&self.received[..end]).ok()?;
        text.split("\r\n").skip(1).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(header).then(|| value.trim())
        })
    }

    /// Whether a whole response is here; then `body` shows it and `next` goes on.
    pub(crate) fn complete(&mut self) -> Result<Option<Head>, Malformed> {
        if self.received.len() > RESPONSE_BYTES_MAX {
            return Err(Malformed("the response is too large"));
        }
        let Some(head) = self.head()? else { return Ok(None) };
        let complete = match head.framing {
            Framing::Length(length) => self.received.len() >= head.end + length,
            Framing::Chunked => self.decode_chunks()?,
        };
        Ok(complete.then_some(head))
    }

    /// Body of the complete response.
    pub(crate) fn body(&self) -> &[u8] {
        match self.head {
            Some(Head { framing: Framing::Length(length), end, .. }) => &self.received[end..end + length],
            Some(Head { framing: Framing::Chunked, .. }) => &self.chunks,
            None => &[],
        }
    }

    /// Forgets the complete response. Bytes behind it are nobody's: nothing further was asked.
    pub(crate) fn next(&mut self) -> Result<(), Malformed> {
        let end = match self.head {
            Some(Head { framing: Framing::Length(length), end, .. }) => end + length,
            _ => self.decoded,
        };
        let stray = self.received.len() > end;
        self.received.clear();
        self.head = None;
        if stray { Err(Malformed("bytes behind the response")) } else { Ok(()) }
    }

    /// Decodes what is here of the chunks; true once the last one is.
    fn decode_chunks(&mut self) -> Result<bool, Malformed> {
        loop {
            let rest = &self.received[self.decoded..];
            let Some(line_end) = memmem::find(rest, b"\r\n") else { return Ok(false) };
            let size = chunk_size(&rest[..line_end])?;
            let (start, end) = (line_end + 2, line_end + 2 + size);
            if rest.len() < end + 2 {
                return Ok(false);
            }
            if &rest[end..end + 2] != b"\r\n" {
                return Err(Malformed("a chunk does not end where it should, or there are trailers"));
            }
            self.chunks.extend_from_slice(&rest[start..end]);
            self.decoded += end + 2;
            if size == 0 {
                return Ok(true);
            }
        }
    }
}

fn chunk_size(line: &[u8]) -> Result<usize, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed("a chunk's size is no number"))?;
    let digits = text.split(';').next().unwrap_or("").trim();
    let size = usize::from_str_radix(digits, 16).map_err(|_| Malformed("a chunk's size is no number"))?;
    if size > RESPONSE_BYTES_MAX { Err(Malformed("a chunk is too large")) } else { Ok(size) }
}

fn parse_head(bytes: &[u8], end: usize) -> Result<Head, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed("the head is no text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .and_then(|status| status.parse().ok())
        .ok_or(Malformed("no HTTP/1.1 status line"))?;
    let mut framing = (status == 204).then_some(Framing::Length(0));
    let mut closes = false;
    for line in lines {
        let (header, value) = line.split_once(':').ok_or(Malformed("a header has no colon"))?;
        let value = value.trim();
        if header.eq_ignore_ascii_case("content-length") {
            let length = value.parse().map_err(|_| Malformed("the length is no number"))?;
            framing = Some(Framing::Length(length));
        } else if header.eq_ignore_ascii_case("transfer-encoding") {
            framing = Some(Framing::Chunked);
        } else if header.eq_ignore_ascii_case("connection") {
            closes |= value.eq_ignore_ascii_case("close");
        }
    }
    match framing {
        Some(Framing::Length(length)) if length > RESPONSE_BYTES_MAX => {
            Err(Malformed("the response is too large"))
        }
        Some(framing) => Ok(Head { status, closes, end, framing }),
        None => Err(Malformed("neither a length nor chunks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Option<(u16, Vec<u8>)>, Malformed> {
        let mut reader = Reader::default();
        for piece in pieces {
            reader.push(piece);
            if let Some(head) = reader.complete()? {
                let body = reader.body().to_vec();
                reader.next()?;
                return Ok(Some((head.status, body)));
            }
        }
        Ok(None)
    }

    #[test]
    fn reads_a_length_however_it_is_cut() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
        for cut in 0..whole.len() {
            let answer = read(&[&whole[..cut], &whole[cut..]]).unwrap();
            assert_eq!(answer, Some((200, b"hello".to_vec())), "cut at {cut}");
        }
    }

    #[test]
    fn reads_chunks_however_they_are_cut() {
        let whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            let answer = read(&[&whole[..cut], &whole[cut..]]).unwrap();
            assert_eq!(answer, Some((200, b"abc0123456789".to_vec())), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_is_no_response() {
        assert!(read(&[b"SSH-2.0-x\r\n\r\n"]).is_err());
        assert!(read(&[b"HTTP/1.1 200 OK\r\n\r\n"]).is_err());
        assert!(read(&[b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"]).is_err());
        assert!(read(&[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]).is_err());
    }

    #[test]
    fn finds_headers_and_the_wish_to_close() {
        let mut reader = Reader::default();
        reader.push(
            b"HTTP/1.1 200 OK\r\nMcp-Session-Id: abc\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(reader.complete().unwrap().unwrap().closes);
        assert_eq!(reader.header("mcp-session-id"), Some("abc"));
        assert_eq!(reader.header("mcp-name"), None);
    }
}
