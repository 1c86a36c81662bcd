//! The steps of a program, on the side of OpenSSL.

use crate::clock;
use crate::ffi;
use crate::heard::can_be_shelved;
use crate::observe::{Deed, Handshake, Name, Reading};
use crate::program::{Side, Step, Version};
use crate::real::{Pair, World};
use crate::wire::{Endpoint, offers};
use libc::{c_long, c_uint};
use openssl_sys as sys;
use std::ptr;

impl World {
    pub(crate) fn make(&self, step: &Step) -> Deed {
        self.lock(step);
        match *step {
            Step::Connect { slot, version, offer } => self.connect(slot, [version; 2], offer),
            Step::Mismatch { slot, version, offer } => self.connect(slot, [version, version.other()], offer),
            Step::Again(slot) => self.again(slot),
            Step::Read(slot, side) => self.read(slot, side, |_| {}),
            Step::Garbage(slot, side) => self.read(slot, side, |end| end.feed(b"this is no record of TLS")),
            Step::Eof(slot, side) => self.read(slot, side, |end| end.feed_eof()),
            Step::Shutdown(slot, side) => match self.end(slot, side).filter(|end| end.can_shut_down()) {
                Some(end) => {
                    let returned = end.shutdown();
                    self.shuttle(slot);
                    Deed::Returned(returned)
                }
                None => Deed::Skipped,
            },
            Step::SetShutdown(slot, side, bits) => self.with(slot, side, |end| end.set_shutdown(bits)),
            Step::Free(slot, side) => {
                let end = self.pairs.borrow_mut()[slot].ends[side as usize].take();
                end.map_or(Deed::Skipped, |end| {
                    end.free();
                    Deed::Done
                })
            }
            Step::SetSession(slot, nth) => self.set_session(slot, nth),
            Step::SetState(slot, side) => {
                let deed = self.with(slot, side, |end| end.set_state(side));
                self.change(slot, side, |end| {
                    end.stuck = true;
                    end.readable = false;
                });
                deed
            }
            Step::Add(side, nth) => self.with_session(side, nth, |context, session| {
                // SAFETY: both are alive, and no other context has the session.
                i64::from(unsafe { sys::SSL_CTX_add_session(context, session) })
            }),
            Step::Remove(side, nth) => self.with_session(side, nth, |context, session| {
                // SAFETY: both are alive.
                i64::from(unsafe { sys::SSL_CTX_remove_session(context, session) })
            }),
            Step::Shelve(None) => {
                self.shelf.take();
                Deed::Done
            }
            Step::Shelve(Some(nth)) => match self.nth(Side::Server, nth) {
                Some((name, _)) if can_be_shelved(&self.known.borrow()[name].identity) => {
                    self.shelf.borrow_mut().push(name);
                    Deed::Done
                }
                _ => Deed::Skipped,
            },
            Step::React(side, reaction) => {
                let name = reaction.session().map(|nth| self.nth(side, nth).map(|(name, _)| name));
                match name {
                    Some(None) => return Deed::Skipped,
                    Some(Some(name)) => self.reaction.set(Some((side, reaction.with(name)))),
                    None => self.reaction.set(Some((side, reaction))),
                }
                Deed::Done
            }
            _ => self.set(step),
        }
    }

    /// Whether OpenSSL has its context locked when a session leaves it in this step.
    fn lock(&self, step: &Step) {
        let flushed = |side| matches!(step, Step::Flush(of, _) | Step::SetCapacity(of, _) if *of == side);
        let limited = |side| self.control(side, ffi::SSL_CTRL_GET_SESS_CACHE_SIZE, 0) > 0;
        self.locked.set(Side::BOTH.map(|side| flushed(side) || limited(side)));
    }

    fn set(&self, step: &Step) -> Deed {
        let server = self.raw(Side::Server);
        match *step {
            Step::Flush(side, everything) => {
                let time = if everything { 0 } else { clock::now() };
                // SAFETY: the context is alive.
                unsafe { ffi::SSL_CTX_flush_sessions(self.raw(side), time) };
            }
            Step::SetMode(side, flags) => self.set_mode(side, flags),
            Step::SetTimeout(side, timeout) => {
                // SAFETY: the context is alive.
                unsafe { ffi::SSL_CTX_set_timeout(self.raw(side), timeout) };
            }
            Step::SetCapacity(side, capacity) => {
                // What OpenSSL must be told so that it holds as many.
                let told = if capacity < 2 { capacity } else { capacity + 1 } as c_long;
                self.control(side, ffi::SSL_CTRL_SET_SESS_CACHE_SIZE, told);
            }
            Step::SetIdContext(value) => {
                let bytes = [value];
                let length = c_uint::from(value > 0);
                // SAFETY: the context is alive, and so many bytes are copied.
                unsafe { sys::SSL_CTX_set_session_id_context(server, bytes.as_ptr(), length) };
            }
            Step::Verify(verify) => {
                let mode = if verify { sys::SSL_VERIFY_PEER } else { sys::SSL_VERIFY_NONE };
                // SAFETY: the context is alive.
                unsafe { sys::SSL_CTX_set_verify(server, mode, None) };
            }
            Step::Tickets(number) => {
                // SAFETY: the context is alive.
                unsafe { sys::SSL_CTX_set_num_tickets(server, number) };
            }
            Step::Pass(seconds) => clock::pass(seconds),
            _ => unreachable!("no setting"),
        }
        Deed::Done
    }

    fn with(&self, slot: usize, side: Side, work: impl FnOnce(Endpoint)) -> Deed {
        self.end(slot, side).map_or(Deed::Skipped, |end| {
            work(end);
            Deed::Done
        })
    }

    fn with_session(
        &self,
        side: Side,
        nth: usize,
        work: impl FnOnce(*mut sys::SSL_CTX, *mut sys::SSL_SESSION) -> i64,
    ) -> Deed {
        match self.nth(side, nth) {
            Some((_, session)) => Deed::Returned(work(self.raw(side), session)),
            None => Deed::Skipped,
        }
    }

    pub(crate) fn set_mode(&self, side: Side, flags: Option<u32>) {
        let own = if side == Side::Client { 1 } else { 2 };
        // Not to be flushed by every 256th handshake of all programs together.
        let mode = flags.map_or(0, |flags| c_long::from(flags) | own) | 0x80;
        self.control(side, ffi::SSL_CTRL_SET_SESS_CACHE_MODE, mode);
    }

    fn set_session(&self, slot: usize, nth: Option<usize>) -> Deed {
        let Some(end) = self.end(slot, Side::Client) else { return Deed::Skipped };
        let session = nth.and_then(|nth| self.nth(Side::Client, nth));
        let returned = end.set_session(session.map_or(ptr::null_mut(), |(_, raw)| raw));
        // SSL_set_session makes the connection one of any version again (row G17), in which it can neither read nor write.
        self.change(slot, Side::Client, |end| {
            end.reset = true;
            end.readable = false;
        });
        Deed::Returned(returned)
    }

    fn connect(&self, slot: usize, versions: [Version; 2], offer: Option<usize>) -> Deed {
        let old = self.pairs.borrow()[slot].ends;
        self.pairs.borrow_mut()[slot] =
            Pair { version: versions[0], mismatch: versions[0] != versions[1], ends: [None; 2] };
        old.into_iter().flatten().for_each(Endpoint::free);
        let end = |side: Side| Endpoint::new(self.raw(side), side, versions[side as usize].wire());
        let ends = Side::BOTH.map(|side| Some(end(side)));
        self.pairs.borrow_mut()[slot].ends = ends;
        let offer = offer.and_then(|nth| self.nth(Side::Client, nth));
        if let (Some(client), Some((_, raw))) = (ends[0], offer) {
            assert_eq!(client.set_session(raw), 1);
        }
        Deed::Handshake(self.handshake(slot, offer.map(|(name, _)| name)))
    }

    fn again(&self, slot: usize) -> Deed {
        let [Some(client), Some(server)] = self.pairs.borrow()[slot].ends else { return Deed::Skipped };
        if client.stuck || server.stuck {
            return Deed::Skipped;
        }
        client.clear();
        server.clear();
        server.set_session(ptr::null_mut());
        for side in Side::BOTH {
            self.change(slot, side, |end| end.reset = false);
        }
        let offer = self.session(slot, Side::Client);
        Deed::Handshake(self.handshake(slot, offer))
    }

    fn handshake(&self, slot: usize, offer: Option<Name>) -> Handshake {
        let Pair { version, mismatch, ends: [Some(client), Some(server)] } = self.pairs.borrow()[slot] else {
            unreachable!("both are there")
        };
        let ticket = offer.map(|name| self.known.borrow()[name].identity.ticket.clone());
        self.offered.replace(ticket.unwrap_or_default());
        let mut offered = None;
        let mut failed = false;
        for _ in 0..8 {
            failed |= client.step() || server_failed(server, failed);
            if offered.is_none() {
                let hello = client.written();
                offered = Some(offers(&hello, version == Version::Tls13));
                server.feed(&hello);
                failed |= server.step();
            }
            self.shuttle(slot);
        }
        self.offered.take();
        let finished = !failed && client.is_finished() && server.is_finished();
        for side in Side::BOTH {
            self.change(slot, side, |end| end.readable = finished);
        }
        let sessions = Side::BOTH.map(|side| self.session(slot, side));
        let is_ticket = |name: &Name| {
            let identity = &self.known.borrow()[*name].identity;
            (identity.side, identity.version) == (Side::Server, Version::Tls13)
        };
        let tickets = self.fresh.borrow().iter().copied().filter(is_ticket).collect();
        Handshake {
            version,
            offer,
            offered: offered.unwrap_or(false),
            mismatch,
            finished,
            reused: server.is_reused(),
            sessions,
            tickets,
        }
    }

    fn read(&self, slot: usize, side: Side, prepare: impl FnOnce(Endpoint)) -> Deed {
        let Some(end) = self.end(slot, side).filter(|end| end.readable) else { return Deed::Skipped };
        prepare(end);
        let reading = end.read();
        if !matches!(reading, Reading::Nothing | Reading::CloseNotify) {
            self.change(slot, side, |end| end.readable = false);
        }
        self.shuttle(slot);
        // The last ticket, if no callback has told of it.
        self.session(slot, side);
        let tickets = self.fresh.borrow().iter().copied().collect();
        Deed::Read(reading, tickets)
    }
}

/// A server that has failed is not asked again.
fn server_failed(server: Endpoint, failed: bool) -> bool {
    !failed && server.step()
}
