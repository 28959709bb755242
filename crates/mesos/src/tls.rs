//! TLS towards masters and agents.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;

/// Whom to trust over TLS.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates, in PEM, of the authorities to trust. If set, only these are
    /// trusted: Mesos clusters have their own authority, and a narrower trust is
    /// the safer one. If unset, the public authorities of Mozilla's list are.
    pub ca_pem: Option<Vec<u8>>,
}

/// Why TLS cannot be set up.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The PEM text cannot be read.
    #[error("the CA file is not valid PEM: {0}")]
    Pem(String),
    /// The PEM text has no certificate in it.
    #[error("the CA file contains no certificate")]
    NoCertificate,
    /// A certificate in the PEM text cannot serve as a root of trust.
    #[error("a certificate of the CA file cannot be used: {0}")]
    Certificate(rustls::Error),
    /// The TLS library refused its settings.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// The provider is named here, so that no process-wide default has to be installed.
pub(crate) fn client_config(options: &TlsOptions) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match &options.ca_pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|e| TlsError::Pem(e.to_string()))?;
                roots.add(certificate).map_err(TlsError::Certificate)?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoCertificate);
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_ca_files_are_named_as_such() {
        let config = |pem: &str| {
            client_config(&TlsOptions {
                ca_pem: Some(pem.into()),
            })
        };
        assert!(matches!(config(""), Err(TlsError::NoCertificate)));
        assert!(matches!(
            config("-----BEGIN CERTIFICATE-----\nx"),
            Err(TlsError::Pem(_))
        ));
        let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            config(no_certificate),
            Err(TlsError::Certificate(_))
        ));
        assert!(client_config(&TlsOptions::default()).is_ok());
    }
}
