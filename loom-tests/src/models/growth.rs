//! Growth against everything that can meet it in a bucket. One bucket becomes two, or two become four.

use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelTable;

const COLLECTS: bool = false;

fn growing(keys: &[u8]) -> (Arc<ModelTable>, Arc<ModelTable>) {
    let table = Arc::new(ModelTable::new());
    for &key in keys {
        table.insert(key, u32::from(key));
    }
    table.start_growth();
    (Arc::clone(&table), table)
}

/// A table of two buckets that has begun to grow, and a key in its second bucket, with value 7.
fn two_growing() -> (Arc<ModelTable>, u8) {
    let table = Arc::new(ModelTable::with_buckets(2));
    let key = (1..=255).find(|key| table.bucket_of(*key) == 1).expect("some key is in the second half");
    table.insert(key, 7);
    table.start_growth();
    (table, key)
}

models! {
    /// A take while the bucket moves: taken once, and gone from both arrays.
    fn growth_meets_take() {
        let (other, table) = growing(&[7]);
        let mover = thread::spawn(move || other.move_some());
        assert_eq!(table.take(7), Some(7), "a key that is there is taken");
        mover.join().unwrap();
        assert_eq!((table.copies(7), table.take(7)), (0, None), "taken once");
    }

    /// Two takes while the bucket moves: one winner.
    fn growth_meets_two_takes() {
        let (a, table) = growing(&[7]);
        let b = Arc::clone(&table);
        let mover = thread::spawn(move || a.move_some());
        let taker = thread::spawn(move || b.take(7));
        let ours = table.take(7);
        mover.join().unwrap();
        let theirs = taker.join().unwrap();
        assert!(ours.is_some() != theirs.is_some(), "one winner");
        assert_eq!(table.copies(7), 0);
    }

    /// A lookup while the bucket moves: a key that is always present is always found.
    fn growth_meets_get() {
        let (other, table) = growing(&[7, 9]);
        let reader = thread::spawn(move || (other.get(7), other.get(9)));
        table.move_some();
        assert_eq!(reader.join().unwrap(), (Some(7), Some(9)), "present throughout");
        assert_eq!(table.buckets(), 2);
    }

    /// An insert of a new key while the bucket moves.
    fn growth_meets_insert() {
        let (other, table) = growing(&[7]);
        let inserter = thread::spawn(move || assert_eq!(other.insert(9, 9), None));
        table.move_some();
        inserter.join().unwrap();
        assert_eq!((table.get(7), table.get(9)), (Some(7), Some(9)));
        assert_eq!((table.copies(7), table.copies(9)), (1, 1));
    }

    /// A replace while the bucket moves: the new value stays, the old one is retired once.
    fn growth_meets_replace() {
        let (other, table) = growing(&[7]);
        let replacer = thread::spawn(move || assert_eq!(other.insert(7, 1), Some(7)));
        table.move_some();
        replacer.join().unwrap();
        assert_eq!((table.get(7), table.copies(7)), (Some(1), 1));
    }

    /// An insert that is announced, and not yet put, when the bucket is frozen.
    fn growth_meets_insert_and_take() {
        let (a, table) = growing(&[]);
        let b = Arc::clone(&table);
        let inserter = thread::spawn(move || assert_eq!(a.insert(7, 7), None));
        let taker = thread::spawn(move || b.take(7));
        table.move_some();
        inserter.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(table.copies(7), usize::from(taken.is_none()));
    }

    /// Two threads move one bucket, and a third takes from where it arrives: a late copy must not bring it back.
    fn two_movers_and_a_take() {
        let (a, table) = growing(&[7]);
        let b = Arc::clone(&table);
        let first = thread::spawn(move || a.move_some());
        let second = thread::spawn(move || b.move_some());
        assert_eq!(table.take(7), Some(7));
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!((table.copies(7), table.buckets()), (0, 2));
    }

    /// A taken entry's slot is used again in the new array while a late mover still copies.
    fn late_mover_meets_reuse() {
        let (other, table) = growing(&[7]);
        let mover = thread::spawn(move || other.move_some());
        assert_eq!(table.take(7), Some(7));
        assert_eq!(table.insert(7, 1), None);
        mover.join().unwrap();
        assert_eq!((table.get(7), table.copies(7)), (Some(1), 1));
    }

    /// One thread moves both buckets and sleeps before it makes the next array the root; another, which has met the first
    /// bucket only, does so. What it then reads of the second bucket's copies must be ordered after their making.
    fn new_root_meets_get() {
        let (table, key) = two_growing();
        let (other, third) = (Arc::clone(&table), Arc::clone(&table));
        let mover = thread::spawn(move || {
            other.move_some();
            other.move_some();
        });
        let reader = thread::spawn(move || {
            third.move_some();
            third.get(key)
        });
        mover.join().unwrap();
        assert_eq!(reader.join().unwrap(), Some(7), "present throughout");
    }

    /// The same with an insert under the key: it must replace what was copied.
    fn new_root_meets_replace() {
        let (table, key) = two_growing();
        let (other, third) = (Arc::clone(&table), Arc::clone(&table));
        let mover = thread::spawn(move || {
            other.move_some();
            other.move_some();
        });
        let writer = thread::spawn(move || {
            third.move_some();
            third.insert(key, 8)
        });
        mover.join().unwrap();
        assert_eq!(writer.join().unwrap(), Some(7), "present throughout, so replaced");
        assert_eq!((table.get(key), table.copies(key)), (Some(8), 1));
    }

    /// Each of two threads moves one bucket, and the last makes the next array the root; a third, which has met neither,
    /// looks up what the first has moved.
    fn last_mover_meets_get() {
        let (table, key) = two_growing();
        let (other, third) = (Arc::clone(&table), Arc::clone(&table));
        let mover = thread::spawn(move || other.move_some());
        let reader = thread::spawn(move || third.get(key));
        table.move_some();
        mover.join().unwrap();
        assert_eq!(reader.join().unwrap(), Some(7), "present throughout");
        assert_eq!((table.buckets(), table.copies(key)), (4, 1));
    }

    /// Two threads start to grow, and one of them reads: whose array it is does not matter.
    fn growth_starts_twice() {
        let table = Arc::new(ModelTable::new());
        table.insert(7, 7);
        let other = Arc::clone(&table);
        let grower = thread::spawn(move || {
            other.start_growth();
            other.move_some();
            other.get(7)
        });
        table.start_growth();
        table.move_some();
        assert_eq!(grower.join().unwrap(), Some(7), "present throughout");
        assert_eq!((table.get(7), table.copies(7)), (Some(7), 1));
    }

    /// A bucket with an overflow line moves while a key behind the line is looked up and taken.
    fn growth_meets_overflow() {
        let (other, table) = growing(&[1, 2, 3]);
        let mover = thread::spawn(move || other.move_some());
        assert_eq!(table.get(3), Some(3), "present throughout");
        assert_eq!(table.take(2), Some(2));
        mover.join().unwrap();
        assert_eq!([1, 2, 3].map(|key| table.copies(key)), [1, 0, 1]);
    }

    /// A walk over the table, as the eviction hand makes it, while the bucket moves: what stays is seen.
    fn growth_meets_walk() {
        let (other, table) = growing(&[7]);
        let walker = thread::spawn(move || other.copies(7));
        table.move_some();
        assert!(walker.join().unwrap() >= 1, "an entry that stays is seen");
    }
}

twins! {
    growth_meets_take_without_freezing: Freeze breaks growth_meets_take;
    growth_that_redirects_before_it_copies: CopyFirst breaks growth_meets_get;
}
