//! Ctrl-C and SIGTERM: the first one drains, the second one stops.

use crate::proxy::Phase;
use crate::say;
use std::io;
use tokio::sync::watch;

/// What the signals that arrive from now on tell the proxy.
pub(crate) fn phases() -> io::Result<watch::Receiver<Phase>> {
    let mut signals = Signals::new()?;
    let (sender, receiver) = watch::channel(Phase::Serving);
    tokio::spawn(async move {
        for (phase, notice) in
            [(Phase::Draining, "draining; Ctrl-C once more cuts off"), (Phase::Stopping, "stopping")]
        {
            signals.next().await;
            say(&notice);
            sender.send_replace(phase);
        }
    });
    Ok(receiver)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // When there can be no Ctrl-C, the process ends as processes do.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
