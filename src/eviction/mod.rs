//! Who goes first when the cache is full: the windowed hand.
#![forbid(unsafe_code)]

mod hand;
mod window;

pub(crate) use hand::{Hands, Rank};
pub(crate) use window::Window;
