//! What the fuzz targets do with their input; see `ci/fuzz` for running them.

#![forbid(unsafe_code)]

pub mod context;
