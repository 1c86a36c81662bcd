//! Peers, certificates, models and workloads that test the `resumption` engine.
//!
//! * [`model`]: a sequential model of a session context, the slow and obviously right twin of the engine;
//! * [`history`]: a recorder of real multi-threaded histories and a linearizability checker;
//! * [`workload`]: seeded ids, Zipf popularity and single-use traffic;
//! * `certificates` and `peers` (feature `tls`, on by default): a small certificate authority, and starters of
//!   `openssl` and `curl`.
//!
//! Nothing here names the engine, so that a mistake in the engine cannot hide in what judges it. Failures of the
//! set-up (a missing program, a full disk) are reported as errors that say what to do, not skipped.

#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
pub mod certificates;
pub mod history;
pub mod model;
#[cfg(feature = "tls")]
pub mod peers;
pub mod workload;
