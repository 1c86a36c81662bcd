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
use peers::{Client, Kind, SAMPLE_LIFE, Server, now, processor_time};
use std::mem::MaybeUninit;
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
    expiry: 8,
    window: Duration::from_secs(6),
    lead: Duration::from_secs(1),
};

const QUICK: Scale = Scale {
    live: 1000,
    expiring: 500,
    round: Duration::from_millis(200),
    rounds: 3,
    windows: 1,
    expiry: 1,
    window: Duration::from_millis(1500),
    lead: Duration::from_millis(200),
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
    /// Handshakes a second.
    per_second: f64,
    /// Processor time of a handshake in microseconds: of both ends, and of the server alone.
    both: f64,
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
    println!("{:<28}{:>14}{:>26}{:>14}", "", "per second", "µs of processor time each", "server alone");
    let of = |rates: &[Rate], part: fn(&Rate) -> f64| median(rates.iter().map(part).collect());
    for (server, rates) in servers.iter().zip(&rates) {
        print!("{:<28}{:>14.0}", server.name(), of(rates, |rate| rate.per_second));
        println!("{:>26.1}{:>14.1}", of(rates, |rate| rate.both), of(rates, |rate| rate.server));
    }
    // Above 1 means that ours is better.
    let ratios = |ratio: fn(&Rate, &Rate) -> f64| {
        let mut ratios: Vec<f64> =
            rates[0].iter().zip(&rates[1]).map(|(theirs, ours)| ratio(theirs, ours)).collect();
        ratios.sort_by(f64::total_cmp);
        format!("{:.2} ({:.2} {:.2})", median(ratios.clone()), ratios[0], ratios[ratios.len() - 1])
    };
    print!("{:<22}{:>20}", "ratio of pairs", ratios(|theirs, ours| ours.per_second / theirs.per_second));
    print!("{:>26}", ratios(|theirs, ours| theirs.both / ours.both));
    println!("{:>20}", ratios(|theirs, ours| theirs.server / ours.server));
}

fn throughput(server: &Server, scale: &Scale) -> Rate {
    let stop = AtomicBool::new(false);
    let run = |seed| {
        let (mut client, mut random) = (Client::of(server), fastrand::Rng::with_seed(seed));
        let (mut count, mut spent) = (0_u64, Duration::ZERO);
        let (start, own) = (Instant::now(), processor_time());
        while !stop.load(Ordering::Relaxed) {
            let visit = client.resume(&server.context, random.u64(..scale.live));
            assert!(visit.resumed, "all of them are live");
            spent += visit.server;
            count += 1;
        }
        (count, start.elapsed(), processor_time() - own, spent)
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS as u64).map(|seed| scope.spawn(move || run(seed))).collect();
        thread::sleep(scale.round);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let count: u64 = results.iter().map(|(count, ..)| count).sum();
    let each = |total: Duration| total.as_secs_f64() * 1e6 / count as f64;
    Rate {
        per_second: results.iter().map(|(count, wall, ..)| *count as f64 / wall.as_secs_f64()).sum(),
        both: each(results.iter().map(|(_, _, own, _)| *own).sum()),
        server: each(results.iter().map(|(.., spent)| *spent).sum()),
    }
}

/// What the handshakes of one thread have shown in a window.
#[derive(Clone, Copy, Default)]
struct Longest {
    /// The longest one in milliseconds: on the wall's clock, and of this thread's own processor time.
    wall: f64,
    own: f64,
    /// In how many of them the thread went to sleep. Nothing in a handshake over memory waits but for a lock.
    waited: f64,
}

/// What expires in a window.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    kind: Kind,
    expiry: bool,
    /// Whether the engine has a thread of its own for upkeep.
    driver: bool,
}

const CASES: [Case; 5] = [
    Case { name: "OpenSSL's cache, no expiry", kind: Kind::Openssl, expiry: false, driver: false },
    Case { name: "our cache, no expiry", kind: Kind::Ours, expiry: false, driver: false },
    Case { name: "OpenSSL's cache", kind: Kind::Openssl, expiry: true, driver: false },
    Case { name: "our cache", kind: Kind::Ours, expiry: true, driver: false },
    Case { name: "our cache, with a driver", kind: Kind::Ours, expiry: true, driver: true },
];

fn stalls(scale: &Scale) {
    println!(
        "\nlongest handshake in {:.1} s, in ms, medians of {} windows; {} of {} sessions expire at once, or none",
        scale.window.as_secs_f64(),
        scale.windows,
        scale.expiring,
        scale.live + scale.expiring,
    );
    println!("{:<28}{:>26}{:>26}", "", "full handshakes", "resumed handshakes");
    print!("{:<28}", "");
    for _ in 0..THREADS {
        print!("{:>10}{:>8}{:>8}", "wall", "own", "waited");
    }
    println!("{:>8}", "left");
    let mut found = CASES.map(|case| (case, Vec::new()));
    for _ in 0..scale.windows {
        for (case, windows) in &mut found {
            windows.push(window(*case, scale));
        }
    }
    for (case, windows) in found {
        print!("{:<28}", case.name);
        for thread in 0..THREADS {
            let of = |part: fn(&Longest) -> f64| {
                median(windows.iter().map(|(longest, _)| part(&longest[thread])).collect())
            };
            print!("{:>10.1}{:>8.1}{:>8.0}", of(|of| of.wall), of(|of| of.own), of(|of| of.waited));
        }
        println!("{:>8.0}", median(windows.iter().map(|(_, left)| *left as f64).collect()));
    }
}

/// One window of traffic, with or without an expiry in it; and how many of those sessions are still in memory after it.
fn window(case: Case, scale: &Scale) -> ([Longest; THREADS], u64) {
    let server = Server::new(case.kind);
    let made = now();
    let life = if case.expiry { scale.expiry } else { SAMPLE_LIFE };
    // In this order: OpenSSL files a session that expires before others by a walk over its list.
    server.fill(1 << 32..(1 << 32) + scale.expiring, made, life);
    server.fill(0..scale.live, made, SAMPLE_LIFE);
    let _driver = case.driver.then(|| server.start_driver());
    let begin = Duration::from_secs(made + scale.expiry) - scale.lead;
    thread::sleep(begin.saturating_sub(since_epoch()));
    let before = server.sessions();
    let (longest, stored) = watch(&server, scale);
    let kept = before + stored - scale.expiring;
    (longest, server.sessions().checked_sub(kept).expect("no other session is lost"))
}

/// What each thread has seen, and how many sessions were stored.
fn watch(server: &Server, scale: &Scale) -> ([Longest; THREADS], u64) {
    let (barrier, start) = (Barrier::new(THREADS), Instant::now());
    let run = |resumes: bool| {
        let (mut client, mut random) = (Client::of(server), fastrand::Rng::with_seed(7));
        let (mut longest, mut stored) = (Longest::default(), 0);
        barrier.wait();
        while start.elapsed() < scale.window {
            let number = random.u64(..scale.live);
            let (wall, own, sleeps) = (Instant::now(), processor_time(), sleeps());
            let visit = visit(&mut client, &server.context, resumes, number);
            longest.wall = longest.wall.max(wall.elapsed().as_secs_f64() * 1e3);
            longest.own = longest.own.max((processor_time() - own).as_secs_f64() * 1e3);
            longest.waited += f64::from(u8::from(self::sleeps() > sleeps));
            assert_eq!(visit.resumed, resumes);
            stored += u64::from(!resumes);
        }
        (longest, stored)
    };
    thread::scope(|scope| {
        let threads = [false, true].map(|resumes| scope.spawn(move || run(resumes)));
        let [(full, stored), (resumed, _)] = threads.map(|thread| thread.join().expect("no thread panics"));
        ([full, resumed], stored)
    })
}

fn visit(client: &mut Client, server: &SslContextRef, resumes: bool, number: u64) -> peers::Visit {
    if resumes { client.resume(server, number) } else { client.start(server) }
}

/// How often this thread has gone to sleep of its own accord.
fn sleeps() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the argument points to one such value, for which zero is valid in all fields.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_nvcsw
    }
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
