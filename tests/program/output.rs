//! What tasks write, what they use, and where they run: asked of agents and master.

use serde_json::Value;

use crate::support::{Api, Local, serve, until, variables};

/// Writes a line with a character of two bytes, then half a megabyte, and stays.
const WRITES: &str = "echo gr\u{fc}n; echo wrong >&2; \
                      i=0; while [ $i -lt 40000 ]; do echo line $i; i=$((i+1)); done; \
                      echo end; exec sleep 1000";

/// An answer with its headers.
async fn bytes(api: &Api, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let answer = reqwest::get(format!("{}{path}", api.base)).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.bytes().await.unwrap().to_vec())
}

fn number(headers: &reqwest::header::HeaderMap, name: &str) -> u64 {
    headers[name].to_str().unwrap().parse().unwrap()
}

async fn code(api: &Api, path: &str) -> (u16, String) {
    let (status, _, body) = bytes(api, path).await;
    let body: Value = serde_json::from_slice(&body).unwrap();
    (status, body["error"]["code"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn output_is_read_live_and_after_the_end_and_missed_when_the_agent_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let local = Local::start(directory.path(), &[]).await;
    let mut variables = variables(&local.master, directory.path());
    variables.extend([
        ("TASK_DEF_NUM", "1".to_owned()),
        ("TASK0_NAME", "writer".to_owned()),
        ("TASK0_CMD", WRITES.to_owned()),
        ("TASK0_CPUS", "0.1".to_owned()),
        ("TASK0_MEM", "32".to_owned()),
        ("TASK0_NUM_INSTANCES", "1".to_owned()),
    ]);
    let (_program, api) = serve(directory.path(), &variables, &[]).await;
    let task = until("the writer", async || {
        api.running().await.get("writer-1").cloned()
    })
    .await;
    let output = format!("/api/v2/tasks/{task}/output");

    let stderr = format!("{output}/stderr");
    until("the error", async || {
        let (status, _, body) = bytes(&api, &stderr).await;
        (status == 200 && body == b"wrong\n").then_some(())
    })
    .await;
    let stdout = format!("{output}/stdout");
    let size = until("the end", async || {
        let (status, headers, body) = bytes(&api, &format!("{stdout}?tail=4")).await;
        assert_eq!(status, 200);
        (body == b"end\n").then(|| number(&headers, "x-gantry-size"))
    })
    .await;
    assert!(size > 400_000, "{size}");

    // From the beginning, through a character, across the 64 KiB that an agent gives at once.
    let (_, headers, body) = bytes(&api, &format!("{stdout}?offset=3&limit=2")).await;
    assert_eq!(
        (body, number(&headers, "x-gantry-offset")),
        (vec![0xbc, b'n'], 3)
    );
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    let (_, headers, large) = bytes(&api, &format!("{stdout}?offset=0&limit=262144")).await;
    assert_eq!(
        (large.len(), number(&headers, "x-gantry-size")),
        (262_144, size)
    );
    assert!(large.starts_with("gr\u{fc}n\nline 0\nline 1\n".as_bytes()));
    let (_, _, rest) = bytes(&api, &format!("{stdout}?offset=262144&limit=262144")).await;
    assert!(rest.ends_with(b"line 39999\nend\n"));
    assert_eq!(large.len() + rest.len(), usize::try_from(size).unwrap());
    let (status, headers, none) = bytes(&api, &format!("{stdout}?offset={}", u64::MAX)).await;
    assert_eq!(
        (status, none.len(), number(&headers, "x-gantry-size")),
        (200, 0, size)
    );
    let (_, headers, whole) = bytes(&api, &format!("{stdout}?download=1")).await;
    assert_eq!(whole, [large, rest].concat());
    let disposition = headers["content-disposition"].to_str().unwrap();
    assert!(
        disposition.starts_with("attachment; filename=\"test.writer-1."),
        "{disposition}"
    );
    for (query, expected) in [
        ("stdout?limit=262145", (400, "bad_request")),
        ("stdout?tail=-1", (400, "bad_request")),
        ("stdout?tail=1&offset=1", (400, "bad_request")),
        ("stdlog", (404, "not_found")),
    ] {
        let (status, code) = code(&api, &format!("{output}/{query}")).await;
        assert_eq!((status, &*code), expected, "{query}");
    }
    let (status, unknown) = code(&api, "/api/v2/tasks/test.writer-9.x/output/stdout").await;
    assert_eq!((status, &*unknown), (404, "unknown_task"));

    // What it uses, and where it is.
    let usage = api.json(&format!("/api/v2/tasks/{task}/usage")).await;
    assert!(usage["mem"].as_f64().unwrap() > 0.1, "{usage}");
    assert!(
        (0.0..64.0).contains(&usage["cpus"].as_f64().unwrap()),
        "{usage}"
    );
    assert_eq!(
        (&usage["cpus_limit"], &usage["mem_limit"]),
        (&0.2.into(), &64.0.into())
    );
    let agents = api.json("/api/v2/agents").await;
    assert_eq!(agents["problem"], Value::Null);
    let here = |agent: &&Value| agent["tasks"] == 1;
    let agent = agents["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(here)
        .unwrap();
    assert_eq!(
        (&agent["state"], &agent["cpus"]),
        (&"active".into(), &0.1.into())
    );
    let amount = |which: &str, name: &str| agent[which][name].as_f64().unwrap();
    assert_eq!(amount("used", "cpus"), 0.1);
    assert_eq!(
        amount("total", "mem") - amount("free", "mem"),
        amount("used", "mem")
    );
    let id = agent["id"].as_str().unwrap();
    let agent = api.json(&format!("/api/v2/agents/{id}")).await;
    assert_eq!(agent["task_list"][0]["id"], task.as_str());

    // After its end it can still be read, and nothing is measured.
    api.post(&format!("/api/v2/tasks/{task}/restart")).await;
    until("the end of the writer", async || {
        let detail = api.json(&format!("/api/v2/tasks/{task}")).await;
        (detail["standing"] == "ended").then_some(())
    })
    .await;
    let (status, _, body) = bytes(&api, &format!("{stdout}?tail=4")).await;
    assert_eq!((status, &*body), (200, &b"end\n"[..]));
    let usage = format!("/api/v2/tasks/{task}/usage");
    let (status, ended) = code(&api, &usage).await;
    assert_eq!((status, &*ended), (409, "not_running"));
    let sandboxes = directory.path().join(".gantry/local/slaves");
    std::fs::remove_dir_all(&sandboxes).unwrap();
    let (status, removed) = code(&api, &stdout).await;
    assert_eq!((status, &*removed), (404, "no_output"));
    drop(local);
    let (status, gone) = code(&api, &stdout).await;
    assert_eq!((status, &*gone), (502, "agent_unreachable"));
}
