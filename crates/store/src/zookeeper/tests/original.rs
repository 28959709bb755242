//! What the original left is taken over.

use std::sync::Arc;

use gantry_core::{
    AgentAddress, FrameworkId, FrameworkRecord, Goal, Key, Record, TaskId, TaskRecord, TaskState,
    Timestamp, Uuid, WorkloadName, Write,
};

use super::support::{Ensemble, Place, put, records, soon};

fn task(name: &str, uuid: &str, state: &str) -> (String, String) {
    let id = format!("test.{name}.0f8fad5b-d9cb-469f-a165-{uuid}");
    let json = format!(
        r#"{{"name":"{name}","taskId":"{id}","priority":1,"isSubmitted":true,
            "runtimeInfo":{{"agentId":"S1","executorId":"x","state":"{state}","startTime":1500000000000,
            "network":{{"hostname":"node-1","ip":"10.0.0.9","ports":[31500,31501]}}}}}}"#
    );
    (id, json)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_id_of_the_original_are_taken_over_once() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    let layout = place.layout();
    put(&client, &layout.framework_id(), b"c97ad2d8-0000").await;
    let tasks = layout.original_tasks();
    let running: Vec<_> = (1..=700)
        .map(|number| {
            task(
                &format!("web-{number}"),
                &format!("{number:012}"),
                "TASK_RUNNING",
            )
        })
        .collect();
    for (id, json) in &running {
        put(&client, &format!("{tasks}/{id}"), json.as_bytes()).await;
    }
    let (ended, json) = task("web-1", "ffffffffffff", "TASK_FAILED");
    put(&client, &format!("{tasks}/{ended}"), json.as_bytes()).await;
    put(&client, &format!("{tasks}/unfilled"), b"").await;
    put(&client, &format!("{tasks}/nonsense"), b"{}").await;

    // Whoever only looks sees them and changes nothing.
    let process = place.process();
    let seen = process.read().await.expect("a load");
    assert_eq!(seen.records.len(), 701);
    assert_eq!(
        client.list_children(&tasks).await.map(|names| names.len()),
        Ok(703)
    );

    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.records, seen.records);
    let [rejected] = &loaded.rejected[..] else {
        panic!("{:?}", loaded.rejected);
    };
    assert_eq!(rejected.key, format!("{tasks}/nonsense"));
    assert_eq!(
        client.list_children(&tasks).await,
        Ok(vec!["nonsense".to_owned()])
    );
    for record in &loaded.records {
        match record {
            Record::Framework(record) => assert_eq!(record.id, FrameworkId::new("c97ad2d8-0000")),
            Record::Task(task) => {
                assert_eq!((task.state, task.goal), (TaskState::Running, Goal::Run));
                assert_eq!((task.revision, task.workload.as_str()), (0, "web"));
                assert!(running.iter().any(|(id, _)| *id == task.id.as_str()));
            }
            other => panic!("{other:?}"),
        }
    }
    drop(store);

    // From now on they are ours.
    client
        .delete(&format!("{tasks}/nonsense"), None)
        .await
        .expect("it was there");
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    assert_eq!(records(&*store).await, super::support::sorted(seen.records));
    let (plain, _) = client
        .get_data(&layout.framework_id())
        .await
        .expect("the id");
    assert_eq!(plain, b"c97ad2d8-0000");

    // Two opinions on who we are: neither is guessed to be right.
    put(&client, &layout.framework_id(), b"another").await;
    let error = process.read().await.expect_err("a contradiction");
    assert!(error.to_string().contains("another"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_never_written_is_none_as_long_as_there_are_no_tasks() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    let place = Place::new(ensemble.hosts());
    let client = place.client().await;
    let layout = place.layout();
    put(&client, &layout.framework_id(), b"").await;
    let tasks = layout.original_tasks();
    let (id, json) = task("web-1", "000000000001", "TASK_RUNNING");
    let node = format!("{tasks}/{id}");
    put(&client, &node, json.as_bytes()).await;

    // Whose task is it?
    let process = place.process();
    let error = process.read().await.expect_err("an id is missing");
    assert!(error.to_string().contains("framework-id"), "{error}");
    put(&client, &node, b"{}").await;
    process.read().await.expect_err("an id is missing");

    client.delete(&node, None).await.expect("it was there");
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    assert_eq!(store.load().await.expect("a load").records, []);
    let framework = Record::Framework(FrameworkRecord {
        id: FrameworkId::new("c97ad2d8-0000"),
        registered_at: Timestamp::from_millis(1),
    });
    let batch = vec![Write::Put(framework.clone())];
    store.commit(batch).await.expect("a commit");
    let (plain, _) = client.get_data(&layout.framework_id()).await.expect("it");
    assert_eq!(plain, b"c97ad2d8-0000");
    drop(store);

    // One that cannot be read is known by its name, until it was taken over otherwise.
    put(&client, &node, b"{}").await;
    let store = soon("an election", process.campaign())
        .await
        .expect("a term");
    let loaded = store.load().await.expect("a load");
    assert_eq!(
        loaded.rejected[0].of,
        Some(Key::Task(TaskId::new(id.as_str())))
    );
    let record = Record::Task(TaskRecord {
        id: TaskId::new(id),
        workload: WorkloadName::new("web"),
        number: 1,
        uuid: Uuid::from_bits(1),
        revision: 1,
        agent: Arc::new(AgentAddress::unknown()),
        ports: Default::default(),
        state: TaskState::Running,
        goal: Goal::Run,
        launched_at: Timestamp::from_millis(1),
        started_at: None,
        running_at: None,
    });
    let batch = vec![Write::Put(record.clone())];
    store.commit(batch).await.expect("a commit");
    assert_eq!(
        records(&*store).await,
        super::support::sorted(vec![framework, record])
    );
    drop(store);
}
