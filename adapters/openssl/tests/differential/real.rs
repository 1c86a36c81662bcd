//! The side of OpenSSL: the real libssl, by its C interface.

use crate::clock;
use crate::ffi;
use crate::observe::{Answer, Event, Outcome, Reaction, Reason, State};
use crate::program::{BASE, CAPACITY, CONTEXTS, Call, Id, Program, Version, When};
use libc::{c_int, c_long, c_uint, c_void};
use openssl_sys as sys;
use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;

thread_local! {
    /// Whose callbacks run on this thread.
    static ACTIVE: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// Contexts and sessions. All pointers in it are alive; only this thread has them.
pub(crate) struct World {
    contexts: RefCell<Vec<Context>>,
    sessions: RefCell<Vec<Session>>,
    /// Never caches anything.
    scratch: *mut sys::SSL_CTX,
    /// The events of the call that is being made, and of those around it.
    frames: RefCell<Vec<Vec<Event>>>,
    muted: Cell<bool>,
    reaction: RefCell<Option<Call>>,
    /// How the capacity that a program asks for is put to OpenSSL.
    capacity_map: Cell<CapacityMap>,
    /// Whether sessions without an id are kept from OpenSSL.
    refuses_no_id: Cell<bool>,
}

pub(crate) type CapacityMap = fn(usize) -> c_long;

#[derive(Clone, Copy)]
struct Context {
    raw: *mut sys::SSL_CTX,
    /// A connection of each version, to ask for ids.
    probes: [*mut sys::SSL; 2],
    /// Evictions counted before the program began.
    evictions: i64,
}

#[derive(Clone, Copy)]
struct Session {
    raw: *mut sys::SSL_SESSION,
    home: usize,
}

unsafe extern "C" fn removed(context: *mut sys::SSL_CTX, session: *mut sys::SSL_SESSION) {
    let world = ACTIVE.with_borrow(|active| active.clone());
    if let Some(world) = world {
        world.removed(context, session);
    }
}

impl Context {
    fn new() -> Self {
        // SAFETY: these calls make objects that nobody else has; the callback has the signature that it must have.
        unsafe {
            let raw = sys::SSL_CTX_new(sys::TLS_method());
            assert!(!raw.is_null());
            sys::SSL_CTX_sess_set_remove_cb(raw, Some(removed));
            let probes = [sys::SSL_new(raw), sys::SSL_new(raw)];
            assert!(probes.iter().all(|probe| !probe.is_null()));
            assert_eq!(sys::SSL_set_ssl_method(probes[0], ffi::TLSv1_2_method()), 1);
            let versions = probes.map(|probe| sys::SSL_version(probe));
            assert_eq!(versions, Version::ALL.map(|version| version.wire().into()));
            Self { raw, probes, evictions: 0 }
        }
    }

    /// Reads or sets one of the numbers of the context.
    fn control(self, command: c_int, value: c_long) -> i64 {
        // SAFETY: the context is alive, and the commands used here take a number.
        unsafe { sys::SSL_CTX_ctrl(self.raw, command, value, ptr::null_mut()) }
    }

    fn counter(self, command: c_int) -> i64 {
        self.control(command, 0)
    }

    fn free(self) {
        // SAFETY: nobody else has them. The connections keep the context alive until they are gone.
        unsafe {
            self.probes.iter().for_each(|probe| sys::SSL_free(*probe));
            sys::SSL_CTX_free(self.raw);
        }
    }
}

impl Session {
    fn is_cached(self, context: Context) -> bool {
        // SAFETY: both are alive, and no other thread uses the context, so its table may be read without the lock.
        let found = unsafe {
            ffi::OPENSSL_LH_retrieve(ffi::SSL_CTX_sessions(context.raw), self.raw.cast_const().cast())
        };
        found == self.raw.cast::<c_void>()
    }

    fn times(self) -> (i64, i64) {
        // SAFETY: the session is alive.
        unsafe { (sys::SSL_SESSION_get_time(self.raw), sys::SSL_SESSION_get_timeout(self.raw)) }
    }

    fn has_no_id(self) -> bool {
        let mut length = 0;
        // SAFETY: the session is alive.
        unsafe { sys::SSL_SESSION_get_id(self.raw, &mut length) };
        length == 0
    }

    fn is_resumable(self) -> bool {
        // SAFETY: the session is alive.
        unsafe { ffi::SSL_SESSION_is_resumable(self.raw) == 1 }
    }
}

/// The side of OpenSSL.
pub(crate) struct Real(Rc<World>);

impl Real {
    pub(crate) fn new() -> Self {
        let contexts = (0..CONTEXTS).map(|_| Context::new()).collect();
        // SAFETY: it makes an object that nobody else has.
        let scratch = unsafe { sys::SSL_CTX_new(sys::TLS_method()) };
        Self(Rc::new(World {
            contexts: RefCell::new(contexts),
            sessions: RefCell::default(),
            scratch,
            frames: RefCell::default(),
            muted: Cell::new(false),
            reaction: RefCell::default(),
            capacity_map: Cell::new(|capacity| capacity as c_long),
            refuses_no_id: Cell::new(true),
        }))
    }

    /// Forgets the last program and makes the sessions of this one.
    pub(crate) fn begin(&self, program: &Program, capacity_map: CapacityMap, refuses_no_id: bool) {
        ACTIVE.set(Some(Rc::clone(&self.0)));
        self.clear();
        clock::set(BASE);
        self.0.capacity_map.set(capacity_map);
        self.0.refuses_no_id.set(refuses_no_id);
        for context in &mut *self.0.contexts.borrow_mut() {
            context.control(ffi::SSL_CTRL_SET_SESS_CACHE_SIZE, capacity_map(CAPACITY));
            context.control(ffi::SSL_CTRL_SET_SESS_CACHE_MODE, 2);
            // SAFETY: the context is alive.
            unsafe { ffi::SSL_CTX_set_timeout(context.raw, 7200) };
            context.evictions = context.counter(ffi::SSL_CTRL_SESS_CACHE_FULL);
        }
        let make = |spec: &crate::program::Spec| {
            // SAFETY: the session is new.
            let raw = unsafe {
                let raw = ffi::SSL_SESSION_new();
                assert!(!raw.is_null());
                assert_eq!(ffi::SSL_SESSION_set_protocol_version(raw, spec.version.wire().into()), 1);
                ffi::SSL_SESSION_set_timeout(raw, spec.timeout);
                ffi::SSL_SESSION_set_time(raw, spec.time);
                raw
            };
            let session = Session { raw, home: spec.home };
            assert!(set_id(session, spec.id));
            session
        };
        self.0.sessions.replace(program.sessions.iter().map(make).collect());
    }

    fn clear(&self) {
        self.0.muted.set(true);
        self.0.reaction.replace(None);
        for context in self.0.contexts.borrow().iter() {
            // SAFETY: the context is alive.
            unsafe { ffi::SSL_CTX_flush_sessions(context.raw, 0) };
        }
        self.0.muted.set(false);
        for session in self.0.sessions.take() {
            // SAFETY: this is the reference that `begin` has made; no context has another one.
            unsafe { sys::SSL_SESSION_free(session.raw) };
        }
    }

    pub(crate) fn make(&self, call: &Call) -> Outcome {
        self.0.make(call)
    }

    pub(crate) fn state(&self) -> State {
        self.0.state()
    }

    pub(crate) fn check_counters(&self) {
        self.0.check_counters();
    }

    pub(crate) fn has_no_id(&self, session: usize) -> bool {
        self.0.session(session).has_no_id()
    }

    /// Forgets the call that the next callback was to make.
    pub(crate) fn forget_reaction(&self) {
        self.0.reaction.replace(None);
    }

    /// Makes the caches hold exactly these sessions, without a word to anybody; and marks sessions not resumable.
    pub(crate) fn level(&self, target: &State) {
        self.0.muted.set(true);
        let contexts = self.0.contexts.borrow().clone();
        for (session, number) in self.0.sessions.borrow().iter().zip(0..) {
            for (context, wanted) in contexts.iter().zip(&target.cached) {
                match (session.is_cached(*context), wanted.contains(&number)) {
                    (true, false) => {
                        // SAFETY: both are alive.
                        unsafe { sys::SSL_CTX_remove_session(context.raw, session.raw) };
                    }
                    (false, true) => add_quietly(*context, *session),
                    _ => {}
                }
            }
            if !target.resumable[number] && session.is_resumable() {
                // SAFETY: both are alive. The session is not in that context, and is marked all the same.
                unsafe { sys::SSL_CTX_remove_session(self.0.scratch, session.raw) };
            }
        }
        self.0.muted.set(false);
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.clear();
        ACTIVE.set(None);
        for context in self.0.contexts.take() {
            context.free();
        }
        // SAFETY: nobody else has it.
        unsafe { sys::SSL_CTX_free(self.0.scratch) };
    }
}

fn set_id(session: Session, id: Id) -> bool {
    let bytes = id.bytes();
    // SAFETY: the session is alive, and OpenSSL copies so many bytes or none.
    unsafe { ffi::SSL_SESSION_set1_id(session.raw, bytes.as_ptr(), bytes.len() as c_uint) == 1 }
}

/// Adds a session for which there may be no room, and leaves its time alone.
fn add_quietly(context: Context, session: Session) {
    let capacity = context.control(ffi::SSL_CTRL_SET_SESS_CACHE_SIZE, 0);
    let mode = context.control(ffi::SSL_CTRL_SET_SESS_CACHE_MODE, 2);
    // SAFETY: both are alive, and no other context has the session.
    assert_eq!(unsafe { sys::SSL_CTX_add_session(context.raw, session.raw) }, 1);
    context.control(ffi::SSL_CTRL_SET_SESS_CACHE_MODE, mode);
    context.control(ffi::SSL_CTRL_SET_SESS_CACHE_SIZE, capacity);
}

impl World {
    fn removed(&self, context: *mut sys::SSL_CTX, session: *mut sys::SSL_SESSION) {
        if self.muted.get() {
            return;
        }
        let context = self.contexts.borrow().iter().position(|c| c.raw == context).expect("one of ours");
        let session = self.sessions.borrow().iter().position(|s| s.raw == session).expect("one of ours");
        let reaction = self.reaction.take().map(|call| {
            // No table is read: OpenSSL may be in the middle of changing it.
            let outcome = self.make(&call);
            Box::new(Reaction { call, before: State::default(), outcome })
        });
        let event = Event { context, session, reason: Reason::Unknown, reaction };
        self.frames.borrow_mut().last_mut().expect("a call is being made").push(event);
    }

    fn make(&self, call: &Call) -> Outcome {
        self.frames.borrow_mut().push(Vec::new());
        let answer = self.call(call);
        let events = self.frames.borrow_mut().pop().expect("pushed above");
        Outcome { answer, events }
    }

    fn context(&self, number: usize) -> Context {
        self.contexts.borrow()[number]
    }

    fn session(&self, number: usize) -> Session {
        self.sessions.borrow()[number]
    }

    /// No cell is borrowed while OpenSSL has control: its callback borrows them.
    fn call(&self, call: &Call) -> Answer {
        match *call {
            Call::Add(number) => {
                let session = self.session(number);
                if self.refuses_no_id.get() && session.has_no_id() {
                    return Answer::Flag(false);
                }
                // SAFETY: both are alive, and the session is added to no other context.
                let added = unsafe { sys::SSL_CTX_add_session(self.context(session.home).raw, session.raw) };
                Answer::Flag(added == 1)
            }
            Call::Remove(context, session) => {
                // SAFETY: both are alive.
                let removed = unsafe {
                    sys::SSL_CTX_remove_session(self.context(context).raw, self.session(session).raw)
                };
                Answer::Flag(removed == 1)
            }
            Call::Contains(context, version, id) => {
                let (probe, id) = (self.context(context).probes[version as usize], id.bytes());
                // SAFETY: the connection is alive, and so many bytes are read.
                let found =
                    unsafe { ffi::SSL_has_matching_session_id(probe, id.as_ptr(), id.len() as c_uint) };
                Answer::Flag(found == 1)
            }
            Call::Flush(context, when) => {
                // SAFETY: the context is alive.
                unsafe { ffi::SSL_CTX_flush_sessions(self.context(context).raw, self.time(when)) };
                Answer::Nothing
            }
            Call::SetCapacity(context, capacity) => {
                let capacity = self.capacity_map.get()(capacity);
                let control = ffi::SSL_CTRL_SET_SESS_CACHE_SIZE;
                Answer::Number(self.context(context).control(control, capacity))
            }
            Call::SetMode(context, mode) => {
                let control = ffi::SSL_CTRL_SET_SESS_CACHE_MODE;
                Answer::Number(self.context(context).control(control, mode.into()))
            }
            Call::SetTimeout(context, timeout) => {
                // SAFETY: the context is alive.
                Answer::Number(unsafe { ffi::SSL_CTX_set_timeout(self.context(context).raw, timeout) })
            }
            Call::SetSessionTime(session, time) => {
                // SAFETY: the session is alive.
                Answer::Number(unsafe { ffi::SSL_SESSION_set_time(self.session(session).raw, time) })
            }
            Call::SetSessionTimeout(session, timeout) => {
                // SAFETY: the session is alive.
                Answer::Number(unsafe { ffi::SSL_SESSION_set_timeout(self.session(session).raw, timeout) })
            }
            Call::SetId(number, id) => {
                let session = self.session(number);
                if session.is_cached(self.context(session.home)) {
                    return Answer::Nothing;
                }
                Answer::Flag(set_id(session, id))
            }
            Call::React(ref call) => {
                self.reaction.replace(Some((**call).clone()));
                Answer::Nothing
            }
            Call::Replace(number) => {
                // Its callback may not call a context that is going away.
                self.reaction.replace(None);
                self.context(number).free();
                let new = Context::new();
                new.control(ffi::SSL_CTRL_SET_SESS_CACHE_SIZE, self.capacity_map.get()(CAPACITY));
                self.contexts.borrow_mut()[number] = new;
                Answer::Nothing
            }
            Call::Pass(seconds) => {
                clock::pass(seconds);
                Answer::Nothing
            }
        }
    }

    fn time(&self, when: When) -> c_long {
        match when {
            When::Everything => 0,
            When::At(time) => time,
            When::AroundEndOf(session, offset) => end(self.session(session).times()).saturating_add(offset),
        }
    }

    /// Without handshakes, nothing is counted but sessions and evictions.
    fn check_counters(&self) {
        let sizes = self.state().cached.map(|cached| cached.len() as i64);
        for (context, size) in self.contexts.borrow().iter().zip(sizes) {
            assert_eq!(context.counter(ffi::SSL_CTRL_SESS_NUMBER), size);
            for counter in ffi::SSL_CTRL_SESS_NUMBER + 1..ffi::SSL_CTRL_SESS_CACHE_FULL {
                assert_eq!(context.counter(counter), 0, "counter {counter}");
            }
        }
    }

    fn state(&self) -> State {
        let (contexts, sessions) = (self.contexts.borrow(), self.sessions.borrow());
        let cached = |context: &Context| {
            let is_cached = |(_, session): &(usize, &Session)| session.is_cached(*context);
            sessions.iter().enumerate().filter(is_cached).map(|(number, _)| number).collect()
        };
        let cached: Vec<_> = contexts.iter().map(cached).collect();
        State {
            cached: cached.try_into().expect("as many as there are contexts"),
            resumable: sessions.iter().map(|session| session.is_resumable()).collect(),
            times: sessions.iter().map(|session| session.times()).collect(),
            evictions: [0, 1].map(|number| {
                let context: &Context = &contexts[number];
                context.counter(ffi::SSL_CTRL_SESS_CACHE_FULL) - context.evictions
            }),
        }
    }
}

/// The last second of a session, as far as OpenSSL can say; a flush never has the time zero by accident.
pub(crate) fn end((time, timeout): (i64, i64)) -> i64 {
    match time.saturating_add(timeout) {
        -1..=1 => BASE,
        end => end,
    }
}

/// The present, as libssl sees it.
pub(crate) fn time_of_a_new_session() -> i64 {
    // SAFETY: the session is made and freed here.
    unsafe {
        let session = ffi::SSL_SESSION_new();
        let time = sys::SSL_SESSION_get_time(session);
        sys::SSL_SESSION_free(session);
        time
    }
}
