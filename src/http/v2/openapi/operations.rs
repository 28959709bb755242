//! What every route of the full model takes, gives and refuses.

use super::{
    super::{
        agents, deployments, explain, instances, leader, output, overview, tasks, trends, workloads,
    },
    operation::Operation,
};
use crate::{
    auth::TokenUse,
    cluster::OUTPUT_BYTES_MAX,
    http::{
        access,
        body::{OnlyReason, ScaleBody, WorkloadBody},
        error::Code,
        modules,
        routes::Verb::{self, Delete, Get, GetAlone, Patch, Post, Put},
    },
    plan::{Declaration, Report},
};

/// All of them, in the order of the table of routes.
pub(super) fn all() -> Vec<Operation> {
    let mut all = looking();
    all.extend(tasks_of());
    all.extend(changing());
    all.extend(about_itself());
    all.extend(of_modules());
    all
}

fn op(verb: Verb, path: &str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(verb, path, id, summary)
}

const WORKLOAD: (&str, &str) = ("name", "the workload's name");
const TASK: (&str, &str) = ("id", "the task's id");

fn looking() -> Vec<Operation> {
    let (name, workload) = WORKLOAD;
    vec![
        op(Get, "/overview", "overview", "Everything at a glance")
            .answers::<overview::Overview<'_>>(200, "how the framework is"),
        op(Get, "/workloads", "workloads", "The workloads")
            .query("q", "part of the name")
            .query_choice("condition", "only those in trouble", &["trouble"])
            .query_choice(
                "sort",
                "by what; the declaration's order when absent",
                &["declared", "name", "trouble"],
            )
            .paged()
            .answers_page::<workloads::Summary<'_>>(),
        op(
            Get,
            "/workloads/{name}",
            "workload",
            "A workload with its template",
        )
        .of(name, workload)
        .answers::<workloads::Detail<'_>>(200, "the workload; secrets are masked")
        .refuses(&[Code::UnknownWorkload]),
        op(
            Get,
            "/workloads/{name}/explain",
            "explain",
            "Why a workload is not as wanted",
        )
        .of(name, workload)
        .answers::<explain::Explanation<'_>>(200, "in words and in numbers")
        .refuses(&[Code::UnknownWorkload]),
        op(
            Get,
            "/workloads/{name}/instances",
            "instances",
            "The instances of a workload",
        )
        .of(name, workload)
        .paged()
        .answers_page::<instances::InstanceJson<'_>>()
        .refuses(&[Code::UnknownWorkload]),
        op(
            Get,
            "/workloads/{name}/instances/{number}",
            "instance",
            "An instance with its last runs",
        )
        .of(name, workload)
        .of_number("number", "the instance's number", u64::from(u32::MAX))
        .answers::<instances::InstanceJson<'_>>(200, "the instance")
        .refuses(&[Code::UnknownWorkload, Code::UnknownInstance]),
        op(
            Get,
            "/trends",
            "trends",
            "What was wanted, ready and running in the last minutes",
        )
        .query_number("minutes", "how many; 15 when absent", 1, 15)
        .answers::<trends::TrendsJson>(200, "oldest first"),
        op(
            Get,
            "/deployments",
            "deployments",
            "The deployments, the youngest first",
        )
        .paged()
        .answers_page::<deployments::DeploymentJson<'_>>(),
        op(Get, "/deployments/{id}", "deployment", "A deployment")
            .of_number("id", "the deployment's number", u64::MAX)
            .answers::<deployments::Detail<'_>>(200, "the deployment")
            .refuses(&[Code::UnknownDeployment]),
        op(
            Get,
            "/audit",
            "audit",
            "What operators did, the newest first",
        )
        .paged()
        .answers_page::<deployments::AuditJson<'_>>(),
        op(Get, "/agents", "agents", "The agents, by host name")
            .query("q", "part of the host name, the address or the id")
            .paged()
            .answers::<agents::Agents<'_>>(200, "a page of them"),
        op(
            Get,
            "/agents/{id}",
            "agent",
            "An agent with our tasks there",
        )
        .of("id", "the agent's id")
        .answers::<agents::Detail<'_>>(200, "the agent")
        .refuses(&[Code::UnknownAgent]),
    ]
}

fn tasks_of() -> Vec<Operation> {
    let (id, task) = TASK;
    vec![
        op(Get, "/tasks", "tasks", "The live tasks")
            .query("workload", "the workload's name")
            .query(
                "state",
                "`staging`, `starting`, `running`, `killing`, `unreachable`, `unknown`, \
                             `unhealthy`, `trouble`, or a state of Mesos",
            )
            .query_choice(
                "health",
                "what the last health check said",
                &["healthy", "unhealthy", "unchecked"],
            )
            .query("agent", "the agent's id")
            .query(
                "q",
                "part of the instance's name, the id of the run, or the agent's host name, \
                         address or id",
            )
            .query_choice(
                "sort",
                "by what; by workload and instance when absent",
                &[
                    "state",
                    "-state",
                    "health",
                    "-health",
                    "host",
                    "-host",
                    "launched",
                    "-launched",
                    "running",
                    "-running",
                ],
            )
            .paged()
            .answers_page::<tasks::TaskJson<'_>>()
            .refuses(&[Code::UnknownWorkload]),
        op(
            Get,
            "/tasks/{id}",
            "task",
            "A task, alive or ended, with its instance",
        )
        .of(id, task)
        .answers::<tasks::Detail<'_>>(200, "the task")
        .refuses(&[Code::UnknownTask]),
        op(
            Get,
            "/tasks/{id}/output/{stream}",
            "output",
            "What a task writes",
        )
        .of(id, task)
        .of_choice("stream", "which", &["stdout", "stderr"])
        .query_number("offset", "from this byte on", 0, u64::from(u32::MAX))
        .query_number(
            "limit",
            "most bytes; 65536 when absent",
            0,
            OUTPUT_BYTES_MAX,
        )
        .query_number(
            "tail",
            "the last so many bytes; without the two others",
            0,
            OUTPUT_BYTES_MAX,
        )
        .query_flag(
            "download",
            "to be saved by a browser; whole when nothing else is asked",
        )
        .answers_text("text/plain", "the bytes as they are")
        .headers(&[
            (
                "x-gantry-offset",
                "of the first byte; absent of a whole file",
            ),
            ("x-gantry-size", "of the file now; absent of a whole file"),
        ])
        .refuses(&[
            Code::UnknownTask,
            Code::NoOutput,
            Code::NotRunning,
            Code::AgentUnreachable,
            Code::AgentRefused,
        ]),
        op(Get, "/tasks/{id}/usage", "usage", "What a task uses")
            .of(id, task)
            .answers::<output::UsageJson>(200, "cpu and memory now, with their limits")
            .refuses(&[
                Code::UnknownTask,
                Code::NoOutput,
                Code::NotRunning,
                Code::AgentUnreachable,
                Code::AgentRefused,
            ]),
    ]
}

fn changing() -> Vec<Operation> {
    let (name, workload) = WORKLOAD;
    let (id, task) = TASK;
    vec![
        op(
            Put,
            "/workloads/{name}/scale",
            "scale",
            "Change how many instances are wanted",
        )
        .of(name, workload)
        .body::<ScaleBody>(true)
        .answers::<workloads::Scaled<'_>>(200, "from what to what")
        .rehearsed()
        .refuses(&[
            Code::UnknownWorkload,
            Code::NotScalable,
            Code::TooManyInstances,
        ]),
        op(
            Post,
            "/tasks/{id}/restart",
            "restart",
            "Put a new task in the place of one",
        )
        .of(id, task)
        .body::<OnlyReason>(false)
        .answers::<tasks::Restarting<'_>>(202, "it is being replaced")
        .rehearsed()
        .refuses(&[
            Code::RefusedByModule,
            Code::UnknownTask,
            Code::AlreadyChanging,
        ]),
        op(
            Post,
            "/rolling-restarts",
            "rolling_restart",
            "Replace all tasks, one after the other",
        )
        .body::<WorkloadBody>(true)
        .answers::<deployments::Started>(202, "the deployment that does it")
        .rehearsed()
        .refuses(&[
            Code::RefusedByModule,
            Code::UnknownWorkload,
            Code::DeploymentRunning,
        ]),
        op(
            Post,
            "/kill",
            "kill",
            "Stop all tasks; they are started again",
        )
        .body::<WorkloadBody>(true)
        .answers::<workloads::Stopping>(202, "so many are being stopped")
        .rehearsed()
        .refuses(&[Code::RefusedByModule, Code::UnknownWorkload]),
        op(
            Post,
            "/deployments/{id}/{action}",
            "steer",
            "Pause, resume, abort or roll back",
        )
        .of_number("id", "the deployment's number", u64::MAX)
        .of_choice("action", "what", &["pause", "resume", "abort", "rollback"])
        .body::<OnlyReason>(false)
        .answers::<deployments::DeploymentJson<'_>>(200, "the deployment as it is now")
        .refuses(&[
            Code::UnknownDeployment,
            Code::DeploymentState,
            Code::NoWayBack,
        ]),
        op(
            Post,
            "/brake/release",
            "release_brake",
            "Let go of the brake",
        )
        .body::<OnlyReason>(false)
        .answers::<leader::Released>(200, "it is off")
        .refuses(&[Code::BrakeNotOn]),
        op(
            Post,
            "/plan",
            "plan",
            "What a start with another declaration would change",
        )
        .body::<Declaration>(true)
        .answers::<Report>(200, "workload by workload")
        .refuses(&[Code::TooManyInstances]),
    ]
}

fn about_itself() -> Vec<Operation> {
    vec![
        op(Get, "/session", "session", "Who asks, and what they may do")
            .answers::<access::SessionView<'_>>(200, "also for whoever is not known"),
        op(Post, "/sessions/end", "end_sessions", "Log out everywhere")
            .body::<access::EndBody>(true)
            .answers::<access::Ended>(200, "what began before is no session any more"),
        op(Get, "/tokens", "tokens", "Names and uses of tokens").answers_list::<TokenUse>(),
        op(
            Get,
            "/leader",
            "leader",
            "Who acts, and what this Gantry is beside it",
        )
        .answers::<leader::LeadershipJson>(200, "how this process stands"),
        op(
            Get,
            "/modules",
            "modules",
            "The modules, with what they add",
        )
        .answers_list::<modules::ModuleJson<'_>>(),
        op(
            Get,
            "/backup",
            "backup",
            "All that is stored, for programs of the same machine",
        )
        .answers_text("application/x-ndjson", "one record a line")
        .refuses(&[Code::UnreadableRecord]),
        op(GetAlone, "/events", "events", "What happens, as it happens")
            .query_number(
                "after",
                "the id of the last event that was seen",
                0,
                u64::from(u32::MAX),
            )
            .answers_text(
                "text/event-stream",
                "server-sent events; the data of most is an `Event`",
            )
            .answers_nothing(307, "the leader has them")
            .refuses(&[Code::TooManyStreams, Code::StandBy]),
        op(Get, "/metrics", "metrics", "For Prometheus").answers_text(
            "application/openmetrics-text",
            "all names begin with `gantry_`",
        ),
        op(Get, "/openapi.json", "openapi", "This document").answers_object("OpenAPI 3.1"),
    ]
}

/// What modules answer is told by whoever wrote them.
fn of_modules() -> Vec<Operation> {
    [
        (Get, "module_get"),
        (Post, "module_post"),
        (Put, "module_put"),
        (Patch, "module_patch"),
        (Delete, "module_delete"),
    ]
    .into_iter()
    .map(|(verb, id)| {
        op(
            verb,
            "/modules/{module}/{path}",
            id,
            "A route that a module adds",
        )
        .of("module", "the module's name")
        .of("path", "what follows, slashes included")
        .answers_anything("what the module answers")
        .refuses(&[Code::NotFound, Code::ModuleFailed])
    })
    .collect()
}
