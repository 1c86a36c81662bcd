//! As much HTTP as it takes to answer a browser: one request, one answer, close.

use std::io::{self, Read, Write};

/// The longest head of a request.
const LIMIT: usize = 16 * 1024;

/// A request's head, from which nothing is needed but that it is complete.
#[derive(Default)]
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// Takes what arrived as early data.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    fn is_complete(&self) -> bool {
        self.0.windows(4).any(|window| window == b"\r\n\r\n")
            || self.0.windows(2).any(|window| window == b"\n\n")
    }

    /// Reads to the end of the head. `false` when the client has closed instead.
    pub(crate) fn read(&mut self, stream: &mut impl Read) -> io::Result<bool> {
        let mut buffer = [0; 2048];
        while !self.is_complete() {
            if self.0.len() > LIMIT {
                return Err(io::Error::other("the request is too long"));
            }
            match stream.read(&mut buffer)? {
                0 => return Ok(false),
                length => self.push(&buffer[..length]),
            }
        }
        Ok(true)
    }
}

pub(crate) fn answer(stream: &mut impl Write, body: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}
