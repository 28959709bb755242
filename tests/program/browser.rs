//! The dashboard in a real Chromium, driven over the WebDriver protocol.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::support::{Api, Program, WITHIN, until};

/// A Chromium, ended with its driver when dropped.
struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
}

impl Browser {
    async fn start(directory: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: `cargo xtask test` does it");
        let client = reqwest::Client::new();
        let base = format!("http://127.0.0.1:{port}");
        until("the driver", async || {
            client.get(format!("{base}/status")).send().await.ok()
        })
        .await;
        let profile = format!("--user-data-dir={}", directory.join("profile").display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1280,900",
            &profile,
        ];
        let capabilities = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = client
            .post(format!("{base}/session"))
            .json(&capabilities)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        let id = answer["value"]["sessionId"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        Self {
            session: format!("{base}/session/{id}"),
            driver,
            client,
        }
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let answer = self
            .client
            .post(format!("{}/{path}", self.session))
            .json(&body)
            .send()
            .await;
        let mut answer: Value = answer.unwrap().json().await.unwrap();
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }

    async fn open(&self, address: &str) {
        self.ask("url", json!({"url": address})).await;
    }

    async fn run(&self, script: &str) -> Value {
        self.ask("execute/sync", json!({"script": script, "args": []}))
            .await
    }

    /// Waits until the page shows all of these.
    async fn shows(&self, page: &str, texts: &[&str]) {
        for text in texts {
            until(&format!("`{text}` on page `{page}`"), async || {
                let shown = self.run("return document.body.innerText").await;
                shown.as_str().unwrap().contains(text).then_some(())
            })
            .await;
        }
    }

    /// What the page complained about: errors, and refusals of its content security policy.
    async fn complaints(&self) -> Vec<Value> {
        let log = self.ask("se/log", json!({"type": "browser"})).await;
        log.as_array().cloned().unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Only the end of its session ends the browser; that of the driver alone does not.
        let (address, path) = self.session["http://".len()..].split_once('/').unwrap();
        let asked = TcpStream::connect(address).and_then(|mut stream| {
            let head = format!("Host: {address}\r\nConnection: close");
            write!(stream, "DELETE /{path} HTTP/1.1\r\n{head}\r\n\r\n")?;
            // Its answer is the sign; the driver keeps the connection.
            stream.set_read_timeout(Some(WITHIN))?;
            stream.read(&mut [0; 512])
        });
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if !std::thread::panicking() {
            asked.expect("the browser ends");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_what_runs_and_follow_it() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["dev", "--listen", "127.0.0.1:0"];
    let mut program = Program::start(directory.path(), "dev", &arguments, &BTreeMap::new());
    let api = Api::at(&program.said("dashboard").await);
    program.said("everything runs").await;
    let browser = Browser::start(directory.path()).await;

    for (page, texts) in [
        ("", &["web", "worker", "Open access"][..]),
        ("#/workloads/web", &["web-3"][..]),
        ("#/activity", &["Activity"][..]),
        ("#/configuration", &["frameworkName"][..]),
        ("#/logs", &["subscribed"][..]),
        ("#/tasks", &["web-1", "worker-2", "agent-"][..]),
    ] {
        browser.open(&format!("{}/{page}", api.base)).await;
        browser.shows(page, texts).await;
    }

    // The page that is open shows what happens, without being asked to.
    assert_eq!(api.scale("worker", 4).await, Some(true));
    browser.shows("#/tasks", &["worker-4"]).await;

    // As narrow as a phone, nothing sticks out.
    browser
        .ask("window/rect", json!({"width": 500, "height": 800}))
        .await;
    for page in ["", "#/tasks", "#/workloads/web"] {
        browser.open(&format!("{}/{page}", api.base)).await;
        browser.shows(page, &["web"]).await;
        let excess = "return document.documentElement.scrollWidth - window.innerWidth";
        assert!(
            browser.run(excess).await.as_i64().unwrap() <= 0,
            "page `{page}` is too wide"
        );
    }
    assert_eq!(browser.complaints().await, Vec::<Value>::new());

    program.signal("INT");
    assert_eq!(program.ended().await.code(), Some(0));
}
