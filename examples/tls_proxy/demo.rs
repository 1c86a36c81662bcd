//! The demonstration: origin, proxy and visitors on loopback.

use crate::args::{Demo, Options};
use crate::identity::Identity;
use crate::proxy::{Phase, Proxy};
use crate::visitors::{Crowd, Experience};
use crate::{Fault, complain, origin, report, say, tls};
use indicatif::{ProgressBar, ProgressStyle};
use rustls::version::{TLS12, TLS13};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Crowds for each version. With one core for the visitors and one for the rest, more of them would measure queues.
const CROWDS: u64 = 1;

/// What the visitors of both versions experienced.
pub(crate) struct Outcome {
    pub(crate) tls12: Experience,
    pub(crate) tls13: Experience,
}

impl Outcome {
    /// Whether the demonstration has shown what it is for.
    fn is_success(&self) -> bool {
        [&self.tls12, &self.tls13].iter().all(|version| !version.resumed.is_empty() && version.failures == 0)
    }
}

/// Runs it and prints its table.
pub(crate) async fn run(options: &Options, task: &Demo) -> Result<ExitCode, Fault> {
    let identity = Identity::local()?;
    let clients = (tls::client(&identity, &TLS12)?, tls::client(&identity, &TLS13)?);
    let cache = tls::cache(options)?;
    let config = tls::server(identity, &cache)?;
    let upstream = origin::start().await?.to_string();
    let fault = |error| Fault(format!("cannot start the proxy: {error}"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    let proxy = Arc::new(Proxy::new(config, upstream.clone(), cache, options.limits));
    let (phase, phases) = watch::channel(Phase::Serving);
    let serving = tokio::spawn(Arc::clone(&proxy).run(listener, phases));
    say(&format_args!("origin on {upstream}, proxy on {address}, {} s of visitors", task.duration.as_secs()));

    let outcome = drive(clients, address, task.duration, &proxy).await?;
    phase.send_replace(Phase::Draining);
    serving.await.map_err(|error| Fault(format!("the proxy failed: {error}")))?;

    say(&report::table(&outcome, &proxy));
    for failure in
        [&outcome.tls12, &outcome.tls13].iter().filter_map(|version| version.first_failure.as_ref())
    {
        complain(&format_args!("a visit failed: {failure}"));
    }
    Ok(if outcome.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends crowds of both versions until the time is over.
async fn drive(
    (tls12, tls13): (rustls::ClientConfig, rustls::ClientConfig),
    address: SocketAddr,
    duration: Duration,
    proxy: &Arc<Proxy>,
) -> Result<Outcome, Fault> {
    let end = Instant::now() + duration;
    let visits = Arc::new(AtomicU64::new(0));
    let send = |config: &rustls::ClientConfig, stream: u64| {
        let mut crowds = JoinSet::new();
        for number in 1..=CROWDS {
            let visits = Arc::clone(&visits);
            let crowd =
                Crowd::new(config.clone(), address, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream);
            crowds.spawn(crowd.visit_until(end, move || _ = visits.fetch_add(1, Relaxed)));
        }
        crowds
    };
    let (tls12, tls13) = (send(&tls12, 12), send(&tls13, 13));
    let progress = tokio::spawn(show_progress(Arc::clone(&visits), Arc::clone(proxy), duration));
    let outcome = Outcome { tls12: gather(tls12).await?, tls13: gather(tls13).await? };
    finish(progress).await;
    Ok(outcome)
}

async fn gather(mut crowds: JoinSet<Experience>) -> Result<Experience, Fault> {
    let mut all = Experience::default();
    while let Some(experience) = crowds.join_next().await {
        all.merge(experience.map_err(|error| Fault(format!("a visitor failed: {error}")))?);
    }
    Ok(all)
}

/// A bar on a terminal, a line every second elsewhere.
async fn show_progress(visits: Arc<AtomicU64>, proxy: Arc<Proxy>, duration: Duration) {
    const STEP: Duration = Duration::from_millis(100);
    let on_terminal = std::io::stderr().is_terminal();
    let bar = if on_terminal { ProgressBar::new(duration.as_millis() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {msg}") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let mut lines = 0;
    while start.elapsed() < duration {
        tokio::time::sleep(STEP).await;
        let elapsed = start.elapsed();
        let message = format!("{} visits, {} sessions cached", visits.load(Relaxed), proxy.cache().len());
        bar.set_position(elapsed.as_millis() as u64);
        if !on_terminal && elapsed.as_secs() > lines {
            lines = elapsed.as_secs();
            say(&format_args!("{lines} s: {message}"));
        }
        bar.set_message(message);
    }
    bar.finish_and_clear();
}

/// Lets the progress line go before the table comes. Its failure would be of no consequence.
async fn finish(progress: JoinHandle<()>) {
    _ = progress.await;
}
