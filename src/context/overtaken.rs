//! What keeps a removal from being undone by a lookup that it overtook.
//!
//! A lookup that finds nothing here asks outside and stores the answer here. If the session is removed or taken between
//! the answer and the store, the store would bring it back. So every removal counts, before it begins and when it has
//! removed the session outside, and removes here each time; and a lookup hides the answer that it stores until it has
//! seen that the count did not move meanwhile:
//!
//! ```text
//! lookup                              removal, twice: before and after it removes outside
//! L1  read the count                  R1  count
//! L2  ask outside                     R2  fence
//! L3  insert, hidden                  R3  remove here
//! L4  fence
//! L5  count unchanged? show : revoke
//! ```
//!
//! Take the second time. If L1 sees its count, L2 asks after the session was removed outside. If not, and L4 comes before
//! R2, R3 finds what L3 inserted. If R2 comes before L4, L5 sees the count and revokes. The first time removes what is
//! here when the removal begins, so that no later lookup finds it while the outside is being told.

use crate::sync::{AtomicU32, Ordering, fence};
use crate::table::Hash;

/// Removals, counted by the hash of the key.
pub(super) struct Removals([AtomicU32; CELLS]);

const CELLS: usize = if cfg!(resumption_loom) { 1 } else { 64 };

impl Removals {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(0)))
    }

    /// The count for keys with this hash. (L1)
    pub(super) fn count(&self, hash: Hash) -> u32 {
        // Acquire: pairs with the Release in `add`: what is asked outside afterwards is asked after that removal.
        self.cell(hash).load(Ordering::Acquire)
    }

    /// Whether no removal has been counted since. (L4, L5)
    pub(super) fn is_still(&self, hash: Hash, count: u32) -> bool {
        // SeqCst: pairs with the fence in `add`.
        fence(Ordering::SeqCst);
        self.cell(hash).load(Ordering::Relaxed) == count
    }

    /// Counts a removal. (R1, R2)
    pub(super) fn add(&self, hash: Hash) {
        // Release: pairs with the Acquire in `count`.
        self.cell(hash).fetch_add(1, Ordering::Release);
        // SeqCst: pairs with the fence in `is_still`.
        fence(Ordering::SeqCst);
    }

    /// Counts a removal of anything.
    pub(super) fn add_all(&self) {
        for cell in &self.0 {
            cell.fetch_add(1, Ordering::Release); // pairs with the Acquire in `count`
        }
        // SeqCst: pairs with the fence in `is_still`.
        fence(Ordering::SeqCst);
    }

    fn cell(&self, hash: Hash) -> &AtomicU32 {
        &self.0[(hash.0 >> 58) as usize % CELLS]
    }
}
