//! Handshakes through rustls with the engine's adapter and with rustls' own store: `cargo bench --bench handshakes`
//!
//! Client and server run on the same thread and talk through memory, so a figure is the work of both. All sessions are
//! live and, in TLS 1.3, each is as likely to be resumed as any other; a resumption uses one ticket up and issues one.
//! `--quick` takes fewer rounds, `--smoke` one round and small stores.

mod tls;

use resumption::SessionContext;
use resumption_comparison::{
    Extent, Spread, Turn, alone_time, figure, fitting, rounds, thousands, time_together,
};
use resumption_rustls::{ServerPolicy, ServerSessions};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ServerConfig, SupportedProtocolVersion};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::{Identity, Pocket, handshake};

type Store = Arc<dyn StoresServerSessions>;
type Version = &'static SupportedProtocolVersion;

/// How long a side runs in a round: a handshake takes about a tenth of a millisecond.
const TURN: Duration = Duration::from_millis(10);

/// Real sessions in a TLS 1.2 store; the others are copies under other ids.
const TLS12_CLIENTS: usize = 64;

/// Tickets that a client gets at once while a store is filled.
const TICKETS: usize = 100;

/// What is measured.
#[derive(Clone, Copy)]
struct Case {
    version: Version,
    resumed: bool,
    sessions: usize,
    threads: usize,
}

impl Case {
    fn name(self) -> String {
        let version = if self.version.version == TLS13.version { "TLS 1.3" } else { "TLS 1.2" };
        format!("{version} {}", if self.resumed { "resumed" } else { "full" })
    }
}

/// The adapter over an engine of this capacity.
fn our_store(identity: &Identity, capacity: usize) -> Store {
    let context = SessionContext::builder().capacity(capacity).build().expect("memory");
    let policy = ServerPolicy::builder().certificate_chain(&identity.chain()).build().expect("a policy");
    Arc::new(ServerSessions::new(Arc::new(context), &policy))
}

/// Remembers the last session that was stored.
#[derive(Debug, Default)]
struct Spy(Mutex<Vec<u8>>);

impl StoresServerSessions for Spy {
    fn put(&self, _: Vec<u8>, value: Vec<u8>) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// One thread's client.
struct Client {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    resumed: bool,
}

impl Client {
    fn shake_hands(&self) {
        let kind = handshake(&self.client, &self.server);
        assert_eq!(kind == HandshakeKind::Resumed, self.resumed, "{kind:?}");
    }
}

/// Fills a store with sessions under random ids, as encoded by rustls.
fn fill_with_copies(identity: &Identity, version: Version, store: &Store, count: usize) {
    let spy = Arc::new(Spy::default());
    handshake(&identity.client(version, None), &identity.server(Arc::clone(&spy) as Store, 1));
    let value = spy.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut rng = fastrand::Rng::with_seed(47);
    for _ in 0..count {
        let mut key = vec![0; 32];
        rng.fill(&mut key);
        assert!(store.put(key, value.clone()), "it fits");
    }
}

/// Clients for a store, which is full of live sessions afterwards.
fn clients(identity: &Identity, case: Case, store: &Store) -> Vec<Client> {
    let Case { version, resumed, sessions, threads } = case;
    let tls13 = version.version == TLS13.version;
    let server = identity.server(Arc::clone(store), 1);
    let real = if !resumed {
        0
    } else if tls13 {
        sessions
    } else {
        TLS12_CLIENTS
    };
    fill_with_copies(identity, version, store, sessions - real);
    let make = |_| {
        let pocket = Pocket::new();
        let client = identity.client(version, resumed.then(|| Arc::clone(&pocket)));
        while pocket.len() < real / threads {
            let tickets = TICKETS.min(real / threads - pocket.len());
            handshake(&client, &identity.server(Arc::clone(store), tickets));
        }
        pocket.offer();
        Client { client, server: Arc::clone(&server), resumed }
    };
    (0..threads).map(make).collect()
}

/// Nanoseconds for each handshake of all threads: processor time of one thread, wall time of several.
fn timed(clients: &mut [Client], handshakes: usize) -> f64 {
    let time = if let [client] = &*clients {
        alone_time(|| (0..handshakes).for_each(|_| client.shake_hands()))
    } else {
        time_together(clients, |client, gate| {
            let started = gate.pass();
            (0..handshakes).for_each(|_| client.shake_hands());
            started
        })
    };
    time.as_nanos() as f64 / (handshakes * clients.len()) as f64
}

fn side<'a>(identity: &Identity, case: Case, store: Store, extent: Extent) -> Turn<'a> {
    let mut clients = clients(identity, case, &store);
    let turn = if extent == Extent::Smoke { extent.turn() } else { TURN };
    let handshakes = fitting(turn, |handshakes| timed(&mut clients, handshakes));
    Box::new(move || timed(&mut clients, handshakes))
}

/// Prints a line and returns the ratio.
fn measure(identity: &Identity, case: Case, extent: Extent) -> Spread {
    let mut ours = side(identity, case, our_store(identity, case.sessions), extent);
    let own = ServerSessionMemoryCache::new(case.sessions);
    let mut theirs = side(identity, case, own, extent);
    let costs = rounds(extent.rounds(), &mut [&mut *ours, &mut *theirs]);
    let ratio = Spread::of_ratios(&costs[0], &costs[1]);
    let a_second = |costs: &[f64]| thousands((1e9 / Spread::of(costs.to_vec()).median) as usize);
    println!(
        "| {} | {} | {} | {} | {} | {ratio} |",
        case.name(),
        thousands(case.sessions),
        case.threads,
        a_second(&costs[0]),
        a_second(&costs[1])
    );
    ratio
}

fn main() {
    let extent = Extent::from_arguments();
    let sizes: &[usize] = if extent == Extent::Smoke { &[256] } else { &[256, 20_480, 200_000] };
    let identity = Identity::new();
    let mut target = None;
    println!("| handshake | live sessions | threads | ours, a second | rustls' store, a second | ratio |");
    println!("|---|---|---|---|---|---|");
    for version in [&TLS12, &TLS13] {
        for resumed in [false, true] {
            for &sessions in sizes {
                for threads in [1, 2] {
                    let case = Case { version, resumed, sessions, threads };
                    let ratio = measure(&identity, case, extent);
                    if (version.version, resumed, sessions, threads) == (TLS13.version, true, 20_480, 2) {
                        target = Some(ratio);
                    }
                }
            }
        }
    }
    if let Some(ratio) = target {
        let met = if ratio.median >= 1.2 { "met" } else { "missed" };
        println!(
            "\ntarget: resumed TLS 1.3, 20,480 live sessions, 2 threads: {ratio}, at least {}: {met}",
            figure(1.2)
        );
    }
}
