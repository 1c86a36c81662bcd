//! Calls on one context, each judged by the testkit's sequential model.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbitrary::Arbitrary;
use resumption::{
    Added, Guard, ManualClock, Outcomes, ProtocolVersion, RemoveReason, Session, SessionCacheMode,
    SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use resumption_testkit::model::{self, Answer, Call, Model, Outcome, Reason, Seen};

/// A context and what is done with it.
#[derive(Debug, Arbitrary)]
pub struct Program {
    /// 0 is unlimited.
    capacity: u8,
    actions: Vec<Action>,
}

/// Small numbers choose among few keys, contexts and sessions, so that actions meet each other.
#[derive(Debug, Clone, Arbitrary)]
pub enum Action {
    Add {
        key: u8,
        id_context: u8,
        time: i8,
        timeout: u8,
        end_of_life: Option<u8>,
    },
    AddAgain(u8),
    Remove(u8),
    Lookup {
        key: u8,
        id_context: u8,
    },
    LookupCounted {
        key: u8,
        id_context: u8,
    },
    Take {
        key: u8,
        id_context: u8,
    },
    TakeBorrowed {
        key: u8,
        id_context: u8,
    },
    Flush(i8),
    FlushAll,
    Purge(u8),
    SetCapacity(u8),
    Mark(u8),
    Advance(u8),
    SetBack(u8),
    /// What the next remove callback does.
    Inside(Inside),
    Mode {
        inside: bool,
        renews: bool,
    },
    Tick,
    ForgetBorrows,
    Parse(Vec<u8>),
}

/// A call from inside a callback.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Inside {
    Flush(i8),
    FlushAll,
    Purge(u8),
    SetCapacity(u8),
    Tick,
    Look,
}

/// What the callbacks saw and did.
enum Entry {
    Left(u64, Reason),
    Called(Call, Seen),
}

/// The payload is on the heap, so that a sanitizer sees a read of one that was freed.
type Payload = Vec<u8>;
type Told = Arc<Mutex<Vec<Entry>>>;
type Next = Arc<Mutex<Option<Inside>>>;

const START: u64 = 1_000_000;

/// Runs the program.
///
/// # Panics
///
/// When the engine does what the rules do not allow.
pub fn run(program: &Program) {
    let mut driver = Driver::new(usize::from(program.capacity % 12));
    // A piece ends where the program forgets its borrows: until then every borrow must stay readable.
    for piece in program.actions.split_inclusive(|action| matches!(action, Action::ForgetBorrows)) {
        let guard = resumption::pin();
        let mut borrows = Vec::new();
        for action in piece {
            borrows.extend(driver.act(action, &guard));
            borrows.iter().for_each(|&(serial, session)| assert_eq!(serial_of(session), serial));
        }
        drop(guard);
        resumption::idle();
    }
    driver.finish();
}

struct Driver {
    context: SessionContext<Payload>,
    model: Model,
    clock: ManualClock,
    told: Told,
    inside: Next,
    small: bool,
    sessions: Vec<(model::Session, Arc<Session<Payload>>)>,
}

impl Driver {
    fn new(capacity: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_unix(START));
        let (told, inside) = (Told::default(), Next::default());
        let (tell, next) = (Arc::clone(&told), Arc::clone(&inside));
        let builder = SessionContext::builder().capacity(capacity).clock(clock.clone());
        let context = builder
            .on_remove(move |context, session, reason| {
                lock(&tell).push(Entry::Left(serial_of(session), reason_of(reason)));
                let call = lock(&next).take();
                if let Some(call) = call {
                    call_inside(call, context, &tell);
                }
            })
            .build()
            .expect("a small table");
        Self {
            context,
            model: Model::new(capacity),
            clock,
            told,
            inside,
            small: capacity > 0,
            sessions: Vec::new(),
        }
    }

    /// Does one action and has it judged; returns what it borrowed.
    fn act<'g>(&mut self, action: &Action, guard: &'g Guard) -> Option<(u64, &'g Session<Payload>)> {
        let mut borrowed = None;
        match action {
            &Action::Add { key, id_context, time, timeout, end_of_life } => {
                let session = self.make(key, id_context, time, timeout, end_of_life);
                self.add(session);
            }
            &Action::AddAgain(which) => self.pick(which).into_iter().for_each(|session| self.add(session)),
            &Action::Remove(which) => {
                if let Some((described, session)) = self.pick(which) {
                    let removed = self.context.remove_session(&session);
                    self.judge(Call::Remove(described), Answer::Removed(removed));
                }
            }
            &Action::Lookup { key, id_context } => {
                borrowed = self.find(Call::Lookup, key, id_context, |context, key, id_context| {
                    context.lookup(key, id_context, guard).map(|session| (serial_of(session), session))
                });
            }
            &Action::LookupCounted { key, id_context } => {
                self.find(Call::Lookup, key, id_context, |context, key, id_context| {
                    context.lookup_arc(key, id_context).map(|session| (serial_of(&session), ()))
                });
            }
            &Action::Take { key, id_context } => {
                self.find(Call::Take, key, id_context, |context, key, id_context| {
                    context.take(key, id_context).map(|session| (serial_of(&session), ()))
                });
            }
            &Action::TakeBorrowed { key, id_context } => {
                borrowed = self.find(Call::Take, key, id_context, |context, key, id_context| {
                    context.take_borrowed(key, id_context, guard).map(|session| (serial_of(session), session))
                });
            }
            other => self.administer(other),
        }
        assert_eq!(self.context.len(), self.model.len(), "after {action:?}");
        borrowed
    }

    fn administer(&mut self, action: &Action) {
        match action {
            &Action::Flush(ahead) => {
                let at = self.now().saturating_add_signed(i64::from(ahead));
                let count = self.context.flush_sessions(Timestamp::from_unix(at));
                self.judge(Call::Flush(at), Answer::Count(count));
            }
            Action::Tick => {
                let _ = self.context.tick();
                self.judge(Call::Tick, Answer::Nothing);
            }
            Action::FlushAll => {
                let count = self.context.flush_all();
                self.judge(Call::FlushAll, Answer::Count(count));
            }
            &Action::Purge(which) => {
                let count = self.context.purge(&id_context_of(which));
                self.judge(Call::Purge(id_context_bytes(which)), Answer::Count(count));
            }
            &Action::SetCapacity(capacity) => {
                let capacity = usize::from(capacity % 12);
                if let Ok(previous) = self.context.set_capacity(capacity) {
                    self.judge(Call::SetCapacity(capacity), Answer::Capacity(previous));
                }
            }
            &Action::Mark(which) => {
                if let Some((described, session)) = self.pick(which) {
                    session.mark_not_resumable();
                    self.judge(Call::Mark(described.serial), Answer::Nothing);
                }
            }
            &Action::Advance(seconds) => self.clock.advance(Duration::from_secs(u64::from(seconds))),
            &Action::SetBack(seconds) => {
                let before = self.now().saturating_sub(u64::from(seconds));
                self.clock.set(Timestamp::from_unix(before));
            }
            // A large table is swept in pieces, between which callbacks run: then a call from inside one is in the middle
            // of the call outside.
            &Action::Inside(call) if self.small => *lock(&self.inside) = Some(call),
            &Action::Mode { inside, renews } => {
                let lookup =
                    if inside { SessionCacheMode::OFF } else { SessionCacheMode::NO_INTERNAL_LOOKUP };
                let renewal = if renews { SessionCacheMode::UPDATE_TIME } else { SessionCacheMode::OFF };
                self.context.set_mode(SessionCacheMode::SERVER | lookup | renewal);
                self.model.set_looks_inside(inside);
                self.model.set_renews(renews);
            }
            Action::Parse(bytes) => {
                let parsed = SessionKey::parse(ProtocolVersion::TLS1_3, bytes);
                assert_eq!(parsed.is_ok(), (1..=SessionId::MAX_LEN).contains(&bytes.len()));
                assert!(parsed.is_ok_and(|key| self.context.contains(&key)) <= (bytes.len() == 1));
            }
            _ => {}
        }
    }

    fn add(&mut self, (described, session): (model::Session, Arc<Session<Payload>>)) {
        let answer = match self.context.add_session(session).expect("there is no largest session") {
            Added::Added => Answer::Added,
            Added::Replaced(old) => Answer::Replaced(serial_of(&old)),
            Added::Unchanged => Answer::Unchanged,
        };
        self.judge(Call::Add(described), answer);
    }

    fn find<R>(
        &mut self,
        call: fn(model::Key, Vec<u8>) -> Call,
        key: u8,
        id_context: u8,
        find: impl FnOnce(&SessionContext<Payload>, &SessionKey, &SessionIdContext) -> Option<(u64, R)>,
    ) -> Option<(u64, R)> {
        let before = self.context.stats().outcomes;
        let found = find(&self.context, &key_of(key), &id_context_of(id_context));
        let outcome = difference(&before, &self.context.stats().outcomes);
        let answer = Answer::Found(found.as_ref().map(|found| found.0), outcome);
        self.judge(call(described_key(key), id_context_bytes(id_context)), answer);
        found
    }

    fn judge(&mut self, call: Call, answer: Answer) {
        // The update is over when the callbacks run, so what they call comes after it.
        let (mut departures, mut calls) = (Vec::new(), Vec::new());
        for entry in std::mem::take(&mut *lock(&self.told)) {
            match entry {
                Entry::Left(serial, reason) => departures.push((serial, reason)),
                Entry::Called(call, seen) => calls.push((call, seen)),
            }
        }
        calls.insert(0, (call, Seen { answer, departures }));
        for (call, seen) in calls {
            if let Err(disagreement) = self.model.judge(&call, self.now(), &seen) {
                panic!("{disagreement}");
            }
        }
    }

    /// What must agree at the end, and that dropping the context tells of every session in it.
    fn finish(mut self) {
        let mut serials = Vec::new();
        self.context.for_each(&resumption::pin(), |session| serials.push(serial_of(session)));
        serials.sort_unstable();
        assert_eq!(serials, self.model.serials());
        for (described, session) in &self.sessions {
            assert_eq!(session.is_resumable(), self.model.is_resumable(described.serial));
            assert_eq!(self.context.contains(&session.key()), self.model.contains(&described.key));
        }
        let now = self.now();
        lock(&self.inside).take();
        drop(self.context);
        let told = std::mem::take(&mut *lock(&self.told));
        let departures = told.into_iter().map(|entry| match entry {
            Entry::Left(serial, reason) => (serial, reason),
            Entry::Called(call, _) => panic!("nobody asked for {call:?}"),
        });
        let departures = departures.collect();
        if let Err(disagreement) =
            self.model.judge(&Call::Drop, now, &Seen { answer: Answer::Nothing, departures })
        {
            panic!("{disagreement}");
        }
    }

    fn make(
        &mut self,
        key: u8,
        id_context: u8,
        time: i8,
        timeout: u8,
        end_of_life: Option<u8>,
    ) -> (model::Session, Arc<Session<Payload>>) {
        let described = model::Session {
            serial: self.sessions.len() as u64,
            key: described_key(key),
            id_context: id_context_bytes(id_context),
            time: self.now().saturating_add_signed(i64::from(time)),
            // The largest stands for ever.
            timeout: if timeout == u8::MAX { u64::MAX } else { u64::from(timeout) },
            end_of_life: end_of_life.map_or(model::NEVER, |seconds| self.now() + u64::from(seconds)),
        };
        let builder = Session::<Payload>::builder(key_of(key))
            .id_context(id_context_of(id_context))
            .time(Timestamp::from_unix(described.time))
            .timeout(Duration::from_secs(described.timeout))
            .end_of_life(Timestamp::from_unix(described.end_of_life));
        let session = Arc::new(builder.build(described.serial.to_be_bytes().to_vec()));
        self.sessions.push((described, session));
        self.sessions[self.sessions.len() - 1].clone()
    }

    fn pick(&self, which: u8) -> Option<(model::Session, Arc<Session<Payload>>)> {
        let count = self.sessions.len();
        (count > 0).then(|| self.sessions[usize::from(which) % count].clone())
    }

    fn now(&self) -> u64 {
        self.context.now().as_unix()
    }
}

/// Calls the context from inside its callback, and notes what came of it.
fn call_inside(call: Inside, context: &SessionContext<Payload>, told: &Told) {
    let outer = std::mem::take(&mut *lock(told));
    let (call, answer) = match call {
        Inside::Flush(ahead) => {
            let at = context.now().as_unix().saturating_add_signed(i64::from(ahead));
            (Call::Flush(at), Answer::Count(context.flush_sessions(Timestamp::from_unix(at))))
        }
        Inside::FlushAll => (Call::FlushAll, Answer::Count(context.flush_all())),
        Inside::Purge(which) => {
            (Call::Purge(id_context_bytes(which)), Answer::Count(context.purge(&id_context_of(which))))
        }
        Inside::SetCapacity(capacity) => {
            let capacity = usize::from(capacity % 12);
            let previous = context.set_capacity(capacity).expect("a small one");
            (Call::SetCapacity(capacity), Answer::Capacity(previous))
        }
        Inside::Tick => {
            let _ = context.tick();
            (Call::Tick, Answer::Nothing)
        }
        Inside::Look => {
            let mut count = 0;
            context.for_each(&context.pin(), |_| count += 1);
            assert_eq!(count, context.len(), "what is counted is there");
            assert_eq!(context.stats().number, count as u64);
            resumption::idle();
            (Call::Tick, Answer::Nothing)
        }
    };
    let inner = std::mem::replace(&mut *lock(told), outer);
    let departures = inner.into_iter().map(|entry| match entry {
        Entry::Left(serial, reason) => (serial, reason),
        Entry::Called(call, _) => panic!("nobody asked for {call:?}"),
    });
    let seen = Seen { answer, departures: departures.collect() };
    lock(told).push(Entry::Called(call, seen));
}

fn serial_of(session: &Session<Payload>) -> u64 {
    u64::from_be_bytes(session.payload()[..].try_into().expect("a serial number"))
}

/// Sixteen keys: eight ids, each under a version with session ids and one with tickets.
fn described_key(key: u8) -> model::Key {
    let version = if key & 1 == 0 { ProtocolVersion::TLS1_2 } else { ProtocolVersion::TLS1_3 };
    model::Key { id: vec![key >> 1 & 7], version: version.0 }
}

fn key_of(key: u8) -> SessionKey {
    let described = described_key(key);
    SessionKey::parse(ProtocolVersion(described.version), &described.id).expect("1 byte")
}

/// Three session id contexts, one of them empty.
fn id_context_bytes(which: u8) -> Vec<u8> {
    [&b""[..], b"www", b"mail"][usize::from(which % 3)].to_vec()
}

fn id_context_of(which: u8) -> SessionIdContext {
    SessionIdContext::new(&id_context_bytes(which)).expect("few bytes")
}

fn reason_of(reason: RemoveReason) -> Reason {
    match reason {
        RemoveReason::Removed => Reason::Removed,
        RemoveReason::Evicted => Reason::Evicted,
        RemoveReason::Expired => Reason::Expired,
        RemoveReason::Flushed => Reason::Flushed,
        RemoveReason::Consumed => Reason::Consumed,
        RemoveReason::Purged => Reason::Purged,
        RemoveReason::ContextDropped => Reason::ContextDropped,
        other => panic!("no call here removes because of {other:?}"),
    }
}

/// Reads one counter.
type Counter = fn(&Outcomes) -> u64;

/// The one outcome that was counted between two readings.
fn difference(before: &Outcomes, after: &Outcomes) -> Outcome {
    let counters: [(Outcome, Counter); 9] = [
        (Outcome::Hit, |outcomes| outcomes.hit),
        (Outcome::Unknown, |outcomes| outcomes.unknown),
        (Outcome::Expired, |outcomes| outcomes.expired),
        (Outcome::Evicted, |outcomes| outcomes.evicted),
        (Outcome::Consumed, |outcomes| outcomes.consumed),
        (Outcome::OtherContext, |outcomes| outcomes.other_context),
        (Outcome::OtherVersion, |outcomes| outcomes.other_version),
        (Outcome::Marked, |outcomes| outcomes.marked),
        (Outcome::Mode, |outcomes| outcomes.mode),
    ];
    assert_eq!(after.total(), before.total() + 1, "one lookup, one outcome");
    let counted = counters.iter().find(|(_, count)| count(after) > count(before));
    counted.expect("an outcome that this target can have").0
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
