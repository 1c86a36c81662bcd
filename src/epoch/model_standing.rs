//! A model of a pin that stands between guards.

use super::model::{ModelParticipant, ModelPlace};
use super::standing::{self, StandingPin, take_down};
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
            return self.pass_and_read(own);
        }
        let read = self.read_now();
        self.pins.end();
        read
    }

    /// The same, and the collector passes first.
    pub fn pass_and_read(&self, own: &ModelParticipant) -> Option<bool> {
        let begun = self.pins.begin();
        let holds = standing::holds(begun, &self.pins, &self.standing);
        let read = if holds { self.read_now() } else { self.place.read(own) };
        self.pins.end();
        read
    }

    /// The same under a guard that relies on a pin of its own if the standing one is claimed; the collector passes both.
    pub fn pass_both_and_read(&self, own: &ModelParticipant) -> Option<bool> {
        let begun = self.pins.begin();
        let holds = standing::holds(begun, &self.pins, &self.standing);
        let mut own = (!holds).then(|| own.collector_guard());
        if let Some(own) = &mut own {
            // SAFETY: the guard is the only one, and nothing is borrowed under it yet.
            unsafe { standing::pass_own(own, &self.pins, &self.standing, true) };
        }
        let read = if holds { self.read_now() } else { self.place.read_under(None) };
        self.pins.end();
        read
    }

    /// The owner begins a guard; whether it may rely on the standing pin.
    pub fn begin(&self) -> bool {
        self.pins.begin();
        self.pins.stands()
    }

    /// The owner lets the collector pass, under a guard that relies on the standing pin.
    pub fn pass_now(&self) {
        // SAFETY: the guard is the only one, and nothing is borrowed under it yet.
        unsafe { self.standing.pass(&self.pins) };
    }

    /// The owner borrows what is there under a guard that relies on the standing pin.
    pub fn read_now(&self) -> Option<bool> {
        self.standing.note_reading();
        self.place.read_under(None)
    }

    /// The owner ends a guard.
    pub fn end(&self) {
        self.pins.end();
    }

    /// The owner lets the collector pass.
    pub fn pass(&self) {
        let begun = self.pins.begin();
        standing::holds(begun, &self.pins, &self.standing);
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

    /// Takes the session, and nothing else. Whether it was there.
    pub fn take_only(&self, participant: &ModelParticipant) -> bool {
        self.place.take(participant)
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
