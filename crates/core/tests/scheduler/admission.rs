//! Modules are asked before instances are launched.

use std::time::Duration;

use gantry_core::*;
use proptest::prelude::*;

use crate::bench::*;

const SECOND: Duration = Duration::from_secs(1);

/// Subscribed, with admission needed.
fn asking(services: Vec<ServiceSpec>) -> Bench {
    let mut settings = Settings::new(FRAMEWORK);
    settings.admission = true;
    let mut bench = Bench::with_settings(services, settings);
    bench.subscribe();
    bench.forget_calls();
    bench
}

/// Offers room for everything, and takes the launches, also those on offers that were held.
fn launch(bench: &mut Bench) -> Vec<Launch> {
    let host = agent("b", &[]);
    bench.offer(&[&host], 5_000.0);
    bench.all_sent().0
}

fn veto(bench: &Bench, number: u32) -> Option<Veto> {
    match bench.instance("web", number).waiting {
        Some(Waiting::Admission { refused, .. }) => refused.map(|veto| Veto::clone(&veto)),
        _ => None,
    }
}

fn counts(bench: &Bench) -> (u32, u32) {
    let counts = bench.workload("web").counts;
    (counts.admitting, counts.waiting)
}

#[test]
fn nothing_is_launched_before_it_is_admitted_and_an_admission_is_used_once() {
    let mut bench = asking(vec![service("web", 2)]);
    let asked = bench.asked();
    let about: Vec<_> = asked.iter().map(|one| (one.number, one.revision)).collect();
    assert_eq!(about, [(1, 1), (2, 1)]);
    assert_eq!(counts(&bench), (2, 0));
    assert!(launch(&mut bench).is_empty());

    let added = AddedEnvironment::new(vec![("COLOUR".into(), "blue".into())]).unwrap();
    let environment = added.clone();
    bench.answer(&asked[1], Verdict::Admitted { environment });
    assert_eq!(bench.workload("web").counts.admitting, 1);
    let launched = launch(&mut bench);
    assert_eq!(launched.len(), 1);
    assert_eq!(&*launched[0].instance, "web-2");
    assert_eq!(launched[0].environment, added);
    // A second answer is about nothing.
    bench.admit(&asked[1]);
    assert_eq!(counts(&bench), (1, 0));

    bench.tell(&launched[0].task, TaskState::Failed);
    bench.advance(bench.services[0].back_off.initial);
    let again = bench.asked_one();
    assert_eq!(again.number, 2);
    assert!(again.asked > asked[1].asked);
    assert!(launch(&mut bench).is_empty());
    bench.admit(&again);
    bench.admit(&asked[0]);
    assert_eq!(launch(&mut bench).len(), 2);
}

#[test]
fn one_that_is_refused_is_asked_about_again_when_the_module_said() {
    let mut bench = asking(vec![service("web", 1)]);
    let first = bench.asked_one();
    bench.refuse(&first, 60);
    let stands = veto(&bench, 1).unwrap();
    assert_eq!(&*stands.module, "guard");
    assert_eq!(&*stands.reason, "the database is being moved");
    assert_eq!(
        (stands.at, stands.until),
        (bench.now, bench.now + 60 * SECOND)
    );
    bench.admit(&first); // It has been answered.
    bench.advance(59 * SECOND);
    assert!(bench.asked().is_empty() && launch(&mut bench).is_empty());
    bench.advance(SECOND);
    let second = bench.asked_one();
    assert!(veto(&bench, 1).is_some(), "shown until the next answer");
    bench.refuse(&second, 0);
    bench.advance(SECOND);
    let third = bench.asked_one(); // No more often than once a second,
    bench.refuse(&third, 1_000_000);
    bench.advance(*REFUSED_FOR.end()); // and no less often than once an hour.
    let fourth = bench.asked_one();
    bench.admit(&fourth);
    assert_eq!(launch(&mut bench).len(), 1);
}

#[test]
fn what_is_not_answered_is_asked_again_and_a_late_answer_counts() {
    let mut bench = asking(vec![service("web", 1)]);
    let first = bench.asked_one();
    bench.advance(ASK_AGAIN_AFTER - SECOND);
    assert!(bench.asked().is_empty());
    bench.advance(SECOND);
    assert_eq!(bench.asked_one(), first);
    bench.advance(ASK_AGAIN_AFTER * 3);
    assert_eq!(bench.asked(), vec![first.clone(); 3]);
    assert!(launch(&mut bench).is_empty());
    bench.admit(&first);
    assert_eq!(launch(&mut bench).len(), 1);
    bench.advance(ASK_AGAIN_AFTER * 3);
    assert!(bench.asked().is_empty());
}

#[test]
fn without_modules_everything_goes_on() {
    let mut bench = asking(vec![service("web", 3)]);
    let asked = bench.asked();
    bench.refuse(&asked[0], 60);
    bench.admit(&asked[1]);
    bench.need_admission(false);
    assert_eq!(counts(&bench), (0, 3));
    assert_eq!(launch(&mut bench).len(), 3);
    bench.admit(&asked[2]); // About nothing.

    // And back: what waits is asked about, what runs is left alone.
    bench.scale("web", 4).unwrap();
    bench.need_admission(true);
    assert_eq!(bench.asked_one().number, 4);
    assert_eq!(counts(&bench), (1, 0));
}

#[test]
fn an_answer_about_an_instance_that_went_is_void() {
    let mut bench = asking(vec![service("web", 2)]);
    let asked = bench.asked();
    bench.admit(&asked[0]);
    bench.scale("web", 0).unwrap();
    bench.admit(&asked[1]);
    bench.scale("web", 2).unwrap();
    let anew = bench.asked();
    assert_eq!(anew.len(), 2);
    for (old, new) in asked.iter().zip(&anew) {
        assert_ne!(old.asked, new.asked);
        bench.admit(old);
    }
    assert_eq!(counts(&bench), (2, 0));
    // An instance that nobody knows, and a workload.
    for (workload, number) in [("web", 7), ("other", 1), ("we", 1)] {
        bench.admit(&Question {
            workload: WorkloadName::new(workload),
            number,
            revision: 1,
            asked: anew[0].asked,
        });
    }
    assert_eq!(counts(&bench), (2, 0));
}

#[test]
fn another_revision_is_asked_about_anew() {
    let mut web = service("web", 3);
    web.update.parallelism = 3;
    web.update.min_healthy = Some(Share::Count(0));
    web.update.order = UpdateOrder::StopFirst;
    let mut settings = Settings::new(FRAMEWORK);
    settings.admission = true;
    let mut bench = Bench::with_settings(vec![web], settings);
    bench.subscribe();
    for question in bench.asked() {
        bench.admit(&question);
    }
    let launched = launch(&mut bench);
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.advance(60 * SECOND);
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    bench.restart();
    bench.subscribe();
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.forget_calls();
    bench.advance(6 * SECOND);
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Killed);
    }
    let asked = bench.asked();
    assert!(asked.iter().all(|one| one.revision == 2), "{asked:?}");
    let [first, second, third] = &asked[..] else {
        panic!("{asked:?}");
    };
    bench.admit(first);
    bench.refuse(second, 3600);
    let view = bench.scheduler.view();
    let update = view.deployments.last().unwrap().id;
    bench.command(Command::PauseDeployment(update)).unwrap();
    let anew = bench.asked();
    assert_eq!(anew.len(), 3, "{anew:?}");
    assert!(anew.iter().all(|one| one.revision == 1));
    assert_eq!(veto(&bench, second.number), None);
    for old in [first, second, third] {
        bench.admit(old);
    }
    assert_eq!(counts(&bench), (3, 0));
    for question in &anew {
        bench.admit(question);
    }
    assert_eq!(launch(&mut bench).len(), 3);
}

#[test]
fn a_restart_needs_it_too_and_keeps_the_old_task_when_it_is_refused() {
    let mut bench = asking(vec![service("web", 1)]);
    let question = bench.asked_one();
    bench.admit(&question);
    let old = launch(&mut bench).remove(0).task;
    bench.tell(&old, TaskState::Running);
    bench.advance(60 * SECOND);
    let name = WorkloadName::new("web");
    let workload = Some(name);
    bench.command(Command::RollingRestart { workload }).unwrap();
    let question = bench.asked_one();
    bench.refuse(&question, 3600);
    assert!(launch(&mut bench).is_empty());
    bench.advance(bench.settings.replace_deadline);
    let view = bench.scheduler.view();
    let DeploymentStatus::Failed { reason, .. } = &view.deployments[0].status else {
        panic!("{:?}", view.deployments);
    };
    assert!(
        reason.ends_with("in time: the module `guard` refused it: the database is being moved"),
        "{reason}"
    );
    let instance = bench.instance("web", 1);
    assert_eq!((instance.tasks.len(), instance.waiting), (1, None));
    assert_eq!(instance.tasks[0].goal, Goal::Run);
    bench.nothing_else();
}

#[test]
fn whoever_leads_next_asks_anew() {
    let mut bench = asking(vec![service("web", 2)]);
    let asked = bench.asked();
    bench.admit(&asked[0]);
    bench.refuse(&asked[1], 3600);
    bench.advance(SECOND);
    bench.restart();
    assert!(bench.asked().is_empty(), "not before it is subscribed");
    bench.subscribe();
    // Perhaps they run already.
    assert!(bench.asked().is_empty());
    bench.advance(3 * SECOND);
    let anew = bench.asked();
    assert_eq!(anew.len(), 2);
    for old in &asked {
        bench.admit(old);
    }
    assert!(launch(&mut bench).is_empty());
    for question in &anew {
        bench.admit(question);
    }
    assert_eq!(launch(&mut bench).len(), 2);
}

#[test]
fn the_brake_voids_what_was_admitted_before() {
    let mut bench = asking(vec![service("web", 10)]);
    for question in bench.asked() {
        bench.admit(&question);
    }
    let launched = launch(&mut bench);
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.advance(120 * SECOND);
    bench.tell(&launched[0].task, TaskState::Lost);
    bench.advance(bench.services[0].back_off.initial);
    let question = bench.asked_one();
    bench.admit(&question);
    for launch in &launched[1..] {
        bench.tell(&launch.task, TaskState::Gone);
    }
    assert!(bench.scheduler.view().brake.is_some());
    assert_eq!(bench.workload("web").counts.braked, 10);
    bench.asked();
    bench.command(Command::ReleaseBrake).unwrap();
    bench.advance(60 * SECOND);
    let mut numbers: Vec<_> = bench.asked().iter().map(|one| one.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, (1..=10).collect::<Vec<_>>());
    assert!(launch(&mut bench).is_empty());
}

#[test]
fn so_many_questions_are_open_at_once() {
    let mut first = service("first", 3_000);
    first.priority = 0;
    let mut bench = asking(vec![service("web", 5), first]);
    let asked = bench.asked();
    assert_eq!(asked.len(), QUESTIONS_MAX);
    assert!(asked.iter().all(|one| one.workload.as_str() == "first"));
    bench.refuse(&asked[0], 3600);
    bench.admit(&asked[1]);
    let next = bench.asked();
    assert_eq!(next.len(), 2);

    // Better priority is launched first, so that it is asked about first.
    assert_eq!(
        bench.workload("web").waits_for,
        Some(WorkloadName::new("first"))
    );
    for question in asked[2..].iter().chain(&next) {
        bench.admit(question);
    }
    for question in bench.asked() {
        bench.admit(&question);
    }
    // Of what is admitted and cannot be launched there is enough.
    let more = bench.asked().len();
    assert!(more < 100, "{more}");
    let mut launched = 0;
    while launched < 2_999 {
        for question in bench.asked() {
            bench.admit(&question);
        }
        let host = agent(&format!("host-{launched}"), &[]);
        bench.offer(&[&host], 5_000.0);
        let some = bench.all_sent().0;
        assert!(!some.is_empty(), "after {launched}");
        launched += some.len();
        for launch in some {
            bench.tell(&launch.task, TaskState::Running);
        }
    }
    // A refused one holds nobody else up.
    let asked = bench.asked();
    assert_eq!(asked.len(), 5, "{asked:?}");
    assert!(asked.iter().all(|one| one.workload.as_str() == "web"));
}

/// Something that happens to a scheduler that asks.
#[derive(Clone, Debug)]
enum Happens {
    Admit(u8),
    Refuse(u8, u16),
    /// An answer to a question of long ago.
    AnswerOld(u8),
    Offer(u8),
    Run(u8),
    End(u8, bool),
    Scale(u8),
    Restart(u8),
    Wait(u16),
    Needed(bool),
    Crash,
    Disconnect,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        6 => any::<u8>().prop_map(Happens::Admit),
        2 => (any::<u8>(), any::<u16>()).prop_map(|(which, for_)| Happens::Refuse(which, for_ % 90)),
        2 => any::<u8>().prop_map(Happens::AnswerOld),
        4 => (0..8_u8).prop_map(Happens::Offer),
        4 => any::<u8>().prop_map(Happens::Run),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, lost)| Happens::End(which, lost)),
        1 => (0..12_u8).prop_map(Happens::Scale),
        1 => any::<u8>().prop_map(Happens::Restart),
        3 => any::<u16>().prop_map(|wait| Happens::Wait(wait % 20_000)),
        1 => any::<bool>().prop_map(Happens::Needed),
        1 => Just(Happens::Crash),
        1 => Just(Happens::Disconnect),
    ]
}

fn pick<T>(of: &[T], which: u8) -> Option<&T> {
    of.get(usize::from(which) % of.len().max(1))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// The bench proves that every launch uses an admission of its own, and the scheduler its books;
    /// and whatever has happened, with modules that answer everything runs in the end.
    #[test]
    fn whatever_happens_launches_are_admitted_one_by_one(
        story in proptest::collection::vec(happens(), 0..60),
    ) {
        let mut settings = Settings::new(FRAMEWORK);
        settings.admission = true;
        settings.brake = None;
        let mut bench = Bench::with_settings(vec![service("web", 4), service("db", 2)], settings);
        bench.subscribe();
        let mut open: Vec<Question> = Vec::new();
        let mut old: Vec<Question> = Vec::new();
        let (mut tasks, mut doomed): (Vec<TaskId>, Vec<TaskId>) = Default::default();
        for one in story {
            open.extend(bench.asked());
            match one {
                Happens::Admit(which) => {
                    if let Some(question) = pick(&open, which).cloned() {
                        open.retain(|other| *other != question);
                        bench.admit(&question);
                        old.push(question);
                    }
                }
                Happens::Refuse(which, seconds) => {
                    if let Some(question) = pick(&open, which).cloned() {
                        open.retain(|other| *other != question);
                        bench.refuse(&question, seconds.into());
                        old.push(question);
                    }
                }
                Happens::AnswerOld(which) => {
                    if let Some(question) = pick(&old, which).cloned() {
                        let before = bench.workload(question.workload.as_str()).counts;
                        bench.refuse(&question, 60);
                        let after = bench.workload(question.workload.as_str()).counts;
                        prop_assert_eq!(before.waiting, after.waiting);
                    }
                }
                Happens::Offer(cpus) => {
                    let host = agent("b", &[]);
                    bench.offer(&[&host], f64::from(cpus));
                }
                Happens::Run(which) => {
                    if let Some(task) = pick(&tasks, which).cloned() {
                        let update = bench.update(&task, TaskState::Running);
                        bench.event(MesosEvent::Status(update));
                    }
                }
                Happens::End(which, lost) => {
                    if let Some(task) = pick(&tasks, which).cloned() {
                        let state = if lost { TaskState::Lost } else { TaskState::Failed };
                        let update = bench.update(&task, state);
                        bench.event(MesosEvent::Status(update));
                        tasks.retain(|other| *other != task);
                    }
                }
                Happens::Scale(count) => drop(bench.scale("web", count.into())),
                Happens::Restart(which) => {
                    if let Some(task) = pick(&tasks, which).cloned() {
                        drop(bench.command(Command::Restart { task }));
                    }
                }
                Happens::Wait(millis) => bench.advance(Duration::from_millis(millis.into())),
                Happens::Needed(needed) => bench.need_admission(needed),
                Happens::Crash => {
                    // The ids that the next scheduler makes up depend on the time.
                    bench.advance(Duration::from_millis(1));
                    bench.restart();
                    old.append(&mut open);
                    bench.subscribe();
                }
                Happens::Disconnect => {
                    bench.event(MesosEvent::Disconnected);
                    bench.advance(SECOND);
                    bench.subscribe();
                }
            }
            let (launched, killed) = bench.all_sent();
            tasks.extend(launched.into_iter().map(|launch| launch.task));
            doomed.extend(killed);
        }
        for _ in 0..100 {
            for question in bench.asked() {
                bench.admit(&question);
            }
            let host = agent("big", &[]);
            bench.offer(&[&host], 100.0);
            let (launched, killed) = bench.all_sent();
            tasks.extend(launched.into_iter().map(|launch| launch.task));
            doomed.extend(killed);
            let run = tasks.drain(..).map(|task| (task, TaskState::Running));
            let end = doomed.drain(..).map(|task| (task, TaskState::Killed));
            for (task, state) in run.chain(end).collect::<Vec<_>>() {
                let update = bench.update(&task, state);
                bench.event(MesosEvent::Status(update));
            }
            bench.advance(30 * SECOND);
        }
        for name in ["web", "db"] {
            let state = bench.workload(name);
            prop_assert!(state.counts.ready >= state.desired, "{:?}", state.counts);
        }
    }
}
