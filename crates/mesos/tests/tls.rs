//! Masters that speak TLS.
//!
//! Needs the `openssl` program to make certificates; where there is none nothing is
//! checked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gantry_mesos::http::HttpOptions;
use gantry_mesos::operator::{OperatorClient, OperatorError, OperatorLimits};
use gantry_mesos::scheduler::SchedulerConfig;
use gantry_mesos::tls::TlsOptions;
use gantry_mesos::v1::scheduler::Call;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use support::{Server, client, config};
use tokio_rustls::TlsAcceptor;

/// An authority and a server certificate for 127.0.0.1 made by it.
struct Certificates(PathBuf);

impl Certificates {
    fn make(name: &str) -> Option<Self> {
        let directory = std::env::temp_dir().join(format!("gantry-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let key = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ];
        let ca = [
            "req", "-x509", "-subj", "/CN=ca", "-days", "2", "-keyout", "ca.key", "-out",
        ];
        openssl(&directory, &[&ca[..], &["ca.pem"], &key].concat())?;
        let server = [
            "req",
            "-subj",
            "/CN=master",
            "-keyout",
            "key.pem",
            "-out",
            "server.csr",
        ];
        openssl(&directory, &[&server[..], &key].concat())?;
        std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        let sign = [
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        ];
        let options = [
            "-days",
            "2",
            "-extfile",
            "names",
            "-set_serial",
            "2",
            "-out",
            "cert.pem",
        ];
        openssl(&directory, &[&sign[..], &options].concat())?;
        Some(Self(directory))
    }

    fn ca(&self) -> Vec<u8> {
        std::fs::read(self.0.join("ca.pem")).unwrap()
    }

    fn acceptor(&self) -> TlsAcceptor {
        let certificate = CertificateDer::from_pem_file(self.0.join("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.join("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(directory: &Path, arguments: &[&str]) -> Option<()> {
    match Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
    {
        Ok(output) => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            Some(())
        }
        Err(e) => {
            eprintln!("no openssl on this machine ({e}): nothing is checked");
            None
        }
    }
}

fn trusting(certificates: &Certificates, source: &str) -> SchedulerConfig {
    let mut config = config(source.parse().unwrap());
    config.http.tls = Some(TlsOptions {
        ca_pem: Some(certificates.ca()),
    });
    config
}

#[tokio::test]
async fn stream_calls_and_redirects_use_tls() {
    let Some(certificates) = Certificates::make("tls") else {
        return;
    };
    let mut first = Server::start_with(Some(certificates.acceptor())).await;
    let mut leader = Server::start_with(Some(certificates.acceptor())).await;
    // No scheme in the address: that there are TLS options decides.
    let mut client = client(trusting(&certificates, &first.address.to_string()));
    let headers = format!("Location: //{}/api/v1/scheduler\r\n", leader.address);
    first
        .request()
        .await
        .reply("307 Temporary Redirect", &headers, "")
        .await;
    assert!(client.disconnected().await.contains("Redirected"));
    leader.subscribed("f", 15.0).await;
    let epoch = client.subscribed().await.epoch;
    for _ in 0..3 {
        client.calls.send(epoch, Call::teardown()).await.unwrap();
        leader.request().await.accept().await;
    }
    client.calls.flush().await.unwrap();
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let Some(certificates) = Certificates::make("stranger") else {
        return;
    };
    let master = Server::start_with(Some(certificates.acceptor())).await;
    let source = format!("https://{}", master.address);
    let mut wary = client(config(source.parse().unwrap()));
    let reason = wary.disconnected().await;
    assert!(reason.contains("certificate"), "{reason}");

    // Plain text where TLS is spoken, and the other way round.
    let mut plain = client(trusting(
        &certificates,
        &format!("http://{}", master.address),
    ));
    assert!(plain.disconnected().await.contains("Connect"));
    let open = Server::start().await;
    let mut impatient = trusting(&certificates, &open.address.to_string());
    impatient.http.connect_timeout = std::time::Duration::from_millis(200);
    let mut secure = client(impatient);
    assert!(secure.disconnected().await.contains("Connect"));

    let options = HttpOptions {
        tls: Some(TlsOptions::default()),
        ..HttpOptions::default()
    };
    let operator = OperatorClient::new(options, OperatorLimits::default()).unwrap();
    let error = operator.get_master(&master.address).await.unwrap_err();
    assert!(matches!(error, OperatorError::Network { .. }), "{error}");
}
