//! Walking the cache: for flushes, purges and iteration.

use super::Cache;
use super::departures::{Departures, RemoveReason};
use super::recent::Left;
use crate::epoch::Guard;
use crate::session::{Header, Payload, Session};
use crate::table::Member;

impl<T: Payload> Cache<T> {
    /// Removes the sessions of part `index` of `of` for which `reason` names one. Returns how many.
    pub(crate) fn sweep(
        &self,
        (index, of): (usize, usize),
        reason: impl Fn(&Header, &Session<T>) -> Option<RemoveReason>,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> usize {
        let mut removed = 0;
        loop {
            let mut contended = false;
            self.table.visit(index, of, guard, |member| {
                if let Some(reason) = reason(member.header(), member.session()) {
                    match self.remove_member(member, reason, departures, guard) {
                        true => removed += 1,
                        // Somebody else removed it, or its bucket is being moved and it is elsewhere now: look again.
                        false => contended = true,
                    }
                }
            });
            if !contended {
                return removed;
            }
        }
    }

    fn remove_member(
        &self,
        member: Member<'_, T>,
        reason: RemoveReason,
        departures: &mut Departures<T>,
        guard: &Guard,
    ) -> bool {
        let Some(unlinked) = self.table.unlink(member, guard) else { return false };
        self.capacity.give_back(unlinked.header().weight());
        if reason.marks() {
            unlinked.session().mark_not_resumable();
        }
        if reason == RemoveReason::Expired {
            self.recent.remember(self.table.hash(&unlinked.session().id()), Left::Expired);
        }
        departures.push(reason, || unlinked.to_arc());
        true
    }

    /// Calls `visit` for each session in part `index` of `of`.
    pub(crate) fn visit(
        &self,
        (index, of): (usize, usize),
        guard: &Guard,
        mut visit: impl FnMut(&Session<T>),
    ) {
        self.table.visit(index, of, guard, |member| visit(member.session()));
    }
}
