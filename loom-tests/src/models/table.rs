//! The table's own protocol, each pair of operations that can meet in a bucket.

use loom::sync::Arc;
use loom::thread;
use resumption::model::ModelTable;

const COLLECTS: bool = false;

models! {
    /// Two inserts of one key: one adds, the other replaces; one copy is left.
    fn insert_meets_insert() {
        let table = Arc::new(ModelTable::new());
        let other = Arc::clone(&table);
        let theirs = thread::spawn(move || other.insert(7, 1));
        let ours = table.insert(7, 2);
        let theirs = theirs.join().unwrap();
        assert_eq!(table.copies(7), 1, "one copy of the key");
        assert!(
            matches!((ours, theirs), (None, Some(2)) | (Some(1), None)),
            "one adds, one replaces: {ours:?} {theirs:?}"
        );
        assert_eq!(table.get(7), Some(if ours.is_some() { 2 } else { 1 }));
    }

    /// An insert and a take of one key, and an insert of another that helps: what was inserted is taken or still there.
    fn insert_meets_take_and_helper() {
        let table = Arc::new(ModelTable::new());
        let (a, b) = (Arc::clone(&table), Arc::clone(&table));
        let inserter = thread::spawn(move || assert_eq!(a.insert(7, 1), None));
        let taker = thread::spawn(move || b.take(7));
        assert_eq!(table.insert(9, 2), None);
        inserter.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(table.copies(7), usize::from(taken.is_none()), "taken once or still there");
        assert_eq!(table.get(9), Some(2), "the helper's own insert");
    }

    /// Two takes of one key: one winner.
    fn take_meets_take() {
        let table = Arc::new(ModelTable::new());
        table.insert(7, 1);
        let other = Arc::clone(&table);
        let theirs = thread::spawn(move || other.take(7));
        let ours = table.take(7);
        assert_eq!(usize::from(ours.is_some()) + usize::from(theirs.join().unwrap().is_some()), 1, "one winner");
        assert_eq!(table.copies(7), 0);
    }

    /// Two takes and an insert of one key: as many taken and left as there were inserted.
    fn two_takes_meet_insert() {
        let table = Arc::new(ModelTable::new());
        table.insert(7, 1);
        let (a, b) = (Arc::clone(&table), Arc::clone(&table));
        let first = thread::spawn(move || usize::from(a.take(7).is_some()));
        let second = thread::spawn(move || usize::from(b.take(7).is_some()));
        let added = usize::from(table.insert(7, 2).is_none());
        let taken = first.join().unwrap() + second.join().unwrap();
        assert_eq!(1 + added, taken + table.copies(7), "nothing lost, nothing doubled");
    }

    /// A replace against a take: the old or the new is taken, never both lost.
    fn replace_meets_take() {
        let table = Arc::new(ModelTable::new());
        table.insert(7, 1);
        let other = Arc::clone(&table);
        let taker = thread::spawn(move || other.take(7));
        let replaced = table.insert(7, 2);
        let taken = taker.join().unwrap();
        match (replaced, taken) {
            (None, Some(1)) => assert_eq!(table.get(7), Some(2)),
            (Some(1), Some(2)) => assert_eq!(table.copies(7), 0),
            other => panic!("replaced and taken: {other:?}"),
        }
    }

    /// A get against an insert and the take after it: found with its value, or not at all.
    fn get_meets_insert_and_take() {
        let table = Arc::new(ModelTable::new());
        let (a, b) = (Arc::clone(&table), Arc::clone(&table));
        let reader = thread::spawn(move || a.get(7));
        let taker = thread::spawn(move || b.take(7));
        assert_eq!(table.insert(7, 1), None);
        let taken = taker.join().unwrap();
        assert!(matches!(reader.join().unwrap(), None | Some(1)), "a value that was inserted");
        assert_eq!(table.copies(7), usize::from(taken.is_none()));
    }

    /// Three keys in a bucket with two slots a line: two inserts that both need the overflow line.
    fn overflow_meets_overflow() {
        let table = Arc::new(ModelTable::new());
        table.insert(1, 1);
        table.insert(2, 2);
        let other = Arc::clone(&table);
        let theirs = thread::spawn(move || assert_eq!(other.insert(3, 3), None));
        assert_eq!(table.insert(4, 4), None);
        theirs.join().unwrap();
        assert_eq!([1, 2, 3, 4].map(|key| table.copies(key)), [1; 4]);
    }

    /// A take that frees a slot in the root line against an insert that needs one.
    fn overflow_meets_take() {
        let table = Arc::new(ModelTable::new());
        table.insert(1, 1);
        table.insert(2, 2);
        let other = Arc::clone(&table);
        let taker = thread::spawn(move || assert_eq!(other.take(1), Some(1)));
        assert_eq!(table.insert(3, 3), None);
        taker.join().unwrap();
        assert_eq!([1, 2, 3].map(|key| table.copies(key)), [0, 1, 1]);
    }

    /// A replace against a get: a key that is always present is always found.
    fn replace_meets_get() {
        let table = Arc::new(ModelTable::new());
        table.insert(7, 1);
        let other = Arc::clone(&table);
        // The reader is the spawned one: loom takes a parent's first access after a spawn to come before all of the child's.
        let reader = thread::spawn(move || other.get(7));
        assert_eq!(table.insert(7, 2), Some(1));
        assert!(matches!(reader.join().unwrap(), Some(1 | 2)), "a replaced key has no gap");
        assert_eq!(table.get(7), Some(2));
    }
}

twins! {
    insert_meets_insert_without_versions: Version breaks insert_meets_insert;
    insert_meets_take_without_withdrawal: Withdraw breaks insert_meets_take_and_helper;
    insert_meets_take_without_sequence: Sequence breaks insert_meets_take_and_helper;
    a_helper_that_only_clears: HelpPuts breaks insert_meets_take_and_helper;
    take_meets_take_with_a_plain_store: OneWinner breaks take_meets_take;
}
