//! Our side of handshakes and of what is read after them.

use super::{NO_NAME, Ours, Verdict, demand, own_bit};
use crate::observe::{Deed, Handshake, Identity, Reading};
use crate::program::{Side, Version};
use crate::rules::{Rule, Rules};
use resumption::{Offer, ProtocolVersion, TicketKind};
use std::time::Duration;

impl Ours {
    pub(super) fn handshake(
        &mut self,
        slot: usize,
        there: &Handshake,
        known: &[Identity],
        rules: &mut Rules,
    ) -> Verdict {
        let version = ProtocolVersion(there.version.wire());
        let mut offer = Offer::versions(version, version);
        if let Some(identity) = there.offer.map(|name| &known[name]).filter(|i| i.version == Version::Tls13) {
            offer = offer.lifetime_hint(Duration::from_secs(identity.lifetime));
        }
        self.heard.inner().offered = there.offer.map(|name| known[name].ticket.clone()).unwrap_or_default();
        let offered = self.end(slot, Side::Client).connect(&offer).is_some();
        demand(offered == there.offered, "another decision about the offer")?;
        self.end(slot, Side::Server).accept();
        if there.mismatch {
            self.end(slot, Side::Server).fatal_alert_sent();
            self.end(slot, Side::Client).fatal_alert_received();
            return demand(!there.finished, "two versions meet");
        }
        let (mut reused, mut expired) = (false, false);
        if let Some(name) = there.offer.filter(|_| offered) {
            if self.contexts[Side::Server as usize].mode().is_off() {
                self.ends = Some(Rule::ModeOffDoesNothing);
            } else if self.is_marked(&known[name].ticket) {
                self.ends = Some(Rule::MarkedIsNotResumed);
            }
            let timeouts = self.contexts[Side::Server as usize].stats().timeouts;
            match self.end(slot, Side::Server).resume(version, &known[name].ticket) {
                Ok(found) => {
                    reused = found.is_some();
                    expired = self.contexts[Side::Server as usize].stats().timeouts > timeouts;
                    if let Some(found) = found.filter(|_| there.version == Version::Tls13) {
                        self.used_up = vec![*found.payload(), name];
                    }
                }
                Err(_) => {
                    demand(!there.finished, "OpenSSL does not mind the missing session id context")?;
                    self.end(slot, Side::Server).fatal_alert_sent();
                    self.end(slot, Side::Client).fatal_alert_received();
                    self.ends = Some(Rule::FatalResumptionIsAHit);
                    return Ok(());
                }
            }
        }
        if !there.finished && self.made_with[slot].1 && expired {
            self.ends = Some(Rule::FatalResumptionIsAHit);
            return Ok(());
        }
        demand(there.finished, "OpenSSL fails")?;
        demand(reused == there.reused, "another decision about the resumption")?;
        if reused {
            demand(self.end(slot, Side::Client).offer_accepted().is_ok(), "the client refuses")?;
        } else {
            self.full_handshake(slot, there, known)?;
        }
        for side in [Side::Server, Side::Client] {
            self.end(slot, side).established(version).expect("a small session");
        }
        self.send_tickets(slot, there, known, rules)
    }

    fn full_handshake(&mut self, slot: usize, there: &Handshake, known: &[Identity]) -> Verdict {
        for side in [Side::Server, Side::Client] {
            if there.version == Version::Tls13 {
                self.end(slot, side).new_session_without_id(ProtocolVersion::TLS1_3, NO_NAME);
                continue;
            }
            match there.sessions[side as usize] {
                Some(name) => {
                    let session = self.start((slot, side), name, known);
                    self.end(slot, side).new_session(session);
                }
                None => self.end(slot, side).new_session_without_id(ProtocolVersion::TLS1_2, NO_NAME),
            }
        }
        let has_id = there.sessions[Side::Server as usize].is_some();
        let same =
            there.version == Version::Tls13 || has_id == self.end(slot, Side::Server).sends_session_id();
        demand(same, "another decision about the id")
    }

    fn send_tickets(
        &mut self,
        slot: usize,
        there: &Handshake,
        known: &[Identity],
        rules: &mut Rules,
    ) -> Verdict {
        if there.version != Version::Tls13 {
            return Ok(());
        }
        let (configured, lacks_id_context) = self.made_with[slot];
        let due = self.end(slot, Side::Server).tickets_due(configured, TicketKind::Stateful);
        let caches = self.contexts[Side::Server as usize].mode().contains(own_bit(Side::Server));
        if lacks_id_context || !caches {
            if there.tickets.len() != due {
                rules.excuse(Rule::UselessTicketsNotSent, "tickets that nobody can use")?;
            }
        } else {
            demand(due == there.tickets.len(), "another number of tickets")?;
        }
        for name in &there.tickets {
            let session = self.start((slot, Side::Server), *name, known);
            let hint = self.end(slot, Side::Server).lifetime_hint(&session);
            self.lifetimes.push((known[*name].id.clone(), hint.as_secs()));
            self.end(slot, Side::Server)
                .ticket_issued(session, TicketKind::Stateful)
                .expect("a small session");
        }
        Ok(())
    }

    pub(super) fn read(&mut self, slot: usize, side: Side, deed: &Deed, known: &[Identity]) -> Verdict {
        let Deed::Read(reading, tickets) = deed else { unreachable!("it was read") };
        for name in tickets {
            let Identity { ticket, lifetime, .. } = &known[*name];
            let issued = self.lifetimes.iter().find(|(id, _)| id == ticket);
            // Of useless tickets OpenSSL tells nobody.
            demand(issued.is_none_or(|(_, hint)| hint == lifetime), "another lifetime of a ticket")?;
            let session = self.start((slot, side), *name, known);
            self.end(slot, side).ticket_received(session).expect("a small session");
        }
        let end = self.end(slot, side);
        match reading {
            Reading::Nothing => {}
            Reading::CloseNotify => end.close_notify_received(),
            Reading::AlertReceived => end.fatal_alert_received(),
            Reading::AlertSent => end.fatal_alert_sent(),
            Reading::Eof => end.eof(),
        }
        Ok(())
    }
}
