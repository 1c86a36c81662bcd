//! The models, one file for each part of the engine.

use crate::run::Model;

pub mod capacity;
pub mod connection;
pub mod context;
pub mod filter;
pub mod growth;
pub mod ledger;
pub mod reclamation;
pub mod standing;
pub mod table;
pub mod together;
pub mod wheel;

/// All models.
pub fn all() -> impl Iterator<Item = Model> {
    [
        capacity::MODELS,
        connection::MODELS,
        context::MODELS,
        filter::MODELS,
        growth::MODELS,
        ledger::MODELS,
        reclamation::MODELS,
        standing::MODELS,
        table::MODELS,
        together::MODELS,
        wheel::MODELS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The model with this name.
///
/// # Panics
///
/// When there is none.
pub fn named(name: &str) -> Model {
    all().find(|model| model.name == name).unwrap_or_else(|| panic!("no model is called {name}"))
}
