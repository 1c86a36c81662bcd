//! The callbacks of our contexts: they tell, they answer from the shelf, and they call back when they are told to.

use crate::observe::{Identity, Name, Told};
use crate::program::{Reaction, Side, Version};
use resumption::{Added, ContextBuilder, ProtocolVersion, RemoveReason, Session, SessionContext, SessionKey};
use std::sync::{Arc, Mutex, MutexGuard};

type Context = SessionContext<Name>;

/// What all callbacks of a program share. It is never locked while a context has control.
#[derive(Default)]
pub(crate) struct Heard(Mutex<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) told: [Vec<Told>; 2],
    /// Whom the context has removed for want of room, or because it was time, by side.
    pub(crate) crowded_out: [Vec<Name>; 2],
    pub(crate) sessions: Vec<Option<Arc<Session<Name>>>>,
    /// Where the server's get callback looks.
    pub(crate) shelf: Vec<Name>,
    pub(crate) reaction: Option<(Side, Reaction)>,
    /// By side: whether sessions may leave while OpenSSL has its context locked.
    pub(crate) locked: [bool; 2],
    /// The ticket that a client offers at this moment.
    pub(crate) offered: Vec<u8>,
    pub(crate) muted: bool,
}

impl Inner {
    /// A session that is used up here and not there must not be told from inside a callback.
    fn is_offered(&self, name: Name) -> bool {
        let session = self.sessions[name].as_ref();
        session.is_some_and(|session| session.id().as_bytes() == self.offered)
    }
}

impl Heard {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics in here")
    }

    /// The builder of a context whose callbacks are these.
    pub(crate) fn listen(self: &Arc<Self>, side: Side) -> ContextBuilder<Name> {
        let [new, get, removed] = [self, self, self].map(Arc::clone);
        let builder = Context::builder().on_new(move |context, session| {
            new.tell(side, Told::New(*session.payload()));
            new.react(context, side, Some(*session.payload()));
        });
        let builder = builder.on_remove(move |context, session, reason| {
            removed.removed(context, side, *session.payload(), reason);
        });
        match side {
            Side::Client => builder,
            Side::Server => builder.on_get(move |context, key| get.asked(context, key)),
        }
    }

    fn tell(&self, side: Side, told: Told) {
        self.inner().told[side as usize].push(told);
    }

    fn removed(&self, context: &Context, side: Side, name: Name, reason: RemoveReason) {
        if self.inner().muted {
            return;
        }
        self.tell(side, Told::Removed(name));
        if matches!(reason, RemoveReason::Evicted | RemoveReason::Expired) {
            self.inner().crowded_out[side as usize].push(name);
        }
        // Perhaps OpenSSL does not consume it.
        let only_here = reason == RemoveReason::Consumed && (side == Side::Server || context.mode().is_off());
        if !self.inner().locked[side as usize] && !only_here {
            self.react(context, side, Some(name));
        }
    }

    fn asked(&self, context: &Context, key: &SessionKey) -> Option<Arc<Session<Name>>> {
        if key.version() != ProtocolVersion::TLS1_2 {
            return None;
        }
        self.tell(Side::Server, Told::Asked);
        self.react(context, Side::Server, None);
        let inner = self.inner();
        let mut shelf = inner.shelf.iter().filter_map(|name| inner.sessions[*name].clone());
        shelf.find(|session| session.key() == *key)
    }

    /// Makes the call that was asked for, if any was. `this` is the session that the callback tells of.
    fn react(&self, context: &Context, side: Side, this: Option<Name>) {
        let (call, session) = {
            let mut inner = self.inner();
            let locked = inner.locked[side as usize];
            let armed = inner.reaction.filter(|(of, call)| *of == side && call.fits(this, locked));
            let armed = armed.filter(|(_, call)| !call.session().is_some_and(|name| inner.is_offered(name)));
            let Some((_, call)) = armed else { return };
            inner.reaction = None;
            let name = call.session().or(this);
            (call, name.and_then(|name| inner.sessions[name].clone()))
        };
        let returned = match (call, session) {
            (Reaction::Add(_), Some(session)) => {
                i64::from(!matches!(context.add_session(session).expect("a small session"), Added::Unchanged))
            }
            (Reaction::Remove(_) | Reaction::RemoveThis, Some(session)) => {
                i64::from(context.remove_session(&session))
            }
            (Reaction::Flush, _) => {
                context.flush_sessions(context.now());
                0
            }
            (_, None) => unreachable!("the session has come up"),
        };
        self.tell(side, Told::Reacted(returned));
    }
}

/// Whether the server's get callback may have this one.
pub(crate) fn can_be_shelved(identity: &Identity) -> bool {
    (identity.side, identity.version) == (Side::Server, Version::Tls12)
}
