//! A model of a pin that stands between guards.

use super::model::{ModelParticipant, ModelPlace};
use super::standing::{StandingPin, take_down};
use crate::ledger::Pins;
use std::iter;

/// A place with a session in it, and one thread, the owner, whose pin stands.
pub struct ModelStanding {
    place: ModelPlace,
    pins: Pins,
    standing: StandingPin,
}

impl ModelStanding {
    /// With session 0 there.
    pub fn new() -> Self {
        let model = Self { place: ModelPlace::new(1), pins: Pins::new(), standing: StandingPin::new() };
        model.place.put(0, &model.participant());
        model.erect_again();
        model
    }

    /// Registers the current thread.
    pub fn participant(&self) -> ModelParticipant {
        self.place.participant()
    }

    /// The owner borrows what is there, under its standing pin if it can, or else under one of its own; as
    /// [`ModelPlace::read`].
    pub fn read(&self, own: &ModelParticipant) -> Option<bool> {
        if !self.pins.enter() {
            return self.place.read(own);
        }
        let read = self.place.read_under(None);
        self.pins.end();
        read
    }

    /// The owner lets the collector pass, and then borrows what is there.
    pub fn pass_and_read(&self, own: &ModelParticipant) -> Option<bool> {
        let begun = self.pins.begin();
        if begun.first && self.pins.stands() {
            // SAFETY: the guard is the only one, and nothing is borrowed under it yet.
            unsafe { self.standing.pass() };
            self.pins.count_passed();
            let read = self.place.read_under(None);
            self.pins.end();
            return read;
        }
        self.pins.end();
        self.place.read(own)
    }

    /// The owner lets the collector pass.
    pub fn pass(&self) {
        let begun = self.pins.begin();
        if begun.first && self.pins.stands() {
            // SAFETY: the guard is the only one, and nothing is borrowed under it yet.
            unsafe { self.standing.pass() };
            self.pins.count_passed();
        }
        self.pins.end();
    }

    /// The owner begins a guard under its standing pin, if it can, and ends it.
    pub fn enter(&self) {
        if self.pins.enter() {
            self.pins.end();
        }
    }

    /// The owner has its pin stand again, if it does not.
    pub fn erect_again(&self) {
        self.pins.begin();
        if !self.pins.stands() && self.pins.has_fallen() {
            // SAFETY: only the owner calls this, and the pin has fallen.
            unsafe { self.standing.erect(self.place.collector()) };
            self.pins.erect();
        }
        self.pins.end();
    }

    /// Takes the session, and collects. Whether it was there.
    pub fn take(&self, participant: &ModelParticipant) -> bool {
        let taken = self.place.take(participant);
        self.take_down();
        participant.collect();
        taken
    }

    /// Takes the standing pin down, if its owner has no guard.
    pub fn take_down(&self) {
        take_down(iter::once((&self.pins, &self.standing)));
    }

    /// Whether nobody owns the session any more, once the pin is down and everything has been collected.
    pub fn is_all_freed(&self) -> bool {
        // The first may only note that the owner has let the collector pass.
        self.take_down();
        self.take_down();
        self.place.is_all_freed()
    }
}
