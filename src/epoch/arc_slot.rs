//! A counted reference that is read under guards.

use super::guard::Guard;
use super::participant::pin_to_drop;
use crate::sync::{AtomicPtr, Ordering, Rule, is_broken};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

/// An `Option<Arc<T>>` that its owner replaces while others read it under guards, without touching the count.
pub(crate) struct ArcSlot<T: Send + Sync + 'static> {
    // From `Arc::into_raw`, with a count that the slot owns; or null.
    pointer: AtomicPtr<T>,
    // Makes the slot Send and Sync as an Arc is, and no more.
    _owns: PhantomData<Arc<T>>,
}

impl<T: Send + Sync + 'static> ArcSlot<T> {
    pub(crate) fn empty() -> Self {
        Self { pointer: AtomicPtr::new(std::ptr::null_mut()), _owns: PhantomData }
    }

    /// What is in the slot, readable until the guard is gone, whatever is put there meanwhile.
    #[inline]
    pub(crate) fn load<'g>(&self, _guard: &'g Guard) -> Option<&'g T> {
        // Acquire: pairs with the Release in `replace`, so that the value is seen whole.
        let current = self.pointer.load(Ordering::Acquire);
        // SAFETY: the slot held a count of it at the load, which came after the guard was made; `replace` gives that
        // count back only once every guard that existed at the time of the swap is gone, this one included.
        unsafe { current.as_ref() }
    }

    /// What is in the slot, counted.
    pub(crate) fn to_arc(&self, guard: &Guard) -> Option<Arc<T>> {
        let current: *const T = self.load(guard)?;
        // SAFETY: it came from `Arc::into_raw`, and as `load` says its count stays above zero until the guard is gone.
        unsafe { Arc::increment_strong_count(current) };
        // SAFETY: the count is the one that was just added.
        Some(unsafe { Arc::from_raw(current) })
    }

    /// Puts `new` into the slot and gives back the count of what was there once no guard can read it any more.
    pub(crate) fn replace(&self, new: Option<Arc<T>>, guard: &Guard) {
        let new = new.map_or(std::ptr::null_mut(), |new| Arc::into_raw(new).cast_mut());
        // AcqRel: Release pairs with the Acquire in `load`; Acquire pairs with the Release of the swap that put what is
        // taken out here, whose last owner this may be.
        let old = self.pointer.swap(new, Ordering::AcqRel);
        let Some(old) = NonNull::new(old) else { return };
        // SAFETY: the slot owned this count, and the swap has passed it on.
        let old = unsafe { Arc::from_raw(old.as_ptr()) };
        if !is_broken(Rule::RetireCurrent) {
            // The pointer is in no slot any more, so no guard made from now on reaches it through one.
            guard.lend(old);
        }
    }
}

impl<T: Send + Sync + 'static> Drop for ArcSlot<T> {
    fn drop(&mut self) {
        // Borrows may outlive the slot: they are bound to their guards.
        // Relaxed: whoever drops the slot has seen all that was done to it.
        if !self.pointer.load(Ordering::Relaxed).is_null() {
            self.replace(None, &pin_to_drop());
        }
    }
}
