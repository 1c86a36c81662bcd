//! The filter of a large table: whoever finds no bits there must find no entry either.

use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelTable;

const COLLECTS: bool = false;

/// A table of one bucket, in whose cell the bits of these keys were left behind.
fn after(keys: &[u8]) -> Arc<ModelTable> {
    let table = Arc::new(ModelTable::with_filter(1));
    for &key in keys {
        table.insert(key, 0);
    }
    for &key in keys {
        table.take(key);
    }
    table
}

/// A table of two buckets that has begun to grow, and `count` keys of its second bucket.
fn growing(count: usize) -> (Arc<ModelTable>, Vec<u8>) {
    let table = Arc::new(ModelTable::with_filter(2));
    let keys = (1..=255).filter(|key| table.bucket_of(*key) == 1).take(count).collect();
    (table, keys)
}

/// A table of two buckets that share a word, and two keys of each.
fn neighbours() -> (Arc<ModelTable>, [[u8; 2]; 2]) {
    let table = Arc::new(ModelTable::with_filter(2));
    let keys = |bucket| {
        let mut keys = (1..=255).filter(|key| table.bucket_of(*key) == bucket);
        [(); 2].map(|()| keys.next().expect("a key"))
    };
    let keys = [keys(0), keys(1)];
    (table, keys)
}

models! {
    /// Two inserts, each of which clears what was left behind, and may have to help the other: both are found.
    fn filter_meets_two_inserts() {
        let table = after(&[7, 9]);
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || other.insert(7, 1));
        assert_eq!(table.insert(9, 2), None);
        assert_eq!(table.get(9), Some(2), "found by who has just inserted it");
        assert_eq!(inserter.join().unwrap(), None);
        assert_eq!((table.get(7), table.get(9)), (Some(1), Some(2)));
    }

    /// An insert that another helps: once it was seen in its slot, it has its bits.
    fn filter_meets_help() {
        let table = after(&[]);
        let (a, b, c) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let inserter = thread::spawn(move || a.insert(7, 1));
        let helper = thread::spawn(move || b.insert(9, 2));
        let reader = thread::spawn(move || c.get_past_filter(7).is_none() || c.get(7).is_some());
        assert!(reader.join().unwrap(), "present, and then absent");
        inserter.join().unwrap();
        helper.join().unwrap();
        assert_eq!((table.get(7), table.get(9)), (Some(1), Some(2)));
    }

    /// An insert that clears the bits of what is being taken, and a take: what is there is found, what was taken is not.
    fn filter_meets_take() {
        let table = after(&[]);
        table.insert(7, 1);
        let other = Arc::clone(&table);
        let taker = thread::spawn(move || (other.take(7), other.insert(7, 3), other.get(7)));
        assert_eq!(table.insert(9, 2), None);
        assert_eq!(taker.join().unwrap(), (Some(1), None, Some(3)));
        assert_eq!((table.get(7), table.get(9)), (Some(3), Some(2)));
    }

    /// One takes, another's insert clears the bits that are left, and who finds them cleared finds nothing in the slots.
    fn cleared_bits_meet_a_look_at_the_slots() {
        let table = after(&[]);
        table.insert(7, 1);
        let (a, b, c) = (Arc::clone(&table), Arc::clone(&table), Arc::clone(&table));
        let taker = thread::spawn(move || a.take(7));
        let inserter = thread::spawn(move || b.insert(9, 2));
        let reader = thread::spawn(move || c.get(7).is_some() || c.get_past_filter(7).is_none());
        assert!(reader.join().unwrap(), "absent, and then present");
        assert_eq!(taker.join().unwrap(), Some(1));
        inserter.join().unwrap();
    }

    /// Inserts into two buckets that share a word, each of which clears what was left behind in its own.
    fn filter_meets_neighbours() {
        let (table, [[old_a, a], [old_b, b]]) = neighbours();
        for key in [old_a, old_b] {
            table.insert(key, 0);
            table.take(key);
        }
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || (other.insert(a, 1), other.get(a)));
        assert_eq!((table.insert(b, 2), table.get(b)), (None, Some(2)), "found by who has just inserted it");
        assert_eq!(inserter.join().unwrap(), (None, Some(1)));
        assert_eq!((table.get(a), table.get(b)), (Some(1), Some(2)));
    }

    /// A bucket moves while an insert clears what was left behind in its neighbour: its cell still says nothing.
    fn neighbours_insert_meets_growth() {
        let (table, [[moved, new], [old, b]]) = neighbours();
        table.insert(old, 0);
        table.take(old);
        table.insert(moved, 1);
        table.start_growth();
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || (other.insert(b, 2), other.get(b)));
        table.move_some();
        assert_eq!((table.insert(new, 3), table.get(new)), (None, Some(3)), "it is in the next array");
        assert_eq!(inserter.join().unwrap(), (None, Some(2)));
        assert_eq!([moved, b, new].map(|key| table.get(key)), [Some(1), Some(2), Some(3)]);
    }

    /// A bucket moves while its keys are looked up: what is there throughout is found, in whichever array.
    fn filter_meets_growth() {
        let table = Arc::new(ModelTable::with_filter(1));
        table.insert(7, 1);
        table.start_growth();
        let other = Arc::clone(&table);
        let reader = thread::spawn(move || (other.get(7), other.get(7)));
        table.move_some();
        assert_eq!(reader.join().unwrap(), (Some(1), Some(1)), "present throughout");
        assert_eq!((table.get(7), table.buckets()), (Some(1), 2));
    }

    /// An insert into a bucket that has moved, while the array that it moved from is still the root.
    fn filter_meets_insert_into_what_moved() {
        let (table, keys) = growing(2);
        let [old, new] = keys[..] else { panic!("two keys") };
        table.insert(old, 1);
        table.start_growth();
        let other = Arc::clone(&table);
        let mover = thread::spawn(move || {
            other.move_some();
            other.move_some();
        });
        assert_eq!(table.insert(new, 2), None);
        assert_eq!((table.get(old), table.get(new)), (Some(1), Some(2)), "found by who has just inserted it");
        mover.join().unwrap();
        assert_eq!((table.get(old), table.get(new)), (Some(1), Some(2)));
    }

    /// An insert sleeps before it clears what was left behind, while its bucket moves and another goes into the new one.
    fn late_insert_meets_growth() {
        let table = after(&[7, 9]);
        table.start_growth();
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || other.insert(7, 1));
        table.move_some();
        assert_eq!(table.insert(9, 2), None);
        assert_eq!(table.get(9), Some(2));
        assert_eq!(inserter.join().unwrap(), None);
        assert_eq!((table.get(7), table.get(9)), (Some(1), Some(2)));
    }
}

twins! {
    two_inserts_without_a_version_of_the_cell: FilterVersion breaks filter_meets_two_inserts;
    an_insert_that_clears_its_neighbours_bits: FilterNeighbour breaks filter_meets_neighbours;
    a_helper_that_sets_no_bits: HelpRaises breaks filter_meets_help;
    a_bucket_that_moves_and_leaves_its_cell: FilterLeaves breaks filter_meets_insert_into_what_moved;
    a_copy_without_bits: CopyRaises breaks filter_meets_growth;
}
