//! TLS of the server: the certificate, read again when its file changes.

use std::{
    fmt, fs, io,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::config::Tls;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The settings of a server with this certificate.
///
/// # Errors
/// The files cannot be read, or do not belong together.
pub(super) fn config(tls: &Tls) -> io::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let current = Current {
        key: ArcSwap::from(read(tls, &provider)?),
        look: Mutex::new((Instant::now(), stamps(tls))),
        tls: tls.clone(),
        provider: Arc::clone(&provider),
    };
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(current));
    Ok(config)
}

/// The certificate that is shown now.
struct Current {
    tls: Tls,
    provider: Arc<CryptoProvider>,
    key: ArcSwap<CertifiedKey>,
    look: Mutex<(Instant, Stamps)>,
}

/// By which a change of the files is noticed.
type Stamps = [Option<(SystemTime, u64)>; 2];

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Current {
    fn refresh(&self, now: Instant) {
        // Who comes meanwhile sees the one before.
        let Ok(mut look) = self.look.try_lock() else {
            return;
        };
        if now.saturating_duration_since(look.0) < LOOK_EVERY {
            return;
        }
        look.0 = now;
        let stamps = stamps(&self.tls);
        if stamps == look.1 {
            return;
        }
        match read(&self.tls, &self.provider) {
            Ok(key) => {
                look.1 = stamps;
                self.key.store(key);
                tracing::info!("TLS_CERT has changed and is used from now on");
            }
            // Perhaps only one of the two is written yet.
            Err(error) => tracing::error!(%error, "the changed TLS_CERT cannot be used"),
        }
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.refresh(Instant::now());
        Some(self.key.load_full())
    }
}

fn stamps(tls: &Tls) -> Stamps {
    [&tls.certificate, &tls.key].map(|path| {
        let about = fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    })
}

fn read(tls: &Tls, provider: &CryptoProvider) -> io::Result<Arc<CertifiedKey>> {
    let of = |variable: &str, path: &Path, why: &dyn fmt::Display| {
        let text = format!("{variable} ({}) cannot be used: {why}", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let of_certificate = |why: &dyn fmt::Display| of("TLS_CERT", &tls.certificate, why);
    let of_key = |why: &dyn fmt::Display| of("TLS_KEY", &tls.key, why);
    let pem = fs::read(&tls.certificate).map_err(|error| of_certificate(&error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| of_certificate(&error))?;
    let pem = fs::read(&tls.key).map_err(|error| of_key(&error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| of_key(&error))?;
    // It is looked at whether the two belong together.
    CertifiedKey::from_der(chain, key, provider)
        .map(Arc::new)
        .map_err(|error| of_key(&error))
}
