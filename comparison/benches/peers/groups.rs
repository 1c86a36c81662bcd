//! Which workload is run against whom, at which size.

use crate::caches::{Moka, Quick, Rustls, Tiny};
use crate::load::{Item, Load, SingleUse, items};
use crate::maps::{Dash, Locking, OnlyRead, Papaya, PapayaOneGuard, Scc, SccOneGuard, Unsynchronised};
use crate::openssl::OpenSsl;
use crate::ours::{Batches, EachPin, Hold, OneGuard, Ours, Repin};
use crate::results::{HASHBROWN, OURSELVES, Results, Way};
use crate::targets::{OPENSSL, RUSTLS};
use crate::worker::{Peer, Shared, Worker};
use crate::workload::{Feed, Workload, alone, shared};
use resumption_comparison::{Extent, Spread, Turn, rounds, thousands};
use std::time::Duration;

/// With whom the engine is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Everyone,
    /// Those that have no bound.
    Maps,
    /// The map that one thread may use.
    Unsynchronised,
}

const LOOKUPS: [Workload; 4] = [Workload::Isolated, Workload::Streamed, Workload::Miss, Workload::Zipf];
const THREADS: [usize; 2] = [1, 2];

const MOKA: &str = "moka";
const QUICK: &str = "quick_cache";
const TINY: &str = "TinyUFO";
pub(crate) const OURS: &str = "our own cache";

/// Runs the workloads and gathers the results.
pub(crate) struct Plan {
    extent: Extent,
    results: Results,
}

/// Which ways of driving the engine are measured.
fn ways(workload: Workload, peer: &str) -> &'static [Way] {
    match workload {
        Workload::Streamed if peer == HASHBROWN || peer == OURSELVES => {
            &[Way::OneGuard, Way::EachPin, Way::Repin, Way::Batches]
        }
        Workload::Isolated | Workload::Streamed | Workload::Miss | Workload::Zipf => {
            &[Way::OneGuard, Way::EachPin]
        }
        _ => &[Way::EachPin],
    }
}

fn our_turn<'a>(
    way: Way,
    ours: &'a Ours,
    workload: Workload,
    feeds: Vec<Feed<'a>>,
    turn: Duration,
) -> Turn<'a> {
    match way {
        Way::EachPin => Box::new(shared(EachPin::of(ours), workload, feeds, turn)),
        Way::OneGuard => Box::new(shared(OneGuard::of(ours), workload, feeds, turn)),
        Way::Repin => Box::new(shared(Repin::of(ours), workload, feeds, turn)),
        Way::Batches => Box::new(shared(Batches::of(ours), workload, feeds, turn)),
    }
}

/// Bytes that the system would still give.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib << 10)
}

impl Plan {
    pub(crate) fn new(extent: Extent) -> Self {
        Self { extent, results: Results::default() }
    }

    pub(crate) fn results(&self) -> &Results {
        &self.results
    }

    /// Adds to what is told below the tables.
    pub(crate) fn note(&mut self, note: String) {
        self.results.notes.push(note);
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    /// Lets each way of ours and one peer, the last of the sides, take turns. Pair by pair: among several of ours the
    /// peer's memory would be touched least and be the coldest.
    pub(crate) fn compare(
        &mut self,
        what: (Workload, usize, usize),
        ways: &[Way],
        peer: &'static str,
        mut turns: Vec<Turn<'_>>,
    ) {
        let Some(mut theirs) = turns.pop() else { return };
        for (way, mut ours) in ways.iter().zip(turns) {
            let costs = rounds(self.extent.rounds(), &mut [&mut *ours, &mut *theirs]);
            self.results.add(what, *way, peer, &costs);
        }
    }

    /// Whether these sides, with so many sessions each, fit into memory together; if not, says so in the notes.
    pub(crate) fn fit(&mut self, sides: &[(&str, usize)]) -> bool {
        let bytes = |&(side, sessions): &(&str, usize)| {
            sessions as u64
                * match side {
                    OPENSSL => 1200,
                    MOKA | QUICK | TINY | RUSTLS => 900,
                    _ => 450,
                }
        };
        let fit = available() > sides.iter().map(bytes).sum::<u64>() + (2 << 30);
        if !fit {
            let sides: Vec<_> =
                sides.iter().map(|(side, n)| format!("{} in {side}", thousands(*n))).collect();
            self.note(format!("{} sessions do not fit into memory", sides.join(" and ")));
        }
        fit
    }

    /// Lookups: nothing changes meanwhile.
    pub(crate) fn lookups(&mut self, sessions: usize, who: Who) {
        let load = Load::new(sessions, 1 << 18);
        let ours = Ours::new(sessions);
        ours.fill(&load.by_index());
        let mut map = Unsynchronised::new(sessions);
        (&mut map).fill(&load.by_index());
        for workload in LOOKUPS {
            self.against_map(workload, &load, &ours, &mut map);
        }
        if who == Who::Unsynchronised {
            return;
        }
        for workload in LOOKUPS {
            self.control(workload, &load, &map);
        }
        drop(map);
        for workload in LOOKUPS {
            self.against_ourselves(workload, &load, &ours);
        }
        self.lookups_of::<Locking>("RwLock + HashMap", &load, &ours);
        self.lookups_of::<Dash>("dashmap", &load, &ours);
        if let Some(papaya) = self.lookups_of::<Papaya>("papaya", &load, &ours) {
            self.hits("papaya, one guard", PapayaOneGuard(&papaya), &load, &ours);
        }
        if let Some(scc) = self.lookups_of::<Scc>("scc::HashIndex", &load, &ours) {
            self.hits("scc::HashIndex, one guard", SccOneGuard(&scc), &load, &ours);
        }
        if who == Who::Maps {
            return;
        }
        self.lookups_of::<Moka>(MOKA, &load, &ours);
        self.lookups_of::<Quick>(QUICK, &load, &ours);
        self.lookups_of::<Tiny>(TINY, &load, &ours);
        self.lookups_of::<Rustls>(RUSTLS, &load, &ours);
        if self.fit(&[(OPENSSL, sessions)]) {
            let openssl = OpenSsl::new(sessions);
            openssl.worker().fill(&load.by_index());
            assert_eq!(openssl.len(), sessions);
            self.hits(OPENSSL, &openssl, &load, &ours);
        }
    }

    fn against_map(&mut self, workload: Workload, load: &Load, ours: &Ours, map: &mut Unsynchronised) {
        let ways = ways(workload, HASHBROWN);
        let turn = self.extent.turn();
        let mut turns = self.our_turns(ways, workload, load, ours, 1);
        let feed = Feed::of(workload, load, 1, 0).remove(0);
        turns.push(Box::new(alone(map, workload, feed, turn)));
        self.compare((workload, load.live.len(), 1), ways, HASHBROWN, turns);
    }

    /// Two threads of the engine against one.
    fn against_ourselves(&mut self, workload: Workload, load: &Load, ours: &Ours) {
        for &way in ways(workload, OURSELVES) {
            let mut turns = self.our_turns(&[way], workload, load, ours, 2);
            // From the second quarter on: the two begin with the first and the third.
            let feeds = Feed::of(workload, load, 1, 2);
            turns.push(our_turn(way, ours, workload, feeds, self.extent.turn()));
            self.compare((workload, load.live.len(), 2), &[way], OURSELVES, turns);
        }
    }

    /// What the machine lets two threads do: those of a map that is only read, against one.
    fn control(&mut self, workload: Workload, load: &Load, map: &Unsynchronised) {
        let make = |threads| -> Turn<'_> {
            let feeds = Feed::of(workload, load, threads, if threads == 1 { 2 } else { 0 });
            Box::new(shared(OnlyRead(map), workload, feeds, self.extent.turn()))
        };
        let costs = rounds(self.extent.rounds(), &mut [&mut *make(2), &mut *make(1)]);
        self.note(format!(
            "Control: {}, {} sessions, hashbrown that is only read, 2 threads against 1: {}",
            workload.name(),
            thousands(load.live.len()),
            Spread::of_ratios(&costs[0], &costs[1])
        ));
    }

    fn our_turns<'a>(
        &self,
        ways: &[Way],
        workload: Workload,
        load: &'a Load,
        ours: &'a Ours,
        threads: usize,
    ) -> Vec<Turn<'a>> {
        let make = |(place, &way)| {
            let feeds = Feed::of(workload, load, threads, place);
            our_turn(way, ours, workload, feeds, self.extent.turn())
        };
        ways.iter().enumerate().map(make).collect()
    }

    /// Fills a peer and compares its lookups; returns it for more.
    fn lookups_of<P: Peer>(&mut self, peer: &'static str, load: &Load, ours: &Ours) -> Option<P> {
        let sessions = load.live.len();
        if !self.fit(&[(peer, sessions)]) {
            return None;
        }
        let cache = P::new(sessions, false);
        cache.worker().fill(&load.by_index());
        self.hits(peer, &cache, load, ours);
        Some(cache)
    }

    /// Compares the lookups of a peer that is full.
    fn hits<S: Shared>(&mut self, peer: &'static str, cache: S, load: &Load, ours: &Ours) {
        // Whoever lost a session is not asked for it in a timed loop.
        let mut worker = cache.worker();
        let found = worker.find_all(&load.keys);
        drop(worker);
        assert_eq!(found, load.live.len() as u64, "{peer} has lost sessions");
        for workload in LOOKUPS {
            for threads in THREADS {
                let ways = ways(workload, peer);
                let mut turns = self.our_turns(ways, workload, load, ours, threads);
                let feeds = Feed::of(workload, load, threads, 0);
                turns.push(Box::new(shared(&cache, workload, feeds, self.extent.turn())));
                self.compare((workload, load.live.len(), threads), ways, peer, turns);
            }
        }
    }

    /// Lookups with replacements in between, with room to spare: nothing is to be evicted.
    pub(crate) fn mixed(&mut self, sessions: usize) {
        let load = Load::new(sessions, 1 << 10);
        let ours = Ours::new(sessions + sessions / 8);
        ours.fill(&load.by_index());
        let mut map = Unsynchronised::new(sessions);
        (&mut map).fill(&load.by_index());
        self.against_map(Workload::Mixed, &load, &ours, &mut map);
        drop(map);
        self.mixed_of("RwLock + HashMap", || Locking::new(sessions, false), &load, &ours);
        self.mixed_of("dashmap", || Dash::new(sessions, false), &load, &ours);
        self.mixed_of("papaya", || Papaya::new(sessions, false), &load, &ours);
        self.mixed_of("scc::HashIndex", || Scc::new(sessions, false), &load, &ours);
        self.mixed_of(MOKA, || Moka::new(sessions, false), &load, &ours);
        self.mixed_of(QUICK, || Quick::new(sessions, false), &load, &ours);
        self.mixed_of(TINY, || Tiny::new(sessions, false), &load, &ours);
        self.mixed_of(RUSTLS, || Rustls::new(sessions, false), &load, &ours);
        self.mixed_of(OPENSSL, || OpenSsl::new(sessions), &load, &ours);
        assert_eq!(ours.len(), sessions);
    }

    fn mixed_of<S: Shared>(
        &mut self,
        peer: &'static str,
        make: impl FnOnce() -> S,
        load: &Load,
        ours: &Ours,
    ) {
        if !self.fit(&[(peer, load.live.len())]) {
            return;
        }
        let cache = make();
        cache.worker().fill(&load.by_index());
        for threads in THREADS {
            let mut turns = self.our_turns(&[Way::EachPin], Workload::Mixed, load, ours, threads);
            let feeds = Feed::of(Workload::Mixed, load, threads, 0);
            turns.push(Box::new(shared(&cache, Workload::Mixed, feeds, self.extent.turn())));
            self.compare((Workload::Mixed, load.live.len(), threads), &[Way::EachPin], peer, turns);
        }
    }

    /// Each session is inserted once and taken once.
    pub(crate) fn single_use(&mut self, sessions: usize) {
        // An eighth of spare room, so that nothing has to be evicted.
        let room = sessions + sessions / 8;
        for threads in THREADS {
            let halves = SingleUse::new(sessions, threads);
            if threads == 1 {
                let mut map = Unsynchronised::new(room);
                (&mut map).fill(&halves[0].inserts[0]);
                let feed = single_use_feeds(&halves).remove(0);
                let theirs = alone(&mut map, Workload::SingleUse, feed, self.extent.turn());
                self.single_use_of(HASHBROWN, Box::new(theirs), &halves, room);
            }
            self.single_use_in("RwLock + HashMap", || Locking::new(room, false), &halves, room);
            self.single_use_in("dashmap", || Dash::new(room, false), &halves, room);
            self.single_use_in("papaya", || Papaya::new(room, false), &halves, room);
            self.single_use_in("scc::HashIndex", || Scc::new(room, false), &halves, room);
            self.single_use_in(MOKA, || Moka::new(room, false), &halves, room);
            self.single_use_in(QUICK, || Quick::new(room, false), &halves, room);
            self.single_use_in(TINY, || Tiny::new(room, false), &halves, room);
            self.single_use_in(RUSTLS, || Rustls::new(room, false), &halves, room);
            self.single_use_in(OPENSSL, || prepared(room, &halves), &halves, room);
        }
    }

    fn single_use_in<S: Shared>(
        &mut self,
        peer: &'static str,
        make: impl FnOnce() -> S,
        halves: &[SingleUse],
        room: usize,
    ) {
        // OpenSSL's sessions are made beforehand, those of both halves.
        let most = if peer == OPENSSL { 2 * room } else { room };
        if !self.fit(&[(OURS, room), (peer, most)]) {
            return;
        }
        let cache = make();
        for half in halves {
            cache.worker().fill(&half.inserts[0]);
        }
        let theirs = shared(&cache, Workload::SingleUse, single_use_feeds(halves), self.extent.turn());
        self.single_use_of(peer, Box::new(theirs), halves, room);
    }

    fn single_use_of(&mut self, peer: &'static str, theirs: Turn<'_>, halves: &[SingleUse], room: usize) {
        let ours = Ours::new(room);
        for half in halves {
            EachPin::of(&ours).worker().fill(&half.inserts[0]);
        }
        let live = ours.len();
        let feeds = single_use_feeds(halves);
        let mine = our_turn(Way::EachPin, &ours, Workload::SingleUse, feeds, self.extent.turn());
        let what = (Workload::SingleUse, live, halves.len());
        self.compare(what, &[Way::EachPin], peer, vec![mine, theirs]);
        assert_eq!(ours.len(), live, "as many were taken as were inserted");
    }

    /// Each insert into a full cache makes another session go.
    pub(crate) fn at_capacity(&mut self, sessions: usize) {
        let mut rng = fastrand::Rng::with_seed(44);
        let old = items(&mut rng, sessions);
        let live = items(&mut rng, 1 << 20);
        let load = Load { live, keys: Vec::new(), zipf: Vec::new(), absent: Vec::new() };
        for threads in THREADS {
            self.evict_in(MOKA, || Moka::new(sessions, true), &load, &old, threads);
            self.evict_in(QUICK, || Quick::new(sessions, true), &load, &old, threads);
            self.evict_in(TINY, || Tiny::new(sessions, true), &load, &old, threads);
            self.evict_in(RUSTLS, || Rustls::new(sessions, true), &load, &old, threads);
            self.evict_in(OPENSSL, || OpenSsl::new(sessions), &load, &old, threads);
        }
    }

    fn evict_in<S: Shared>(
        &mut self,
        peer: &'static str,
        make: impl FnOnce() -> S,
        load: &Load,
        old: &[Item],
        threads: usize,
    ) {
        if !self.fit(&[(OURS, old.len()), (peer, old.len())]) {
            return;
        }
        let cache = make();
        let ours = Ours::new(old.len());
        EachPin::of(&ours).worker().fill(old);
        cache.worker().fill(old);
        let mut turns = self.our_turns(&[Way::EachPin], Workload::AtCapacity, load, &ours, threads);
        let feeds = Feed::of(Workload::AtCapacity, load, threads, 0);
        turns.push(Box::new(shared(&cache, Workload::AtCapacity, feeds, self.extent.turn())));
        self.compare((Workload::AtCapacity, old.len(), threads), &[Way::EachPin], peer, turns);
        assert_eq!(ours.len(), old.len(), "full, and not over");
    }
}

/// OpenSSL's cache, and a session for each key of these halves.
fn prepared(room: usize, halves: &[SingleUse]) -> OpenSsl {
    let mut openssl = OpenSsl::new(room);
    let mut all: Vec<_> = halves.iter().flat_map(|h| h.inserts.iter().flatten()).copied().collect();
    all.sort_unstable_by_key(|item| item.index);
    openssl.prepare(&all);
    openssl
}

fn single_use_feeds(halves: &[SingleUse]) -> Vec<Feed<'_>> {
    halves.iter().map(|halves| Feed::SingleUse { halves, at: 0, phase: 0 }).collect()
}
