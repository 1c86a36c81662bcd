//! The server's certificate: made on the spot or read from files.

use crate::Fault;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;

/// A certificate chain and the private key of its first certificate.
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// A fresh self-signed certificate for names and addresses of the local machine.
    pub(crate) fn local() -> Result<Self, Fault> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names)
            .map_err(|error| Fault(format!("cannot make a certificate: {error}")))?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der())
            .map_err(|error| Fault(format!("cannot make a private key: {error}")))?;
        Ok(Self { chain: vec![made.cert.der().clone()], key })
    }

    /// Reads two PEM files. Whether the key fits the certificate is for rustls to say.
    pub(crate) fn from_files(chain: &Path, key: &Path) -> Result<Self, Fault> {
        let unreadable = |what: &str, path: &Path, why: &dyn std::fmt::Display| {
            Fault(format!("cannot read the {what} {}: {why}", path.display()))
        };
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| unreadable("certificate", chain, &error))?;
        if certificates.is_empty() {
            return Err(unreadable("certificate", chain, &"there is no certificate in it"));
        }
        let key =
            PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("private key", key, &error))?;
        Ok(Self { chain: certificates, key })
    }
}
