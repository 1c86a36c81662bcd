//! What the fuzz targets do with their input; see `ci/fuzz` for running them.

#![forbid(unsafe_code)]

pub mod context;
pub mod schedule;
pub mod stored;
pub mod table;
pub mod wheel;
