//! The servers that are compared, and a client that has all their sessions.

use crate::common::{self, Pipe, TLS12, step};
use foreign_types::ForeignTypeRef as _;
use openssl::ssl::{
    ShutdownState, Ssl, SslContext, SslContextRef, SslMethod, SslOptions, SslSession, SslSessionCacheMode,
    SslStream,
};
use resumption::{
    Driver, ProtocolVersion, Secret, SessionContext, SessionId, SessionIdContext, SessionKey, Timestamp,
};
use resumption_openssl::{OpensslCounters, ServerSessions};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a session lives that is not to expire, in seconds.
pub(crate) const SAMPLE_LIFE: u64 = 3600;

/// More than ever come up.
const CAPACITY: i32 = 1_000_000;

unsafe extern "C" {
    fn SSL_SESSION_set1_id(
        session: *mut openssl_sys::SSL_SESSION,
        id: *const u8,
        length: libc::c_uint,
    ) -> libc::c_int;
    fn SSL_SESSION_set_time(session: *mut openssl_sys::SSL_SESSION, time: libc::c_long) -> libc::c_long;
    fn SSL_SESSION_set_timeout(session: *mut openssl_sys::SSL_SESSION, timeout: libc::c_long)
    -> libc::c_long;
    fn SSL_CTX_set_timeout(context: *mut openssl_sys::SSL_CTX, timeout: libc::c_long) -> libc::c_long;
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Openssl,
    Ours,
}

impl Kind {
    pub(crate) const BOTH: [Self; 2] = [Self::Openssl, Self::Ours];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Openssl => "OpenSSL's cache",
            Self::Ours => "our cache",
        }
    }
}

/// A server with one of the caches.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) context: SslContext,
    cache: Arc<SessionContext<Secret>>,
    id_context: SessionIdContext,
    /// A real session, as the server and as the client have it.
    sample: [Vec<u8>; 2],
}

impl Server {
    pub(crate) fn new(kind: Kind) -> Self {
        let life = Duration::from_secs(SAMPLE_LIFE);
        let cache = SessionContext::builder().capacity(CAPACITY as usize).timeout(life).build();
        let cache = Arc::new(cache.expect("there is memory"));
        let mut builder = common::server_builder();
        let id_context = match kind {
            Kind::Ours => {
                let policy = ServerSessions::new(Arc::clone(&cache)).install(&mut builder);
                policy.expect("a context with a certificate").id_context(Some("a.example"))
            }
            Kind::Openssl => {
                builder.set_options(SslOptions::NO_TICKET);
                builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
                builder.set_session_cache_size(CAPACITY);
                builder.set_session_id_context(b"benchmark").expect("a short one");
                // SAFETY: the context is alive.
                unsafe { SSL_CTX_set_timeout(builder.as_ptr(), SAMPLE_LIFE as libc::c_long) };
                SessionIdContext::EMPTY
            }
        };
        let mut server =
            Self { kind, context: builder.build(), cache, id_context, sample: Default::default() };
        let (client, far) = shake_hands(&client_context(), &server.context, None).0;
        let encoded =
            |stream: &SslStream<Pipe>| stream.ssl().session().expect("a session").to_der().expect("DER");
        server.sample = [encoded(&far), encoded(&client)];
        server
    }

    pub(crate) fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// Adds copies of a real session under other ids, which began at this second.
    pub(crate) fn fill(&self, numbers: Range<u64>, began: u64, life: u64) {
        let cached = SslSession::from_der(&self.sample[0]).expect("an encoded session");
        for number in numbers {
            match self.kind {
                Kind::Ours => {
                    set_id(&cached, number);
                    let key = SessionKey::new(ProtocolVersion::TLS1_2, SessionId::from(id(number)));
                    let session = self.cache.session(key).id_context(self.id_context);
                    let session =
                        session.time(Timestamp::from_unix(began)).timeout(Duration::from_secs(life));
                    let session = session.build(Secret::from(cached.to_der().expect("a session")));
                    self.cache.add_session(Arc::new(session)).expect("a small session");
                }
                Kind::Openssl => {
                    let session = SslSession::from_der(&self.sample[0]).expect("an encoded session");
                    set_id(&session, number);
                    // SAFETY: the session was decoded just now, and is added to one context only.
                    let added = unsafe {
                        SSL_SESSION_set_time(session.as_ptr(), began as libc::c_long);
                        SSL_SESSION_set_timeout(session.as_ptr(), life as libc::c_long);
                        self.context.add_session(&session)
                    };
                    assert!(added);
                }
            }
        }
    }

    /// Has the engine do its upkeep on a thread of its own, besides.
    pub(crate) fn start_driver(&self) -> Driver {
        self.cache.start_driver().expect("a thread")
    }

    pub(crate) fn sessions(&self) -> u64 {
        match self.kind {
            Kind::Ours => self.cache.stats().number,
            Kind::Openssl => OpensslCounters::of(&self.context).number,
        }
    }
}

fn id(number: u64) -> [u8; 32] {
    // Spread over the first bytes, as random ids are: OpenSSL takes four of them for its hash.
    let mut id = [0xa5; 32];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

/// The session is in no cache, and of one thread.
fn set_id(session: &SslSession, number: u64) {
    let id = id(number);
    // SAFETY: the session is alive, and so many bytes are copied.
    unsafe { SSL_SESSION_set1_id(session.as_ptr(), id.as_ptr(), 32) };
}

/// What a visit has shown.
pub(crate) struct Visit {
    pub(crate) resumed: bool,
    /// The processor time that was spent in the server.
    pub(crate) server: Duration,
}

/// A client that has every session of a server.
pub(crate) struct Client {
    context: SslContext,
    session: SslSession,
}

impl Client {
    pub(crate) fn of(server: &Server) -> Self {
        let session = SslSession::from_der(&server.sample[1]).expect("an encoded session");
        Self { context: client_context(), session }
    }

    /// Offers the session of this number.
    pub(crate) fn resume(&mut self, server: &SslContextRef, number: u64) -> Visit {
        // No connection has it any more.
        set_id(&self.session, number);
        visit(&self.context, server, Some(&self.session))
    }

    /// A full handshake.
    pub(crate) fn start(&mut self, server: &SslContextRef) -> Visit {
        visit(&self.context, server, None)
    }
}

fn client_context() -> SslContext {
    let mut builder = SslContext::builder(SslMethod::tls_client()).expect("a context");
    builder.set_max_proto_version(Some(TLS12)).expect("a version");
    builder.set_session_cache_mode(SslSessionCacheMode::OFF);
    builder.build()
}

fn visit(client: &SslContextRef, server: &SslContextRef, offer: Option<&SslSession>) -> Visit {
    let ((client, server), mut spent) = shake_hands(client, server, offer);
    let resumed = server.ssl().session_reused();
    assert_eq!(client.ssl().session_reused(), resumed, "both sides agree");
    drop(client);
    let end = processor_time();
    drop(server);
    spent += processor_time() - end;
    Visit { resumed, server: spent }
}

type Pair = (SslStream<Pipe>, SslStream<Pipe>);

/// A connection whose ends are as good as closed, and the processor time that was spent in the server.
fn shake_hands(
    client: &SslContextRef,
    server: &SslContextRef,
    offer: Option<&SslSession>,
) -> (Pair, Duration) {
    let mut ssl = Ssl::new(client).expect("a connection");
    ssl.set_hostname("a.example").expect("a name");
    if let Some(session) = offer {
        // SAFETY: the session is in no cache, and this thread's alone.
        unsafe { ssl.set_session(session) }.expect("a session of TLS 1.2");
    }
    let (near, far) = Pipe::new();
    let mut client = SslStream::new(ssl, near).expect("a stream");
    let start = processor_time();
    let mut server = SslStream::new(Ssl::new(server).expect("a connection"), far).expect("a stream");
    let mut spent = processor_time() - start;
    let (mut client_done, mut server_done) = (false, false);
    while !(client_done && server_done) {
        client_done = client_done || step("client", client.connect()).expect("a handshake");
        let start = processor_time();
        server_done = server_done || step("server", server.accept()).expect("a handshake");
        spent += processor_time() - start;
    }
    client.set_shutdown(ShutdownState::SENT);
    server.set_shutdown(ShutdownState::SENT);
    ((client, server), spent)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What this thread has used.
pub(crate) fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the argument points to one such value.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).expect("less than a second"))
}
