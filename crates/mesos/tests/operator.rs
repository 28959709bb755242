//! The operator client.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use gantry_mesos::credentials::Credentials;
use gantry_mesos::http::HttpOptions;
use gantry_mesos::operator::{OperatorClient, OperatorError, OperatorLimits, sandbox_path};
use gantry_mesos::v1::master::{self, call, response};
use prost::Message;
use support::{Server, soon};

fn client(change: impl FnOnce(&mut OperatorLimits)) -> OperatorClient {
    let mut limits = OperatorLimits::default();
    change(&mut limits);
    let credentials = Some(Credentials::basic("me", &"hush".into()).unwrap());
    OperatorClient::new(
        HttpOptions {
            credentials,
            ..Default::default()
        },
        limits,
    )
    .unwrap()
}

#[tokio::test]
async fn a_question_finds_the_leader() {
    let (mut other, mut leader) = (Server::start().await, Server::start().await);
    let address = other.address.clone();
    let asking = tokio::spawn(async move { client(|_| {}).get_master(&address).await });
    let headers = format!("Location: //{}/master/api/v1\r\n", leader.address);
    other
        .request()
        .await
        .reply("307 Temporary Redirect", &headers, "")
        .await;
    let request = leader.request().await;
    assert_eq!(request.path(), "/api/v1");
    assert_eq!(request.header("authorization"), Some("Basic bWU6aHVzaA=="));
    assert_eq!(request.header("accept"), Some("application/x-protobuf"));
    let call = master::Call::decode(request.body.as_slice()).unwrap();
    assert_eq!(call.r#type(), call::Type::GetMaster);
    let answer = master::Response {
        r#type: Some(response::Type::GetMaster.into()),
        get_master: Some(response::GetMaster {
            start_time: Some(7.0),
            ..Default::default()
        }),
        ..Default::default()
    };
    request.reply("200 OK", "", answer.encode_to_vec()).await;
    assert_eq!(soon(asking).await.unwrap().unwrap().start_time, Some(7.0));
}

#[tokio::test]
async fn answers_are_bounded_in_time_and_size() {
    let mut master = Server::start().await;
    let address = master.address.clone();
    let asking = tokio::spawn(async move {
        let short = client(|limits| limits.request_timeout = Duration::from_millis(50));
        let silent = short.get_state(&address).await.unwrap_err();
        let client = client(|limits| limits.answer_bytes_max = 10);
        let large = client.get_state(&address).await.unwrap_err();
        let wrong = client.get_state(&address).await.unwrap_err();
        let bytes = client.get_state(&address).await.unwrap_err();
        (silent, large, wrong, bytes)
    });
    let _silent = master.request().await;
    master.request().await.reply("200 OK", "", [0; 100]).await;
    master.request().await.reply("200 OK", "", "").await;
    master.request().await.reply("200 OK", "", [0xff; 4]).await;
    let (silent, large, wrong, bytes) = soon(asking).await.unwrap();
    assert!(matches!(silent, OperatorError::Timeout { .. }), "{silent}");
    assert!(matches!(large, OperatorError::TooLarge { .. }), "{large}");
    assert!(matches!(wrong, OperatorError::Unreadable { .. }), "{wrong}");
    assert!(matches!(bytes, OperatorError::Unreadable { .. }), "{bytes}");
}

#[tokio::test]
async fn files_of_a_sandbox() {
    let mut agent = Server::start().await;
    let address = agent.address.clone();
    let asking = tokio::spawn(async move {
        let client = client(|limits| limits.download_bytes_max = 8);
        let path = sandbox_path(&"f".into(), &"e x".into());
        let files = client.browse(&address, &path).await.unwrap();
        let size = client.file_size(&address, "/a").await.unwrap();
        let chunk = client.read(&address, "/a", 2, Some(10)).await.unwrap();
        let missing = client.read(&address, "/nope", 0, None).await.unwrap_err();
        let mut download = client.download(&address, "/a").await.unwrap();
        let first = download.chunk().await.unwrap().unwrap();
        let end = download.chunk().await.unwrap();
        let mut large = client.download(&address, "/large").await.unwrap();
        let too_large = loop {
            match large.chunk().await {
                Ok(Some(_)) => {}
                other => break other.unwrap_err(),
            }
        };
        (files, size, chunk, missing, first, end, too_large)
    });
    let request = agent.request().await;
    assert_eq!(
        request.path(),
        "/files/browse?path=/frameworks/f/executors/e%20x/runs/latest"
    );
    assert_eq!(request.header("authorization"), Some("Basic bWU6aHVzaA=="));
    let entry = r#"[{"gid":"root","mode":"-rw-r--r--","mtime":1795256656.0,"nlink":1,
        "path":"/x/stdout","size":7,"uid":"root"}]"#;
    request
        .reply("200 OK", "Content-Type: application/json\r\n", entry)
        .await;
    let request = agent.request().await;
    assert_eq!(request.path(), "/files/read?path=/a&offset=-1");
    request
        .reply("200 OK", "", r#"{"data":"","offset":48890}"#)
        .await;
    let request = agent.request().await;
    assert_eq!(request.path(), "/files/read?path=/a&offset=2&length=10");
    request
        .reply("200 OK", "", b"{\"data\":\"\xbc\\n\",\"offset\":2}")
        .await;
    agent.request().await.reply("404 Not Found", "", "").await;
    agent.request().await.reply("200 OK", "", "12345678").await;
    agent.request().await.reply("200 OK", "", "123456789").await;

    let (files, size, chunk, missing, first, end, too_large) = soon(asking).await.unwrap();
    assert_eq!((files[0].path.as_str(), files[0].size), ("/x/stdout", 7));
    assert!(!files[0].is_directory());
    assert_eq!(size, 48890);
    assert_eq!(chunk.data, b"\xbc\n");
    assert_eq!(chunk.next_offset(), 4);
    assert!(
        matches!(missing, OperatorError::Status { status: 404, .. }),
        "{missing}"
    );
    assert_eq!(&first[..], b"12345678");
    assert_eq!(end, None);
    assert!(
        matches!(too_large, OperatorError::TooLarge { .. }),
        "{too_large}"
    );
}
