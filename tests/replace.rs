//! Replacing: the key's room passes on, so that a full cache that is only replaced in evicts nobody.

mod common;

use common::{Bed, key, www};
use resumption::{Added, SessionContext};
use std::sync::{Arc, Barrier};
use std::thread;

const CAPACITY: u32 = 8;

#[test]
fn replacing_in_a_full_cache_evicts_nobody() {
    let bed = Bed::with(|builder, _| builder.capacity(CAPACITY as usize));
    for n in 0..CAPACITY {
        bed.add(n);
    }
    for n in 0..CAPACITY {
        let added = bed.context.add_session(bed.session_of(key(n), n + 100)).expect("it fits");
        assert!(matches!(added, Added::Replaced(old) if *old.payload() == n));
    }
    assert_eq!(bed.held(), (100..100 + CAPACITY).collect::<Vec<_>>());
    assert_eq!((bed.context.stats().cache_full, bed.told()), (0, vec![]));
}

/// As above with several threads at it: at no instant is there room missing that somebody would have to make.
#[test]
fn threads_that_replace_in_a_full_cache_evict_nobody() {
    let context =
        Arc::new(SessionContext::<u32>::builder().capacity(CAPACITY as usize).build().expect("memory"));
    let add = |context: &SessionContext<u32>, n: u32, payload: u32| {
        context
            .add_session(Arc::new(context.session(key(n)).id_context(www()).build(payload)))
            .expect("it fits")
    };
    for n in 0..CAPACITY {
        add(&context, n, n);
    }
    let start = Arc::new(Barrier::new(3));
    let threads: Vec<_> = (1..=3)
        .map(|thread| {
            let (context, start) = (Arc::clone(&context), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for i in 0..60_000 {
                    let added = add(&context, (i * thread) % CAPACITY, i);
                    assert!(matches!(added, Added::Replaced(_)), "the key was lost: {added:?}");
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no key was lost");
    }
    assert_eq!((context.len(), context.stats().cache_full), (CAPACITY as usize, 0));
}

/// Room in bytes follows the sessions that are there, however a replace came about.
#[test]
fn bytes_follow_what_is_there() {
    for capacity in [1, 100] {
        let bed = Bed::with(|builder, _| builder.capacity(capacity).byte_capacity(1 << 20));
        bed.add(1);
        let one = bed.context.bytes();
        for n in 2..10 {
            bed.context.add_session(bed.session_of(key(1), n)).expect("it fits");
            assert_eq!((bed.context.len(), bed.context.bytes()), (1, one));
        }
        assert_eq!(bed.take(&key(1)), Some(9));
        assert_eq!((bed.context.len(), bed.context.bytes()), (0, Some(0)));
    }
}
