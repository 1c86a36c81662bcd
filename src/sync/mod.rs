//! The one door to atomics and thread-locals: the standard library's, or loom's under `--cfg resumption_loom`.
//!
//! Nothing else in the crate names `std::sync::atomic` or `loom`, so every interleaving the models explore
//! is one of the code that ships.

#[cfg(resumption_loom)]
#[path = "loom.rs"]
mod imp;
#[cfg(not(resumption_loom))]
#[path = "std.rs"]
mod imp;

pub(crate) use imp::*;
