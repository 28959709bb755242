//! What the boilerplate left on ZooKeeper and on the cluster is taken over as it runs.

use std::collections::BTreeMap;

use gantry_core::IdGenerator;
use gantry_mesos::{
    scheduler::{
        CallSender, Epoch, EventStream, SchedulerConfig, SchedulerEvent, Subscription, connect,
    },
    v1::{
        CommandInfo, FrameworkInfo, Offer, Resource, TaskInfo, TaskState, TaskStatus,
        offer::Operation,
        scheduler::{Call, Event},
        value::{self, Range, Ranges, Scalar},
    },
};
use gantry_testbed::soon;
use serde_json::{Value, json};
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode};

use super::{
    site::{FRAMEWORK, Site},
    upgrade::relaunch,
};

const COMMAND: &str = "exec sleep 100000";

const DECLARED: [(&str, &str); 12] = [
    ("TASK_DEF_NUM", "2"),
    ("TASK0_NAME", "web"),
    ("TASK0_NUM_INSTANCES", "2"),
    ("TASK0_CMD", COMMAND),
    ("TASK0_CPUS", "0.1"),
    ("TASK0_MEM", "32"),
    ("TASK0_PORT_NUM", "1"),
    ("TASK1_NAME", "a/worker"),
    ("TASK1_NUM_INSTANCES", "2"),
    ("TASK1_CMD", COMMAND),
    ("TASK1_CPUS", "0.1"),
    ("TASK1_MEM", "32"),
];

/// The boilerplate, as far as a cluster and ZooKeeper can tell.
struct Original {
    calls: CallSender,
    events: EventStream,
    epoch: Epoch,
    framework: String,
    _subscription: watch::Sender<Subscription>,
}

/// A task of the original.
struct Launched {
    name: String,
    hostname: String,
    ip: String,
    port: Option<u64>,
    /// Its last one.
    status: Option<TaskStatus>,
}

impl Original {
    async fn subscribe(master: &str) -> Self {
        // No roles, no capabilities, no checkpoints.
        let info = FrameworkInfo {
            user: "root".to_owned(),
            name: FRAMEWORK.to_owned(),
            failover_timeout: Some(604_800.0),
            ..FrameworkInfo::default()
        };
        let (subscription, watched) = watch::channel(Subscription::new(info));
        let config = SchedulerConfig::new(master.parse().unwrap());
        let (calls, mut events) = connect(config, watched).unwrap();
        let subscribed = soon("the subscription", async {
            loop {
                if let Some(SchedulerEvent::Subscribed(subscribed)) = events.next().await {
                    return subscribed;
                }
            }
        })
        .await;
        Self {
            calls,
            events,
            epoch: subscribed.epoch,
            framework: subscribed.framework_id.value.clone(),
            _subscription: subscription,
        }
    }

    async fn event(&mut self) -> Event {
        soon("an event", async {
            loop {
                match self.events.next().await.expect("a client") {
                    SchedulerEvent::Event { event, .. } => return *event,
                    SchedulerEvent::Call(report) => panic!("{report:?}"),
                    _ => {}
                }
            }
        })
        .await
    }

    /// Launches these, all on one agent, and waits until they run.
    async fn launch(&mut self, instances: &[(&str, bool)]) -> BTreeMap<String, Launched> {
        let offer = loop {
            if let Some(offers) = self.event().await.offers {
                break offers.offers.into_iter().next().expect("an offer");
            }
        };
        let mut dice = IdGenerator::new([1, 2, 3, 4]);
        let mut launched = BTreeMap::new();
        let mut tasks = Vec::new();
        let mut ports = ports(&offer);
        for (name, with_port) in instances {
            let in_id = name.replace('/', "_");
            let id = format!("{FRAMEWORK}.{in_id}.{}", dice.uuid());
            let port = with_port.then(|| ports.next().expect("a port"));
            let mut resources = vec![scalar("cpus", 0.1), scalar("mem", 32.0)];
            resources.extend(port.map(|port| Resource {
                ranges: Some(Ranges {
                    range: vec![Range {
                        begin: port,
                        end: port,
                    }],
                }),
                ..resource("ports", value::Type::Ranges)
            }));
            tasks.push(TaskInfo {
                // Without its number, as the original was told to.
                name: in_id.rsplit_once('-').unwrap().0.to_owned(),
                task_id: id.clone().into(),
                agent_id: offer.agent_id.clone(),
                resources,
                command: Some(CommandInfo {
                    value: Some(COMMAND.to_owned()),
                    ..CommandInfo::default()
                }),
                ..TaskInfo::default()
            });
            let url = offer.url.as_ref().unwrap();
            launched.insert(
                id,
                Launched {
                    name: (*name).to_owned(),
                    hostname: offer.hostname.clone(),
                    ip: url.address.ip.clone().unwrap(),
                    port,
                    status: None,
                },
            );
        }
        let operations = vec![Operation::launch_tasks(tasks)];
        let accept = Call::accept_offers(vec![offer.id], operations, None);
        self.calls.send(self.epoch, accept).await.unwrap();
        let runs = |task: &Launched| {
            let status = task.status.as_ref();
            status.is_some_and(|status| status.state() == TaskState::TaskRunning)
        };
        while !launched.values().all(runs) {
            let Some(update) = self.event().await.update else {
                continue;
            };
            let status = update.status;
            if let Some(acknowledgement) = Call::acknowledge_status(&status) {
                self.calls.send(self.epoch, acknowledgement).await.unwrap();
            }
            let task = launched.get_mut(&status.task_id.value).unwrap();
            task.status = Some(status);
        }
        self.calls.flush().await.unwrap();
        launched
    }
}

fn ports(offer: &Offer) -> impl Iterator<Item = u64> + use<> {
    let ports = offer
        .resources
        .iter()
        .find(|resource| resource.name == "ports");
    let ranges = ports.and_then(|ports| ports.ranges.clone()).unwrap();
    ranges
        .range
        .into_iter()
        .flat_map(|range| range.begin..=range.end)
}

fn resource(name: &str, r#type: value::Type) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: r#type.into(),
        ..Resource::default()
    }
}

fn scalar(name: &str, value: f64) -> Resource {
    Resource {
        scalar: Some(Scalar { value }),
        ..resource(name, value::Type::Scalar)
    }
}

/// What the original keeps of a task that runs.
fn node(id: &str, task: &Launched) -> Value {
    let status = task.status.as_ref().unwrap();
    let mut network = json!({"hostname": task.hostname, "ip": task.ip});
    if let Some(port) = task.port {
        network["ports"] = json!([port]);
    }
    json!({
        "name": task.name,
        "taskId": id,
        "mesosName": task.name.rsplit_once('-').unwrap().0.replace('/', "_"),
        "priority": 1,
        "allowScaling": true,
        "isSubmitted": true,
        "commandInfo": {"environment": {"variables": [{"name": "HOST", "value": task.ip}]}, "shell": false},
        "containerInfo": {"type": 1, "docker": {"image": "alpine", "network": 1, "force_pull_image": true}},
        "resources": {"cpus": 0.1, "mem": 32, "ports": u8::from(task.port.is_some()), "disk": 0, "staticPorts": null},
        "healthCheck": null,
        "noColocation": false,
        "labels": null,
        "runtimeInfo": {
            "agentId": status.agent_id.as_ref().unwrap().value,
            "executorId": id,
            "state": "TASK_RUNNING",
            "startTime": 1_500_000_000_000u64,
            "network": network,
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_the_original_are_adopted_and_not_started_again() {
    let Some(mut site) = Site::start(1, 2, &DECLARED).await else {
        return;
    };
    // It ran three tasks, of which two are recorded by their own names; it wrote of one that has
    // died since, and left an empty node behind.
    site.watch.may_run("web", 2);
    site.watch.may_run("a_worker", 2);
    let mut original = Original::subscribe(&site.local.master).await;
    let instances = [("web-1", true), ("web-2", true), ("a/worker-1", false)];
    let launched = original.launch(&instances).await;
    let framework = original.framework.clone();

    let client = Client::connect(&site.ensemble.connect_string())
        .await
        .unwrap();
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let root = format!("/dcos-service-{FRAMEWORK}");
    let put = async |path: &str, data: &[u8]| {
        client
            .create(&format!("{root}{path}"), data, &open)
            .await
            .unwrap();
    };
    put("", b"").await;
    put("/framework-id", framework.as_bytes()).await;
    put("/tasks", b"").await;
    for (id, task) in &launched {
        put(
            &format!("/tasks/{id}"),
            node(id, task).to_string().as_bytes(),
        )
        .await;
    }
    let dead = format!("{FRAMEWORK}.a_worker-2.{}", IdGenerator::new([9; 4]).uuid());
    let any = launched.values().next().unwrap();
    let mut stale = node(&dead, any);
    stale["name"] = json!("a/worker-2");
    stale["runtimeInfo"]["network"] = json!({"hostname": any.hostname, "ip": any.ip});
    put(&format!("/tasks/{dead}"), stale.to_string().as_bytes()).await;
    put(
        &format!("/tasks/{FRAMEWORK}.web-2.00000000-0000-4000-8000-000000000000"),
        b"",
    )
    .await;
    drop(original);

    // Three run on, the fourth is started.
    let before: BTreeMap<String, String> = launched
        .iter()
        .map(|(id, task)| (task.name.replace('/', "_"), id.clone()))
        .collect();
    let after = site.runs(&[("a_worker", 2), ("web", 2)]).await;
    assert!(
        before.iter().all(|(name, id)| after[name] == *id),
        "{after:?}"
    );
    assert_ne!(after["a_worker-2"], dead);
    assert_eq!(site.watch.launched(), (4, 0));
    let leader = site.leader().await;
    let api = &site.gantries[leader].api;
    let by_gantry = site
        .until("Gantry to know them all", async || {
            let running = api.running().await;
            (running.len() == 4).then_some(running)
        })
        .await;
    assert!(by_gantry.values().eq(after.values()), "{by_gantry:?}");
    let overview = api.json("/api/v2/overview").await;
    assert_eq!(overview["framework"]["id"], framework);
    // Where it was and which port it has is known too.
    let entries = api.json("/api/v1/tasks/launched").await;
    for (id, task) in &launched {
        let entries = entries.as_array().unwrap();
        let entry = entries.iter().find(|entry| entry["taskId"] == *id).unwrap();
        let network = &entry["runtimeInfo"]["network"];
        assert_eq!(network["hostname"], task.hostname);
        assert_eq!(network["ports"][0].as_u64(), task.port);
    }
    // Nothing of the original is left to be taken over twice.
    let left = client.list_children(&root).await.unwrap();
    assert!(!left.contains(&"tasks".to_owned()), "{left:?}");

    // A successor finds the same; and what was adopted obeys.
    let first = leader;
    site.gantries[first].stop().await;
    let leader = site.leader().await;
    site.until("the successor to know them", async || {
        (site.gantries[leader].api.running().await == by_gantry).then_some(())
    })
    .await;
    assert_eq!(
        site.watch.running_exactly(&[("a_worker", 2), ("web", 2)]),
        Some(after.clone())
    );
    assert_eq!(site.gantries[leader].api.scale("web", 1).await, Some(true));
    let fewer = site
        .until("the end of one", async || {
            site.watch.running_exactly(&[("a_worker", 2), ("web", 1)])
        })
        .await;
    assert_eq!(fewer["web-1"], before["web-1"]);
    assert_eq!(site.watch.launched(), (4, 0));

    // And it is replaced when its declaration changes.
    site.gantries[first].start();
    site.until("it to stand by", async || {
        (site.gantries[first].api.health().await? == 200).then_some(())
    })
    .await;
    site.watch.may_replace([("web".to_owned(), 1)]);
    relaunch(&mut site, &[("TASK0_CMD", "exec sleep 99999")]).await;
    let updated = site
        .until("the update", async || {
            let running = site.watch.running_exactly(&[("a_worker", 2), ("web", 1)])?;
            (running["web-1"] != before["web-1"]).then_some(running)
        })
        .await;
    assert_eq!(updated["a_worker-1"], before["a_worker-1"]);
    assert_eq!(
        site.local
            .frameworks()
            .await
            .into_iter()
            .collect::<Vec<_>>(),
        [framework]
    );
}
