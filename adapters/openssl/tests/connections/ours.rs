//! Our side: contexts and connections of the engine, told what happens as a TLS stack tells it.
//!
//! What OpenSSL has done is followed only where a TLS stack decides: which ids and tickets there are, and what is on the
//! wire. Everything else is our own decision, and is compared.

use crate::clock;
use crate::observe::{Counters, Deed, End, Handshake, Identity, Name, Reading, State, Told};
use crate::program::{BASE, SLOTS, Side, Step, TIMEOUT, Version};
use crate::rules::{Rule, Rules};
use resumption::{
    Closing, Connection, ConnectionBuilder, ManualClock, Offer, ProtocolVersion, Session, SessionCacheMode,
    SessionContext, SessionIdContext, SessionKey, ShutdownState, TicketKind, Timestamp, pin,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Context = SessionContext<Name>;

/// What a session without an id is called.
const NO_NAME: Name = Name::MAX;

pub(crate) struct Ours {
    contexts: [Arc<Context>; 2],
    clock: ManualClock,
    told: Arc<Mutex<[Vec<Told>; 2]>>,
    sessions: Vec<Option<Arc<Session<Name>>>>,
    connections: Vec<[Option<Connection<Name>>; 2]>,
    id_context: SessionIdContext,
    verify: bool,
    tickets: usize,
    /// What each pair has been made with: the number of tickets, and whether they are worth anything.
    made_with: [(usize, bool); SLOTS],
    /// The sessions of a ticket that was used in this step, on both sides: used up here, and perhaps not there.
    pub(crate) used_up: Vec<Name>,
    /// The rule by which nothing that follows can be compared.
    pub(crate) ends: Option<Rule>,
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
        let told: Arc<Mutex<[Vec<Told>; 2]>> = Arc::default();
        let context = |side: Side| {
            let (new, removed) = (Arc::clone(&told), Arc::clone(&told));
            let tell = move |log: &Mutex<[Vec<Told>; 2]>, told| {
                log.lock().expect("nobody panics in here")[side as usize].push(told);
            };
            let builder = SessionContext::builder()
                .capacity(1000)
                .timeout(Duration::from_secs(TIMEOUT.cast_unsigned()))
                .mode(mode(side, Some(0)))
                .clock(clock.clone())
                .on_new(move |_, session| tell(&new, Told::New(*session.payload())))
                .on_remove(move |_, session, _| tell(&removed, Told::Removed(*session.payload())));
            Arc::new(builder.build().expect("a small capacity"))
        };
        Self {
            contexts: Side::BOTH.map(context),
            clock: clock.clone(),
            told: Arc::clone(&told),
            sessions: Vec::new(),
            connections: (0..SLOTS).map(|_| [None, None]).collect(),
            id_context: SessionIdContext::EMPTY,
            verify: false,
            tickets: 2,
            made_with: [(0, false); SLOTS],
            used_up: Vec::new(),
            ends: None,
        }
    }

    pub(crate) fn told(&self) -> [Vec<Told>; 2] {
        std::mem::take(&mut self.told.lock().expect("nobody panics in here"))
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
        Arc::clone(self.sessions[name].as_ref().expect("it has come up"))
    }

    /// Starts the session of this name on a connection.
    fn start(&mut self, (slot, side): (usize, Side), name: Name, known: &[Identity]) -> Arc<Session<Name>> {
        let session = Arc::new(self.end(slot, side).next_session(key(&known[name])).build(name));
        self.sessions.resize(known.len(), None);
        self.sessions[name] = Some(Arc::clone(&session));
        session
    }

    /// Whether the server's session with this id is marked.
    fn is_marked(&self, id: &[u8]) -> bool {
        let of_server =
            |session: &&Arc<Session<Name>>| session.id().as_bytes() == id && !session.is_resumable();
        let server = &self.contexts[Side::Server as usize];
        let mut sessions = self.sessions.iter().flatten().filter(|session| server.contains(&session.key()));
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
            Step::Remove(side, nth) => {
                let session = self.session(self.nth(side, nth, older).expect("OpenSSL has one"));
                let returned = i64::from(self.contexts[side as usize].remove_session(&session));
                demand(
                    matches!(deed, Deed::Returned(there) if *there == returned),
                    "remove returns another value",
                )
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
            Step::Tickets(number) => self.tickets = number,
            // The clock of libssl has passed on already.
            Step::Pass(_) => self.clock.set(Timestamp::from_unix(clock::now().cast_unsigned())),
            _ => unreachable!("no setting"),
        }
    }

    fn handshake(
        &mut self,
        slot: usize,
        there: &Handshake,
        known: &[Identity],
        rules: &mut Rules,
    ) -> Verdict {
        let version = ProtocolVersion(there.version.wire());
        let mut offer = Offer::versions(version, version);
        if let Some(identity) = there.offer.map(|name| &known[name]).filter(|i| i.version == Version::Tls13) {
            offer = offer.lifetime_hint(Duration::from_secs(identity.lifetime));
        }
        let offered = self.end(slot, Side::Client).connect(&offer).is_some();
        demand(offered == there.offered, "another decision about the offer")?;
        self.end(slot, Side::Server).accept();
        if there.mismatch {
            self.end(slot, Side::Server).fatal_alert_sent();
            self.end(slot, Side::Client).fatal_alert_received();
            return demand(!there.finished, "two versions meet");
        }
        let mut reused = false;
        if let Some(name) = there.offer.filter(|_| offered) {
            if self.contexts[Side::Server as usize].mode().is_off() {
                self.ends = Some(Rule::ModeOffDoesNothing);
            } else if self.is_marked(&known[name].ticket) {
                self.ends = Some(Rule::MarkedIsNotResumed);
            }
            match self.end(slot, Side::Server).resume(version, &known[name].ticket) {
                Ok(found) => {
                    reused = found.is_some();
                    if let Some(found) = found.filter(|_| there.version == Version::Tls13) {
                        self.used_up = vec![*found.payload(), name];
                    }
                }
                Err(_) => {
                    demand(!there.finished, "OpenSSL does not mind the missing session id context")?;
                    self.end(slot, Side::Server).fatal_alert_sent();
                    self.end(slot, Side::Client).fatal_alert_received();
                    self.ends = Some(Rule::FatalResumptionIsAHit);
                    return Ok(());
                }
            }
        }
        demand(there.finished, "OpenSSL fails")?;
        demand(reused == there.reused, "another decision about the resumption")?;
        if reused {
            demand(self.end(slot, Side::Client).offer_accepted().is_ok(), "the client refuses")?;
        } else {
            self.full_handshake(slot, there, known)?;
        }
        for side in [Side::Server, Side::Client] {
            self.end(slot, side).established(version).expect("a small session");
        }
        self.send_tickets(slot, there, known, rules)
    }

    fn full_handshake(&mut self, slot: usize, there: &Handshake, known: &[Identity]) -> Verdict {
        for side in [Side::Server, Side::Client] {
            if there.version == Version::Tls13 {
                self.end(slot, side).new_session_without_id(ProtocolVersion::TLS1_3, NO_NAME);
                continue;
            }
            match there.sessions[side as usize] {
                Some(name) => {
                    let session = self.start((slot, side), name, known);
                    self.end(slot, side).new_session(session);
                }
                None => self.end(slot, side).new_session_without_id(ProtocolVersion::TLS1_2, NO_NAME),
            }
        }
        let has_id = there.sessions[Side::Server as usize].is_some();
        let same =
            there.version == Version::Tls13 || has_id == self.end(slot, Side::Server).sends_session_id();
        demand(same, "another decision about the id")
    }

    fn send_tickets(
        &mut self,
        slot: usize,
        there: &Handshake,
        known: &[Identity],
        rules: &mut Rules,
    ) -> Verdict {
        if there.version != Version::Tls13 {
            return Ok(());
        }
        let (configured, lacks_id_context) = self.made_with[slot];
        let due = self.end(slot, Side::Server).tickets_due(configured, TicketKind::Stateful);
        let caches = self.contexts[Side::Server as usize].mode().contains(own_bit(Side::Server));
        if lacks_id_context || !caches {
            if there.tickets.len() != due {
                rules.excuse(Rule::UselessTicketsNotSent, "tickets that nobody can use")?;
            }
        } else {
            demand(due == there.tickets.len(), "another number of tickets")?;
        }
        for name in &there.tickets {
            let session = self.start((slot, Side::Server), *name, known);
            self.end(slot, Side::Server)
                .ticket_issued(session, TicketKind::Stateful)
                .expect("a small session");
        }
        Ok(())
    }

    fn read(&mut self, slot: usize, side: Side, deed: &Deed, known: &[Identity]) -> Verdict {
        let Deed::Read(reading, tickets) = deed else { unreachable!("it was read") };
        for name in tickets {
            let session = self.start((slot, side), *name, known);
            self.end(slot, side).ticket_received(session).expect("a small session");
        }
        let end = self.end(slot, side);
        match reading {
            Reading::Nothing => {}
            Reading::CloseNotify => end.close_notify_received(),
            Reading::AlertReceived => end.fatal_alert_received(),
            Reading::AlertSent => end.fatal_alert_sent(),
            Reading::Eof => end.eof(),
        }
        Ok(())
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
                misses: stats.misses.cast_signed(),
                timeouts: stats.timeouts.cast_signed(),
            }
        });
        let end = |end: &Option<Connection<Name>>| {
            let end = end.as_ref()?;
            let session = named(&guard, end);
            Some(End { session, reused: end.is_reused(), shutdown: end.shutdown_state().bits() })
        };
        State {
            cached,
            counters,
            resumable: self
                .sessions
                .iter()
                .map(|session| session.as_ref().is_some_and(|session| session.is_resumable()))
                .collect(),
            connections: self.connections.iter().map(|pair| pair.each_ref().map(end)).collect(),
        }
    }
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
