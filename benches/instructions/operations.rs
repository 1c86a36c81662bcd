//! The operations, and what they work on.

use resumption::{
    Added, Guard, ProtocolVersion, SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use std::sync::Arc;

type Payload = [u8; 200];
type Session = Arc<resumption::Session<Payload>>;

/// Sessions that the context may hold: OpenSSL's default.
const CAPACITY: usize = 20_480;

/// Sessions that are there when the lookups run.
const PRESENT: usize = CAPACITY / 2;

const BATCH: usize = 16;

pub(super) struct Operations {
    pub(super) context: SessionContext<Payload>,
    present: Vec<SessionKey>,
    absent: Vec<SessionKey>,
    policy: SessionIdContext,
    now: Timestamp,
}

impl Operations {
    pub(super) fn new() -> Self {
        let mut rng = fastrand::Rng::with_seed(42);
        let mut key = || {
            let mut id = [0; 32];
            rng.fill(&mut id);
            SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from(id))
        };
        let context = SessionContext::builder().capacity(CAPACITY).build().expect("memory");
        let policy = SessionIdContext::from([7; 32]);
        let present: Vec<SessionKey> = (0..PRESENT).map(|_| key()).collect();
        let absent = (0..PRESENT).map(|_| key()).collect();
        let operations = Self { now: context.now(), context, present, absent, policy };
        for key in &operations.present {
            operations.add(operations.session(key));
        }
        // The marks are saturated, as those of whatever is hit often.
        let guard = operations.context.pin();
        for _ in 0..3 {
            assert!((0..PRESENT).all(|i| operations.hit(i, &guard)));
        }
        drop(guard);
        operations
    }

    fn new_session(&self, key: &SessionKey) -> resumption::Session<Payload> {
        self.context.session(*key).id_context(self.policy).build([1; 200])
    }

    fn session(&self, key: &SessionKey) -> Session {
        Arc::new(self.new_session(key))
    }

    fn add(&self, session: Session) -> bool {
        matches!(self.context.add_session(session), Ok(Added::Added))
    }

    /// Sessions that are absent, for `insert`.
    pub(super) fn sessions(&self) -> std::vec::IntoIter<Session> {
        self.absent.iter().map(|key| self.session(key)).collect::<Vec<_>>().into_iter()
    }

    /// Fills the cache to its capacity, with sessions that nobody asks for again.
    pub(super) fn fill(&self) {
        for i in 0_u64.. {
            if self.context.len() == CAPACITY {
                return;
            }
            let mut id = [0; 32];
            id[..8].copy_from_slice(&i.to_le_bytes());
            let key = SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from(id));
            assert!(self.add(self.session(&key)));
        }
    }

    pub(super) fn hit(&self, i: usize, guard: &Guard) -> bool {
        self.context.lookup_at(&self.present[i], &self.policy, self.now, guard).is_some()
    }

    pub(super) fn hit_with_clock(&self, i: usize, guard: &Guard) -> bool {
        self.context.lookup(&self.present[i], &self.policy, guard).is_some()
    }

    pub(super) fn hit_with_pin(&self, i: usize) -> bool {
        self.hit(i, &self.context.pin())
    }

    /// Every sixteenth call looks sixteen keys up.
    pub(super) fn hit_in_batch(&self, i: usize, guard: &Guard) -> bool {
        let mut hits = 0;
        let first = i.is_multiple_of(BATCH);
        if first {
            let keys = &self.present[i..i + BATCH];
            self.context.lookup_many_at(keys, &self.policy, self.now, guard, |_, found| {
                hits += usize::from(found.is_some());
            });
        }
        !first || hits == BATCH
    }

    pub(super) fn get1(&self, i: usize) -> bool {
        self.context.lookup_arc(&self.present[i], &self.policy).is_some()
    }

    pub(super) fn miss(&self, i: usize, guard: &Guard) -> bool {
        self.context.lookup_at(&self.absent[i], &self.policy, self.now, guard).is_none()
    }

    pub(super) fn insert(&self, sessions: &mut std::vec::IntoIter<Session>) -> bool {
        sessions.next().is_some_and(|session| self.add(session))
    }

    pub(super) fn take(&self, i: usize) -> bool {
        self.context.take(&self.present[i], &self.policy).is_some()
    }

    /// Single use: a session is made, added and taken, by the default clock.
    pub(super) fn insert_and_take(&self, i: usize) -> bool {
        let key = &self.absent[i];
        self.context.add_new(self.new_session(key)) == Ok(false)
            && self.context.take(key, &self.policy).is_some()
    }
}
