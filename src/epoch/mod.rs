//! Pin, guard, retire: the only module that names crossbeam-epoch.
//!
//! One collector serves this crate: not the process-wide default, whose guards other crates may hold for long while our
//! secrets wait, and not one per context, since a guard of one would then have to be checked against another.

mod arc_slot;
#[cfg(not(resumption_loom))]
mod freeing;
mod guard;
#[cfg(not(resumption_loom))]
mod home;
#[cfg(resumption_loom)]
mod model;
#[cfg(resumption_loom)]
mod model_standing;
mod participant;
#[cfg(not(resumption_loom))]
mod pin;
mod stack;
mod standing;

pub(crate) use arc_slot::ArcSlot;
pub use guard::Guard;
#[cfg(resumption_loom)]
pub use model::{ModelParticipant, ModelPlace, abandon_model, end_of_model, with_collector};
#[cfg(resumption_loom)]
pub use model_standing::ModelStanding;
pub(crate) use participant::{free_up_to, pin_to_drop, prepare};
pub use participant::{idle, pin};
#[cfg(resumption_loom)]
pub use stack::ModelStack;
