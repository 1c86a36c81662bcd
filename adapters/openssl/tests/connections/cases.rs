//! Cases of OpenSSL's own tests (`test/sslapitest.c`), as far as they are about sessions and connections: fixed programs
//! on both sides in lockstep, and the numbers that those tests expect.

use crate::lockstep::{Lockstep, Shown};
use crate::observe::{Deed, End, Handshake, Name, Reading, Told};
use crate::program::{Side, Step, TIMEOUT, Version};
use crate::real::Real;
use crate::rules::Rules;

const CLIENT: usize = Side::Client as usize;
const SERVER: usize = Side::Server as usize;

/// A case under way.
struct Case<'a> {
    both: Lockstep<'a>,
    version: Version,
}

/// How often the new and remove callbacks were called.
fn calls(shown: &[Shown], side: usize) -> (usize, usize) {
    let told = || shown.iter().flat_map(|shown| &shown.told[side]);
    let new = told().filter(|told| matches!(told, Told::New(_))).count();
    (new, told().count() - new)
}

impl Case<'_> {
    fn make(&mut self, step: Step) -> Shown {
        let shown = self.both.step(step, &mut Rules::all());
        shown.unwrap_or_else(|(complaint, trace)| panic!("{complaint}\n{trace}"))
    }

    /// A handshake, and the client reads what comes with it.
    fn pair(&mut self, slot: usize, offer: Option<Name>) -> Vec<Shown> {
        let offer = offer.map(|name| self.nth(Side::Client, name));
        let connect = Step::Connect { slot, version: self.version, offer };
        vec![self.make(connect), self.make(Step::Read(slot, Side::Client))]
    }

    /// A close on both sides, and the end.
    fn close(&mut self, slot: usize) -> Vec<Shown> {
        let sides = [Side::Client, Side::Server];
        let shut = sides.map(|side| Step::Shutdown(slot, side));
        let read = sides.map(|side| Step::Read(slot, side));
        let free = sides.map(|side| Step::Free(slot, side));
        [shut, read, free].concat().into_iter().map(|step| self.make(step)).collect()
    }

    /// The position of a session among those of its side, which is how steps name it.
    fn nth(&self, side: Side, name: Name) -> usize {
        self.both.position(side, name)
    }

    /// How many sessions a full handshake brings.
    fn tickets(&self) -> usize {
        if self.version == Version::Tls13 { 2 } else { 1 }
    }

    /// How many a resumption brings.
    fn renewed(&self) -> usize {
        usize::from(self.version == Version::Tls13)
    }
}

fn in_both_versions(case: impl Fn(&mut Case<'_>)) {
    let real = Real::new();
    for version in [Version::Tls12, Version::Tls13] {
        case(&mut Case { both: Lockstep::new(&real), version });
    }
}

fn handshake(shown: &[Shown]) -> &Handshake {
    match &shown[0].deed {
        Deed::Handshake(handshake) => handshake,
        other => panic!("no handshake: {other:?}"),
    }
}

fn end(shown: &[Shown], slot: usize, side: usize) -> End {
    let last = shown.last().expect("a step was made");
    last.state.connections[slot][side].expect("a connection")
}

fn current(shown: &[Shown], slot: usize, side: usize) -> Name {
    end(shown, slot, side).session.expect("a session with an id")
}

fn returned(shown: &Shown) -> i64 {
    match shown.deed {
        Deed::Returned(value) => value,
        ref other => panic!("nothing was returned: {other:?}"),
    }
}

/// `execute_test_session`, the client's half: internal and external cache together, and the external one alone.
#[test]
fn the_clients_cache_through_the_life_of_its_sessions() {
    in_both_versions(|case| through_the_life_of_sessions(case, true));
    in_both_versions(|case| {
        case.make(Step::SetMode(Side::Client, Some(0x200)));
        through_the_life_of_sessions(case, false);
    });
}

fn through_the_life_of_sessions(case: &mut Case<'_>, stores: bool) {
    // 1. A full handshake: the session is cached.
    let shown = case.pair(0, None);
    assert_eq!(calls(&shown, CLIENT), (case.tickets(), 0));
    let first = current(&shown, 0, CLIENT);
    if stores {
        let nth = case.nth(Side::Client, first);
        assert_eq!(returned(&case.make(Step::Add(Side::Client, nth))), 0, "it is cached already");
    }

    // 2. It is resumed; in TLS 1.3 that uses it up and brings another one.
    let shown = case.pair(1, Some(first));
    assert!(handshake(&shown).reused);
    assert_eq!(calls(&shown, CLIENT), (case.renewed(), case.renewed()));

    // 3. That connection is closed cleanly.
    let second = current(&shown, 1, CLIENT);
    assert_eq!(calls(&case.close(1), CLIENT), (0, 0));

    // 4. A third one, in full.
    let shown = case.pair(2, None);
    assert_eq!(calls(&shown, CLIENT), (case.tickets(), 0));
    let third = current(&shown, 2, CLIENT);

    // 5. Another session is set while it is open: its own one leaves.
    let nth = case.nth(Side::Client, second);
    let shown = [case.make(Step::SetSession(2, Some(nth)))];
    assert_eq!(calls(&shown, CLIENT), (0, 1));
    assert_eq!(current(&shown, 2, CLIENT), second);
    let nth = case.nth(Side::Client, third);
    assert_eq!(returned(&case.make(Step::Add(Side::Client, nth))), 1, "it had left");
    assert_eq!(returned(&case.make(Step::Remove(Side::Client, nth))), 1);

    // 6. Removed once more: not cached, and the callback is called all the same.
    let shown = case.make(Step::Remove(Side::Client, nth));
    assert_eq!(returned(&shown), 0);
    assert_eq!(calls(&[shown], CLIENT), (0, 1));

    // 7. A handshake that fails for want of a common version costs the session that it offers.
    let (slot, version) = (1, case.version);
    let nth = case.nth(Side::Client, second);
    let shown = [case.make(Step::Mismatch { slot, version, offer: Some(nth) })];
    assert!(handshake(&shown).offered && !handshake(&shown).finished);
    assert_eq!(calls(&shown, CLIENT), (0, 1));
    assert_eq!(returned(&case.make(Step::Add(Side::Client, nth))), 1, "it had left");
}

/// `execute_test_session`, the server's half.
#[test]
fn the_servers_cache_stores_and_resumes() {
    in_both_versions(|case| {
        // 8. and 9. Stored and announced.
        let shown = case.pair(0, None);
        assert_eq!(calls(&shown, SERVER), (case.tickets(), 0));
        let (client, server) = (current(&shown, 0, CLIENT), current(&shown, 0, SERVER));
        let nth = case.nth(Side::Server, server);
        assert_eq!(returned(&case.make(Step::Add(Side::Server, nth))), 0, "it is cached already");
        // 10. Resumed. (That a TLS 1.3 session is used up here, where OpenSSL keeps it, is a rule of these programs.)
        let shown = case.pair(1, Some(client));
        assert!(handshake(&shown).reused);
        assert_eq!(calls(&shown, SERVER), (case.renewed(), 0));
    });
}

/// `test_stateful_tickets`: so many tickets, each resumes once and brings one.
#[test]
fn every_ticket_resumes_and_brings_one() {
    let real = Real::new();
    for tickets in 0..=2 {
        let mut case = Case { both: Lockstep::new(&real), version: Version::Tls13 };
        case.make(Step::Tickets(tickets));
        let shown = case.pair(0, None);
        assert_eq!(calls(&shown, CLIENT), (tickets, 0));
        case.close(0);
        // A server that knows none of them resumes none, and sends as many new ones.
        case.make(Step::Flush(Side::Server, true));
        for old in 0..tickets {
            let name = case.both.name(Side::Client, old);
            let shown = case.pair(1, Some(name));
            assert!(handshake(&shown).offered && !handshake(&shown).reused);
            assert_eq!(calls(&shown, CLIENT), (tickets, 0));
            case.close(1);
        }
        let known = case.both.count(Side::Client);
        for fresh in known.saturating_sub(tickets)..known {
            let name = case.both.name(Side::Client, fresh);
            let shown = case.pair(1, Some(name));
            assert!(handshake(&shown).reused);
            assert_eq!(calls(&shown, CLIENT), (1, 1), "one ticket received, and one used up");
            case.close(1);
        }
    }
}

/// `test_ssl_clear`: a connection that was closed is used again, and the client resumes.
#[test]
fn a_cleared_connection_offers_its_session_again() {
    in_both_versions(|case| {
        case.pair(0, None);
        for side in [Side::Client, Side::Server] {
            case.make(Step::Shutdown(0, side));
        }
        let shown = [case.make(Step::Again(0))];
        assert!(handshake(&shown).reused);
    });
}

/// `test_shutdown`: who can be resumed after which end.
#[test]
fn a_session_is_as_good_as_its_end() {
    in_both_versions(|case| {
        // Both sides close: 0, then 1.
        case.pair(0, None);
        assert_eq!(returned(&case.make(Step::Shutdown(0, Side::Client))), 0);
        assert!(matches!(case.make(Step::Read(0, Side::Server)).deed, Deed::Read(Reading::CloseNotify, _)));
        assert_eq!(returned(&case.make(Step::Shutdown(0, Side::Server))), 1);
        let shown = [case.make(Step::Read(0, Side::Client))];
        let kept = current(&shown, 0, CLIENT);
        assert!(shown[0].state.resumable[kept]);
        // Only the peer closes, and the connection is freed.
        let shown = case.pair(1, None);
        let lost = current(&shown, 1, CLIENT);
        case.make(Step::Shutdown(1, Side::Server));
        case.make(Step::Read(1, Side::Client));
        let shown = case.make(Step::Free(1, Side::Client));
        assert!(shown.state.resumable[kept] && !shown.state.resumable[lost]);
    });
}

/// `test_shutdown`, variant 3: a TLS 1.3 client that has read no ticket has nothing to resume.
#[test]
fn a_client_without_a_ticket_has_nothing() {
    let real = Real::new();
    let mut case = Case { both: Lockstep::new(&real), version: Version::Tls13 };
    let shown = [case.make(Step::Connect { slot: 0, version: Version::Tls13, offer: None })];
    assert_eq!(end(&shown, 0, CLIENT).session, None);
    // The tickets come before the close_notify, and are read with it.
    case.make(Step::Shutdown(0, Side::Server));
    let shown = [case.make(Step::Read(0, Side::Client))];
    let session = current(&shown, 0, CLIENT);
    assert!(shown[0].state.resumable[session]);
}

/// `test_incorrect_shutdown`: an end of the transport without a close_notify is an error, and takes the session along.
#[test]
fn a_truncation_costs_the_session() {
    in_both_versions(|case| {
        let shown = case.pair(0, None);
        let session = current(&shown, 0, CLIENT);
        let shown = case.make(Step::Eof(0, Side::Client));
        assert!(matches!(shown.deed, Deed::Read(Reading::Eof, _)));
        assert!(!shown.state.resumable[session]);
        assert_eq!(calls(&[shown], CLIENT), (0, 1));
    });
}

/// None of OpenSSL's: what a change of the timeout means for the tickets of a connection that has a session already.
#[test]
fn tickets_live_as_long_as_the_session_that_they_come_from() {
    let real = Real::new();
    for side in [Side::Client, Side::Server] {
        let mut case = Case { both: Lockstep::new(&real), version: Version::Tls13 };
        let shown = case.pair(0, None);
        let first = current(&shown, 0, CLIENT);
        case.make(Step::SetTimeout(side, TIMEOUT / 2));
        let shown = case.pair(1, Some(first));
        assert!(handshake(&shown).reused);
        let renewed = current(&shown, 1, side as usize);
        case.make(Step::Pass((TIMEOUT / 2 + 1) as u32));
        let shown = case.make(Step::Flush(side, false));
        assert!(shown.state.cached[side as usize].contains(&renewed));
    }
}

/// `test/ssl-tests/10-resumption.cnf`: a session is resumed with the version that it was made with, and no other.
#[test]
fn a_session_of_another_version_is_not_resumed() {
    in_both_versions(|case| {
        let shown = case.pair(0, None);
        let first = current(&shown, 0, CLIENT);
        case.version = case.version.other();
        let shown = case.pair(1, Some(first));
        assert!(!handshake(&shown).reused && handshake(&shown).finished);
        let last = shown.last().expect("a step was made");
        assert!(last.state.resumable[first], "it is as good as before");
        case.version = case.version.other();
        assert!(handshake(&case.pair(2, Some(first))).reused);
    });
}
