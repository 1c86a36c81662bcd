//! Who goes first when the cache is full: the windowed hand.
#![forbid(unsafe_code)]

mod hand;

pub(crate) use hand::{Hands, Rank};
