//! Growth against everything that can meet it in a bucket. One bucket becomes two.

use loom::sync::Arc;
use loom::thread;
use resumption::model::{ModelTable, Rule};
use resumption_loom_tests::{explore, must_fail};

fn growing(keys: &[u8]) -> (Arc<ModelTable>, Arc<ModelTable>) {
    let table = Arc::new(ModelTable::new());
    for &key in keys {
        table.insert(key, u32::from(key));
    }
    table.start_growth();
    (Arc::clone(&table), table)
}

/// A take while the bucket moves: taken once, and gone from both arrays.
fn take_meets_growth() {
    let (other, table) = growing(&[7]);
    let mover = thread::spawn(move || other.move_some());
    assert_eq!(table.take(7), Some(7), "a key that is there is taken");
    mover.join().unwrap();
    assert_eq!((table.copies(7), table.take(7)), (0, None), "taken once");
}

#[test]
fn growth_meets_take() {
    explore("growth_meets_take", take_meets_growth);
}

#[test]
fn growth_meets_take_without_freezing() {
    must_fail("growth_meets_take_without_freezing", Some(Rule::Freeze), take_meets_growth);
}

/// Two takes while the bucket moves: one winner.
#[test]
fn growth_meets_two_takes() {
    explore("growth_meets_two_takes", || {
        let (a, table) = growing(&[7]);
        let b = Arc::clone(&table);
        let mover = thread::spawn(move || a.move_some());
        let taker = thread::spawn(move || b.take(7));
        let ours = table.take(7);
        mover.join().unwrap();
        let theirs = taker.join().unwrap();
        assert!(ours.is_some() != theirs.is_some(), "one winner");
        assert_eq!(table.copies(7), 0);
    });
}

/// A lookup while the bucket moves: a key that is always present is always found.
fn get_meets_growth() {
    let (other, table) = growing(&[7, 9]);
    let reader = thread::spawn(move || (other.get(7), other.get(9)));
    table.move_some();
    assert_eq!(reader.join().unwrap(), (Some(7), Some(9)), "present throughout");
    assert_eq!(table.buckets(), 2);
}

#[test]
fn growth_meets_get() {
    explore("growth_meets_get", get_meets_growth);
}

#[test]
fn growth_that_redirects_before_it_copies() {
    must_fail("growth_that_redirects_before_it_copies", Some(Rule::CopyFirst), get_meets_growth);
}

/// An insert of a new key while the bucket moves.
#[test]
fn growth_meets_insert() {
    explore("growth_meets_insert", || {
        let (other, table) = growing(&[7]);
        let inserter = thread::spawn(move || assert_eq!(other.insert(9, 9), None));
        table.move_some();
        inserter.join().unwrap();
        assert_eq!((table.get(7), table.get(9)), (Some(7), Some(9)));
        assert_eq!((table.copies(7), table.copies(9)), (1, 1));
    });
}

/// A replace while the bucket moves: the new value stays, the old one is retired once.
#[test]
fn growth_meets_replace() {
    explore("growth_meets_replace", || {
        let (other, table) = growing(&[7]);
        let replacer = thread::spawn(move || assert_eq!(other.insert(7, 1), Some(7)));
        table.move_some();
        replacer.join().unwrap();
        assert_eq!((table.get(7), table.copies(7)), (Some(1), 1));
    });
}

/// An insert that is announced, and not yet put, when the bucket is frozen.
#[test]
fn growth_meets_insert_and_take() {
    explore("growth_meets_insert_and_take", || {
        let (a, table) = growing(&[]);
        let b = Arc::clone(&table);
        let inserter = thread::spawn(move || assert_eq!(a.insert(7, 7), None));
        let taker = thread::spawn(move || b.take(7));
        table.move_some();
        inserter.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(table.copies(7), usize::from(taken.is_none()));
    });
}

/// Two threads move one bucket, and a third takes from where it arrives: a late copy must not bring it back.
#[test]
fn two_movers_and_a_take() {
    explore("two_movers_and_a_take", || {
        let (a, table) = growing(&[7]);
        let b = Arc::clone(&table);
        let first = thread::spawn(move || a.move_some());
        let second = thread::spawn(move || b.move_some());
        assert_eq!(table.take(7), Some(7));
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!((table.copies(7), table.buckets()), (0, 2));
    });
}

/// A taken entry's slot is used again in the new array while a late mover still copies.
#[test]
fn late_mover_meets_reuse() {
    explore("late_mover_meets_reuse", || {
        let (other, table) = growing(&[7]);
        let mover = thread::spawn(move || other.move_some());
        assert_eq!(table.take(7), Some(7));
        assert_eq!(table.insert(7, 1), None);
        mover.join().unwrap();
        assert_eq!((table.get(7), table.copies(7)), (Some(1), 1));
    });
}
