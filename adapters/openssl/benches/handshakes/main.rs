//! OpenSSL with our cache against OpenSSL with its own: resumed handshakes per second, and the longest stall when many
//! sessions expire at once.
//!
//! ```sh
//! cargo bench -p resumption-openssl --bench handshakes
//! cargo bench -p resumption-openssl --bench handshakes -- --quick   # does it work?
//! ```
//!
//! Client and server share a thread and shake hands over memory, TLS 1.2 by session id; two such threads share the
//! server's context and its cache, and each offers sessions from all over the cache. The two caches take turns, and
//! figures are medians of the rounds.

#[path = "../../tests/common/mod.rs"]
mod common;
mod peers;

use openssl::ssl::SslContextRef;
use peers::{Client, Kind, SAMPLE_LIFE, Server, now};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 2;

struct Scale {
    live: u64,
    expiring: u64,
    round: Duration,
    rounds: usize,
    /// Windows with and without an expiry, for each cache.
    windows: usize,
    /// From the moment at which the sessions are made to that at which they expire, in seconds.
    expiry: u64,
    /// How long a window is, and how long before the expiry it begins.
    window: Duration,
    lead: Duration,
}

const MEASURE: Scale = Scale {
    live: 100_000,
    expiring: 50_000,
    round: Duration::from_secs(2),
    rounds: 15,
    windows: 5,
    expiry: 10,
    window: Duration::from_secs(8),
    lead: Duration::from_secs(1),
};

const QUICK: Scale = Scale {
    live: 1000,
    expiring: 500,
    round: Duration::from_millis(200),
    rounds: 3,
    windows: 1,
    expiry: 2,
    window: Duration::from_secs(4),
    lead: Duration::from_secs(1),
};

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = if quick { QUICK } else { MEASURE };
    println!("{}, {THREADS} threads, TLS 1.2 by session id", openssl::version::version());
    resumed_handshakes(&scale);
    stalls(&scale);
}

/// What a round has come to, of all threads together.
struct Rate {
    per_second: f64,
    /// Microseconds of a handshake that were spent in the server, and not in the client.
    server: f64,
}

fn resumed_handshakes(scale: &Scale) {
    let servers = Kind::BOTH.map(Server::new);
    for server in &servers {
        server.fill(0..scale.live, now(), SAMPLE_LIFE);
    }
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..2 * scale.rounds {
        let server = &servers[round % 2];
        rates[round % 2].push(throughput(server, scale));
        assert!(server.sessions() >= scale.live, "none is lost");
    }
    println!("\nresumed handshakes, {} live sessions, {} rounds each", scale.live, scale.rounds);
    println!("{:<28}{:>14}{:>22}", "", "per second", "server alone, µs each");
    for (server, rates) in servers.iter().zip(&rates) {
        let of = |part: fn(&Rate) -> f64| median(rates.iter().map(part).collect());
        println!("{:<28}{:>14.0}{:>22.1}", server.name(), of(|rate| rate.per_second), of(|rate| rate.server));
    }
    // Above 1 means that ours is better, in both columns.
    let pairs = || rates[0].iter().zip(&rates[1]);
    let throughput: Vec<f64> = pairs().map(|(theirs, ours)| ours.per_second / theirs.per_second).collect();
    let server: Vec<f64> = pairs().map(|(theirs, ours)| theirs.server / ours.server).collect();
    println!("{:<28}{:>14.3}{:>22.3}", "ratio, median of pairs", median(throughput.clone()), median(server));
    let ends = throughput.iter().fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(*x), high.max(*x)));
    println!("{:<28}{:>14}", "lowest and highest", format!("{:.2} {:.2}", ends.0, ends.1));
}

fn throughput(server: &Server, scale: &Scale) -> Rate {
    let stop = AtomicBool::new(false);
    let run = |seed| {
        let (mut client, mut random) = (Client::of(server), fastrand::Rng::with_seed(seed));
        let (mut count, mut spent, start) = (0_u64, Duration::ZERO, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let visit = client.resume(&server.context, random.u64(..scale.live));
            assert!(visit.resumed, "all of them are live");
            spent += visit.server;
            count += 1;
        }
        (count, spent, start.elapsed())
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64).map(|seed| scope.spawn(move || run(seed))).collect();
        thread::sleep(scale.round);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let count: u64 = results.iter().map(|(count, ..)| count).sum();
    let spent: f64 = results.iter().map(|(_, spent, _)| spent.as_secs_f64()).sum();
    let per_second = results.iter().map(|(count, _, wall)| *count as f64 / wall.as_secs_f64()).sum();
    Rate { per_second, server: spent * 1e6 / count as f64 }
}

/// The longest handshakes of a window, in milliseconds: of the thread that makes full ones and stores their sessions,
/// and of the one that resumes; and the processor time that the longest of each took itself.
struct Longest([f64; 4]);

fn stalls(scale: &Scale) {
    println!(
        "\nlongest handshake in {} s, in ms, medians of {} windows; {} of {} sessions expire at once, or none",
        scale.window.as_secs(),
        scale.windows,
        scale.expiring,
        scale.live + scale.expiring,
    );
    println!(
        "{:<28}{:>12}{:>12}{:>12}{:>12}{:>8}",
        "", "full, wall", "own work", "res., wall", "own work", "left"
    );
    let cases = [false, true].into_iter().flat_map(|expire| Kind::BOTH.map(|kind| (kind, expire)));
    let mut found: Vec<_> = cases.map(|case| (case, Vec::new(), Vec::new())).collect();
    for _ in 0..scale.windows {
        for ((kind, expire), longest, left) in &mut found {
            let (window, rest) = window(*kind, *expire, scale);
            longest.push(window.0);
            left.push(rest as f64);
        }
    }
    for ((kind, expire), longest, left) in found {
        let name = format!("{}, {}", kind.name(), if expire { "expiry" } else { "none" });
        print!("{name:<28}");
        for column in 0..4 {
            print!("{:>12.2}", median(longest.iter().map(|values| values[column]).collect()));
        }
        println!("{:>8.0}", median(left));
    }
}

/// One window of traffic, with or without an expiry in it; and how many of those sessions are still in memory after it.
fn window(kind: Kind, expire: bool, scale: &Scale) -> (Longest, u64) {
    let server = Server::new(kind);
    let made = now();
    let life = if expire { scale.expiry } else { SAMPLE_LIFE };
    // In this order: OpenSSL files a session that expires before others by a walk over its list.
    server.fill(1 << 32..(1 << 32) + scale.expiring, made, life);
    server.fill(0..scale.live, made, SAMPLE_LIFE);
    let begin = Duration::from_secs(made + scale.expiry) - scale.lead;
    let until = begin.checked_sub(since_epoch()).expect("the sessions are made in time");
    thread::sleep(until);
    let (before, stored, longest) = watch(&server, scale);
    let left = server.sessions() - (before + stored - scale.expiring).min(server.sessions());
    (longest, left)
}

fn watch(server: &Server, scale: &Scale) -> (u64, u64, Longest) {
    let before = server.sessions();
    let (barrier, start) = (Barrier::new(THREADS), Instant::now());
    let run = |resumes: bool| {
        let (mut client, mut random) = (Client::of(server), fastrand::Rng::with_seed(7));
        let (mut longest, mut count) = ([0.0_f64; 2], 0);
        barrier.wait();
        while start.elapsed() < scale.window {
            let (wall, own) = (Instant::now(), processor_time());
            let visit = visit(&mut client, &server.context, resumes, random.u64(..scale.live));
            assert_eq!(visit.resumed, resumes);
            longest[0] = longest[0].max(wall.elapsed().as_secs_f64() * 1e3);
            longest[1] = longest[1].max((processor_time() - own).as_secs_f64() * 1e3);
            count += u64::from(!resumes);
        }
        (longest, count)
    };
    let [(full, stored), (resumed, _)] = thread::scope(|scope| {
        let threads = [false, true].map(|resumes| scope.spawn(move || run(resumes)));
        threads.map(|thread| thread.join().expect("no thread panics"))
    });
    (before, stored, Longest([full[0], full[1], resumed[0], resumed[1]]))
}

fn visit(client: &mut Client, server: &SslContextRef, resumes: bool, number: u64) -> peers::Visit {
    if resumes { client.resume(server, number) } else { client.start(server) }
}

/// What this thread has used.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the argument points to one such value.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
