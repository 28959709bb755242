//! What modules have a say in.

use gantry_core::{AddedEnvironment, Question, TaskState, Verdict, Workloads};

use super::*;
use crate::runtime::{CommandError, Questions};

async fn next(questions: &mut Questions) -> Question {
    let question = timeout(WITHIN, questions.next()).await;
    question.expect("a question within the time").expect("one")
}

fn admitted() -> Verdict {
    Verdict::Admitted {
        environment: AddedEnvironment::default(),
    }
}

#[tokio::test]
async fn modules_are_asked_and_may_go_at_any_time() {
    let store = Memory::new();
    let shown = handle("me", |_| None);
    shown.need_admission(true);
    let mut earlier = shown.questions();
    let mut questions = shown.questions();
    assert!(earlier.next().await.is_none(), "there is one at a time");
    let loops = |shown: &Handle| {
        let (settings, services) = (Settings::new("fw"), vec![web(3)]);
        let store: Arc<dyn Store> = Arc::new(store.clone());
        Loops::start(
            settings,
            services,
            store,
            gantry_core::Found::default(),
            shown.shared(),
        )
    };
    let mut first = loops(&shown);
    first.subscribe().await;
    let asked = [
        next(&mut questions).await,
        next(&mut questions).await,
        next(&mut questions).await,
    ];
    assert_eq!(asked.clone().map(|question| question.number), [1, 2, 3]);
    shown.admit(&asked[1], admitted()).await.unwrap();
    first.hear(offer("O1")).await;
    assert_eq!(first.launches().await, 1);
    shown.need_admission(false);
    first.hear(offer("O2")).await;
    assert_eq!(first.launches().await, 2);

    // Nothing is left of a term but what modules need.
    shown.need_admission(true);
    shown.need_readiness(Workloads::All);
    first.stop.cancel();
    first.driver.await.unwrap();
    first.committer.await.unwrap().unwrap();
    shown
        .shared()
        .close(ConnectionState::StandBy, "it ended".to_owned());
    let refused = shown.admit(&asked[0], admitted()).await;
    assert!(matches!(refused, Err(CommandError::StandBy { .. })));
    let second = loops(&shown);
    let view = shown.view();
    assert!(view.workloads[0].needs_readiness);
    assert_eq!(view.workloads[0].counts.admitting, 3);
    second.subscribe().await;
    shown.admit(&asked[0], admitted()).await.unwrap(); // Of the term before.
    let mut asked = next(&mut questions).await;
    while asked.number != 3 {
        asked = next(&mut questions).await;
    }
    assert_eq!(shown.view().workloads[0].counts.admitting, 3);
}

#[tokio::test]
async fn what_modules_report_is_seen() {
    let store = Memory::new();
    let (handle, loops) = start(&store, 1).await;
    handle.need_readiness(Workloads::All);
    loops.subscribe().await;
    loops.hear(offer("O1")).await;
    let task = |handle: &Handle| {
        let view = handle.view();
        let workload = &view.workloads[0];
        let (number, task) = workload.tasks().next()?;
        Some((workload.task_id("fw", number, task), task.clone()))
    };
    until("a task", || task(&handle).is_some()).await;
    let (id, launched) = task(&handle).unwrap();
    loops
        .hear(MesosEvent::Status(gantry_core::StatusUpdate {
            task: id.clone(),
            agent: Some(launched.agent.id.clone()),
            state: TaskState::Running,
            uuid: None,
            reason: None,
            message: None,
            healthy: None,
        }))
        .await;
    let counts = |handle: &Handle| handle.view().workloads[0].counts;
    until("a running task", || counts(&handle).running == 1).await;
    assert_eq!(counts(&handle).ready, 0);
    handle.report_readiness(id, true).await.unwrap();
    until("a ready task", || counts(&handle).ready == 1).await;
}
