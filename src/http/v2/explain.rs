//! Why a workload is not what it should be: as numbers, and in words.

use gantry_core::{
    Counts, EndedTask, Funnel, Instance, Template, Timestamp, Veto, View, Waiting, Workload,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::instances::{RefusedJson, WaitingJson};
use crate::plan::held_back;

/// How a workload is, the worst first. The order is that of the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Condition {
    /// Instances fail and wait before they are tried again.
    BackingOff,
    /// Tasks are on agents that cannot be reached.
    Unreachable,
    /// Running tasks fail their health check.
    Unhealthy,
    /// Instances wait for an offer that fits, for a module, or for the release of the brake.
    Waiting,
    /// Mesos has not spoken of some tasks since the subscription.
    Unconfirmed,
    /// Tasks are starting, ending or being replaced.
    Changing,
    /// As wanted.
    Steady,
}

impl Condition {
    pub(crate) fn of(workload: &Workload) -> Self {
        let counts = &workload.counts;
        if counts.backing_off > 0 {
            Self::BackingOff
        } else if counts.unreachable > 0 {
            Self::Unreachable
        } else if counts.unhealthy > 0 {
            Self::Unhealthy
        } else if counts.waiting + counts.admitting + counts.reconciling + counts.braked > 0 {
            Self::Waiting
        } else if counts.unconfirmed > 0 {
            Self::Unconfirmed
        } else if counts.starting + counts.killing + counts.replacing > 0 || workload.removed {
            Self::Changing
        } else {
            Self::Steady
        }
    }

    /// Whether somebody should look.
    pub(crate) fn is_trouble(self) -> bool {
        self <= Self::Waiting
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Counts)]
pub(crate) struct CountsJson {
    admitting: u32,
    waiting: u32,
    backing_off: u32,
    braked: u32,
    starting: u32,
    running: u32,
    healthy: u32,
    unhealthy: u32,
    killing: u32,
    unreachable: u32,
    replacing: u32,
    unconfirmed: u32,
}

impl From<&Counts> for CountsJson {
    fn from(counts: &Counts) -> Self {
        Self {
            admitting: counts.admitting,
            waiting: counts.waiting + counts.reconciling,
            backing_off: counts.backing_off,
            braked: counts.braked,
            starting: counts.starting,
            running: counts.running,
            healthy: counts.healthy,
            unhealthy: counts.unhealthy,
            killing: counts.killing,
            unreachable: counts.unreachable,
            replacing: counts.replacing,
            unconfirmed: counts.unconfirmed,
        }
    }
}

/// Most instances that an explanation lists one by one.
const INSTANCES_MAX: usize = 50;

/// Why a workload is not what it should be.
#[derive(Serialize, ToSchema)]
pub(crate) struct Explanation<'a> {
    workload: &'a str,
    condition: Condition,
    wanted: u32,
    counts: CountsJson,
    /// The same in words, the most important first; empty when there is nothing to explain.
    sentences: Vec<String>,
    /// The workload of better priority that this one waits for.
    waits_for: Option<&'a str>,
    funnel: Option<FunnelJson<'a>>,
    /// The instances that wait, at most 50.
    instances: Vec<WaitingInstance<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Funnel)]
pub(crate) struct FunnelJson<'a> {
    at: u64,
    offers: u32,
    stages: [Stage; 6],
    launched: u32,
    nearest: Option<Nearest<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = FunnelStage)]
struct Stage {
    name: &'static str,
    /// Offers left after this test.
    left: u32,
    /// Offers that this test ruled out.
    ruled_out: u32,
}

#[derive(Serialize, ToSchema)]
#[schema(as = NearestMiss)]
struct Nearest<'a> {
    hostname: &'a str,
    lacks: &'a str,
}

impl<'a> From<&'a Funnel> for FunnelJson<'a> {
    fn from(funnel: &'a Funnel) -> Self {
        let mut before = funnel.offers;
        let stages = [
            ("constraints", funnel.after_constraints),
            ("maintenance", funnel.after_maintenance),
            ("colocation", funnel.after_colocation),
            ("resources", funnel.after_resources),
            ("ports", funnel.after_ports),
            ("limits", funnel.after_limits),
        ]
        .map(|(name, left)| {
            let ruled_out = before.saturating_sub(left);
            before = left;
            Stage {
                name,
                left,
                ruled_out,
            }
        });
        Self {
            at: funnel.at.as_millis(),
            offers: funnel.offers,
            stages,
            launched: funnel.launched,
            nearest: funnel.nearest.as_ref().map(|nearest| Nearest {
                hostname: &nearest.hostname,
                lacks: &nearest.lacks,
            }),
        }
    }
}

#[derive(Serialize, ToSchema)]
struct WaitingInstance<'a> {
    name: String,
    number: u32,
    /// `reconciliation`, `admission`, `offer`, `back_off` or `brake`
    waits_for: &'static str,
    since: u64,
    /// The end of the back-off; when modules that have refused it are asked again.
    until: Option<u64>,
    /// The refusal of modules to have it launched.
    refused: Option<RefusedJson<'a>>,
    failures: u32,
    /// How its last task ended.
    last: Option<EndedJson<'a>>,
}

/// A task that has ended.
#[derive(Serialize, ToSchema)]
#[schema(as = Ended)]
pub(crate) struct EndedJson<'a> {
    id: String,
    state: &'static str,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    /// Why we stopped it, if we did.
    stopped: Option<&'static str>,
    revision: u32,
    hostname: &'a str,
    agent_id: &'a str,
    launched_at: u64,
    running_at: Option<u64>,
    ended_at: u64,
}

impl<'a> EndedJson<'a> {
    pub(crate) fn new(
        framework: &str,
        workload: &Workload,
        number: u32,
        ended: &'a EndedTask,
    ) -> Self {
        let id =
            gantry_core::TaskId::from_parts(framework, &workload.task_name, number, ended.uuid);
        Self {
            id: id.as_str().to_owned(),
            state: ended.state.mesos_name(),
            reason: ended.reason.as_deref(),
            message: ended.message.as_deref(),
            stopped: ended.stopped.map(gantry_core::StopReason::text),
            revision: ended.revision,
            hostname: &ended.agent.hostname,
            agent_id: ended.agent.id.as_str(),
            launched_at: ended.launched_at.as_millis(),
            running_at: ended.running_at.map(Timestamp::as_millis),
            ended_at: ended.ended_at.as_millis(),
        }
    }
}

impl<'a> Explanation<'a> {
    /// `problem` says why Gantry cannot work at all, if so.
    pub(crate) fn new(
        view: &View,
        workload: &'a Workload,
        framework: &str,
        problem: Option<String>,
    ) -> Self {
        let waiting = workload
            .instances
            .iter()
            .filter_map(|instance| WaitingInstance::new(framework, workload, instance));
        Self {
            workload: workload.name.as_str(),
            condition: Condition::of(workload),
            wanted: workload.desired,
            counts: (&workload.counts).into(),
            sentences: sentences(view, workload, problem),
            waits_for: workload
                .waits_for
                .as_ref()
                .map(gantry_core::WorkloadName::as_str),
            funnel: workload.funnel.as_deref().map(FunnelJson::from),
            instances: waiting.take(INSTANCES_MAX).collect(),
        }
    }
}

impl<'a> WaitingInstance<'a> {
    fn new(framework: &str, workload: &'a Workload, instance: &'a Instance) -> Option<Self> {
        let WaitingJson {
            waits_for,
            since,
            until,
            refused,
        } = instance.waiting.as_ref()?.into();
        let last = instance.history.first();
        Some(Self {
            name: format!("{}-{}", workload.name, instance.number),
            number: instance.number,
            waits_for,
            since,
            until,
            refused,
            failures: instance.failures,
            last: last.map(|last| EndedJson::new(framework, workload, instance.number, last)),
        })
    }
}

/// The refusal that keeps an instance from being launched.
pub(super) fn veto(waiting: &Waiting) -> Option<&Veto> {
    match waiting {
        Waiting::Admission { refused, .. } => refused.as_deref(),
        _ => None,
    }
}

/// What keeps the workload from being as wanted, in words, the most important first.
pub(crate) fn sentences(view: &View, workload: &Workload, problem: Option<String>) -> Vec<String> {
    let counts = &workload.counts;
    let mut sentences = Vec::new();
    if workload.removed {
        sentences.push("it is no longer declared: its tasks are being stopped".to_owned());
    } else {
        let update = view.last_update(&workload.name).map(AsRef::as_ref);
        sentences.extend(held_back(
            workload.declared_revision,
            workload.revision,
            update,
        ));
    }
    let waits = counts.waiting > 0;
    if waits && let Some(problem) = problem {
        sentences.push(format!("nothing can be launched: {problem}"));
    }
    if counts.backing_off > 0 {
        sentences.push(format!(
            "{} waits after a failure before the next try",
            instances(counts.backing_off)
        ));
    }
    if counts.reconciling > 0 {
        sentences.push(format!(
            "{} waits for the answer of Mesos about tasks that may run already",
            instances(counts.reconciling)
        ));
    }
    if counts.braked > 0 {
        sentences.push(format!(
            "{} waits for the release of the brake",
            instances(counts.braked)
        ));
    }
    if counts.admitting > 0 {
        sentences.push(admission_sentence(view.at, workload));
    }
    if counts.unreachable > 0 {
        sentences.push(format!(
            "{} on an agent that cannot be reached: {} may still be alive there",
            tasks(counts.unreachable),
            if counts.unreachable == 1 {
                "it"
            } else {
                "they"
            }
        ));
    }
    if counts.unhealthy > 0 {
        sentences.push(format!(
            "{} failing the health check",
            tasks(counts.unhealthy)
        ));
    }
    if waits {
        sentences.push(waiting_sentence(view, workload));
    }
    if workload.needs_readiness && counts.running > counts.unhealthy + counts.ready {
        let unready = counts.running - counts.unhealthy - counts.ready;
        sentences.push(format!(
            "{} running, but no module has reported {} ready",
            tasks(unready),
            if unready == 1 { "it" } else { "them" }
        ));
    }
    if counts.unconfirmed > 0 {
        sentences.push(format!(
            "{} not yet confirmed by the Mesos master since the last subscription",
            tasks(counts.unconfirmed)
        ));
    }
    sentences
}

/// Whom the instances wait for that modules have not admitted; of several refusals the last.
fn admission_sentence(now: Timestamp, workload: &Workload) -> String {
    let waiting = workload.instances.iter();
    let waiting = waiting.filter_map(|instance| instance.waiting.as_ref());
    let last = waiting.filter_map(veto).max_by_key(|veto| veto.at);
    let who = instances(workload.counts.admitting);
    match last {
        None => format!("{who} waits for the modules to admit it"),
        Some(veto) => {
            let seconds = veto.until.since(now).as_secs();
            let again = match seconds {
                0 => "it is being asked again".to_owned(),
                seconds => format!("it is asked again in {seconds} s"),
            };
            let (module, reason) = (&veto.module, &veto.reason);
            format!("{who} waits for the module `{module}`, which refuses: {reason}; {again}")
        }
    }
}

fn waiting_sentence(view: &View, workload: &Workload) -> String {
    let who = instances(workload.counts.waiting);
    if let Some(other) = &workload.waits_for {
        return format!("{who} waits for `{other}`, which comes first by priority");
    }
    let Some(funnel) = &workload.funnel else {
        return format!("{who} waits for offers: none have come yet");
    };
    let nearest = funnel.nearest.as_ref();
    let nearest = nearest.map(|near| format!("; nearest: {} lacks {}", near.hostname, near.lacks));
    let nearest = nearest.unwrap_or_default();
    let template = workload.template().map(AsRef::as_ref);
    let why = first_obstacle(funnel, template);
    let held = if view.framework.suppressed {
        " (offers are suppressed)"
    } else {
        ""
    };
    format!("{who} waits: {why}{nearest}{held}")
}

fn first_obstacle(funnel: &Funnel, template: Option<&Template>) -> String {
    let offers = match funnel.offers {
        0 => {
            return "Mesos offers nothing at the moment; the cluster may be full, or the role \
                    without quota"
                .to_owned();
        }
        1 => "the only offer at hand".to_owned(),
        many => format!("none of {many} offers"),
    };
    let not = if funnel.offers == 1 { " does not" } else { "" };
    let demand = template.map(|template| &template.demand);
    if funnel.after_constraints == 0 {
        format!("{offers}{not} satisfy the constraints")
    } else if funnel.after_maintenance == 0 {
        format!("{offers}{not} come from an agent free of maintenance within ten minutes")
    } else if funnel.after_colocation == 0 {
        format!("{offers}{not} come from a host that colocation rules allow")
    } else if funnel.after_resources == 0 {
        let demand = demand.map(|demand| format!(" ({} cpus, {} MB)", demand.cpus, demand.mem));
        format!(
            "{offers}{not} have the resources{}",
            demand.unwrap_or_default()
        )
    } else if funnel.after_ports == 0 {
        format!("{offers}{not} have the ports")
    } else if funnel.after_limits == 0 {
        "every agent that fits is starting as many tasks as it may at once".to_owned()
    } else {
        format!(
            "{} of {} offers fit, {} launched in the last cycle",
            funnel.after_limits, funnel.offers, funnel.launched
        )
    }
}

fn instances(count: u32) -> String {
    match count {
        1 => "1 instance".to_owned(),
        many => format!("each of {many} instances"),
    }
}

fn tasks(count: u32) -> String {
    match count {
        1 => "1 task is".to_owned(),
        many => format!("{many} tasks are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_first_test_that_no_offer_passes() {
        let funnel = |after: [u32; 6]| Funnel {
            offers: 12,
            after_constraints: after[0],
            after_maintenance: after[1],
            after_colocation: after[2],
            after_resources: after[3],
            after_ports: after[4],
            after_limits: after[5],
            ..Funnel::default()
        };
        for (after, word) in [
            ([0, 0, 0, 0, 0, 0], "constraints"),
            ([5, 0, 0, 0, 0, 0], "maintenance"),
            ([5, 5, 0, 0, 0, 0], "colocation"),
            ([5, 5, 5, 0, 0, 0], "resources"),
            ([5, 5, 5, 5, 0, 0], "ports"),
            ([5, 5, 5, 5, 5, 0], "starting"),
            ([5, 5, 5, 5, 5, 3], "3 of 12 offers fit"),
        ] {
            let text = first_obstacle(&funnel(after), None);
            assert!(text.contains(word), "{after:?}: {text}");
        }
        let stages = FunnelJson::from(&funnel([9, 8, 8, 4, 4, 1])).stages;
        assert_eq!(stages.map(|stage| stage.ruled_out), [3, 1, 0, 4, 0, 3]);
    }

    #[test]
    fn a_refusal_is_told_with_its_module_and_the_next_try() {
        use std::sync::Arc;

        use gantry_core::{IdGenerator, Input, MesosEvent, Scheduler, Settings, Verdict};

        let (config, _) = crate::config::Config::read(&std::collections::BTreeMap::from(
            [
                ("FRAMEWORK_NAME", "f"),
                ("STORE", "memory"),
                ("TASK_DEF_NUM", "1"),
                ("TASK0_NAME", "web"),
                ("TASK0_NUM_INSTANCES", "2"),
                ("TASK0_CPUS", "0.1"),
                ("TASK0_MEM", "32"),
                ("TASK0_CMD", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ))
        .unwrap_or_else(|report| panic!("{report}"));
        let settings = Settings {
            admission: true,
            ..Settings::new("f")
        };
        let now = Timestamp::from_millis(1_000);
        let ids = IdGenerator::new([1; 4]);
        let (mut scheduler, _) = Scheduler::start(
            now,
            settings,
            ids,
            config.services,
            gantry_core::Found::default(),
        );
        let framework_id = gantry_core::FrameworkId::new("id");
        let subscribed = Input::Mesos(MesosEvent::Subscribed { framework_id });
        let effects = scheduler.step(now, vec![subscribed]);
        let sentence = |view: &View| sentences(view, &view.workloads[0], None).remove(0);
        assert_eq!(
            sentence(&scheduler.view()),
            "each of 2 instances waits for the modules to admit it"
        );
        let question = &effects.questions[1];
        let refused = Input::Admission {
            workload: question.workload.clone(),
            number: question.number,
            asked: question.asked,
            verdict: Verdict::Refused {
                module: Arc::from("guard"),
                reason: Arc::from("the database is being moved"),
                again_after: std::time::Duration::from_secs(30),
            },
        };
        let _ = scheduler.step(now, vec![refused]);
        let view = scheduler.view();
        let why = "waits for the module `guard`, which refuses: the database is being moved; \
                   it is asked again in 30 s";
        assert!(sentence(&view).ends_with(why), "{}", sentence(&view));
        let workload = &view.workloads[0];
        let explanation = Explanation::new(&view, workload, "f", None);
        let told = serde_json::to_value(&explanation).unwrap();
        assert_eq!(told["condition"], "waiting");
        assert_eq!(told["counts"]["admitting"], 2);
        assert_eq!(told["instances"][0]["waits_for"], "admission");
        assert_eq!(told["instances"][0]["refused"], serde_json::Value::Null);
        assert_eq!(
            told["instances"][1]["refused"],
            serde_json::json!({
                "module": "guard",
                "reason": "the database is being moved",
                "at": 1_000,
                "until": 31_000,
            })
        );
        assert_eq!(told["instances"][1]["until"], 31_000);
    }
}
