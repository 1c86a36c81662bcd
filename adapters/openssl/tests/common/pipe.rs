//! Two streams that are each other's peer, in memory.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

/// One end. Reading from an empty pipe would block, as with a socket that nobody waits for.
pub(crate) struct Pipe {
    incoming: Arc<Mutex<VecDeque<u8>>>,
    outgoing: Arc<Mutex<VecDeque<u8>>>,
}

impl Pipe {
    pub(crate) fn new() -> (Self, Self) {
        let (there, back) = (Arc::default(), Arc::default());
        let near = Self { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
        (near, Self { incoming: there, outgoing: back })
    }

    /// Puts bytes where this end will read them, as an attacker on the wire does.
    pub(crate) fn inject(&self, bytes: &[u8]) {
        self.incoming.lock().expect("no test panics in here").extend(bytes);
    }

    /// What the other end has written and this one has not read.
    pub(crate) fn waiting(&self) -> Vec<u8> {
        self.incoming.lock().expect("no test panics in here").iter().copied().collect()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut incoming = self.incoming.lock().expect("no test panics in here");
        if incoming.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        incoming.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.lock().expect("no test panics in here").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
