//! Callbacks: section 2.14 (K1 to K19), R9, the store step of section 2.11, departure 3. That every call is allowed in
//! every callback is in `reentrancy`.

mod common;

use common::{Bed, LIFE, Log, Told, key, key_of, mail, ticket, www};
use resumption::{Added, ProtocolVersion, RemoveReason, Session, SessionCacheMode, SessionContext, Side};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn server(bed: &Bed, n: u32) {
    bed.context.store_session(bed.session(n), Side::Server).expect("it fits");
}

/// K1 and K4: the very session of the store step; whoever wants to keep it clones the Arc, and otherwise it is given back.
#[test]
fn k1_k4_the_new_callback_gets_the_session_itself() {
    let kept: Arc<Mutex<Vec<Arc<Session<u32>>>>> = Arc::default();
    let shelf = Arc::clone(&kept);
    let bed = Bed::with(|builder, _| {
        builder.on_new(move |_, session| {
            if *session.payload() == 1 {
                shelf.lock().expect("no panic").push(Arc::clone(session));
            }
        })
    });
    let (first, second) = (bed.session(1), bed.session(2));
    bed.context.store_session(Arc::clone(&first), Side::Server).expect("it fits");
    bed.context.store_session(Arc::clone(&second), Side::Server).expect("it fits");
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (3, 2));
    assert!(Arc::ptr_eq(&kept.lock().expect("no panic")[0], &first));
}

/// 2.11: when the new callback runs the session is cached and counted already (K2: and stays, whatever the callback does).
#[test]
fn k2_the_session_is_cached_when_the_new_callback_runs() {
    let seen = Log::default();
    let log = seen.clone();
    let bed = Bed::with(|builder, _| {
        builder.on_new(move |context, session| {
            assert!(context.contains(&session.key()));
            log.push(Told::New(u32::try_from(context.stats().number).expect("few")));
        })
    });
    server(&bed, 1);
    server(&bed, 2);
    assert_eq!(seen.take(), [Told::New(1), Told::New(2)]);
    assert_eq!(bed.held(), [1, 2]);
}

/// R9: removed from inside the new callback: the session leaves, and cannot be resumed later.
#[test]
fn r9_the_new_callback_may_remove_what_it_is_told_of() {
    let bed =
        Bed::with(|builder, _| builder.on_new(|context, session| assert!(context.remove_session(session))));
    let session = bed.session(1);
    bed.context.store_session(Arc::clone(&session), Side::Server).expect("it fits");
    assert_eq!(bed.told(), [Told::Left(1, RemoveReason::Removed)]);
    assert!(!session.is_resumable());
    assert_eq!(bed.find(&key(1)), None);
}

/// K5: not called by an explicit add, a lookup or a take, nor for a session that is marked (2.11 step 1); the side's bit is
/// in `modes`.
#[test]
fn k5_only_the_store_step_calls_the_new_callback() {
    let bed = Bed::new();
    bed.add(1);
    assert_eq!(bed.find(&key(1)), Some(1));
    assert_eq!(bed.take(&key(1)), Some(1));
    let marked = bed.session(2);
    marked.mark_not_resumable();
    let stored = bed.context.store_session(marked, Side::Server).expect("nothing to refuse");
    assert!(!stored.internal && !stored.announced);
    assert_eq!(bed.told(), [Told::Left(1, RemoveReason::Consumed)]);
    assert!(bed.held().is_empty());
}

/// Every ticket is announced; one that is stored twice is announced twice and cached once.
#[test]
fn the_store_step_announces_each_time() {
    let bed = Bed::with(|builder, _| builder.mode(SessionCacheMode::BOTH));
    let session = bed.session_of(ticket(1), 1);
    for side in [Side::Server, Side::Client] {
        let stored = bed.context.store_session(Arc::clone(&session), side).expect("it fits");
        assert!(stored.internal && stored.announced);
    }
    assert_eq!(bed.told(), [Told::New(1), Told::New(1)]);
    assert_eq!(bed.held(), [1]);
}

/// K8 and K10: asked once per lookup, with the key; for TLS 1.3 too.
#[test]
fn k8_k10_the_get_callback_is_asked_once_with_the_key() {
    let bed = Bed::with(|builder, log| {
        let log = log.clone();
        builder.on_get(move |_, key| {
            log.push(Told::Asked(*key));
            None
        })
    });
    let short = resumption::SessionKey::parse(ProtocolVersion::TLS1_2, &[0, 1]).expect("2 bytes");
    for key in [key(1), ticket(1), short] {
        assert_eq!(bed.outcome(|| bed.find(&key)), (None, "unknown"));
        assert_eq!(bed.told(), [Told::Asked(key)]);
    }
}

type Act = fn(&Bed);

/// K12, with the reason in place of OpenSSL's one word: everything that fires the remove callback, once.
#[test]
fn k12_what_fires_the_remove_callback() {
    let acts: [(&str, RemoveReason, Act); 9] = [
        ("remove", RemoveReason::Removed, |bed| {
            bed.context.remove_session(&get(bed));
        }),
        ("unclean close", RemoveReason::UncleanClose, |bed| {
            bed.context.remove_session_because(&get(bed), RemoveReason::UncleanClose);
        }),
        ("fatal alert", RemoveReason::FatalAlert, |bed| {
            bed.context.remove_session_because(&get(bed), RemoveReason::FatalAlert);
        }),
        ("expired hit", RemoveReason::Expired, |bed| {
            bed.advance(LIFE + 1);
            assert_eq!(bed.find(&key(1)), None);
        }),
        ("consumption", RemoveReason::Consumed, |bed| assert_eq!(bed.take(&key(1)), Some(1))),
        ("eviction", RemoveReason::Evicted, |bed| drop(bed.add(2))),
        ("flush", RemoveReason::Flushed, |bed| {
            bed.context.flush_all();
        }),
        ("flush of what expired", RemoveReason::Expired, |bed| {
            bed.advance(LIFE + 1);
            bed.context.flush_sessions(bed.context.now());
        }),
        ("purge", RemoveReason::Purged, |bed| {
            bed.context.purge(&www());
        }),
    ];
    for (name, reason, act) in acts {
        let bed = Bed::with(|builder, _| builder.capacity(1));
        bed.add(1);
        act(&bed);
        assert_eq!(bed.told(), [Told::Left(1, reason)], "{name}");
    }
}

fn get(bed: &Bed) -> Arc<Session<u32>> {
    bed.context.lookup_arc(&key(1), &www()).expect("it is cached")
}

/// K13: everything that does not.
#[test]
fn k13_what_does_not_fire_the_remove_callback() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert!(matches!(bed.context.add_session(bed.session_of(key(1), 2)), Ok(Added::Replaced(_))));
    drop(session); // the session's own end
    assert!(bed.context.lookup_arc(&key(1), &mail()).is_none());
    assert_eq!(bed.find(&ticket(1)), None);
    bed.add_of(ticket(3), 3);
    bed.advance(LIFE + 1);
    assert_eq!((bed.find(&ticket(3)), bed.take(&ticket(3))), (None, None));
    assert!(bed.told().is_empty());
}

/// K14 and K15: the session is alive and out of the cache during the call, and marked, except when it was evicted
/// (departure 2).
#[test]
fn k14_k15_the_state_during_the_remove_callback() {
    let states: Arc<Mutex<Vec<(RemoveReason, bool, usize)>>> = Arc::default();
    let seen = Arc::clone(&states);
    let bed = Bed::with(|builder, _| {
        builder.capacity(1).on_remove(move |context, session, reason| {
            assert!(!context.contains(&session.key()));
            let state = (reason, session.is_resumable(), *session.payload() as usize);
            seen.lock().expect("no panic").push(state);
        })
    });
    bed.add(1);
    bed.add(2);
    assert_eq!(bed.take(&key(2)), Some(2));
    bed.add(3);
    bed.context.flush_all();
    bed.add(4);
    bed.advance(LIFE + 1);
    assert_eq!(bed.find(&key(4)), None);
    bed.add(5);
    bed.context.purge(&www());
    let session = bed.add(6);
    bed.context.remove_session(&session);
    let expected = [
        (RemoveReason::Evicted, true, 1),
        (RemoveReason::Consumed, false, 2),
        (RemoveReason::Flushed, false, 3),
        (RemoveReason::Expired, false, 4),
        (RemoveReason::Purged, false, 5),
        (RemoveReason::Removed, false, 6),
    ];
    assert_eq!(*states.lock().expect("no panic"), expected);
}

/// K18: in one store step the victim is announced before the newcomer.
#[test]
fn k18_the_victim_is_announced_first() {
    let bed = Bed::with(|builder, _| builder.capacity(1));
    server(&bed, 1);
    server(&bed, 2);
    assert_eq!(bed.told(), [Told::New(1), Told::Left(1, RemoveReason::Evicted), Told::New(2)]);
}

/// K18: the expired one is announced before its replacement in the same handshake.
#[test]
fn k18_the_expired_one_is_announced_before_its_replacement() {
    let bed = Bed::new();
    bed.add(1);
    bed.advance(LIFE + 1);
    assert_eq!(bed.find(&key(1)), None);
    server(&bed, 2);
    assert_eq!(bed.told(), [Told::Left(1, RemoveReason::Expired), Told::New(2)]);
}

/// K19: a callback may hear of one session several times, and of sessions that were never announced.
#[test]
fn k19_a_session_may_be_announced_as_removed_more_than_once() {
    let bed = Bed::new();
    let session = bed.add(1);
    assert_eq!(bed.take(&key(1)), Some(1));
    bed.context.remove_session_because(&session, RemoveReason::UncleanClose);
    let (consumed, unclean) = (RemoveReason::Consumed, RemoveReason::UncleanClose);
    assert_eq!(bed.told(), [Told::Left(1, consumed), Told::Left(1, unclean)]);
}

/// K16 and departure 3: no lock is held in any callback, so another thread gets on with every key meanwhile.
#[test]
fn k16_another_thread_gets_on_during_every_callback() {
    let (busy, ran) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (busy, ran) = (Arc::clone(&busy), Arc::clone(&ran));
        move |context: &SessionContext<u32>| {
            // The other thread's calls run callbacks too; those do nothing.
            if !busy.swap(true, Ordering::SeqCst) {
                std::thread::scope(|scope| scope.spawn(|| churn(context)).join().expect("no panic"));
                ran.fetch_add(1, Ordering::SeqCst);
                busy.store(false, Ordering::SeqCst);
            }
        }
    };
    let (on_new, on_get, on_remove) = (work.clone(), work.clone(), work);
    let context = SessionContext::builder()
        .capacity(8)
        .on_new(move |context, _| on_new(context))
        .on_get(move |context, _| {
            on_get(context);
            None
        })
        .on_remove(move |context, _, _| on_remove(context))
        .build()
        .expect("valid");
    let session = Arc::new(context.session(key(1)).id_context(www()).build(1));
    context.store_session(Arc::clone(&session), Side::Server).expect("it fits");
    assert!(context.lookup_arc(&key(99), &www()).is_none());
    context.remove_session(&session);
    assert_eq!(ran.load(Ordering::SeqCst), 3);
    assert!(context.is_empty());
}

/// Every kind of update, on 64 keys in a cache of 8.
fn churn(context: &SessionContext<u32>) {
    for n in 0..64 {
        let session = Arc::new(context.session(key(n)).id_context(www()).build(n));
        context.add_session(Arc::clone(&session)).expect("it fits");
        context.store_session(Arc::clone(&session), Side::Server).expect("it fits");
        assert!(context.lookup_arc(&key(n), &www()).is_some());
        assert!(context.lookup_arc(&ticket(n), &www()).is_none());
        assert!(context.take(&key(n), &www()).is_some());
        assert!(!context.remove_session(&session));
    }
    context.flush_all();
}

/// A callback that panics unwinds through the call; the cache stays consistent and usable.
#[test]
fn a_panic_in_a_callback_leaves_the_cache_consistent() {
    let armed = Arc::new(AtomicUsize::new(0));
    let trip = |bit: usize| {
        let armed = Arc::clone(&armed);
        move || assert!(armed.load(Ordering::SeqCst) & bit == 0, "as planned")
    };
    let (new, get, remove) = (trip(1), trip(2), trip(4));
    let bed = Bed::with(|builder, _| {
        builder
            .capacity(4)
            .on_new(move |_, _| new())
            .on_get(move |_, _| {
                get();
                None
            })
            .on_remove(move |_, _, _| remove())
    });
    let acts: [(usize, Act); 8] = [
        (1, |bed| server(bed, 10)),
        (2, |bed| assert_eq!(bed.find(&key(11)), None)),
        (4, |bed| assert_eq!(bed.take(&key(1)), Some(1))),
        (4, |bed| {
            bed.context.remove_session(&bed.session(2));
        }),
        (4, |bed| (20..30).for_each(|n| drop(bed.add(n)))),
        (4, |bed| {
            bed.context.purge(&www());
        }),
        (4, |bed| {
            bed.context.set_capacity(2).expect("built for four");
        }),
        (4, |bed| {
            bed.context.flush_all();
        }),
    ];
    for (index, (bit, act)) in acts.into_iter().enumerate() {
        bed.context.flush_all();
        bed.context.set_capacity(4).expect("built for four");
        (0..4).for_each(|n| drop(bed.add(n)));
        armed.store(bit, Ordering::SeqCst);
        let result = catch_unwind(AssertUnwindSafe(|| act(&bed)));
        armed.store(0, Ordering::SeqCst);
        assert!(result.is_err(), "act {index} did not panic");
        assert!(bed.held().len() <= 4, "after act {index}");
        bed.context.flush_all();
        assert!(bed.held().is_empty(), "after act {index}");
        bed.add_of(key_of(ProtocolVersion::TLS1_2, 7), 7);
        assert_eq!(bed.take(&key(7)), Some(7), "after act {index}");
    }
}

/// What removes many sessions removes all of them, here and outside, and tells of each, though every callback panics.
#[test]
fn a_panic_in_a_callback_leaves_no_removal_half_done() {
    const MANY: u32 = 3_000;
    let acts: [fn(&Bed) -> usize; 4] = [
        |bed| bed.context.purge(&www()),
        |bed| bed.context.flush_all(),
        |bed| bed.context.flush_sessions(common::at(LIFE + 1)),
        |bed| {
            bed.advance(LIFE + 1);
            bed.context.flush_sessions(bed.context.now())
        },
    ];
    for (index, act) in acts.into_iter().enumerate() {
        let (tier, told) = (common::Tier::default(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&told);
        let bed = Bed::with(|builder, _| {
            builder.capacity(0).external(tier.clone()).on_remove(move |_, _, _| {
                count.fetch_add(1, Ordering::SeqCst);
                panic!("as planned");
            })
        });
        (0..MANY).for_each(|n| server(&bed, n));
        assert!(catch_unwind(AssertUnwindSafe(|| act(&bed))).is_err(), "act {index} did not panic");
        assert_eq!(told.load(Ordering::SeqCst), MANY as usize, "act {index}");
        let back: Vec<_> = (0..MANY).filter(|n| bed.context.contains(&key(*n))).collect();
        assert!(back.is_empty(), "after act {index}");
        let outside = (0..MANY).filter(|n| tier.holds(&key(*n))).count();
        // What has expired is known to have expired everywhere, so the outside is told of the others only.
        assert_eq!(outside, if index == 3 { MANY as usize } else { 0 }, "after act {index}");
    }
}
