//! The bytes that rustls hands to the adapter: ids and tickets from the network, and encoded sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use resumption::{ProtocolVersion, Secret, SessionContext, SessionId, SessionIdContext, SessionKey};
use resumption_rustls::{ServerPolicy, ServerSessions};
use rustls::server::StoresServerSessions;

/// Calls on the session storage of two servers that share a cache.
#[derive(Debug, Arbitrary)]
pub struct Program {
    capacity: u8,
    calls: Vec<Call>,
}

#[derive(Debug, Clone, Arbitrary)]
pub enum Call {
    Put {
        server: bool,
        id: Id,
        value: Value,
    },
    Get {
        server: bool,
        id: Id,
    },
    Take {
        server: bool,
        id: Id,
    },
    Purge(bool),
    /// As the values come to the engine's own types.
    Parse {
        version: u16,
        bytes: Vec<u8>,
    },
}

/// Mostly one of a few, so that calls meet each other.
#[derive(Debug, Clone, Arbitrary)]
pub enum Id {
    Known(u8),
    Any(Vec<u8>),
}

/// An encoded session, more or less.
#[derive(Debug, Clone, Arbitrary)]
pub enum Value {
    Session {
        tls13: bool,
        name: Option<Vec<u8>>,
        secret: [u8; 8],
        rest: Vec<u8>,
    },
    /// Damaged in one place.
    Damaged {
        tls13: bool,
        at: u8,
        byte: u8,
        length: u8,
    },
    Any(Vec<u8>),
}

/// Runs the program.
///
/// # Panics
///
/// When a server gets what it has not stored, or does not get what it has.
pub fn run(program: &Program) {
    let mut driver = Driver::new(usize::from(program.capacity));
    program.calls.iter().for_each(|call| driver.make(call));
}

struct Driver {
    cache: Arc<SessionContext<Secret>>,
    servers: [ServerSessions; 2],
    /// By version and id: whose it is, and the value. Whatever has the key may have been evicted.
    stored: BTreeMap<(u16, Vec<u8>), (bool, Vec<u8>)>,
    evicts: bool,
}

impl Driver {
    fn new(capacity: usize) -> Self {
        let cache = Arc::new(SessionContext::builder().capacity(capacity).build().expect("a small table"));
        let servers = [&b"one"[..], b"other"].map(|certificate| {
            let policy = ServerPolicy::builder().certificate_chain(&[certificate.into()]).build();
            ServerSessions::new(Arc::clone(&cache), &policy.expect("a certificate chain is there"))
        });
        Self { cache, servers, stored: BTreeMap::new(), evicts: (1..64).contains(&capacity) }
    }

    fn make(&mut self, call: &Call) {
        match call {
            Call::Put { server, id, value } => self.put(*server, id.bytes(), value.bytes()),
            Call::Get { server, id } => {
                let (id, found) = (id.bytes(), self.server(*server).get(&id.bytes()));
                self.compare(*server, ProtocolVersion::TLS1_2, &id, found);
            }
            Call::Take { server, id } => {
                let (id, found) = (id.bytes(), self.server(*server).take(&id.bytes()));
                let was_found = found.is_some();
                self.compare(*server, ProtocolVersion::TLS1_3, &id, found);
                if was_found {
                    self.stored.remove(&(ProtocolVersion::TLS1_3.0, id));
                }
            }
            &Call::Purge(server) => {
                let purged = self.server(server).purge();
                let before = self.stored.len();
                self.stored.retain(|_, (owner, _)| *owner != server);
                assert!(purged == before - self.stored.len() || self.evicts, "{purged} purged");
            }
            Call::Parse { version, bytes } => parse(*version, bytes),
        }
        assert!(self.cache.len() <= self.stored.len(), "more sessions than were stored");
    }

    fn server(&self, which: bool) -> &ServerSessions {
        &self.servers[usize::from(which)]
    }

    fn put(&mut self, server: bool, id: Vec<u8>, value: Vec<u8>) {
        let is_id = (1..=SessionId::MAX_LEN).contains(&id.len());
        let version = version_of(&value).filter(|_| is_id);
        assert_eq!(self.server(server).put(id.clone(), value.clone()), version.is_some(), "{value:?}");
        if let Some(version) = version {
            self.stored.insert((version, id), (server, value));
        }
    }

    fn compare(&self, server: bool, version: ProtocolVersion, id: &[u8], found: Option<Vec<u8>>) {
        let known = self.stored.get(&(version.0, id.to_vec())).filter(|(owner, _)| *owner == server);
        let known = known.map(|(_, value)| value);
        assert!(found.as_ref() == known || (self.evicts && found.is_none()), "{found:?} for {known:?}");
    }
}

impl Id {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Known(which) => vec![*which & 7; 32],
            Self::Any(bytes) => bytes.clone(),
        }
    }
}

impl Value {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Session { tls13, name, secret, rest } => {
                let mut value = session(*tls13, name.as_deref(), secret);
                value.extend(rest);
                value
            }
            Self::Damaged { tls13, at, byte, length } => {
                let mut value = session(*tls13, Some(b"a.example"), &[1, 2, 3, 4, 5, 6, 7, 8]);
                let at = usize::from(*at) % value.len();
                value[at] ^= byte;
                value.truncate(usize::from(*length));
                value
            }
            Self::Any(bytes) => bytes.clone(),
        }
    }
}

/// A session as rustls would encode it, as far as the adapter looks.
fn session(tls13: bool, name: Option<&[u8]>, secret: &[u8; 8]) -> Vec<u8> {
    let mut value = match name {
        None => vec![0],
        Some(name) => {
            let name = &name[..name.len().min(255)];
            [&[1, name.len() as u8][..], name].concat()
        }
    };
    value.extend(if tls13 { [3, 4, 0x13, 1, 32] } else { [3, 3, 0xc0, 0x2f, 48] });
    value.extend(secret.iter().cycle().take(if tls13 { 32 } else { 48 }));
    value
}

/// Reads the head of an encoded session once more, in another way than the adapter: by positions.
fn version_of(value: &[u8]) -> Option<u16> {
    let head = match value.first()? {
        0 => 1,
        1 => match *value.get(1)? {
            0 => return None,
            length => 2 + usize::from(length),
        },
        _ => return None,
    };
    let &[major, minor, suite, _, length] = value.get(head..head + 5)? else { return None };
    let secret = value.get(head + 5..head + 5 + usize::from(length))?;
    let version = u16::from_be_bytes([major, minor]);
    let fits = (version == 0x0304 && suite == 0x13) || (version == 0x0303 && suite != 0x13);
    (fits && length >= 32 && secret.iter().any(|byte| *byte != 0)).then_some(version)
}

/// What the engine parses at its door: never a panic, and what was parsed is what was given.
fn parse(version: u16, bytes: &[u8]) {
    let key = SessionKey::parse(ProtocolVersion(version), bytes);
    assert_eq!(key.is_ok(), (1..=SessionId::MAX_LEN).contains(&bytes.len()));
    if let Ok(key) = key {
        assert_eq!((key.id().as_bytes(), key.version().0), (bytes, version));
        assert!(bytes.len() < 8 || !format!("{key:?}").contains(&hex(bytes)), "an id in full");
    }
    let id_context = SessionIdContext::new(bytes);
    assert_eq!(id_context.is_ok(), bytes.len() <= 32);
    assert!(id_context.is_ok_and(|id_context| id_context.as_bytes() == bytes) || bytes.len() > 32);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
