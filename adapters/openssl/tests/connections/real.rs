//! The side of OpenSSL: the real libssl, with its own caches.

use crate::clock;
use crate::common;
use crate::ffi;
use crate::observe::{Counters, Deed, End, Identity, Name, State, Told};
use crate::program::{BASE, Reaction, SLOTS, Side, Step, TIMEOUT, Version};
use crate::wire::Endpoint;
use foreign_types::ForeignType as _;
use libc::{c_int, c_long, c_uchar, c_uint, c_void};
use openssl::ssl::{SslContext, SslMethod, SslOptions};
use openssl_sys as sys;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

thread_local! {
    /// Whose callbacks run on this thread.
    static ACTIVE: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

pub(crate) struct World {
    /// Client and server.
    contexts: [SslContext; 2],
    pub(crate) known: RefCell<Vec<Known>>,
    told: RefCell<[Vec<Told>; 2]>,
    /// Sessions that came up since somebody last asked.
    pub(crate) fresh: RefCell<Vec<Name>>,
    ids: Cell<u64>,
    /// Counted before the program began.
    before: Cell<[Counters; 2]>,
    pub(crate) pairs: RefCell<Vec<Pair>>,
    /// Where the get callback looks.
    pub(crate) shelf: RefCell<Vec<Name>>,
    pub(crate) reaction: Cell<Option<(Side, Reaction)>>,
    /// By side: whether sessions may leave while the context is locked.
    pub(crate) locked: Cell<[bool; 2]>,
    /// The ticket that a client offers at this moment.
    pub(crate) offered: RefCell<Vec<u8>>,
}

/// A session, with a reference of its own: it stays in memory as long as the program runs.
pub(crate) struct Known {
    pub(crate) identity: Identity,
    raw: *mut sys::SSL_SESSION,
}

#[derive(Clone, Copy)]
pub(crate) struct Pair {
    /// The client's, and whether the server's is another one.
    pub(crate) version: Version,
    pub(crate) mismatch: bool,
    pub(crate) ends: [Option<Endpoint>; 2],
}

unsafe extern "C" fn established(ssl: *mut sys::SSL, session: *mut sys::SSL_SESSION) -> c_int {
    // SAFETY: OpenSSL passes the connection that it is working on.
    let side = if unsafe { sys::SSL_is_server(ssl) } == 1 { Side::Server } else { Side::Client };
    if let Some(world) = ACTIVE.with_borrow(|active| active.clone()) {
        let name = world.name(side, session).expect("it has an id");
        world.told.borrow_mut()[side as usize].push(Told::New(name));
        world.react(side, Some(name));
    }
    // OpenSSL keeps its reference; `name` has taken another one.
    0
}

unsafe extern "C" fn removed(context: *mut sys::SSL_CTX, session: *mut sys::SSL_SESSION) {
    if let Some(world) = ACTIVE.with_borrow(|active| active.clone()) {
        let side = if context == world.contexts[1].as_ptr() { Side::Server } else { Side::Client };
        let name = world.name(side, session).expect("it has an id");
        world.told.borrow_mut()[side as usize].push(Told::Removed(name));
        if !world.locked.get()[side as usize] {
            world.react(side, Some(name));
        }
    }
}

/// OpenSSL takes a reference of its own: `copy` is 1 already.
unsafe extern "C" fn asked(
    ssl: *mut sys::SSL,
    id: *const c_uchar,
    length: c_int,
    _copy: *mut c_int,
) -> *mut sys::SSL_SESSION {
    // SAFETY: OpenSSL passes the connection that it is working on, and an id of so many bytes.
    let (version, id) = unsafe { (sys::SSL_version(ssl), std::slice::from_raw_parts(id, length as usize)) };
    let world = ACTIVE.with_borrow(|active| active.clone()).filter(|_| version == sys::TLS1_2_VERSION);
    let Some(world) = world else { return ptr::null_mut() };
    world.told.borrow_mut()[Side::Server as usize].push(Told::Asked);
    world.react(Side::Server, None);
    let (shelf, known) = (world.shelf.borrow(), world.known.borrow());
    let mut shelf = shelf.iter().map(|name| &known[*name]);
    shelf.find(|known| known.identity.id == id).map_or(ptr::null_mut(), |known| known.raw)
}

/// Ids are numbers, so that programs repeat themselves.
unsafe extern "C" fn generate_id(_: *mut sys::SSL, id: *mut c_uchar, length: *mut c_uint) -> c_int {
    let Some(world) = ACTIVE.with_borrow(|active| active.clone()) else { return 0 };
    let number = world.ids.replace(world.ids.get() + 1);
    // SAFETY: OpenSSL passes a buffer of `*length` bytes, which is 32.
    let id = unsafe { std::slice::from_raw_parts_mut(id, *length as usize) };
    id.fill(0x5a);
    id[..8].copy_from_slice(&number.to_be_bytes());
    1
}

fn context(side: Side) -> SslContext {
    let builder = match side {
        Side::Client => SslContext::builder(SslMethod::tls_client()).expect("a context"),
        Side::Server => {
            let mut builder = common::server_builder();
            builder.set_options(SslOptions::NO_TICKET);
            builder
        }
    };
    let raw = builder.as_ptr();
    // SAFETY: the context is alive, and the callbacks have the signatures that they must have.
    unsafe {
        sys::SSL_CTX_sess_set_new_cb(raw, Some(established));
        sys::SSL_CTX_sess_set_remove_cb(raw, Some(removed));
        if side == Side::Server {
            assert_eq!(ffi::SSL_CTX_set_generate_session_id(raw, generate_id), 1);
            sys::SSL_CTX_sess_set_get_cb(raw, Some(asked));
        }
    }
    builder.build()
}

/// The side of OpenSSL.
pub(crate) struct Real(Rc<World>);

impl Real {
    pub(crate) fn new() -> Self {
        Self(Rc::new(World {
            contexts: Side::BOTH.map(context),
            known: RefCell::default(),
            told: RefCell::default(),
            fresh: RefCell::default(),
            ids: Cell::new(0),
            before: Cell::default(),
            pairs: RefCell::default(),
            shelf: RefCell::default(),
            reaction: Cell::default(),
            locked: Cell::default(),
            offered: RefCell::default(),
        }))
    }

    /// Forgets the last program.
    pub(crate) fn begin(&self) {
        self.clear();
        ACTIVE.set(Some(Rc::clone(&self.0)));
        clock::set(BASE);
        let no_pair = Pair { version: Version::Tls12, mismatch: false, ends: [None; 2] };
        self.0.pairs.replace(vec![no_pair; SLOTS]);
        for side in Side::BOTH {
            self.0.set_mode(side, Some(0));
            self.0.make(&Step::SetCapacity(side, 0));
            self.0.make(&Step::SetTimeout(side, TIMEOUT));
        }
        let server = self.0.raw(Side::Server);
        // SAFETY: the context is alive, and no bytes are read.
        unsafe {
            assert_eq!(sys::SSL_CTX_set_session_id_context(server, ptr::null(), 0), 1);
            sys::SSL_CTX_set_verify(server, sys::SSL_VERIFY_NONE, None);
            assert_eq!(sys::SSL_CTX_set_num_tickets(server, 2), 1);
        }
        self.0.before.set(Side::BOTH.map(|side| self.0.counters(side)));
    }

    fn clear(&self) {
        ACTIVE.set(None);
        for end in self.0.pairs.take().into_iter().flat_map(|pair| pair.ends).flatten() {
            end.free();
        }
        for side in Side::BOTH {
            // SAFETY: the context is alive.
            unsafe { ffi::SSL_CTX_flush_sessions(self.0.raw(side), 0) };
        }
        for known in self.0.known.take() {
            // SAFETY: this is the reference that `name` has taken.
            unsafe { sys::SSL_SESSION_free(known.raw) };
        }
        self.0.told.take();
        self.0.fresh.take();
        self.0.shelf.take();
        self.0.reaction.take();
    }

    pub(crate) fn make(&self, step: &Step) -> Deed {
        self.0.fresh.take();
        let deed = self.0.make(step);
        // SAFETY: this thread's queue of errors.
        unsafe { sys::ERR_clear_error() };
        deed
    }

    /// All sessions that have come up.
    pub(crate) fn known(&self) -> Vec<Identity> {
        self.0.known.borrow().iter().map(|known| known.identity.clone()).collect()
    }

    /// The callbacks since the last call, by side.
    pub(crate) fn told(&self) -> [Vec<Told>; 2] {
        self.0.told.take()
    }

    pub(crate) fn state(&self) -> State {
        self.0.state()
    }

    /// Evictions so far, by side.
    pub(crate) fn evictions(&self) -> [i64; 2] {
        Side::BOTH.map(|side| self.0.control(side, 31, 0))
    }

    /// Removes a session from its cache and marks it, without a word to anybody.
    pub(crate) fn forget(&self, name: Name) {
        let (side, raw) = {
            let known = self.0.known.borrow();
            (known[name].identity.side, known[name].raw)
        };
        let world = ACTIVE.take();
        // SAFETY: both are alive.
        unsafe { sys::SSL_CTX_remove_session(self.0.raw(side), raw) };
        ACTIVE.set(world);
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.clear();
    }
}

impl World {
    pub(crate) fn raw(&self, side: Side) -> *mut sys::SSL_CTX {
        self.contexts[side as usize].as_ptr()
    }

    /// Makes the call that was asked for, if any was. `this` is the session that the callback tells of.
    fn react(&self, side: Side, this: Option<Name>) {
        let locked = self.locked.get()[side as usize];
        let armed = self.reaction.get().filter(|(of, call)| *of == side && call.fits(this, locked));
        let is_offered = |name: usize| self.known.borrow()[name].identity.id == *self.offered.borrow();
        let armed = armed.filter(|(_, call)| !call.session().is_some_and(is_offered));
        let Some((_, call)) = armed else { return };
        self.reaction.set(None);
        let context = self.raw(side);
        let session = call.session().or(this).map_or(ptr::null_mut(), |name| self.known.borrow()[name].raw);
        // SAFETY: both are alive, and the session is in no other context.
        let returned = unsafe {
            match call {
                Reaction::Add(_) => sys::SSL_CTX_add_session(context, session),
                Reaction::Remove(_) | Reaction::RemoveThis => sys::SSL_CTX_remove_session(context, session),
                Reaction::Flush => {
                    ffi::SSL_CTX_flush_sessions(context, clock::now());
                    0
                }
            }
        };
        self.told.borrow_mut()[side as usize].push(Told::Reacted(returned.into()));
    }

    /// What this session is called; `None` when it has no id.
    pub(crate) fn name(&self, side: Side, raw: *mut sys::SSL_SESSION) -> Option<Name> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: the session is alive, and so are its id and its ticket, which are copied.
        let (id, ticket, version, lifetime) = unsafe {
            let (mut length, mut ticket, mut ticket_length) = (0, ptr::null(), 0);
            let id = sys::SSL_SESSION_get_id(raw, &mut length);
            let id = std::slice::from_raw_parts(id, length as usize).to_vec();
            ffi::SSL_SESSION_get0_ticket(raw, &mut ticket, &mut ticket_length);
            let ticket = match ticket_length {
                0 => id.clone(),
                length => std::slice::from_raw_parts(ticket, length).to_vec(),
            };
            let version = sys::SSL_SESSION_get_protocol_version(raw);
            (id, ticket, version, ffi::SSL_SESSION_get_ticket_lifetime_hint(raw))
        };
        if id.is_empty() {
            return None;
        }
        let version = if version == 0x0304 { Version::Tls13 } else { Version::Tls12 };
        let mut known = self.known.borrow_mut();
        let same = |k: &Known| (k.identity.side, k.identity.version, &k.identity.id) == (side, version, &id);
        if let Some(name) = known.iter().position(same) {
            assert_eq!(known[name].raw, raw, "one session is one object");
            return Some(name);
        }
        // SAFETY: the session is alive.
        assert_eq!(unsafe { sys::SSL_SESSION_up_ref(raw) }, 1);
        known.push(Known { identity: Identity { side, version, id, ticket, lifetime }, raw });
        self.fresh.borrow_mut().push(known.len() - 1);
        Some(known.len() - 1)
    }

    /// The n-th session of a side that has come up, or the last one.
    pub(crate) fn nth(&self, side: Side, nth: usize) -> Option<(Name, *mut sys::SSL_SESSION)> {
        let known = self.known.borrow();
        let of_side = known.iter().enumerate().filter(|(_, known)| known.identity.side == side);
        let all: Vec<_> = of_side.map(|(name, known)| (name, known.raw)).collect();
        all.get(nth).or(all.last()).copied()
    }

    pub(crate) fn end(&self, slot: usize, side: Side) -> Option<Endpoint> {
        self.pairs.borrow()[slot].ends[side as usize]
    }

    pub(crate) fn change(&self, slot: usize, side: Side, change: impl FnOnce(&mut Endpoint)) {
        if let Some(end) = &mut self.pairs.borrow_mut()[slot].ends[side as usize] {
            change(end);
        }
    }

    pub(crate) fn session(&self, slot: usize, side: Side) -> Option<Name> {
        self.name(side, self.end(slot, side)?.session())
    }

    /// What one end has written is what the other one reads.
    pub(crate) fn shuttle(&self, slot: usize) {
        let ends = self.pairs.borrow()[slot].ends;
        for (from, to) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            if let Some(from) = from {
                let bytes = from.written();
                to.into_iter().for_each(|to| to.feed(&bytes));
            }
        }
    }

    pub(crate) fn control(&self, side: Side, command: c_int, number: c_long) -> i64 {
        // SAFETY: the context is alive, and the commands used here take a number.
        unsafe { sys::SSL_CTX_ctrl(self.raw(side), command, number, ptr::null_mut()) }
    }

    fn counters(&self, side: Side) -> Counters {
        let counter = |position| self.control(side, 20 + position, 0);
        Counters {
            number: counter(0),
            connect: counter(1),
            connect_good: counter(2),
            accept: counter(4),
            accept_good: counter(5),
            hits: counter(7),
            cb_hits: counter(8),
            misses: counter(9),
            timeouts: counter(10),
        }
    }

    fn state(&self) -> State {
        let before = self.before.get();
        let counters = Side::BOTH.map(|side| {
            let (now, before) = (self.counters(side), before[side as usize]);
            Counters {
                number: now.number,
                connect: now.connect - before.connect,
                connect_good: now.connect_good - before.connect_good,
                accept: now.accept - before.accept,
                accept_good: now.accept_good - before.accept_good,
                hits: now.hits - before.hits,
                cb_hits: now.cb_hits - before.cb_hits,
                misses: now.misses - before.misses,
                timeouts: now.timeouts - before.timeouts,
            }
        });
        let slots = 0..self.pairs.borrow().len();
        let connections = slots.map(|slot| {
            Side::BOTH.map(|side| {
                let end = self.end(slot, side)?;
                Some(End {
                    session: self.session(slot, side),
                    reused: end.is_reused(),
                    shutdown: end.shutdown_bits(),
                })
            })
        });
        let connections = connections.collect();
        let known = self.known.borrow();
        let cached = Side::BOTH.map(|side| {
            let of_side = known.iter().enumerate().filter(|(_, known)| known.identity.side == side);
            of_side.filter(|(_, known)| self.is_cached(side, known.raw)).map(|(name, _)| name).collect()
        });
        // SAFETY: the sessions are alive.
        let resumable = |known: &Known| unsafe { ffi::SSL_SESSION_is_resumable(known.raw) } == 1;
        // SAFETY: as above.
        let times = |known: &Known| unsafe {
            (sys::SSL_SESSION_get_time(known.raw), sys::SSL_SESSION_get_timeout(known.raw))
        };
        let (resumable, times) = (known.iter().map(resumable), known.iter().map(times));
        State { cached, counters, resumable: resumable.collect(), times: times.collect(), connections }
    }

    fn is_cached(&self, side: Side, session: *mut sys::SSL_SESSION) -> bool {
        // SAFETY: both are alive, and no other thread uses the context, so its table may be read without the lock.
        let found = unsafe {
            ffi::OPENSSL_LH_retrieve(ffi::SSL_CTX_sessions(self.raw(side)), session.cast_const().cast())
        };
        found == session.cast::<c_void>()
    }
}
