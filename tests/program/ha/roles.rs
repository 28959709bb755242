//! What a stand-by answers, and how the lead changes hands in good order.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::{client::Operators, site::Site, terms::acting, watch::Call};

const DECLARED: [(&str, &str); 6] = [
    ("TASK_DEF_NUM", "1"),
    ("TASK0_NAME", "web"),
    ("TASK0_NUM_INSTANCES", "3"),
    ("TASK0_CMD", "exec sleep 100000"),
    ("TASK0_CPUS", "0.1"),
    ("TASK0_MEM", "32"),
];

const WANTED: [(&str, u32); 1] = [("web", 3)];

/// Of a Gantry that is not to lose the lead because the machine pauses.
const SESSION: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_stand_by_reads_hands_on_and_redirects() {
    let Some(mut site) = Site::start(1, 2, &DECLARED).await else {
        return;
    };
    let tasks = site.runs(&WANTED).await;
    let (leader, other) = (site.leader().await, site.stand_by().await);
    let (leader, other) = (&site.gantries[leader], &site.gantries[other]);
    site.until("the stand-by to know what runs", async || {
        (other.api.running().await == tasks).then_some(())
    })
    .await;

    // Both say the same of who leads.
    let of_leader = leader.about_leader().await.unwrap();
    let of_other = other.about_leader().await.unwrap();
    assert_eq!(of_leader["role"], "leader");
    assert_eq!(of_other["role"], "stand-by");
    assert_eq!(of_leader["leader"], of_other["leader"]);
    assert_eq!(of_leader["leader"]["url"], leader.api.base);

    // A stand-by is well, and says what it is.
    let (status, text) = other.api.get("/health").await.unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("stand-by of 127.0.0.1"), "{text}");
    assert_eq!(
        leader.api.get("/health").await,
        Some((200, "OK".to_owned()))
    );

    // What it reads out is marked; what the leader says is not.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let get =
        async |base: &str, path: &str| client.get(format!("{base}{path}")).send().await.unwrap();
    for path in ["/api/v2/workloads", "/api/v1/tasks/types", "/api/v2/tasks"] {
        let answer = get(&other.api.base, path).await;
        assert_eq!(answer.status(), 200);
        let headers = answer.headers();
        assert_eq!(headers["x-gantry-role"], "stand-by");
        assert_eq!(headers["x-gantry-leader"], leader.api.base.as_str());
        let at: jiff::Timestamp = headers["x-gantry-as-of"].to_str().unwrap().parse().unwrap();
        let age = jiff::Timestamp::now().duration_since(at);
        assert!(age < jiff::SignedDuration::from_secs(30), "{age:?}");
        let answer = get(&leader.api.base, path).await;
        assert!(!answer.headers().contains_key("x-gantry-role"));
    }

    // Writes take effect through it, and refusals come through it too.
    site.watch.may_run("web", 4);
    assert_eq!(other.api.scale("web", 4).await, Some(true));
    site.until("the fourth task", async || {
        site.watch.running_exactly(&[("web", 4)])
    })
    .await;
    let put = async |path: &str, body: Value| {
        let request = client.put(format!("{}{path}", other.api.base)).json(&body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = put("/api/v2/workloads/none/scale", json!({"instances": 1})).await;
    assert!(status == 404 && text.contains("unknown_workload"), "{text}");
    let (status, text) = put("/api/v2/workloads/web/scale", json!({"instance": 1})).await;
    assert!(status == 400 && text.contains("does not fit"), "{text}");
    // The old interface, in its own words.
    let v1 = "/api/v1/tasks/types/web/scale/3";
    assert_eq!(put(v1, Value::Null).await.0, leader_put(leader, v1).await);
    site.until("three tasks", async || site.watch.running_exactly(&WANTED))
        .await;
    // Who asked is told by the one who was asked.
    let audit = leader.api.json("/api/v2/audit").await;
    let entries = audit["items"].as_array().unwrap();
    let named = |entry: &&Value| entry["address"] == "127.0.0.1 via 127.0.0.1";
    assert!(entries.iter().any(|entry| named(&entry)), "{audit}");

    // Event streams are for the leader.
    let answer = get(&other.api.base, "/api/v2/events").await;
    assert_eq!(answer.status(), 307);
    let location = format!("{}/api/v2/events", leader.api.base);
    assert_eq!(answer.headers()["location"], location.as_str());

    // One hop and no more.
    let request = client
        .put(format!("{}/api/v2/workloads/web/scale", other.api.base))
        .header("X-Gantry-Forwarded-By", "somebody")
        .json(&json!({"instances": 5}));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(site.watch.running_exactly(&WANTED).unwrap().len(), 3);
}

async fn leader_put(leader: &super::site::Gantry, path: &str) -> u16 {
    let request = reqwest::Client::new().put(format!("{}{path}", leader.api.base));
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_hands_over_at_once_and_no_write_is_refused() {
    let mut declared = DECLARED.to_vec();
    declared.push(("ZK_SESSION_TIMEOUT", "10s"));
    let Some(mut site) = Site::start(1, 2, &declared).await else {
        return;
    };
    site.runs(&WANTED).await;
    let mut took = Vec::new();
    for _ in 0..3 {
        let leader = site.leader().await;
        let stand_by = site.stand_by().await;
        site.until("the stand-by to be well", async || {
            (site.gantries[stand_by].api.health().await? == 200).then_some(())
        })
        .await;
        let base = site.gantries[stand_by].api.base.clone();
        let operators = Operators::new(&site, &[("web", 3)], 1);
        let watch = site.watch.clone();
        let (told, stop) = tokio::sync::oneshot::channel::<()>();
        let writing = async {
            let mut stop = stop;
            let mut count = 0;
            loop {
                count += 1;
                let wanted = 3 + count % 2;
                let taken = operators.scale(&watch, &base, "web", wanted).await;
                let refused = operators.counts().refused;
                assert_eq!(refused, 0, "a write was refused");
                if taken && wanted == 3 && stop.try_recv().is_ok() {
                    return count;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        let changing = async {
            let begun = Instant::now();
            let signal = jiff::Timestamp::now().as_millisecond();
            let calls = site.watch.calls().len();
            site.gantries[leader].stop().await;
            let ended = begun.elapsed();
            let number = calls;
            let subscribed = site
                .until("the successor to act", async || {
                    let calls = site.watch.calls();
                    calls[number..]
                        .iter()
                        .rfind(|call| call.call == "SUBSCRIBE")
                        .cloned()
                })
                .await;
            let before: Vec<Call> = site.watch.calls();
            let last = before.iter().rfind(|call| call.number < subscribed.number);
            let between = subscribed.at - last.unwrap().at;
            told.send(()).unwrap();
            let after = i64::try_from(subscribed.at).unwrap() - signal;
            (u64::try_from(after).unwrap_or(0), between, ended)
        };
        let (count, (after, between, ended)) = tokio::join!(writing, changing);
        println!(
            "the successor subscribed {after} ms after SIGTERM and {between} ms after the last call, \
             the process ended after {ended:?}; {count} writes meanwhile"
        );
        took.push(Duration::from_millis(after));
        site.until("three tasks", async || site.watch.running_exactly(&WANTED))
            .await;
        site.gantries[leader].start();
    }
    // The machine may be busy with something else once or twice; nobody waited for the end of a session.
    took.sort();
    assert!(took[0] < Duration::from_secs(1), "{took:?}");
    assert!(took[2] < SESSION, "{took:?}");
    let acting = acting(&site.watch.calls(), site.lives());
    assert!(
        acting.wrong.is_empty() && acting.late.is_empty(),
        "{acting:?}"
    );
    assert_eq!(acting.terms.len(), 4);
}
