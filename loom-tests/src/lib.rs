//! The models, how they are run, and what breaks them.
//!
//! A model is a function that loom runs once for every interleaving of its threads within a bound: `LOOM_MAX_PREEMPTIONS`
//! (2 unless set) limits how often a schedule may switch away from a thread that could go on. Every model is a test; its
//! twins run it with a rule of the engine broken and pass when some interleaving fails. `tests/orderings.rs` does the
//! same for every memory ordering in docs/orderings.md.
//!
//! Silent unless something fails; then the failing interleaving is narrated, one access a line.

/// Defines models, a list of them, and a test for each.
macro_rules! models {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {
        $(
            $(#[$meta])*
            pub fn $name() $body
        )*

        /// The models of this file.
        pub const MODELS: &[$crate::run::Model] =
            &[$($crate::run::Model { name: stringify!($name), run: $name, collects: COLLECTS }),*];

        #[cfg(test)]
        mod explored {
            $(
                #[test]
                fn $name() {
                    $crate::run::explore($crate::models::named(stringify!($name)));
                }
            )*
        }
    };
}

/// Defines tests that pass when a model fails with a rule broken.
macro_rules! twins {
    ($($name:ident: $rule:ident breaks $model:ident;)*) => {
        #[cfg(test)]
        mod twins {
            $(
                #[test]
                fn $name() {
                    let broken = resumption::model::Rule::$rule;
                    $crate::run::must_fail(stringify!($name), broken, $crate::models::named(stringify!($model)));
                }
            )*
        }
    };
}

pub mod models;
pub mod orderings;
pub mod run;
