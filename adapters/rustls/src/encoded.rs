//! What can be read from a session as rustls 0.23 encodes it.
//!
//! The layout is rustls's own and may change in any release, so everything that is read is checked against what TLS
//! itself fixes, and a value that fails a check is not stored. Only the head is looked at:
//!
//! ```text
//! u8  1 when a server name follows, else 0        u8 length, name
//! u16 protocol version      u16 cipher suite      u8 length, master secret
//! ```

use resumption::ProtocolVersion;

/// The shortest secret of any cipher suite: SHA-256's output in TLS 1.3. TLS 1.2 has 48 bytes.
const SHORTEST_SECRET: usize = 32;

/// The protocol version of an encoded session, or `None` when these bytes are not a session to be kept: another layout,
/// a version that rustls does not speak, a cipher suite of another version, or a secret that is too short or all zero.
pub(crate) fn version(value: &[u8]) -> Option<ProtocolVersion> {
    let mut rest = value;
    match integer::<1>(&mut rest)? {
        0 => {}
        1 => _ = vector(&mut rest).filter(|name| !name.is_empty())?,
        _ => return None,
    }
    let version = ProtocolVersion(u16::try_from(integer::<2>(&mut rest)?).ok()?);
    let suite = integer::<2>(&mut rest)?;
    let secret = vector(&mut rest)?;

    // RFC 8446 B.4: the suites of TLS 1.3, and no others, have 0x13 as their first byte.
    let suite_is_tls13 = suite >> 8 == 0x13;
    let version_fits = match version {
        ProtocolVersion::TLS1_2 => !suite_is_tls13,
        ProtocolVersion::TLS1_3 => suite_is_tls13,
        _ => false,
    };
    let secret_is_real =
        secret.len() >= SHORTEST_SECRET && secret.iter().fold(0, |any, byte| any | byte) != 0;
    (version_fits && secret_is_real).then_some(version)
}

/// Splits a big-endian integer of `N` bytes off the front.
fn integer<const N: usize>(rest: &mut &[u8]) -> Option<usize> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(head.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

/// Splits bytes that follow their one-byte length off the front.
fn vector<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = integer::<1>(rest)?;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &[u8], version: u16, suite: u16, secret: &[u8]) -> Vec<u8> {
        let mut value = Vec::new();
        if name.is_empty() {
            value.push(0);
        } else {
            value.extend([1, u8::try_from(name.len()).expect("a name in a test is short")]);
            value.extend(name);
        }
        value.extend(version.to_be_bytes());
        value.extend(suite.to_be_bytes());
        value.push(u8::try_from(secret.len()).expect("a secret in a test is short"));
        value.extend(secret);
        value.extend([0; 20]);
        value
    }

    #[test]
    fn both_versions_are_recognised_with_and_without_a_name() {
        for name in [&b""[..], b"a.example"] {
            let tls12 = encoded(name, 0x0303, 0xc02f, &[7; 48]);
            assert_eq!(version(&tls12), Some(ProtocolVersion::TLS1_2));
            let tls13 = encoded(name, 0x0304, 0x1301, &[7; 32]);
            assert_eq!(version(&tls13), Some(ProtocolVersion::TLS1_3));
        }
    }

    #[test]
    fn what_is_not_a_session_is_refused() {
        let refused = [
            encoded(b"", 0x0302, 0xc02f, &[7; 48]),
            encoded(b"", 0x0305, 0x1301, &[7; 32]),
            encoded(b"", 0x0303, 0x1301, &[7; 48]),
            encoded(b"", 0x0304, 0xc02f, &[7; 32]),
            encoded(b"", 0x0304, 0x1301, &[0; 32]),
            encoded(b"", 0x0304, 0x1301, &[7; 31]),
            encoded(b"", 0x0304, 0x1301, &[]),
            [&[2][..], &encoded(b"", 0x0304, 0x1301, &[7; 32])].concat(),
            [&[1, 0][..], &encoded(b"", 0x0304, 0x1301, &[7; 32])[1..]].concat(),
        ];
        for value in refused {
            assert_eq!(version(&value), None, "{value:?}");
        }
    }

    #[test]
    fn no_prefix_of_a_head_is_recognised() {
        let value = encoded(b"a.example", 0x0304, 0x1301, &[7; 32]);
        let head = value.len() - 20;
        for length in 0..head {
            assert_eq!(version(&value[..length]), None, "{length}");
        }
        assert_eq!(version(&value[..head]), Some(ProtocolVersion::TLS1_3));
    }
}
