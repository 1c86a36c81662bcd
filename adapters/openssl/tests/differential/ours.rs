//! Our side: contexts of the engine.

use crate::observe::{Answer, Event, Outcome, Reaction, Reason, State};
use crate::program::{BASE, CAPACITY, CONTEXTS, Call, Id, Program, Version, When};
use crate::real::end;
use resumption::{
    Added, ManualClock, ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionContext, SessionKey,
    Stats, Timestamp,
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

type Context = SessionContext<usize>;

thread_local! {
    /// Whose callbacks run on this thread.
    static ACTIVE: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// Contexts and sessions; a session's payload is its number.
struct World {
    contexts: RefCell<Vec<Arc<Context>>>,
    sessions: RefCell<Vec<Slot>>,
    clock: ManualClock,
    frames: RefCell<Vec<Vec<Event>>>,
    muted: Cell<bool>,
    reaction: RefCell<Option<Call>>,
    /// Evictions of each context. Nothing is evicted without a callback, so they are read when there was one.
    evictions: Cell<[i64; CONTEXTS]>,
    /// Whether UPDATE_TIME changes the time of what is added, as in OpenSSL.
    renews_on_add: Cell<bool>,
    /// A mistake, for the test of the tests: no session is ever said to be there.
    blind: Cell<bool>,
}

/// What a program knows as one session, and we as one after the other: ours never change.
#[derive(Clone)]
struct Slot {
    home: usize,
    version: Version,
    id: Id,
    time: i64,
    timeout: i64,
    /// None while it has no id: there are no such sessions.
    session: Option<Arc<Session<usize>>>,
    /// Whether one that this was before is marked.
    marked: bool,
}

impl Slot {
    fn make(&mut self, number: usize) {
        self.marked |= self.session.take().is_some_and(|session| !session.is_resumable());
        let version = ProtocolVersion(self.version.wire());
        let Ok(key) = SessionKey::parse(version, self.id.bytes()) else { return };
        let session = Session::<usize>::builder(key)
            .time(Timestamp::from_unix(self.time.max(0).cast_unsigned()))
            .timeout(Duration::from_secs(self.timeout.max(0).cast_unsigned()))
            .build(number);
        if self.marked {
            session.mark_not_resumable();
        }
        self.session = Some(Arc::new(session));
    }
}

fn context(clock: &ManualClock) -> Arc<Context> {
    let builder = SessionContext::builder().capacity(CAPACITY).clock(clock.clone());
    let builder = builder.on_remove(|context, session, reason| {
        let world = ACTIVE.with_borrow(|active| active.clone());
        if let Some(world) = world {
            world.removed(context, session, reason);
        }
    });
    Arc::new(builder.build().expect("a small capacity"))
}

fn renews(context: &Context) -> bool {
    context.mode().contains(SessionCacheMode::UPDATE_TIME)
}

/// Our side.
pub(crate) struct Ours(Rc<World>);

impl Ours {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(Timestamp::EPOCH);
        let contexts: Vec<_> = (0..CONTEXTS).map(|_| context(&clock)).collect();
        Self(Rc::new(World {
            contexts: RefCell::new(contexts),
            sessions: RefCell::default(),
            clock,
            frames: RefCell::default(),
            muted: Cell::new(false),
            reaction: RefCell::default(),
            evictions: Cell::default(),
            renews_on_add: Cell::default(),
            blind: Cell::default(),
        }))
    }

    pub(crate) fn begin(&self, program: &Program, renews_on_add: bool) {
        ACTIVE.set(Some(Rc::clone(&self.0)));
        self.clear();
        self.0.renews_on_add.set(renews_on_add);
        // A wheel does not turn back: every program has clocks and contexts that have seen no later time.
        self.0.clock.set(Timestamp::from_unix(BASE.cast_unsigned()));
        self.0.contexts.replace((0..CONTEXTS).map(|_| context(&self.0.clock)).collect());
        self.0.evictions.set([0; CONTEXTS]);
        let make = |(number, spec): (usize, &crate::program::Spec)| {
            let &crate::program::Spec { home, version, id, time, timeout } = spec;
            // A negative timeout is refused, and leaves that of SSL_SESSION_new.
            let timeout = if timeout < 0 { 304 } else { timeout };
            let mut slot = Slot { home, version, id, time, timeout, session: None, marked: false };
            slot.make(number);
            slot
        };
        self.0.sessions.replace(program.sessions.iter().enumerate().map(make).collect());
    }

    fn clear(&self) {
        self.0.muted.set(true);
        self.0.reaction.replace(None);
        self.0.contexts.replace(Vec::new());
        self.0.muted.set(false);
        self.0.sessions.replace(Vec::new());
    }

    pub(crate) fn make(&self, call: &Call) -> Outcome {
        self.0.make(call)
    }

    pub(crate) fn state(&self) -> State {
        self.0.state()
    }

    /// The time of our contexts.
    pub(crate) fn now(&self) -> i64 {
        self.0.context(0).now().as_unix().cast_signed()
    }

    pub(crate) fn check_counters(&self) {
        self.0.check_counters();
    }

    pub(crate) fn capacity(&self, context: usize) -> usize {
        self.0.context(context).capacity()
    }

    pub(crate) fn renews(&self, context: usize) -> bool {
        renews(&self.0.context(context))
    }

    /// Whether the two sessions have one key, in one context.
    pub(crate) fn collide(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.0.slot(one), self.0.slot(other));
        (one.home, one.version, one.id) == (other.home, other.version, other.id)
    }

    /// Makes a mistake from now on.
    pub(crate) fn plant(&self) {
        self.0.blind.set(true);
    }

    pub(crate) fn forget_reaction(&self) {
        self.0.reaction.replace(None);
    }

    /// Marks what the other side has marked.
    pub(crate) fn mark(&self, target: &State) {
        for (slot, resumable) in self.0.sessions.borrow().iter().zip(&target.resumable) {
            if let Some(session) = slot.session.as_ref().filter(|_| !resumable) {
                session.mark_not_resumable();
            }
        }
    }

    /// Gives a session another time, by putting another one in its place.
    pub(crate) fn set_time(&self, number: usize, time: i64) {
        self.0.change(number, |slot| slot.time = time);
    }

    pub(crate) fn set_timeout(&self, number: usize, timeout: i64) {
        self.0.change(number, |slot| slot.timeout = timeout);
    }

    pub(crate) fn set_id(&self, number: usize, id: Id) {
        self.0.change(number, |slot| slot.id = id);
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.clear();
        ACTIVE.set(None);
    }
}

impl World {
    fn removed(&self, context: &Context, session: &Session<usize>, reason: RemoveReason) {
        if self.muted.get() {
            return;
        }
        let session = *session.payload();
        let reaction = self.reaction.take().map(|call| {
            self.count_evictions();
            let before = self.state();
            let outcome = self.make(&call);
            Box::new(Reaction { call, before, outcome })
        });
        let reason = match reason {
            RemoveReason::Removed => Reason::Removed,
            RemoveReason::Evicted => Reason::Evicted,
            RemoveReason::Expired => Reason::Expired,
            RemoveReason::Flushed => Reason::Flushed,
            RemoveReason::ContextDropped => Reason::Dropped,
            other => panic!("no call here removes a session because of {other:?}"),
        };
        // One that is being dropped has its successor in its place already.
        let known = self.contexts.borrow().iter().position(|known| std::ptr::eq(&**known, context));
        let context = known.unwrap_or_else(|| self.sessions.borrow()[session].home);
        let event = Event { context, session, reason, reaction };
        self.frames.borrow_mut().last_mut().expect("a call is being made").push(event);
    }

    fn make(&self, call: &Call) -> Outcome {
        self.frames.borrow_mut().push(Vec::new());
        let answer = self.call(call);
        let events = self.frames.borrow_mut().pop().expect("pushed above");
        if !events.is_empty() {
            self.count_evictions();
        }
        Outcome { answer, events }
    }

    fn count_evictions(&self) {
        self.evictions.set([0, 1].map(|number| self.context(number).stats().cache_full.cast_signed()));
    }

    fn context(&self, number: usize) -> Arc<Context> {
        Arc::clone(&self.contexts.borrow()[number])
    }

    fn slot(&self, number: usize) -> Slot {
        self.sessions.borrow()[number].clone()
    }

    fn change(&self, number: usize, change: impl FnOnce(&mut Slot)) {
        let slot = self.slot(number);
        let context = self.context(slot.home);
        let was_cached = slot.session.as_ref().is_some_and(|_| self.cached(&context).contains(&number));
        {
            let slot = &mut self.sessions.borrow_mut()[number];
            change(slot);
            slot.make(number);
        }
        let Some(session) = self.slot(number).session.filter(|_| was_cached) else { return };
        self.muted.set(true);
        // No upkeep in this mode: nothing else leaves.
        let mode = context.set_mode(SessionCacheMode::OFF);
        let added = context.add_session(session).expect("a small session");
        assert!(matches!(added, Added::Replaced(_)), "the last one had the key");
        context.set_mode(mode);
        self.muted.set(false);
    }

    /// No cell is borrowed while a context has control: its callback borrows them.
    fn call(&self, call: &Call) -> Answer {
        match *call {
            Call::Add(number) => {
                let context = self.context(self.slot(number).home);
                let has_id = self.slot(number).session.is_some();
                if has_id && self.renews_on_add.get() && renews(&context) {
                    let now = context.now().as_unix().cast_signed();
                    self.change(number, |slot| slot.time = now);
                }
                let Some(session) = self.slot(number).session else { return Answer::Flag(false) };
                let added = context.add_session(session).expect("a small session");
                Answer::Flag(!matches!(added, Added::Unchanged))
            }
            Call::Remove(context, number) => match self.slot(number).session {
                Some(session) => Answer::Flag(self.context(context).remove_session(&session)),
                None => Answer::Flag(false),
            },
            Call::Contains(context, version, id) => {
                let key = SessionKey::parse(ProtocolVersion(version.wire()), id.bytes());
                let sees = |key| !self.blind.get() && self.context(context).contains(&key);
                Answer::Flag(key.is_ok_and(sees))
            }
            Call::Flush(context, when) => {
                self.flush(&self.context(context), when);
                Answer::Nothing
            }
            Call::SetCapacity(context, capacity) => {
                let previous = self.context(context).set_capacity(capacity).expect("a small capacity");
                Answer::Number(previous as i64)
            }
            Call::SetMode(context, mode) => {
                let previous = self.context(context).set_mode(SessionCacheMode::from_bits(mode));
                Answer::Number(previous.bits().into())
            }
            Call::SetTimeout(context, timeout) => {
                let timeout = Duration::from_secs(timeout.cast_unsigned());
                Answer::Number(self.context(context).set_timeout(timeout).as_secs().cast_signed())
            }
            Call::SetSessionTime(_, time) => Answer::Number(time),
            // A duration cannot be negative.
            Call::SetSessionTimeout(_, timeout) => Answer::Number(i64::from(timeout >= 0)),
            Call::SetId(number, id) => {
                let slot = self.slot(number);
                if self.cached(&self.context(slot.home)).contains(&number) {
                    return Answer::Nothing;
                }
                Answer::Flag(id != Id::TOO_LONG)
            }
            Call::React(ref call) => {
                self.reaction.replace(Some((**call).clone()));
                Answer::Nothing
            }
            Call::Replace(number) => {
                self.reaction.replace(None);
                let new = context(&self.clock);
                let old = std::mem::replace(&mut self.contexts.borrow_mut()[number], new);
                assert_eq!(Arc::strong_count(&old), 1);
                drop(old);
                self.count_evictions();
                Answer::Nothing
            }
            Call::Pass(seconds) => {
                self.clock.advance(Duration::from_secs(seconds.into()));
                Answer::Nothing
            }
        }
    }

    fn flush(&self, context: &Context, when: When) {
        let time = match when {
            When::Everything => {
                context.flush_all();
                return;
            }
            When::At(time) => time,
            When::AroundEndOf(session, offset) => {
                let slot = self.slot(session);
                end((slot.time, slot.timeout)).saturating_add(offset)
            }
        };
        context.flush_sessions(Timestamp::from_unix(time.max(0).cast_unsigned()));
    }

    fn cached(&self, context: &Context) -> BTreeSet<usize> {
        let mut cached = BTreeSet::new();
        context.for_each(&context.pin(), |session| {
            cached.insert(*session.payload());
        });
        assert_eq!(cached.len(), context.len(), "each is visited once");
        cached
    }

    fn state(&self) -> State {
        let sessions = self.sessions.borrow();
        State {
            cached: [0, 1].map(|number| self.cached(&self.context(number))),
            resumable: sessions
                .iter()
                .map(|slot| slot.session.as_ref().is_some_and(|session| session.is_resumable()))
                .collect(),
            times: sessions.iter().map(|slot| (slot.time, slot.timeout)).collect(),
            evictions: self.evictions.get(),
        }
    }

    /// Without handshakes, nothing is counted but sessions and evictions.
    fn check_counters(&self) {
        for (number, evictions) in self.evictions.get().into_iter().enumerate() {
            let stats = self.context(number).stats();
            let mut expected = Stats::default();
            expected.number = self.cached(&self.context(number)).len() as u64;
            expected.cache_full = evictions.cast_unsigned();
            // What waits to be freed is no count of what has happened.
            expected.reclamation = stats.reclamation;
            assert_eq!(stats, expected);
        }
    }
}
