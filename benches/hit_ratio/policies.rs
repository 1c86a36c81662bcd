//! The policies to compare: textbook forms, slow and plain, and the engine itself.

use resumption::{
    ManualClock, ProtocolVersion, SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A bounded set of session numbers.
pub(crate) trait Policy {
    /// Looks a session up; a hit counts as a use.
    fn get(&mut self, session: u64) -> bool;
    /// Adds a session that is not there, evicting another if need be.
    fn add(&mut self, session: u64);
    /// Removes a session; `true` if it was there.
    fn take(&mut self, session: u64) -> bool;
}

/// The policies, by name.
pub(crate) const NAMES: [&str; 6] = ["FIFO", "LRU", "CLOCK", "SIEVE", "S3-FIFO", "resumption"];

pub(crate) fn policy(name: &str, capacity: usize) -> Box<dyn Policy> {
    match name {
        "FIFO" => Box::new(Queue { reinsert: false, ..Queue::new(capacity) }),
        "CLOCK" => Box::new(Queue { reinsert: true, ..Queue::new(capacity) }),
        "LRU" => Box::new(Ordered { sieve: false, ..Ordered::new(capacity) }),
        "SIEVE" => Box::new(Ordered { sieve: true, ..Ordered::new(capacity) }),
        "S3-FIFO" => Box::new(S3Fifo::new(capacity)),
        _ => Box::new(Engine::new(capacity)),
    }
}

/// FIFO, and with reinsertion of what was used, CLOCK.
struct Queue {
    capacity: usize,
    used: HashMap<u64, bool>,
    order: VecDeque<u64>,
    reinsert: bool,
}

impl Queue {
    fn new(capacity: usize) -> Self {
        Self { capacity, used: HashMap::new(), order: VecDeque::new(), reinsert: false }
    }
}

impl Policy for Queue {
    fn get(&mut self, session: u64) -> bool {
        self.used.get_mut(&session).map(|used| *used = true).is_some()
    }

    fn add(&mut self, session: u64) {
        while self.used.len() >= self.capacity {
            let Some(oldest) = self.order.pop_front() else { break };
            match self.used.get_mut(&oldest) {
                Some(used) if *used && self.reinsert => {
                    *used = false;
                    self.order.push_back(oldest);
                }
                // Taken sessions are in the queue still, and skipped here.
                _ => drop(self.used.remove(&oldest)),
            }
        }
        self.used.insert(session, false);
        self.order.push_back(session);
    }

    fn take(&mut self, session: u64) -> bool {
        self.used.remove(&session).is_some()
    }
}

/// A list in order of insertion with a hand (SIEVE), or in order of use (LRU).
struct Ordered {
    capacity: usize,
    place: HashMap<u64, (u64, bool)>,
    list: BTreeMap<u64, u64>,
    clock: u64,
    hand: u64,
    sieve: bool,
}

impl Ordered {
    fn new(capacity: usize) -> Self {
        Self { capacity, place: HashMap::new(), list: BTreeMap::new(), clock: 0, hand: 0, sieve: false }
    }

    fn victim(&mut self) -> Option<u64> {
        if !self.sieve {
            return self.list.values().next().copied();
        }
        loop {
            let Some((&at, &session)) = self.list.range(self.hand..).next() else {
                self.list.first_key_value()?;
                self.hand = 0;
                continue;
            };
            self.hand = at + 1;
            match self.place.get_mut(&session) {
                Some((_, used)) if *used => *used = false,
                _ => return Some(session),
            }
        }
    }
}

impl Policy for Ordered {
    fn get(&mut self, session: u64) -> bool {
        let Some((at, used)) = self.place.get_mut(&session) else { return false };
        *used = true;
        if !self.sieve {
            self.list.remove(at);
            self.clock += 1;
            *at = self.clock;
            self.list.insert(self.clock, session);
        }
        true
    }

    fn add(&mut self, session: u64) {
        if self.place.len() >= self.capacity
            && let Some(victim) = self.victim()
        {
            self.take(victim);
        }
        self.clock += 1;
        self.place.insert(session, (self.clock, false));
        self.list.insert(self.clock, session);
    }

    fn take(&mut self, session: u64) -> bool {
        self.place.remove(&session).map(|(at, _)| self.list.remove(&at)).is_some()
    }
}

/// S3-FIFO (SOSP 2023): a small queue of a tenth, a main queue with reinsertion, and a ghost queue.
struct S3Fifo {
    capacity: usize,
    // Uses, capped at 3, and whether the session is in the main queue.
    live: HashMap<u64, (u8, bool)>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    in_small: usize,
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64>,
}

impl S3Fifo {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            live: HashMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            in_small: 0,
            ghosts: VecDeque::new(),
            ghost_set: HashSet::new(),
        }
    }

    fn evict(&mut self) {
        while self.live.len() >= self.capacity {
            if self.in_small * 10 >= self.capacity || self.in_small == self.live.len() {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
    }

    fn evict_small(&mut self) {
        let Some(session) = self.small.pop_front() else { return };
        match self.live.get(&session).copied() {
            Some((uses, false)) if uses > 1 => {
                self.in_small -= 1;
                self.live.insert(session, (0, true));
                self.main.push_back(session);
            }
            Some((_, false)) => {
                self.in_small -= 1;
                self.live.remove(&session);
                self.ghosts.push_back(session);
                self.ghost_set.insert(session);
                if self.ghosts.len() > self.capacity
                    && let Some(old) = self.ghosts.pop_front()
                {
                    self.ghost_set.remove(&old);
                }
            }
            _ => {}
        }
    }

    fn evict_main(&mut self) {
        let Some(session) = self.main.pop_front() else { return };
        match self.live.get_mut(&session) {
            Some((uses, true)) if *uses > 0 => {
                *uses -= 1;
                self.main.push_back(session);
            }
            Some((_, true)) => drop(self.live.remove(&session)),
            _ => {}
        }
    }
}

impl Policy for S3Fifo {
    fn get(&mut self, session: u64) -> bool {
        self.live.get_mut(&session).map(|(uses, _)| *uses = 3.min(*uses + 1)).is_some()
    }

    fn add(&mut self, session: u64) {
        self.evict();
        if self.ghost_set.remove(&session) {
            self.live.insert(session, (0, true));
            self.main.push_back(session);
        } else {
            self.live.insert(session, (0, false));
            self.small.push_back(session);
            self.in_small += 1;
        }
    }

    fn take(&mut self, session: u64) -> bool {
        match self.live.remove(&session) {
            None => false,
            Some((_, main)) => {
                self.in_small -= usize::from(!main);
                true
            }
        }
    }
}

/// The engine, as shipped: a second of its clock passes with every thousand sessions added.
struct Engine {
    context: SessionContext<()>,
    clock: ManualClock,
    added: u64,
}

impl Engine {
    fn new(capacity: usize) -> Self {
        let clock = ManualClock::new(Timestamp::from_unix(1_000_000));
        let builder = SessionContext::builder().capacity(capacity).timeout(Duration::from_secs(86_400));
        let context = builder.clock(clock.clone()).build().expect("a modest table");
        Self { context, clock, added: 0 }
    }
}

fn key(session: u64) -> SessionKey {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&session.to_le_bytes());
    SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from(id))
}

impl Policy for Engine {
    fn get(&mut self, session: u64) -> bool {
        let guard = self.context.pin();
        self.context.lookup(&key(session), &SessionIdContext::EMPTY, &guard).is_some()
    }

    fn add(&mut self, session: u64) {
        self.added += 1;
        if self.added.is_multiple_of(1_000) {
            self.clock.advance(Duration::from_secs(1));
        }
        let session = Arc::new(self.context.session(key(session)).build(()));
        self.context.add_session(session).expect("fits");
    }

    fn take(&mut self, session: u64) -> bool {
        let guard = self.context.pin();
        self.context.take_borrowed(&key(session), &SessionIdContext::EMPTY, &guard).is_some()
    }
}
