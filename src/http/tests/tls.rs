//! Serving over TLS, with the `openssl` program to make certificates.

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use super::world::{World, service};
use crate::{config::Tls, http};

/// Makes a certificate for 127.0.0.1 that vouches for itself, and its key.
fn certificate(directory: &Path, name: &str) {
    let path = |file: &str| directory.join(file).display().to_string();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args([
            "-keyout",
            &path("key.pem"),
            "-out",
            &path("certificate.pem"),
        ])
        .output()
        .expect("the program openssl is there");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

/// Asks for `/health`, trusting this certificate alone.
async fn asked(url: &str, pem: &[u8]) -> reqwest::Result<reqwest::Response> {
    let trusted = reqwest::Certificate::from_pem(pem).unwrap();
    let client = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([trusted])
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    client.get(format!("{url}/health")).send().await
}

#[actix_web::test]
async fn tls_is_served_and_a_renewed_certificate_is_taken() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "one");
    let tls = Tls {
        certificate: directory.path().join("certificate.pem"),
        key: directory.path().join("key.pem"),
        strict_for: Duration::from_secs(60),
    };
    let world = World::with(vec![service("web", 1)], |settings| {
        settings.tls = Some(tls.clone());
    });
    world.subscribe();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = http::serve(listener, world.state.clone()).unwrap();
    let handle = server.handle();
    tokio::spawn(server);

    let url = format!("https://{address}");
    let one = fs::read(&tls.certificate).unwrap();
    let answer = asked(&url, &one).await.unwrap();
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=60");
    let plain = reqwest::get(format!("http://{address}/health")).await;
    assert!(plain.is_err(), "{plain:?}");

    certificate(directory.path(), "two");
    let two = fs::read(&tls.certificate).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while asked(&url, &two).await.is_err() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new certificate is not taken"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(asked(&url, &one).await.is_err());
    handle.stop(false).await;

    // A key that does not belong to the certificate is told at once.
    fs::write(&tls.certificate, &one).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = http::serve(listener, world.state.clone()).err().unwrap();
    assert!(refused.to_string().contains("TLS_KEY"), "{refused}");
}
