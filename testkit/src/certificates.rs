//! A small certificate authority for tests, and PEM files that go away with their directory.
//!
//! Keys are ECDSA P-256 and made anew for every authority, so that no private key is ever committed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;

/// A certificate authority that exists as long as this value.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

/// A certificate with its private key, ready for a server or a client.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
    certificate_pem: String,
}

/// The PEM files of one identity and its authority in a temporary directory, deleted on drop.
#[derive(Debug)]
pub struct PemFiles {
    directory: TempDir,
}

impl Authority {
    /// Makes an authority whose certificate carries `common_name`.
    ///
    /// Two authorities with the same name are still different: each has its own key.
    ///
    /// # Errors
    ///
    /// When the name cannot be put into a certificate.
    pub fn new(common_name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self { issuer: Issuer::new(params, key), der, pem })
    }

    /// Issues a server certificate for `names` (host names or IP addresses as text).
    ///
    /// # Errors
    ///
    /// When one of the names is not a valid DNS name.
    pub fn server(&self, names: &[&str]) -> Result<Identity, rcgen::Error> {
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Issues a client certificate whose subject is `common_name`.
    ///
    /// # Errors
    ///
    /// When the name cannot be put into a certificate.
    pub fn client(&self, common_name: &str) -> Result<Identity, rcgen::Error> {
        self.issue(&[common_name], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// The authority's own certificate, for a peer's set of trusted roots or of acceptable client CAs.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The authority's own certificate as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    fn issue(&self, names: &[&str], usage: ExtendedKeyUsagePurpose) -> Result<Identity, rcgen::Error> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let subject = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain = vec![certificate.der().clone(), self.der.clone()];
        Ok(Identity { chain, key, certificate_pem: certificate.pem() })
    }
}

impl Identity {
    /// The chain: the end-entity certificate first, then its authority.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The private key in PKCS#8 (RFC 5208).
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes `certificate.pem`, `key.pem` and `authority.pem` into a new temporary directory.
    ///
    /// # Errors
    ///
    /// When the directory or a file cannot be written.
    pub fn write_pem(&self, authority: &Authority) -> io::Result<PemFiles> {
        let files = PemFiles { directory: tempfile::Builder::new().prefix("resumption-test-").tempdir()? };
        fs::write(files.certificate(), &self.certificate_pem)?;
        fs::write(files.key(), self.key.serialize_pem())?;
        fs::write(files.authority(), authority.certificate_pem())?;
        Ok(files)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl PemFiles {
    /// The end-entity certificate.
    pub fn certificate(&self) -> PathBuf {
        self.path("certificate.pem")
    }

    /// The private key.
    pub fn key(&self) -> PathBuf {
        self.path("key.pem")
    }

    /// The authority that a peer must trust.
    pub fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// A path in the same directory, for instance for a session file; nothing is created.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// The directory itself.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_files_are_written_and_go_away() {
        let authority = Authority::new("test authority").unwrap();
        let files = authority.server(&["localhost", "127.0.0.1"]).unwrap().write_pem(&authority).unwrap();
        let directory = files.directory().to_owned();
        for file in [files.certificate(), files.authority()] {
            assert!(fs::read_to_string(file).unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        }
        assert!(fs::read_to_string(files.key()).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        drop(files);
        assert!(!directory.exists());
    }

    #[test]
    fn authorities_with_one_name_are_different() {
        let (first, second) = (Authority::new("same").unwrap(), Authority::new("same").unwrap());
        assert_ne!(first.certificate(), second.certificate());
    }

    #[test]
    fn a_name_that_is_no_dns_name_is_an_error() {
        assert!(Authority::new("ca").unwrap().server(&["snow\u{2603}man"]).is_err());
    }

    #[test]
    fn debug_output_shows_no_key() {
        let authority = Authority::new("ca").unwrap();
        let identity = authority.client("somebody").unwrap();
        assert_eq!(format!("{identity:?}"), "Identity { chain: 2, .. }");
    }
}
