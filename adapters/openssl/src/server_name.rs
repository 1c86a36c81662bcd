//! Server names (RFC 6066, section 3), and contexts that are selected by them.

use crate::digest::FieldDigest;
use crate::ffi;
use crate::server;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextRef, SslRef};
use std::error::Error;
use std::fmt;

/// What a client has asked for, compared as DNS does: without regard to the case of ASCII letters and a trailing dot.
#[derive(Clone, Copy)]
pub(crate) struct ServerName<'a>(Option<&'a [u8]>);

impl<'a> ServerName<'a> {
    pub(crate) fn new(name: Option<&'a [u8]>) -> Self {
        Self(name.map(|name| name.strip_suffix(b".").unwrap_or(name)))
    }

    /// The name in a server name extension, which is absent when the client sent none; `None` when it is malformed.
    pub(crate) fn of_extension(extension: Option<&'a [u8]>) -> Option<Self> {
        match extension {
            Some(extension) => Some(Self::new(Some(parse(extension)?))),
            None => Some(Self::new(None)),
        }
    }

    pub(crate) fn add_to(self, digest: &mut FieldDigest) {
        let Some(name) = self.0 else { return digest.number(0) };
        digest.number(1);
        // A host name has at most 255 bytes, and OpenSSL refuses hellos with longer ones.
        let mut lowercase = [0; 256];
        match lowercase.get_mut(..name.len()) {
            Some(lowercase) => {
                lowercase.copy_from_slice(name);
                lowercase.make_ascii_lowercase();
                digest.field(lowercase);
            }
            None => digest.field(&name.to_ascii_lowercase()),
        }
    }
}

/// The one host name of a `ServerNameList`. As OpenSSL does, more than one entry and other types of names are refused.
fn parse(extension: &[u8]) -> Option<&[u8]> {
    let (length, list) = extension.split_first_chunk::<2>()?;
    let (kind, entry) = list.split_first()?;
    let (name_length, name) = entry.split_first_chunk::<2>()?;
    let fits = usize::from(u16::from_be_bytes(*length)) == list.len()
        && usize::from(u16::from_be_bytes(*name_length)) == name.len();
    (fits && *kind == 0 && !name.is_empty()).then_some(name)
}

/// The server name in the ClientHello, from inside a ClientHello callback; `None` when there is none, or no valid one.
///
/// This is the name by which to [`select_context`].
///
/// ```no_run
/// # fn context_for(_: &str) -> Option<&'static openssl::ssl::SslContextRef> { None }
/// use openssl::error::ErrorStack;
/// use openssl::ssl::{ClientHelloResponse, SslAcceptor, SslAlert, SslMethod};
/// use resumption_openssl::{client_hello_server_name, select_context};
///
/// let mut first = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls())?;
/// first.set_client_hello_callback(|ssl, alert| {
///     if let Some(context) = client_hello_server_name(ssl).and_then(context_for) {
///         select_context(ssl, context).map_err(|_| {
///             *alert = SslAlert::UNRECOGNIZED_NAME;
///             ErrorStack::get()
///         })?;
///     }
///     Ok(ClientHelloResponse::SUCCESS)
/// });
/// # Ok::<(), ErrorStack>(())
/// ```
pub fn client_hello_server_name(ssl: &SslRef) -> Option<&str> {
    std::str::from_utf8(parse(ffi::server_name_extension(ssl)?)?).ok()
}

/// Moves a server's connection to another context, from inside a ClientHello callback.
///
/// Beside the certificates (`SSL_set_SSL_CTX`) the connection gets the verify mode and the verification parameters of
/// the new context, which OpenSSL leaves as they were. Protocol versions, options, cipher suites and callbacks stay
/// those of the context that the connection was made from.
///
/// The ClientHello callback is the only place in which a context can be selected *before* OpenSSL decides about a
/// resumption. The server name callback comes after it, which is how sessions came to be resumed across servers in
/// CVE-2025-23419: sessions of contexts that are selected there are stored, and never found again.
///
/// # Errors
///
/// [`SelectError`]; the handshake should then be ended, since the connection may be half way between two contexts.
pub fn select_context(ssl: &mut SslRef, context: &SslContextRef) -> Result<(), SelectError> {
    if !ffi::same_verify_callback(ssl, context) {
        return Err(SelectError::VerifyCallback);
    }
    if server::have_different_caches(ssl.ssl_context(), context)? {
        return Err(SelectError::Cache);
    }
    ssl.set_ssl_context(context)?;
    ssl.set_verify(context.verify_mode());
    ffi::copy_verify_param(ssl, context)?;
    Ok(())
}

/// Why a connection could not be moved to another context.
#[derive(Debug)]
#[non_exhaustive]
pub enum SelectError {
    /// The contexts have different verify callbacks, and OpenSSL would go on with the first one's.
    VerifyCallback,
    /// The contexts were given different caches. What a connection stores goes to the cache of the context it has at that
    /// moment, but OpenSSL tells of its unclean end where it began.
    Cache,
    /// OpenSSL failed.
    Openssl(ErrorStack),
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VerifyCallback => {
                f.write_str("the context's verify callback is not the one that the connection has")
            }
            Self::Cache => f.write_str("the context's session cache is not the one that the connection has"),
            Self::Openssl(error) => write!(f, "OpenSSL: {error}"),
        }
    }
}

impl Error for SelectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::VerifyCallback | Self::Cache => None,
            Self::Openssl(error) => Some(error),
        }
    }
}

impl From<ErrorStack> for SelectError {
    fn from(error: ErrorStack) -> Self {
        Self::Openssl(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: Option<&[u8]>) -> [u8; 32] {
        let mut digest = FieldDigest::new("test");
        ServerName::new(name).add_to(&mut digest);
        digest.finish()
    }

    #[test]
    fn names_that_dns_takes_for_one_are_one() {
        assert_eq!(digest(Some(b"A.Example.")), digest(Some(b"a.example")));
        assert_ne!(digest(Some(b"a.example")), digest(Some(b"b.example")));
        assert_ne!(digest(Some(b"a.example..")), digest(Some(b"a.example")));
        assert_ne!(digest(Some(b"")), digest(None));
        let long = [b'A'; 300];
        assert_eq!(digest(Some(&long)), digest(Some(&long.to_ascii_lowercase())));
        assert_ne!(digest(Some(&long)), digest(Some(&long[..299])));
    }

    #[test]
    fn only_a_whole_extension_is_parsed() {
        let extension = [&[0, 12, 0, 0, 9][..], b"a.example"].concat();
        assert_eq!(parse(&extension), Some(&b"a.example"[..]));
        for length in 0..extension.len() {
            assert_eq!(parse(&extension[..length]), None, "{length}");
        }
        assert_eq!(parse(&[&extension[..], &[0]].concat()), None, "trailing bytes");
        let other_type = [&[0, 12, 1, 0, 9][..], b"a.example"].concat();
        assert_eq!(parse(&other_type), None);
        assert_eq!(parse(&[0, 3, 0, 0, 0]), None, "an empty name");
    }
}
