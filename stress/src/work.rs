//! What each thread does.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::canary::Canary;
use resumption::{
    Guard, ManualClock, ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionContext, SessionId,
    SessionIdContext, SessionKey, Timestamp,
};
use resumption_testkit::workload::Random;

type Context = SessionContext<Canary>;
type Shared = Arc<Session<Canary>>;

const HERE: SessionIdContext = SessionIdContext::EMPTY;
const KEYS: u64 = 24;
/// Sessions that are added at once to make a table grow.
const CROWD: u64 = if cfg!(miri) { 40 } else { 400 };
/// Batches of calls in a thread's life. Miri takes a thousand times as long for each.
const BATCHES: u64 = if cfg!(miri) { 1 } else { 40 };

/// What all threads share: two contexts, each replaced now and then, and sessions to add again.
pub struct Stage {
    contexts: [RwLock<Arc<Context>>; 2],
    pool: Mutex<Vec<Shared>>,
    clock: ManualClock,
}

impl Stage {
    pub fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_unix(1_000_000));
        let mut random = Random::new(0);
        let contexts = [(); 2].map(|()| RwLock::new(context(&clock, &mut random)));
        Self { contexts, pool: Mutex::default(), clock }
    }

    fn context(&self, which: usize) -> Arc<Context> {
        Arc::clone(&self.contexts[which].read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What must hold when nobody is at work.
    ///
    /// # Panics
    ///
    /// When the account of a context does not agree with what is in it.
    pub fn check_at_rest(&self) {
        for which in 0..2 {
            let context = self.context(which);
            let (mut count, mut bytes) = (0, 0);
            context.for_each(&context.pin(), |session| {
                session.payload().check();
                count += 1;
                bytes += session.weight();
            });
            assert_eq!(context.len(), count, "account of sessions");
            assert!(context.bytes().is_none_or(|account| account == bytes), "account of bytes");
        }
    }
}

fn context(clock: &ManualClock, random: &mut Random) -> Arc<Context> {
    let capacity = 1 + random.below(8) as usize;
    let mut builder = Context::builder().capacity(capacity).clock(clock.clone()).mode(SessionCacheMode::BOTH);
    if random.chance(0.3) {
        builder = builder.byte_capacity(2000 + random.below(50_000) as usize);
    }
    if random.chance(0.5) {
        builder = builder.on_remove(|context: &Context, session, reason| {
            session.payload().check();
            if reason != RemoveReason::ContextDropped {
                context.contains(&session.key());
            }
        });
    }
    Arc::new(builder.build().expect("a small table"))
}

fn key(number: u64) -> SessionKey {
    let version = if number.is_multiple_of(2) { ProtocolVersion::TLS1_3 } else { ProtocolVersion::TLS1_2 };
    SessionKey::new(version, SessionId::new(&number.to_be_bytes()).expect("8 bytes"))
}

/// Makes some hundred calls; returns how many.
pub fn run(stage: &Stage, seed: u64) -> u64 {
    let mut worker = Worker { stage, random: Random::new(seed), calls: 0 };
    let mut guard = resumption::pin();
    for _ in 0..BATCHES {
        let mut borrows: Vec<&Session<Canary>> = Vec::new();
        for _ in 0..1 + worker.random.below(16) {
            borrows.extend(worker.call(&guard));
            borrows.iter().for_each(|session| session.payload().check());
        }
        guard.repin();
    }
    worker.calls
}

struct Worker<'s> {
    stage: &'s Stage,
    random: Random,
    calls: u64,
}

impl Worker<'_> {
    /// Makes one call; returns what it borrowed.
    fn call<'g>(&mut self, guard: &'g Guard) -> Option<&'g Session<Canary>> {
        self.calls += 1;
        let which = self.random.below(2) as usize;
        let context = self.stage.context(which);
        let key = key(self.random.below(KEYS));
        match self.random.below(100) {
            0..30 => self.add(&context, key),
            30..40 => self.add_again(&context),
            40..60 => return context.lookup(&key, &HERE, guard),
            60..66 => {
                if let Some(session) = context.lookup_arc(&key, &HERE) {
                    session.payload().check();
                    self.put_by(session);
                }
            }
            66..76 => {
                if let Some(session) = context.take(&key, &HERE) {
                    session.payload().take();
                }
            }
            76..86 => {
                let taken = context.take_borrowed(&key, &HERE, guard)?;
                taken.payload().take();
                return Some(taken);
            }
            86..90 => {
                let named = Session::<Canary>::builder(key).build(Canary::new());
                context.remove_session(&Arc::new(named));
            }
            _ => self.administer(which, &context, guard),
        }
        None
    }

    fn add(&mut self, context: &Context, key: SessionKey) {
        let seconds = 1 + self.random.below(60);
        let session = context.session(key).timeout(Duration::from_secs(seconds)).build(Canary::new());
        _ = context.add_new(session);
    }

    /// Sessions that are not taken meanwhile, and may be in both contexts.
    fn add_again(&mut self, context: &Context) {
        let pool = self.stage.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = (!pool.is_empty()).then(|| self.random.below(pool.len() as u64) as usize);
        let session = chosen.map(|index| Arc::clone(&pool[index]));
        drop(pool);
        if let Some(session) = session {
            _ = context.add_session(session);
        }
    }

    fn put_by(&mut self, session: Shared) {
        let mut pool = self.stage.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < 16 {
            pool.push(session);
        } else {
            let index = self.random.below(16) as usize;
            pool[index] = session;
        }
    }

    fn administer(&mut self, which: usize, context: &Arc<Context>, guard: &Guard) {
        match self.random.below(20) {
            0 => _ = context.flush_all(),
            1 => _ = context.purge(&HERE),
            2..5 => {
                self.stage.clock.advance(Duration::from_secs(self.random.below(20)));
                context.flush_sessions(context.now());
            }
            5..8 => _ = context.tick(),
            8..11 => {
                let capacities = [1, 2, 3, 7, 24, 300, 0];
                _ = context.set_capacity(capacities[self.random.below(7) as usize]);
            }
            11 => self.crowd(context),
            12..14 => context.for_each(guard, |session| session.payload().check()),
            14 => {
                let fresh = crate::work::context(&self.stage.clock, &mut self.random);
                let mut place = self.stage.contexts[which].write().unwrap_or_else(PoisonError::into_inner);
                let old = std::mem::replace(&mut *place, fresh);
                drop(place);
                drop(old);
            }
            15..18 => _ = context.stats(),
            _ => guard.flush(),
        }
    }

    /// Makes the table grow.
    fn crowd(&mut self, context: &Context) {
        _ = context.set_capacity(0);
        let first = 1000 + 2 * self.random.below(1 << 40);
        for number in 0..CROWD {
            let session = context.session(key(first + number)).build(Canary::new());
            _ = context.add_session(Arc::new(session));
        }
        _ = context.set_capacity(5);
    }
}
