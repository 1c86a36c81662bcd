//! Guards for models, which may keep what is retired until they end.

std::thread_local! {
    // What a model without a collector has retired. loom runs a model's threads on one thread of the system.
    static UNTIL_THE_END: std::cell::RefCell<Vec<Box<dyn FnOnce()>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Frees what a model without a collector has retired; or forgets it, if the model failed.
pub(crate) fn end_of_model() {
    let list = UNTIL_THE_END.take();
    for free in list {
        if std::thread::panicking() { std::mem::forget(free) } else { free() }
    }
}

/// loom runs a model's threads on one thread of the system, so nothing may be left to a call further up its stack.
pub(super) fn one_at_a_time(free: impl FnOnce() + 'static) {
    free();
}

/// The guard of the collector, or none.
pub(super) struct ModelPin(pub(super) Option<crossbeam_epoch::Guard>);

impl ModelPin {
    /// # Safety
    ///
    /// As for the collector's guard.
    pub(super) unsafe fn defer_unchecked(&self, free: impl FnOnce() + 'static) {
        match &self.0 {
            // SAFETY: the caller's promise is what crossbeam asks for.
            Some(guard) => unsafe { guard.defer_unchecked(free) },
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    pub(super) fn defer(&self, free: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(guard) => guard.defer(free),
            None => UNTIL_THE_END.with_borrow_mut(|list| list.push(Box::new(free))),
        }
    }

    pub(super) fn flush(&self) {
        if let Some(guard) = &self.0 {
            guard.flush();
        }
    }

    pub(super) fn repin(&mut self) {
        if let Some(guard) = &mut self.0 {
            guard.repin();
        }
    }
}
