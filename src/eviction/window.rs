//! The window under a hand: who of the entries in it goes first, and who next.

use super::hand::{Hands, Rank};

/// How many entries of a window are kept in mind: the one that goes, and those that go after it.
const KEPT: usize = 1 + Hands::REMEMBERED;

/// The entries that a hand has looked at, of which it keeps the best in mind.
pub(crate) struct Window<M> {
    // Those whose going ages nobody, first in order; as many as `len` says.
    best: [Option<(Rank, M)>; KEPT],
    len: usize,
    // Of the others the first, which goes if there are none of those.
    marked: Option<(Rank, M)>,
    // What does not go before this is of no interest.
    bar: Rank,
    seen: usize,
}

impl<M: Copy> Window<M> {
    pub(crate) fn new() -> Self {
        Self { best: [None; KEPT], len: 0, marked: None, bar: Rank::LAST, seen: 0 }
    }

    /// Looks at an entry, unless `kept` says that it may not go.
    #[inline]
    pub(crate) fn look_at(&mut self, rank: Rank, entry: M, kept: impl FnOnce() -> bool) {
        self.seen += 1;
        if rank < self.bar && !kept() {
            self.put(rank, entry);
        }
    }

    #[inline]
    fn put(&mut self, rank: Rank, entry: M) {
        if rank.ages_window() {
            self.marked = Some((rank, entry));
            self.bar = rank;
            return;
        }
        let mut at = self.len.min(KEPT - 1);
        while let Some(before) = at.checked_sub(1)
            && self.best[before].is_some_and(|(other, _)| rank < other)
        {
            self.best[at] = self.best[before];
            at = before;
        }
        self.best[at] = Some((rank, entry));
        self.len = KEPT.min(self.len + 1);
        self.bar = self.best[KEPT - 1].map_or(Rank::FIRST_TO_AGE, |(last, _)| last);
    }

    /// Whether to look further than `width` buckets: not enough was seen, or nothing among it that is unmarked and enough
    /// for that neither.
    #[inline]
    pub(crate) fn is_open(&self, width: usize) -> bool {
        let marked = self.len == 0;
        if width >= Hands::BUCKETS && !(marked && self.marked.is_none()) {
            return false;
        }
        self.seen < if marked { Hands::WIDE_WINDOW } else { Hands::WINDOW }
    }

    /// The entry that goes, if there is one that may.
    pub(crate) fn victim(&self) -> Option<(Rank, M)> {
        self.best[0].or(self.marked)
    }

    /// Those that go next, as long as nobody uses them: the first in order.
    pub(crate) fn next_victims(&self) -> impl Iterator<Item = M> + '_ {
        self.best[1..].iter().flatten().map(|&(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    fn rank(mark: u8, expiry: u64) -> Rank {
        Rank::new(mark, Timestamp::from_unix(expiry), Timestamp::from_unix(100))
    }

    /// A window over entries of these marks and expiries, which are also their names.
    fn window(entries: impl IntoIterator<Item = (u8, u64)>) -> Window<u64> {
        let mut window = Window::new();
        entries.into_iter().for_each(|(mark, expiry)| window.look_at(rank(mark, expiry), expiry, || false));
        window
    }

    fn victims(window: &Window<u64>) -> Vec<u64> {
        window.victim().map(|(_, name)| name).into_iter().chain(window.next_victims()).collect()
    }

    #[test]
    fn the_first_to_go_are_kept_in_mind_in_order() {
        let all = window((0..30).map(|i| (0, 200 + i * 7 % 30)));
        assert_eq!(victims(&all), Vec::from_iter(200..200 + KEPT as u64));
        let few = window([(0, 203), (0, 201), (3, 50), (0, 202)]);
        assert_eq!(victims(&few), [50, 201, 202, 203]);
    }

    #[test]
    fn a_marked_entry_goes_when_there_is_no_other_and_is_never_next() {
        assert_eq!(victims(&window([(2, 200), (1, 300), (1, 250), (3, 150)])), [250]);
        assert_eq!(victims(&window([(1, 200), (0, 300), (1, 201), (0, 400), (2, 202)])), [300, 400]);
    }

    #[test]
    fn what_may_not_go_is_passed_over() {
        let mut window = window([(0, 202)]);
        window.look_at(rank(0, 201), 201, || true);
        assert_eq!(victims(&window), [202]);
    }

    #[test]
    fn the_window_is_wider_while_all_are_marked_and_never_without_end() {
        let marked = |n: usize| window((0..n).map(|_| (1, 200)));
        let with_another = |n: usize| window((1..n).map(|_| (1, 200)).chain([(0, 200)]));
        assert!(with_another(Hands::WINDOW - 1).is_open(9) && !with_another(Hands::WINDOW).is_open(9));
        assert!(marked(Hands::WIDE_WINDOW - 1).is_open(9) && !marked(Hands::WIDE_WINDOW).is_open(9));
        assert!(window([]).is_open(Hands::BUCKETS) && !marked(1).is_open(Hands::BUCKETS));
        assert!(marked(1).is_open(Hands::BUCKETS - 1));
    }
}
