//! Our side: contexts and connections of the engine, told what happens as a TLS stack tells it.
//!
//! What OpenSSL has done is followed only where a TLS stack decides: which ids and tickets there are, and what is on the
//! wire. Everything else is our own decision, and is compared.

mod handshake;

use crate::clock;
use crate::heard::Heard;
use crate::observe::{Counters, Deed, End, Identity, Name, State, Told};
use crate::program::{BASE, SLOTS, Side, Step, TIMEOUT};
use crate::rules::{Rule, Rules};
use resumption::{
    Closing, Connection, ConnectionBuilder, ManualClock, ProtocolVersion, Session, SessionCacheMode,
    SessionContext, SessionIdContext, SessionKey, ShutdownState, Timestamp, pin,
};
use std::sync::Arc;
use std::time::Duration;

type Context = SessionContext<Name>;

/// What a session without an id is called.
const NO_NAME: Name = Name::MAX;

pub(crate) struct Ours {
    contexts: [Arc<Context>; 2],
    clock: ManualClock,
    pub(crate) heard: Arc<Heard>,
    connections: Vec<[Option<Connection<Name>>; 2]>,
    id_context: SessionIdContext,
    verify: bool,
    tickets: usize,
    /// What each pair has been made with: the number of tickets, and whether they are worth anything.
    made_with: [(usize, bool); SLOTS],
    /// What was written into each ticket that was issued: its session's id, and its lifetime.
    lifetimes: Vec<(Vec<u8>, u64)>,
    /// The sessions of a ticket that was used in this step, on both sides: used up here, and perhaps not there.
    pub(crate) used_up: Vec<Name>,
    /// The rule by which nothing that follows can be compared.
    pub(crate) ends: Option<Rule>,
    /// A mistake, for the test of the tests: nothing is removed on demand.
    pub(crate) clings: bool,
}

type Verdict = Result<(), String>;

fn demand(holds: bool, complaint: &str) -> Verdict {
    if holds { Ok(()) } else { Err(complaint.to_owned()) }
}

fn side_of(side: Side) -> resumption::Side {
    match side {
        Side::Client => resumption::Side::Client,
        Side::Server => resumption::Side::Server,
    }
}

fn key(identity: &Identity) -> SessionKey {
    SessionKey::parse(ProtocolVersion(identity.version.wire()), &identity.id).expect("it has an id")
}

impl Ours {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_unix(BASE.cast_unsigned()));
        let heard: Arc<Heard> = Arc::default();
        let context = |side: Side| {
            let builder = heard.listen(side).capacity(1000).mode(mode(side, Some(0))).clock(clock.clone());
            let builder = builder.timeout(Duration::from_secs(TIMEOUT.cast_unsigned()));
            Arc::new(builder.build().expect("a small capacity"))
        };
        Self {
            contexts: Side::BOTH.map(context),
            clock: clock.clone(),
            heard: Arc::clone(&heard),
            connections: (0..SLOTS).map(|_| [None, None]).collect(),
            id_context: SessionIdContext::EMPTY,
            verify: false,
            tickets: 2,
            made_with: [(0, false); SLOTS],
            lifetimes: Vec::new(),
            used_up: Vec::new(),
            ends: None,
            clings: false,
        }
    }

    pub(crate) fn told(&self) -> [Vec<Told>; 2] {
        std::mem::take(&mut self.heard.inner().told)
    }

    /// Evictions so far, by side.
    pub(crate) fn evictions(&self) -> [i64; 2] {
        self.contexts.each_ref().map(|context| context.stats().cache_full.cast_signed())
    }

    /// Removes a session from its cache and marks it, without a word to anybody.
    pub(crate) fn forget(&self, side: Side, name: Name) {
        let session = self.session(name);
        self.heard.inner().muted = true;
        self.contexts[side as usize].remove_session(&session);
        self.heard.inner().muted = false;
    }

    /// Whether a session is not marked.
    pub(crate) fn is_resumable(&self, name: Name) -> bool {
        self.session(name).is_resumable()
    }

    pub(crate) fn mark(&self, name: Name) {
        self.session(name).mark_not_resumable();
    }

    fn builder(&self, side: Side) -> ConnectionBuilder<Name> {
        let context = Arc::clone(&self.contexts[side as usize]);
        let builder = Connection::builder(context, side_of(side));
        match side {
            Side::Client => builder,
            Side::Server => builder.id_context(self.id_context).verify_peer(self.verify),
        }
    }

    fn end(&mut self, slot: usize, side: Side) -> &mut Connection<Name> {
        self.connections[slot][side as usize].as_mut().expect("OpenSSL has one")
    }

    fn session(&self, name: Name) -> Arc<Session<Name>> {
        self.heard.inner().sessions[name].clone().expect("it has come up")
    }

    /// Starts the session of this name on a connection.
    fn start(&mut self, (slot, side): (usize, Side), name: Name, known: &[Identity]) -> Arc<Session<Name>> {
        let session = Arc::new(self.end(slot, side).next_session(key(&known[name])).build(name));
        let sessions = &mut self.heard.inner().sessions;
        sessions.resize(known.len(), None);
        sessions[name] = Some(Arc::clone(&session));
        session
    }

    /// Whether the server's session with this id is marked.
    fn is_marked(&self, id: &[u8]) -> bool {
        let of_server =
            |session: &&Arc<Session<Name>>| session.id().as_bytes() == id && !session.is_resumable();
        let server = &self.contexts[Side::Server as usize];
        let inner = self.heard.inner();
        let mut sessions = inner.sessions.iter().flatten().filter(|session| server.contains(&session.key()));
        sessions.any(|session| of_server(&session))
    }

    /// The n-th session of a side, or the last one.
    fn nth(&self, side: Side, nth: usize, known: &[Identity]) -> Option<Name> {
        let of_side = known.iter().enumerate().filter(|(_, identity)| identity.side == side);
        let all: Vec<_> = of_side.map(|(name, _)| name).collect();
        all.get(nth).or(all.last()).copied()
    }

    /// Follows a step. `known` are all sessions that OpenSSL has, those of this step included; `before` is how many there
    /// were before it.
    pub(crate) fn follow(
        &mut self,
        step: &Step,
        deed: &Deed,
        (known, before): (&[Identity], usize),
        rules: &mut Rules,
    ) -> Verdict {
        if matches!(deed, Deed::Skipped) {
            return Ok(());
        }
        let older = &known[..before];
        let limited = |context: &Arc<Context>| (1..1000).contains(&context.capacity());
        let flushed = |side| matches!(step, Step::Flush(of, _) | Step::SetCapacity(of, _) if *of == side);
        let locked = Side::BOTH.map(|side| flushed(side) || limited(&self.contexts[side as usize]));
        self.heard.inner().locked = locked;
        self.heard.inner().offered.clear();
        match *step {
            Step::Connect { slot, .. } | Step::Mismatch { slot, .. } => {
                for side in Side::BOTH {
                    self.connections[slot][side as usize] = None;
                }
                self.connections[slot] = Side::BOTH.map(|side| Some(self.builder(side).build()));
                self.made_with[slot] = (self.tickets, self.verify && self.id_context.is_empty());
                let Deed::Handshake(handshake) = deed else { unreachable!("it was a handshake") };
                let offer = handshake.offer.map(|name| self.session(name));
                self.end(slot, Side::Client).set_session(offer);
                self.handshake(slot, handshake, known, rules)
            }
            Step::Again(slot) => {
                for side in Side::BOTH {
                    demand(self.end(slot, side).clear().is_ok(), "a connection cannot be cleared")?;
                }
                self.end(slot, Side::Server).set_session(None);
                let Deed::Handshake(handshake) = deed else { unreachable!("it was a handshake") };
                let ours = named(&pin(), self.end(slot, Side::Client));
                demand(ours == handshake.offer, "another session is left after clear")?;
                self.handshake(slot, handshake, known, rules)
            }
            Step::Read(slot, side) | Step::Garbage(slot, side) | Step::Eof(slot, side) => {
                self.read(slot, side, deed, known)
            }
            Step::Shutdown(slot, side) => {
                let returned = match self.end(slot, side).shutdown() {
                    Ok(Closing::Sent) => 0,
                    Ok(Closing::Complete) => 1,
                    Err(_) => -1,
                };
                demand(
                    matches!(deed, Deed::Returned(there) if *there == returned),
                    "shutdown returns another value",
                )
            }
            Step::SetShutdown(slot, side, bits) => {
                let states =
                    [ShutdownState::NONE, ShutdownState::SENT, ShutdownState::RECEIVED, ShutdownState::BOTH];
                self.end(slot, side).set_shutdown(states[usize::from(bits)]);
                Ok(())
            }
            Step::Free(slot, side) => {
                self.connections[slot][side as usize] = None;
                Ok(())
            }
            Step::SetSession(slot, nth) => {
                let session =
                    nth.and_then(|nth| self.nth(Side::Client, nth, older)).map(|name| self.session(name));
                self.end(slot, Side::Client).set_session(session);
                demand(matches!(deed, Deed::Returned(1)), "set_session never fails")
            }
            Step::SetState(slot, side) => {
                match side {
                    Side::Client => self.end(slot, side).set_connect_state(),
                    Side::Server => self.end(slot, side).set_accept_state(),
                }
                Ok(())
            }
            Step::Add(side, nth) => {
                let session = self.session(self.nth(side, nth, older).expect("OpenSSL has one"));
                let added = self.contexts[side as usize].add_session(session).expect("a small session");
                let returned = i64::from(!matches!(added, resumption::Added::Unchanged));
                demand(
                    matches!(deed, Deed::Returned(there) if *there == returned),
                    "add returns another value",
                )
            }
            Step::Remove(..) if self.clings => Ok(()),
            Step::Remove(side, nth) => {
                let session = self.session(self.nth(side, nth, older).expect("OpenSSL has one"));
                let returned = i64::from(self.contexts[side as usize].remove_session(&session));
                demand(
                    matches!(deed, Deed::Returned(there) if *there == returned),
                    "remove returns another value",
                )
            }
            Step::Shelve(nth) => {
                let name = nth.and_then(|nth| self.nth(Side::Server, nth, older));
                match name {
                    Some(name) => self.heard.inner().shelf.push(name),
                    None => self.heard.inner().shelf.clear(),
                }
                Ok(())
            }
            Step::React(side, reaction) => {
                let name = reaction.session().and_then(|nth| self.nth(side, nth, older));
                let reaction = name.map_or(reaction, |name| reaction.with(name));
                self.heard.inner().reaction = Some((side, reaction));
                Ok(())
            }
            _ => {
                self.set(step);
                Ok(())
            }
        }
    }

    fn set(&mut self, step: &Step) {
        match *step {
            Step::Flush(side, everything) => {
                let context = &self.contexts[side as usize];
                if everything {
                    context.flush_all();
                } else {
                    context.flush_sessions(context.now());
                }
            }
            Step::SetMode(side, flags) => {
                self.contexts[side as usize].set_mode(mode(side, flags));
            }
            Step::SetIdContext(value) => {
                let bytes = [value];
                let bytes = if value > 0 { &bytes[..] } else { &[] };
                self.id_context = SessionIdContext::new(bytes).expect("a short one");
            }
            Step::Verify(verify) => self.verify = verify,
            Step::SetTimeout(side, timeout) => {
                self.contexts[side as usize].set_timeout(Duration::from_secs(timeout.cast_unsigned()));
            }
            Step::SetCapacity(side, capacity) => {
                self.contexts[side as usize].set_capacity(capacity).expect("a small capacity");
            }
            Step::Tickets(number) => self.tickets = number,
            // The clock of libssl has passed on already.
            Step::Pass(_) => self.clock.set(Timestamp::from_unix(clock::now().cast_unsigned())),
            _ => unreachable!("no setting"),
        }
    }

    pub(crate) fn state(&self) -> State {
        let guard = pin();
        let cached = self.contexts.each_ref().map(|context| {
            let mut cached = std::collections::BTreeSet::new();
            context.for_each(&guard, |session| {
                cached.insert(*session.payload());
            });
            cached
        });
        let counters = self.contexts.each_ref().map(|context| {
            let stats = context.stats();
            Counters {
                number: stats.number.cast_signed(),
                connect: stats.connect.cast_signed(),
                connect_good: stats.connect_good.cast_signed(),
                accept: stats.accept.cast_signed(),
                accept_good: stats.accept_good.cast_signed(),
                hits: stats.hits.cast_signed(),
                cb_hits: stats.cb_hits.cast_signed(),
                misses: stats.misses.cast_signed(),
                timeouts: stats.timeouts.cast_signed(),
            }
        });
        let end = |end: &Option<Connection<Name>>| {
            let end = end.as_ref()?;
            let session = named(&guard, end);
            Some(End { session, reused: end.is_reused(), shutdown: end.shutdown_state().bits() })
        };
        let sessions = self.heard.inner().sessions.clone();
        let resumable = sessions.iter().map(|session| session.as_ref().is_some_and(|s| s.is_resumable()));
        let times = sessions.iter().map(|session| session.as_ref().map_or((0, 0), |session| times(session)));
        let (resumable, times) = (resumable.collect(), times.collect());
        State {
            cached,
            counters,
            resumable,
            times,
            connections: self.connections.iter().map(|pair| pair.each_ref().map(end)).collect(),
        }
    }
}

fn times(session: &Session<Name>) -> (i64, i64) {
    (session.time().as_unix().cast_signed(), session.timeout().as_secs().cast_signed())
}

/// The current session, if it has an id.
fn named(guard: &resumption::Guard, connection: &Connection<Name>) -> Option<Name> {
    connection.session(guard).map(|session| *session.payload()).filter(|name| *name != NO_NAME)
}

fn mode(side: Side, flags: Option<u32>) -> SessionCacheMode {
    let Some(flags) = flags else { return SessionCacheMode::OFF };
    // Upkeep is switched off: flushing by itself is a departure of its own, and is compared elsewhere.
    own_bit(side) | SessionCacheMode::NO_AUTO_CLEAR | SessionCacheMode::from_bits(flags)
}

fn own_bit(side: Side) -> SessionCacheMode {
    match side {
        Side::Client => SessionCacheMode::CLIENT,
        Side::Server => SessionCacheMode::SERVER,
    }
}
