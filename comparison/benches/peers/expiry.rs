//! Expiry: a second passes, one in a hundred sessions expires, and its memory is given back. By the wheel here and by
//! OpenSSL's ordered list; the maps have nothing but a walk over all they hold. moka expires by the wall clock only, and
//! TinyUFO and rustls' store not at all.

use crate::caches::Quick;
use crate::groups::{OURS, Plan};
use crate::load::{Item, LATER, NOW, items};
use crate::maps::{Dash, Locking, Papaya, Scc, Unsynchronised};
use crate::openssl::OpenSsl;
use crate::ours::{EachPin, Hold, Ours};
use crate::results::{HASHBROWN, Way};
use crate::targets::OPENSSL;
use crate::worker::{Peer, Shared, Worker};
use crate::workload::Workload;
use resumption::Timestamp;
use resumption_comparison::{Turn, alone_time, thousands};
use std::cell::RefCell;
use std::time::Duration;

/// A second after the last: each turn has one of its own.
fn second(turn: u64) -> Timestamp {
    NOW.saturating_add(Duration::from_secs(turn))
}

/// A side: `insert` adds a session that expires at a time, `expire` removes what has expired at a time, `count` counts.
fn side<'a>(
    dying: &'a [Item],
    mut insert: impl FnMut(&Item, Timestamp) + 'a,
    mut expire: impl FnMut(Timestamp) + 'a,
    count: impl Fn() -> usize + 'a,
) -> Turn<'a> {
    let mut turn = 0;
    Box::new(move || {
        for item in dying {
            insert(item, second(turn));
        }
        let before = count();
        turn += 1;
        let cost = alone_time(|| expire(second(turn))).as_nanos() as f64 / dying.len() as f64;
        assert_eq!(before - count(), dying.len(), "what has expired is gone, and nothing else");
        cost
    })
}

/// Compares with every peer that can remove what has expired.
pub(crate) fn run(plan: &mut Plan, sessions: usize) {
    let mut all = items(&mut fastrand::Rng::with_seed(45), sessions);
    let dying = all.split_off(sessions - sessions / 100);
    let mut map = Unsynchronised::new(sessions);
    (&mut map).fill(&all);
    let map = RefCell::new(map);
    let insert = |item: &Item, expiry| (&mut *map.borrow_mut()).insert(item, expiry);
    against(plan, HASHBROWN, &all, &dying, insert, |now| map.borrow_mut().expire(now), || map.borrow().len());

    macro_rules! peer {
        ($name:expr, $cache:expr, |$c:ident| $len:expr) => {
            if plan.fit(&[(OURS, sessions), ($name, sessions)]) {
                let $c = $cache;
                $c.worker().fill(&all);
                let insert = |item: &Item, expiry| $c.worker().insert(item, expiry);
                against(plan, $name, &all, &dying, insert, |now| $c.expire(now), || $len);
            }
        };
    }
    peer!("RwLock + HashMap", Locking::new(sessions, false), |c| c.len());
    peer!("dashmap", Dash::new(sessions, false), |c| c.0.len());
    peer!("papaya", Papaya::new(sessions, false), |c| c.0.len());
    peer!("scc::HashIndex", Scc::new(sessions, false), |c| c.0.len());
    peer!("quick_cache", Quick::new(sessions, false), |c| c.0.len());
    if sessions > 100_000 {
        plan.note(format!(
            "{OPENSSL}, expiry, {} sessions: not run. To add a session that expires before most others walks its ordered list.",
            thousands(sessions)
        ));
        return;
    }
    peer!(OPENSSL, OpenSsl::new(sessions), |c| c.len());
}

fn against(
    plan: &mut Plan,
    peer: &'static str,
    all: &[Item],
    dying: &[Item],
    insert: impl FnMut(&Item, Timestamp),
    expire: impl FnMut(Timestamp),
    count: impl Fn() -> usize,
) {
    let ours = Ours::new(all.len() + dying.len());
    EachPin::of(&ours).worker().fill(all);
    let mine = side(
        dying,
        |item, expiry| EachPin::of(&ours).worker().insert(item, expiry),
        |now| {
            ours.set_time(now);
            ours.expire();
        },
        || ours.len(),
    );
    let theirs = side(dying, insert, expire, count);
    let what = (Workload::Expiry, all.len() + dying.len(), 1);
    debug_assert!(second(plan.extent().rounds() as u64) < LATER);
    plan.compare(what, &[Way::EachPin], peer, vec![mine, theirs]);
}
