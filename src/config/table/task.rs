//! The variables of a task type, `TASK#_…` with `#` from 0.

use std::time::Duration;

use gantry_core::{
    Amount, Constraint, OnFailure, Parameter, PortMapping, Share, UpdateOrder, Uri, Volume,
    WorkloadName,
};

use super::{Kind, Required, Variable, variables};
use crate::config::parse::{self, Mode, Outcome, Runtime, plain, wrong};

const DAY: Duration = Duration::from_secs(86_400);
const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);

fn scheme(text: &str) -> Outcome<String> {
    match text.trim() {
        scheme @ ("http" | "https") => plain(scheme.to_owned()),
        _ => wrong("is not a scheme", "write http or https"),
    }
}

fn check_path(text: &str) -> Outcome<String> {
    let parsed = parse::line(text)?;
    if parsed.value.starts_with('/') {
        Ok(parsed)
    } else {
        wrong(
            "does not begin with '/', which Mesos refuses",
            "write the path from the root, such as /health",
        )
    }
}

fn command(text: &str) -> Outcome<String> {
    parse::line(text)
}

fn between(text: &str) -> Outcome<Duration> {
    parse::duration_in(text, TENTH, DAY)
}

fn from_zero(text: &str) -> Outcome<Duration> {
    parse::duration_in(text, Duration::ZERO, DAY)
}

variables! { TaskType, Run in
    NAME: WorkloadName = parse::task_type, {
        required: Required::Yes,
        help: "Name of the task type. Unique; at most 128 bytes, no blanks. A `/` becomes `_` in task ids.",
        note: "Of two types with one name the later replaced the earlier; it is an error now.",
        since: Variable::ORIGINAL,
    }
    NUM_INSTANCES: (u32, String) = parse::instances, {
        kind: Kind::Integer,
        required: Required::Yes,
        help: "How many instances. A fraction is cut off; `0`, negative numbers and texts mean none.",
        since: Variable::ORIGINAL,
    }
    IMAGE: String = parse::line, {
        required: Required::Unless("CMD"),
        help: "Docker image.",
        note: "Not needed when `TASK#_CMD` is set.",
        since: Variable::ORIGINAL,
    }
    CMD: String = command, {
        help: "Command line for `/bin/sh -c`, in the image if there is one, else in the agent's own file system. Not together with `TASK#_ARGS`.",
    }
    ARGS: Vec<String> = parse::strings, {
        kind: Kind::Json,
        help: "JSON array of arguments for the image's entry point. A single text stands for an array of one.",
        since: Variable::ORIGINAL,
    }
    URI: Uri = parse::uri, {
        help: "One URI that Mesos fetches into the sandbox.",
        since: Variable::ORIGINAL,
    }
    URIS: Vec<Uri> = parse::uris, {
        kind: Kind::Json,
        help: "More of them: a JSON array of texts or of objects with `value`, `executable`, `extract`, `cache`, `output_file`.",
    }
    USER: String = parse::user, {
        default_words: Some("`FRAMEWORK_USER`"),
        help: "Unix user of the task.",
    }
    LABELS: Vec<(String, String)> = parse::object, {
        kind: Kind::Json,
        help: "JSON object of labels of the Mesos task.",
    }

    section Environment;
    ENV: Vec<(String, String)> = parse::object, {
        kind: Kind::Json,
        secret: true,
        help: "JSON object of environment variables. Values whose names speak of a password, secret, token, key or credential are hidden everywhere, as those of `TASK#_SECRET_ENV`. `PORT0`… and `HOST` are added.",
        note: "A number or boolean kept the original from starting; now it is passed on as its text.",
        since: Variable::ORIGINAL,
    }
    SECRET_ENV: Vec<(String, String)> = parse::object, {
        kind: Kind::Json,
        secret: true,
        help: "As `TASK#_ENV`, for values that are never shown nor stored. Goes first where both have a name.",
    }

    section Container;
    CONTAINERIZER: Runtime = parse::runtime, {
        kind: Kind::Choice(&["docker", "mesos"]),
        default_words: Some("`docker` with an image, else none"),
        help: "Which containerizer runs it.",
    }
    CONTAINER_PRIVILEGED: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Run the Docker container with all privileges.",
        since: Variable::ORIGINAL,
    }
    CONTAINER_PARAMS: Vec<Parameter> = parse::parameters, {
        kind: Kind::Json,
        secret: true,
        help: "JSON array of `{\"key\",\"value\"}`: parameters for `docker run`.",
        since: Variable::ORIGINAL,
    }
    FORCE_PULL: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("true"),
        help: "Pull the image even when the agent has it.",
        note: "Always so in the original.",
    }
    NETWORK: Mode = parse::mode, {
        default: Some("HOST"),
        help: "`HOST`, `BRIDGE` (Docker only), or the name of a CNI or Docker network.",
        note: "Always `HOST` in the original.",
    }
    PORT_MAPPINGS: Vec<PortMapping> = parse::port_mappings, {
        kind: Kind::List,
        default_words: Some("the numbers of the host ports"),
        help: "Container ports that the task's ports lead to, in their order: `8080,53/udp`. For networks other than `HOST`.",
    }
    VOLUMES: Vec<Volume> = parse::volumes, {
        kind: Kind::List,
        help: "`host:container[:ro]` separated by commas, or a JSON array of objects with `host_path`, `container_path`, `read_only`.",
    }

    section Placement;
    CPUS: Amount = parse::cpus, {
        kind: Kind::Decimal,
        required: Required::Yes,
        help: "Processor shares.",
        note: "A text that is not a number never matched any offer; it is refused now.",
        since: Variable::ORIGINAL,
    }
    MEM: Amount = parse::megabytes, {
        kind: Kind::Megabytes,
        required: Required::Yes,
        help: "Memory: megabytes, or with a unit, `512MiB`. As in Mesos a megabyte is 1024 x 1024 bytes, however it is spelt.",
        since: Variable::ORIGINAL,
    }
    DISK: Amount = parse::megabytes, {
        kind: Kind::Megabytes,
        default: Some("0"),
        help: "Disk.",
        aliases: &["DISK_SIZE"],
    }
    GPUS: u32 = |text| parse::integer_in(text, 0, 1_000), {
        kind: Kind::Integer,
        default: Some("0"),
        help: "Whole GPUs.",
    }
    PORT_NUM: u16 = |text| parse::whole_prefix(text, 0, 1_000), {
        kind: Kind::Integer,
        default: Some("0"),
        help: "Number of host ports, fixed ones included. They are given to the task as `PORT0`, `PORT1`, …: first the fixed ones, ascending.",
        since: Variable::ORIGINAL,
    }
    FIXED_PORTS: Vec<u16> = parse::fixed_ports, {
        kind: Kind::List,
        help: "Host ports that must be exactly these: `8080,9090`. At most `TASK#_PORT_NUM`.",
        note: "Sorted as texts in the original (10000 before 9999), and the free ports of a task stuck to it; neither is so now.",
        since: Variable::ORIGINAL,
    }
    NOCOLOCATION: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Not on the scheduler's own host.",
        note: "Without effect in the original.",
        since: Variable::ORIGINAL,
    }
    UNIQUE_HOSTS: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "At most one task of the type on an agent.",
        aliases: &["NOINNERCOLOCATION"],
    }
    CONSTRAINTS: Vec<Constraint> = parse::constraints, {
        kind: Kind::List,
        help: "Where tasks may go, with Marathon's operators `UNIQUE`, `CLUSTER`, `GROUP_BY`, `LIKE`, `UNLIKE`, `MAX_PER`, `IS`: `hostname:UNIQUE;rack:GROUP_BY:2`, or Marathon's JSON, `[[\"hostname\",\"UNIQUE\"],[\"rack\",\"GROUP_BY\",\"2\"]]`. In the short form a value may hold `:` but not `;`.",
    }

    section Health;
    HEALTHCHECK: String = check_path, {
        help: "Path of an HTTP health check.",
        since: Variable::ORIGINAL,
    }
    HEALTHCHECK_TCP: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Check that the port accepts connections.",
    }
    HEALTHCHECK_CMD: String = command, {
        help: "Check that this shell command ends with 0.",
    }
    HEALTHCHECK_PORT: u16 = |text| parse::whole_prefix(text, 0, 65_535), {
        kind: Kind::Integer,
        default: Some("0"),
        help: "Which of the task's ports is checked, counted from 0: an index, not a port number.",
        note: "An index out of range ended in a failed launch; it is refused now. Only the number of ports itself, as in the sample `marathon.json` of the boilerplate (1 with one port), is taken for the last port, with a warning.",
        since: Variable::ORIGINAL,
    }
    HEALTHCHECK_SCHEME: String = scheme, {
        kind: Kind::Choice(&["http", "https"]),
        default: Some("http"),
        help: "Scheme of the HTTP check. Certificates are not verified.",
    }
    HEALTHCHECK_DELAY: Duration = from_zero, {
        kind: Kind::Duration,
        default: Some("15s"),
        help: "Time before the first check.",
    }
    HEALTHCHECK_INTERVAL: Duration = between, {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "Time between checks.",
    }
    HEALTHCHECK_TIMEOUT: Duration = between, {
        kind: Kind::Duration,
        default: Some("20s"),
        help: "How long one check may take.",
    }
    HEALTHCHECK_FAILURES: u32 = |text| parse::integer_in(text, 1, 1_000_000), {
        kind: Kind::Integer,
        default: Some("3"),
        help: "Failures in a row after which the task is killed.",
    }
    HEALTHCHECK_GRACE: Duration = from_zero, {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "Failures within this time of the start do not count.",
    }

    section Life;
    PRIORITY: i32 = |text| parse::integer_in(text, i64::from(i32::MIN), i64::from(i32::MAX)), {
        kind: Kind::Integer,
        default: Some("1"),
        help: "Smaller numbers start first: a type waits until every instance of the better ones has been launched.",
        note: "Always 1 in the original.",
    }
    WAIT_HEALTHY: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Types of worse priority wait until the instances of this one are healthy (running, without a health check).",
    }
    ALLOW_SCALING: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("true"),
        help: "Whether an operator may change the number of instances.",
        since: Variable::ORIGINAL,
    }
    KILL_GRACE: Duration = from_zero, {
        kind: Kind::Duration,
        default_words: Some("the executor's, 3s"),
        help: "Time between SIGTERM and SIGKILL.",
    }
    BACKOFF: Duration = from_zero, {
        kind: Kind::Duration,
        default: Some("1s"),
        help: "Time before a task that ended is started again; grows with every failure.",
        note: "The original starts it again at once, for ever.",
    }
    BACKOFF_FACTOR: u32 = parse::factor, {
        kind: Kind::Decimal,
        default: Some("2"),
        help: "By how much it grows.",
    }
    BACKOFF_MAX: Duration = from_zero, {
        kind: Kind::Duration,
        default: Some("5m"),
        help: "The longest such time.",
    }
    STABLE_AFTER: Duration = |text| parse::duration_in(text, SECOND, 7 * DAY), {
        kind: Kind::Duration,
        default: Some("1m"),
        help: "A run of this length counts as stable: the next failure is the first again.",
    }

    section Update;
    UPDATE_PARALLELISM: u32 = |text| parse::integer_in(text, 1, 1_000_000), {
        kind: Kind::Integer,
        default: Some("1"),
        help: "When the declaration has changed, how many instances are moved to it at once.",
        note: "The original starts changed declarations only as tasks end.",
    }
    UPDATE_ORDER: UpdateOrder = parse::order, {
        kind: Kind::Choice(&["start-first", "stop-first"]),
        default: Some("start-first"),
        help: "Whether the new task of an instance starts before the old one is stopped, which needs room for both, or after it. With fixed ports, or a limit of tasks in one place (`TASK#_UNIQUE_HOSTS`, `UNIQUE`, `MAX_PER`), the old one always goes first.",
    }
    UPDATE_MIN_HEALTHY: Share = parse::share, {
        kind: Kind::Share,
        default_words: Some("all but `TASK#_UPDATE_PARALLELISM`"),
        help: "So many instances stay ready while others are moved: running, and healthy where that is checked.",
    }
    UPDATE_MAX_OVER: Share = parse::share, {
        kind: Kind::Share,
        default_words: Some("`TASK#_UPDATE_PARALLELISM`"),
        help: "Most tasks beyond the number of instances while new ones start first.",
    }
    UPDATE_DEADLINE: Duration = between, {
        kind: Kind::Duration,
        default: Some("10m"),
        help: "The update fails when an instance is not ready so long after its move began, and when nothing has moved for so long.",
    }
    UPDATE_ON_FAILURE: OnFailure = parse::on_failure, {
        kind: Kind::Choice(&["rollback", "pause"]),
        default: Some("rollback"),
        help: "What a failed update does: move back what it has moved, or wait for an operator.",
    }
    UPDATE_MONITOR: Duration = from_zero, {
        kind: Kind::Duration,
        default: Some("5s"),
        help: "A new task must have been running for so long before it counts as ready.",
    }
}
