//! The measurements.

use resumption::{
    ManualClock, Payload, ProtocolVersion, Session, SessionContext, SessionId, SessionIdContext, SessionKey,
    Tick, Timestamp,
};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

const START: Timestamp = Timestamp::from_unix(1_700_000_000);

fn key(n: u64) -> SessionKey {
    // Spread as random ids are; the engine's own hash is keyed anyway.
    let mut id = [0; 32];
    for (word, chunk) in id.chunks_exact_mut(8).enumerate() {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(word as u32 * 13) ^ n;
        chunk.copy_from_slice(&mixed.to_le_bytes());
    }
    SessionKey::new(ProtocolVersion::TLS1_3, SessionId::from(id))
}

fn session<T: Payload>(n: u64, now: Timestamp, seconds: u64, payload: T) -> Arc<Session<T>> {
    Arc::new(Session::<T>::builder(key(n)).time(now).timeout(Duration::from_secs(seconds)).build(payload))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// A context with `live` sessions that live long, of which 1,000 die at each of the next seconds.
fn crowd(live: u64, seconds: u64) -> (SessionContext<()>, ManualClock) {
    let clock = ManualClock::new(START);
    let context =
        SessionContext::builder().capacity(live as usize * 2).clock(clock.clone()).build().expect("memory");
    for n in 0..live {
        let timeout = if n < seconds * 1_000 { n / 1_000 } else { 86_400 + n % 86_400 };
        context.add_session(session(n, START, timeout, ())).expect("fits");
    }
    (context, clock)
}

/// The processor time of this thread: what another process takes in the middle of a call is not the call's.
#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// A second passes and 1,000 sessions expire: microseconds of processor time by the wheel, and by a sweep over all as OpenSSL 1.1 does.
///
/// With ten thousand sessions everything is in the processor's caches, with millions nothing is, as with sessions that
/// nobody has touched since their handshake. So the wheel is timed twice: as it comes, and with cold caches for both
/// sizes, which compares the work.
pub(crate) fn advance(quick: bool) {
    println!("\n| live sessions | one second, 1,000 expire | the same, caches cold | a full sweep |");
    println!("|---|---|---|---|");
    let seconds = 18;
    let mut pollution = vec![0_u8; 256 << 20];
    let mut medians = Vec::new();
    for live in if quick { [20_000, 500_000] } else { [20_000, 5_000_000] } {
        let (context, clock) = crowd(live, seconds);
        let (mut warm, mut cold, mut sweep) = (Vec::new(), Vec::new(), Vec::new());
        for second in 0..seconds {
            let before = context.len();
            clock.set(START.saturating_add(Duration::from_secs(second + 1)));
            if second % 2 == 1 {
                pollution.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            }
            let started = thread_time();
            while context.tick() == Tick::More {}
            let times = if second % 2 == 1 { &mut cold } else { &mut warm };
            times.push((thread_time() - started).as_secs_f64() * 1e6);
            assert_eq!(before - context.len(), 1_000);
            let started = thread_time();
            // A time that is not the clock's own is a walk over the table.
            context.flush_sessions(START);
            sweep.push((thread_time() - started).as_secs_f64() * 1e6);
        }
        let (warm, cold) = (median(warm), median(cold));
        medians.push((warm, cold));
        println!("| {live} | {warm:.0} µs | {cold:.0} µs | {:.0} µs |", median(sweep));
    }
    let (few, many) = (medians[0], medians[1]);
    println!("ratio: {:.2} as it comes, {:.2} with cold caches", many.0 / few.0, many.1 / few.1);
}

/// Inserts into an unlimited context from empty, and the longest of them in processor time; beside it a `HashMap` that
/// grows at once. Reading the clock is part of each figure, some 0.2 µs.
pub(crate) fn growth(quick: bool) {
    let sessions = if quick { 200_000 } else { 4_000_000 };
    let context = SessionContext::<()>::builder().capacity(0).build().expect("memory");
    let now = context.now();
    let made: Vec<_> = (0..sessions).map(|n| session(n, now, 86_400, ())).collect();
    let mut map = HashMap::new();
    let mut ours = Vec::with_capacity(made.len());
    let mut theirs = Vec::with_capacity(made.len());
    for session in &made {
        let started = thread_time();
        context.add_session(Arc::clone(session)).expect("fits");
        ours.push(thread_time() - started);
        let started = thread_time();
        map.insert(session.key(), Arc::clone(session));
        theirs.push(thread_time() - started);
    }
    println!("\n| {sessions} inserts from empty | p50 | p99 | p99.99 | longest |\n|---|---|---|---|---|");
    for (name, mut times) in [("resumption, capacity 0", ours), ("std HashMap, no locks", theirs)] {
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
        println!(
            "| {name} | {:.2} µs | {:.2} µs | {:.1} µs | {:.1} µs |",
            at(0.5),
            at(0.99),
            at(0.9999),
            at(1.0)
        );
    }
}

/// Process memory per session, above the payload itself.
pub(crate) fn memory(quick: bool) {
    const PAYLOAD: usize = 200;
    let sessions = if quick { 100_000 } else { 1_000_000 };
    let empty = resident();
    let context = SessionContext::<[u8; PAYLOAD]>::builder().capacity(sessions).build().expect("memory");
    let now = context.now();
    for n in 0..sessions as u64 {
        context.add_session(session(n, now, 300, [1; PAYLOAD])).expect("fits");
    }
    let used = resident() - empty;
    let each = used as f64 / sessions as f64;
    println!(
        "\n| sessions | process memory | per session | above a payload of {PAYLOAD} bytes |\n|---|---|---|---|"
    );
    println!("| {sessions} | {} MiB | {each:.0} B | {:.0} B |", used >> 20, each - PAYLOAD as f64);
    println!("of which buckets and wheel: {:.1} B per session", context.memory() as f64 / sessions as f64);
}

/// Two simulated hours at 100,000 inserts and takes a second, with a timeout of two hours: 720 million dead timers, if
/// anything kept them.
pub(crate) fn two_hours(quick: bool) {
    const CAPACITY: usize = 100_000;
    let (rate, seconds) = if quick { (10_000, 300) } else { (100_000, 7_200) };
    let clock = ManualClock::new(START);
    let context =
        SessionContext::<()>::builder().capacity(CAPACITY).clock(clock.clone()).build().expect("memory");
    // Tickets wait for half a second before they come back, so the cache is half full.
    let mut waiting = VecDeque::new();
    let mut n = 0;
    let mut after_a_minute = (0, 0);
    let started = Instant::now();
    println!(
        "\n| simulated | buckets and wheel | process memory | sessions | waiting to be freed |\n|---|---|---|---|---|"
    );
    for second in 1..=seconds {
        let now = START.saturating_add(Duration::from_secs(second));
        clock.set(now);
        for _ in 0..rate {
            context.add_session(session(n, now, 7_200, ())).expect("fits");
            waiting.push_back(n);
            n += 1;
            if waiting.len() > CAPACITY / 2
                && let Some(oldest) = waiting.pop_front()
            {
                let guard = context.pin();
                assert!(context.take_borrowed(&key(oldest), &SessionIdContext::EMPTY, &guard).is_some());
            }
        }
        if second == 60 || second == seconds {
            let stats = context.stats();
            println!(
                "| {second} s | {} B | {} MiB | {} | {} |",
                context.memory(),
                resident() >> 20,
                stats.number,
                stats.reclamation.sessions
            );
            if second == 60 {
                after_a_minute = (context.memory(), resident());
            }
        }
    }
    println!(
        "{n} sessions in {:.0} s; buckets and wheel grew by {} B ({:.1} B per capacity), the process by {} KiB",
        started.elapsed().as_secs_f64(),
        context.memory() - after_a_minute.0,
        context.memory() as f64 / CAPACITY as f64,
        resident().saturating_sub(after_a_minute.1) >> 10
    );
    assert_eq!(context.memory(), after_a_minute.0, "memory grew with time");
}
