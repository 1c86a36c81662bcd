//! The proxy for an origin of the user's.

use crate::Fault;
use crate::args::{Listen, Options};
use crate::identity::Identity;
use crate::proxy::Proxy;
use crate::{report, say, signals, tls};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, lookup_host};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// How often it tells how it is doing.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Serves until SIGINT or SIGTERM; a second one ends the draining that the first one began.
pub(crate) async fn run(options: &Options, task: &Listen) -> Result<ExitCode, Fault> {
    let cache = tls::cache(options)?;
    let identity = match &task.identity {
        Some((chain, key)) => Identity::from_files(chain, key)?,
        None => Identity::local()?,
    };
    let config = tls::server(identity, &cache)?;
    resolve(&task.upstream).await?;
    let listener = TcpListener::bind(&task.address)
        .await
        .map_err(|error| Fault(format!("cannot listen on {}: {error}", task.address)))?;
    let address = listener.local_addr().map_err(|error| Fault(format!("cannot listen: {error}")))?;
    let phase = signals::phases().map_err(|error| Fault(format!("cannot wait for signals: {error}")))?;

    let proxy = Arc::new(Proxy::new(config, task.upstream.clone(), cache, options.limits));
    say(&format_args!("listening on {address}, forwarding to {}; Ctrl-C ends it", task.upstream));
    let reports = tokio::spawn(report_regularly(Arc::clone(&proxy)));
    let drained = Arc::clone(&proxy).run(listener, phase).await;
    reports.abort();
    say(&report::line(&proxy));
    say(&format_args!(
        "stopped: {} connections were open, {} had to be cut off",
        drained.open, drained.cut_off
    ));
    Ok(ExitCode::SUCCESS)
}

/// Says now what would otherwise be said at the first connection.
async fn resolve(upstream: &str) -> Result<(), Fault> {
    let fault = |why: &dyn std::fmt::Display| Fault(format!("cannot forward to {upstream}: {why}"));
    let mut addresses = lookup_host(upstream).await.map_err(|error| fault(&error))?;
    addresses.next().map(drop).ok_or_else(|| fault(&"the name has no address"))
}

/// Gives back what has expired, which traffic alone would do in its own time, and says how things are.
async fn report_regularly(proxy: Arc<Proxy>) {
    let mut ticks = interval_at(Instant::now() + REPORT_EVERY, REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let cache = Arc::clone(proxy.cache());
        let flush = move || {
            cache.flush_sessions(cache.now());
            resumption::idle();
        };
        // The walk through a large cache takes a while, which no connection should have to wait for.
        _ = tokio::task::spawn_blocking(flush).await;
        say(&report::line(&proxy));
    }
}
