//! Serving over TLS, with the `openssl` program to make certificates.

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use super::world::{World, member, service};
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
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap();
    client.get(format!("{url}/health")).send().await
}

/// The leader's certificate vouches for itself, and is renewed: whoever stands by is told the new one
/// in the same file.
#[actix_web::test]
async fn a_stand_by_trusts_what_it_is_told_to_and_reads_it_again() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    certificate(directory.path(), "one");
    let tls = Tls {
        certificate: directory.path().join("certificate.pem"),
        key: directory.path().join("key.pem"),
        strict_for: Duration::ZERO,
    };
    let leader = World::with(vec![service("web", 1)], |settings| {
        settings.tls = Some(tls.clone());
    });
    leader.subscribe();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let server = http::serve(listener, leader.state.clone()).unwrap();
    let handle = server.handle();
    tokio::spawn(server);
    let stand_by = |ca: Option<&Path>| {
        let world = World::with(vec![service("web", 1)], |settings| {
            settings.hold = Duration::from_millis(100);
            settings.advertised_ca = ca.map(Path::to_owned);
        });
        world.step_down(Some(member("leader", Some(url.clone()))));
        world
    };
    let line = "PUT /api/v2/workloads/web/scale";
    let body = r#"{"instances":1}"#;
    assert_eq!(stand_by(None).send(line, &[], body).await.status, 503);
    let world = stand_by(Some(&tls.certificate));
    let reply = world.send(line, &[], body).await;
    assert_eq!(reply.status, 200, "{}", reply.body);

    certificate(directory.path(), "two");
    let two = fs::read(&tls.certificate).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while asked(&url, &two).await.is_err() || world.send(line, &[], body).await.status != 200 {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new certificate is not trusted"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    handle.stop(false).await;
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
