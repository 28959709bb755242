//! The variables that are set once.

use std::{path::PathBuf, time::Duration};

use gantry_mesos::address::MasterSource;
use gantry_modules::FetchRules;
use regex::Regex;
use secrecy::SecretString;

use super::{Kind, Required, Variable, variables};
use crate::config::{
    Address, LogFormat, LogLevel,
    access::{BasicUser, Network, Rule},
    parse::{self, Outcome, Parsed, plain, wrong},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Mesos keeps durations in 64 bits of nanoseconds, 292 years.
const FAILOVER_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

const LEVELS: [LogLevel; 6] = [
    LogLevel::Error,
    LogLevel::Warn,
    LogLevel::Info,
    LogLevel::Verbose,
    LogLevel::Debug,
    LogLevel::Silly,
];

fn log_level(text: &str) -> Outcome<LogLevel> {
    let word = text.trim().to_ascii_lowercase();
    match LEVELS.into_iter().find(|level| level.name() == word) {
        Some(level) => plain(level),
        None => wrong(
            "is not a log level",
            "write error, warn, info, verbose, debug or silly",
        ),
    }
}

fn log_format(text: &str) -> Outcome<LogFormat> {
    match text.trim() {
        "text" => plain(LogFormat::Text),
        "json" => plain(LogFormat::Json),
        _ => wrong("is not a log format", "write text or json"),
    }
}

fn path(text: &str) -> Outcome<PathBuf> {
    parse::line(text).map(|parsed| Parsed {
        value: PathBuf::from(parsed.value),
        warning: parsed.warning,
    })
}

fn secret(text: &str) -> Outcome<SecretString> {
    plain(SecretString::from(text.trim_end_matches(['\r', '\n'])))
}

fn master(text: &str) -> Outcome<MasterSource> {
    text.parse().map_or_else(
        |error: gantry_mesos::address::AddressError| {
            wrong(
                format!("is not the address of a master: {error}"),
                "write host:5050, a comma list of such, or zk://host:2181/mesos",
            )
        },
        plain,
    )
}

fn fetch_hosts(text: &str) -> Outcome<Vec<String>> {
    let hosts: Vec<_> = text.split(',').map(str::trim).collect();
    let hosts: Vec<_> = hosts.into_iter().filter(|host| !host.is_empty()).collect();
    match FetchRules::check(hosts.iter().copied()) {
        Ok(()) => plain(hosts.into_iter().map(str::to_owned).collect()),
        Err(error) => wrong(
            format!("is no list of hosts: {error}"),
            "write host, host:port, *.domain, an address or tasks, with commas between",
        ),
    }
}

fn time(text: &str) -> Outcome<Duration> {
    parse::duration_in(text, SECOND, DAY)
}

variables! { Framework, Framework in
    FRAMEWORK_NAME: String = parse::framework_name, {
        required: Required::Yes,
        help: "Name of the framework, shown to people and used for the log file. For Mesos, the store and task ids every blank becomes a hyphen.",
        since: Variable::ORIGINAL,
    }
    TASK_DEF_NUM: u32 = parse::definitions, {
        kind: Kind::Integer,
        required: Required::Yes,
        help: "Number of task types; they are numbered from 0. At most 1000.",
        note: "A text that is not a number was read as 0, which stops every task; it is refused now. With 0, no `TASK0_…` is needed.",
        since: Variable::ORIGINAL,
    }
    HOST: String = parse::host, {
        default: Some("127.0.0.1"),
        help: "Name or address of the scheduler's own host: the HTTP server binds to it, Mesos shows it, and `TASK#_NOCOLOCATION` avoids it. Marathon sets it.",
        note: "The original needs it; for use by hand there is a default.",
        since: Variable::ORIGINAL,
    }
    PORT0: u16 = parse::port, {
        kind: Kind::Integer,
        default: Some("3000"),
        help: "Port of the HTTP server. Marathon sets it.",
        note: "The original needs it; for use by hand there is a default.",
        since: Variable::ORIGINAL,
    }
    MESOS_SANDBOX: PathBuf = path, {
        kind: Kind::Path,
        default: Some("."),
        default_words: Some("the current directory"),
        help: "Directory of the process; the log goes to `logs` in it. Mesos sets it.",
        note: "The original needs it, and `logs` must not exist yet; now it is created when missing.",
        since: Variable::ORIGINAL,
    }
    FRAMEWORK_NAME_BACKGROUND: String = parse::colour, {
        help: "CSS colour of the dashboard's title row.",
        since: Variable::ORIGINAL,
    }
    FRAMEWORK_USER: String = parse::user, {
        default: Some("root"),
        help: "Unix user of tasks that name none. Mesos does not let it change while the framework is registered.",
    }
    FRAMEWORK_ROLES: Vec<String> = parse::roles, {
        kind: Kind::List,
        default: Some("*"),
        help: "Mesos roles in which offers are wanted.",
    }
    FRAMEWORK_FAILOVER_TIMEOUT: Duration = |text| parse::duration_in(text, Duration::ZERO, FAILOVER_MAX), {
        kind: Kind::Duration,
        default: Some("1w"),
        help: "How long Mesos keeps the tasks running while no scheduler is connected. After it, Mesos kills them all.",
    }
    FRAMEWORK_WEBUI_URL: String = parse::url, {
        default_words: Some("`http://HOST:PORT0`"),
        help: "Address of the dashboard as others reach it; Mesos links to it.",
    }
    SHUTDOWN_TIMEOUT: Duration = |text| parse::duration_in(text, Duration::ZERO, HOUR), {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "After SIGTERM, how long requests and writes at hand may take to end. Tasks go on running.",
    }
    NODE_ENV: String = parse::line, {
        help: "Accepted and without effect: error pages never show the inside of the program.",
        since: Variable::ORIGINAL,
    }

    section Mesos;
    MESOS_MASTER: MasterSource = master, {
        default_words: Some("`MASTER_IP`, else `leader.mesos:5050`"),
        // `zk://user:password@…` is a form of it.
        secret: true,
        help: "Where the masters are: `host:port`, `https://host:port`, a comma list of these, or `zk://host:2181,host:2181/mesos`.",
    }
    MASTER_IP: String = parse::line, {
        help: "Host of the master, with port 5050. `MESOS_MASTER` says more and goes first.",
        since: Variable::ORIGINAL,
    }
    MESOS_PRINCIPAL: String = parse::line, {
        help: "Principal of the framework.",
    }
    MESOS_SECRET: SecretString = secret, {
        secret: true,
        help: "Secret of the principal, for HTTP Basic authentication.",
    }
    MESOS_AUTHORIZATION: SecretString = secret, {
        secret: true,
        help: "Literal value of the `Authorization` header, for masters that want something else than Basic. Not together with `MESOS_SECRET`.",
    }
    MESOS_CA_FILE: PathBuf = path, {
        kind: Kind::Path,
        default_words: Some("the public authorities"),
        help: "PEM file of the certificate authorities to trust when a master is reached over https.",
    }

    section Store;
    STORE: parse::Home = parse::store, {
        default_words: Some("`zookeeper` when `ZK_URL` is set or Marathon has started Gantry, else `embedded`"),
        help: "Where the framework id, the tasks, the scale and the changes under way are kept: `zookeeper`, where several Gantrys of one framework can stand by for each other; `embedded:PATH`, one file (`embedded`: `gantry.redb` in the sandbox); or `memory`, gone with the process. Put the file where it outlives the sandbox: a scheduler without its records registers as a new framework.",
        note: "The original always uses ZooKeeper.",
    }
    ZK_URL: parse::Servers = parse::servers, {
        default: Some("master.mesos:2181"),
        // `zk://user:password@…` is a form of it.
        secret: true,
        help: "The servers of ZooKeeper: `host:2181,host:2181`, with `/a/path` behind them if everything is to lie there. Also `zk://user:password@host:2181`.",
        note: "The default is the original's, which cannot be changed there.",
    }
    ZK_PATH: String = parse::prefix, {
        default: Some("/dcos-service-"),
        help: "Path of the framework's node, without the framework's name, which follows with `-` for every blank.",
        note: "The default is the original's: its framework id and tasks are found and taken over.",
    }
    ZK_AUTH: SecretString = parse::auth, {
        secret: true,
        help: "`user:password` for ZooKeeper's `digest` scheme. Nodes that Gantry makes can then be read and written by this user alone; without it by everyone.",
    }
    ZK_SESSION_TIMEOUT: Duration = |text| parse::duration_in(text, 4 * SECOND, 60 * SECOND), {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "When the leading Gantry has not been heard of for so long, another takes over. The leader itself stops acting earlier, after two thirds of it.",
    }
    ZK_TLS: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Talk to ZooKeeper over TLS, at the port of `secureClientPort`.",
    }
    ZK_TLS_CA: PathBuf = path, {
        kind: Kind::Path,
        default_words: Some("the public authorities"),
        help: "PEM file of the certificate authorities to trust.",
    }
    ZK_TLS_CERT: PathBuf = path, {
        kind: Kind::Path,
        help: "PEM file of Gantry's own certificate, where the servers ask for one.",
    }
    ZK_TLS_KEY: PathBuf = path, {
        kind: Kind::Path,
        help: "PEM file of its private key.",
    }
    MARATHON_APP_ID: String = parse::line, {
        help: "Set by Marathon. Where it is, the records are on ZooKeeper unless `STORE` says otherwise, because a sandbox does not outlive a restart.",
    }

    section Http;
    LISTEN: Address = parse::listen, {
        default_words: Some("`HOST:PORT0`"),
        help: "Where the HTTP server listens, as `host:port`, when that is not `HOST:PORT0`; `0.0.0.0:3000` for every address.",
    }
    ADVERTISED_URL: String = parse::base_url, {
        default_words: Some("`http://HOST:PORT0`, with `TLS_CERT` `https://HOST:PORT0`"),
        help: "Where the other Gantrys of this framework reach this one: those that stand by pass requests on to the leader. Not a load balancer before them all. With TLS it must be a name of the certificate.",
    }
    ADVERTISED_CA: PathBuf = path, {
        kind: Kind::Path,
        default_words: Some("the public authorities, and what `TLS_CERT` holds besides the certificate"),
        help: "PEM file of the certificate authorities to trust when the `ADVERTISED_URL` of another Gantry begins with https; read again when it changes.",
    }
    HTTP_BODY_MAX: usize = |text| parse::size_in(text, 1 << 10, 1 << 30), {
        kind: Kind::Size,
        default: Some("64KiB"),
        help: "Largest body of a request; a larger one is answered with 413.",
    }
    HTTP_CONNECTIONS_MAX: usize = |text| parse::integer_in(text, 1, 1_000_000), {
        kind: Kind::Integer,
        default: Some("4096"),
        help: "Most connections at once; further ones wait.",
    }
    HTTP_EVENT_STREAMS_MAX: usize = |text| parse::integer_in(text, 0, 100_000), {
        kind: Kind::Integer,
        // Each holds a connection and a little memory; a team has tens of open dashboards.
        default: Some("256"),
        help: "Most event streams at once; further ones are answered with 503.",
    }
    HTTP_REQUEST_TIMEOUT: Duration = |text| parse::duration_in(text, SECOND, HOUR), {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "Longest time from the first byte of a request to the end of its head.",
    }
    HTTP_ALLOWED_ORIGINS: Vec<String> = parse::origins, {
        kind: Kind::List,
        help: "Origins besides the server's own whose pages may change something: `https://ui.example.com`. For proxies that rewrite `Host`.",
    }
    TRUSTED_PROXIES: Vec<Network> = parse::networks, {
        kind: Kind::List,
        help: "Addresses or networks of the proxies before Gantry: what they say of the client in `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` is believed, of others it is ignored. It decides what the log says and which page is our own, never who is let in.",
    }
    URL_PREFIX: String = parse::url_prefix, {
        default_words: Some("none"),
        help: "Path at which a proxy shows Gantry, `/service/my-framework`, whether or not the proxy takes it away.",
    }
    TLS_CERT: PathBuf = path, {
        kind: Kind::Path,
        help: "PEM file of the server's certificate and those between it and the authority: HTTP is then served over TLS alone. It is read again when it changes.",
    }
    TLS_KEY: PathBuf = path, {
        kind: Kind::Path,
        help: "PEM file of the certificate's private key.",
    }
    TLS_HSTS: Duration = |text| parse::duration_in(text, Duration::ZERO, 3 * 365 * DAY), {
        kind: Kind::Duration,
        default: Some("365d"),
        help: "With `TLS_CERT`, for how long browsers are told never to come without TLS (`Strict-Transport-Security`). It counts for all ports of the host's name; `0` for where other things are served without TLS.",
    }
    HEALTH_TIMEOUT: Duration = |text| parse::duration_in(text, SECOND, DAY), {
        kind: Kind::Duration,
        default: Some("60s"),
        help: "`/health` says OK while the master was heard of within this time.",
        note: "Always 60 seconds in the original.",
    }
    TEMPLATES_DIR: PathBuf = path, {
        kind: Kind::Path,
        help: "Files in this directory replace the built-in templates of the same names.",
    }
    STATIC_DIR: PathBuf = path, {
        kind: Kind::Path,
        help: "Files in this directory replace the built-in static files of the same names, or are added to them.",
    }

    section Modules;
    MODULES_DIR: PathBuf = path, {
        kind: Kind::Path,
        default: Some("modules"),
        default_words: Some("`modules` in the working directory"),
        help: "Directory whose `<name>-module` and `module-<name>` are loaded as modules, each a directory with an `index.js`; docs/modules.md tells how they are written.",
        note: "The original looks for `*-module` in its working directory; these are loaded too.",
    }
    MODULE_FETCH_ALLOW: Vec<String> = fetch_hosts, {
        kind: Kind::List,
        help: "Hosts that modules may fetch from: `host`, `host:port`, `*.domain`, an address, `*` for all, `tasks` for the framework's own tasks. Without it, none. Each module also sees, without this beginning, the variables named `MODULE_<NAME>_…`.",
    }

    section Logging;
    LOG_LEVEL: LogLevel = log_level, {
        kind: Kind::Choice(&["error", "warn", "info", "verbose", "debug", "silly"]),
        default: Some("info"),
        help: "The least important level that is written, to the console and to the file.",
        since: Variable::ORIGINAL,
    }
    LOG_FORMAT: LogFormat = log_format, {
        kind: Kind::Choice(&["text", "json"]),
        default: Some("text"),
        help: "How a line looks: for people, or one JSON object a line.",
    }
    LOG_DIR: PathBuf = path, {
        kind: Kind::Path,
        default_words: Some("`logs` in `MESOS_SANDBOX`"),
        help: "Directory of the log files; it is made when missing. For containers whose user may not write to the sandbox.",
        note: "Always the default in the original.",
    }
    LOG_FILES_MAX: u32 = |text| parse::integer_in(text, 1, 10_000), {
        kind: Kind::Integer,
        default: Some("14"),
        help: "How many daily log files are kept.",
        note: "The original never deletes any.",
    }

    section Scheduler;
    INSTANCES_MAX: u32 = |text| parse::integer_in(text, 1, 1_000_000), {
        kind: Kind::Integer,
        default: Some("1000000"),
        help: "Most instances that may be asked of one task type.",
    }
    STARTING_PER_AGENT_MAX: u32 = |text| parse::integer_in(text, 1, 10_000), {
        kind: Kind::Integer,
        default: Some("20"),
        help: "Most tasks starting on one agent at once. A real agent given 500 at once failed 97 of them.",
    }
    LAUNCH_DEADLINE: Duration = time, {
        kind: Kind::Duration,
        default: Some("2m"),
        help: "A launched task that nothing was heard of for so long is asked about.",
    }
    UNREACHABLE_AFTER: Duration = |text| parse::duration_in(text, Duration::ZERO, 7 * DAY), {
        kind: Kind::Duration,
        default: Some("1m"),
        help: "A task on an unreachable agent is replaced after this time.",
    }
    REPLACE_DEADLINE: Duration = time, {
        kind: Kind::Duration,
        default: Some("5m"),
        help: "A replacement, in a restart, that is not ready after this time is given up.",
    }
    RECONCILE_INITIAL: Duration = time, {
        kind: Kind::Duration,
        default: Some("5s"),
        help: "Time to the second question about tasks that did not answer the first; doubles from there.",
    }
    RECONCILE_MAX: Duration = time, {
        kind: Kind::Duration,
        default: Some("1m"),
        help: "Longest time between two such questions.",
    }
    RECONCILE_EVERY: Duration = |text| parse::duration_in(text, 10 * SECOND, 7 * DAY), {
        kind: Kind::Duration,
        default: Some("15m"),
        help: "How often all tasks are asked about.",
    }
    KILL_RETRY_INITIAL: Duration = time, {
        kind: Kind::Duration,
        default: Some("10s"),
        help: "Time to the second KILL of a task that goes on living; doubles from there.",
    }
    KILL_RETRY_MAX: Duration = time, {
        kind: Kind::Duration,
        default: Some("5m"),
        help: "Longest time between two KILLs of a task.",
    }
    DECLINE_TIME: Duration = time, {
        kind: Kind::Duration,
        default: Some("1h"),
        help: "How long offers that nothing waits for are refused. New work lifts the refusal at once.",
    }
    OFFER_HOLD_MAX: Duration = |text| parse::duration_in(text, Duration::ZERO, HOUR), {
        kind: Kind::Duration,
        default: Some("5s"),
        help: "How long an offer may be held while the agent's starting places are taken.",
    }
    REVIVE_EVERY: Duration = |text| parse::duration_in(text, Duration::from_millis(100), HOUR), {
        kind: Kind::Duration,
        default: Some("1s"),
        help: "Shortest time between two REVIVE calls.",
    }
    BRAKE_SHARE: Option<u32> = parse::brake_share, {
        default: Some("50%"),
        help: "When more than this part of the tasks that were well are lost or turn unhealthy within `BRAKE_WINDOW`, something larger is wrong than the tasks: nothing is stopped or started again until it is over, or an operator releases the brake. `off` for never.",
        note: "The original has no brake.",
    }
    BRAKE_WINDOW: Duration = |text| parse::duration_in(text, SECOND, HOUR), {
        kind: Kind::Duration,
        default: Some("60s"),
        help: "The time within which they fail.",
    }
    BRAKE_TASKS_MIN: u32 = |text| parse::integer_in(text, 1, 1_000_000), {
        kind: Kind::Integer,
        default: Some("10"),
        help: "Fewer failing tasks than these never set the brake: in a small cluster one machine is a large part.",
    }
    KILL_UNKNOWN_TASKS: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Stop tasks of this framework that no task type knows. Otherwise they are shown and left alone.",
        note: "The original always kills them, at once.",
    }
    KILL_UNKNOWN_AFTER: Duration = |text| parse::duration_in(text, Duration::ZERO, 7 * DAY), {
        kind: Kind::Duration,
        default: Some("15m"),
        help: "With `KILL_UNKNOWN_TASKS`, how long after every known task has answered. Longer than the masters' `--agent_reregister_timeout` (10 minutes), so that every agent had time to return.",
    }

    section Login;
    AUTH_COOKIE_ENCRYPTION_KEY: SecretString = parse::cookie_key, {
        secret: true,
        help: "Switches login on; encrypts the cookies. At least 32 bytes, random, the same for all Gantrys of the framework. With it GitLab, Google, tokens or Basic credentials must be configured. Without it, and without `API_TOKENS_FILE` and `HTTP_CREDENTIALS`, everybody who reaches the port may do everything.",
        note: "Of any length in the original, where it signs the cookie only.",
        since: Variable::ORIGINAL,
    }
    AUTH_COOKIE_ENCRYPTION_KEY_OLD: SecretString = parse::cookie_key, {
        secret: true,
        help: "The key before the last change: sessions made with it go on. Remove it a day after the change.",
    }
    AUTH_SESSION_IDLE: Duration = |text| parse::duration_in(text, SECOND, 31 * DAY), {
        kind: Kind::Duration,
        default: Some("8h"),
        help: "A session ends when its browser has asked for nothing for so long.",
        note: "Sessions of the original never end.",
    }
    AUTH_SESSION_MAX: Duration = |text| parse::duration_in(text, SECOND, 31 * DAY), {
        kind: Kind::Duration,
        default: Some("24h"),
        help: "A session ends so long after the login, whatever is done in it. Who lost his group at the provider stays in until then.",
    }
    AUTH_ADMINS: Vec<Rule> = parse::rules, {
        kind: Kind::List,
        default_words: Some("whoever may operate"),
        help: "Who may also restart the framework, kill all tasks, release the brake, back up, and end the sessions of others: `gitlab:USER`, `gitlab-group:FULL/PATH`, `google:MAIL`, `google-domain:DOMAIN`, `basic:USER`. It lets nobody in who may not enter.",
    }
    AUTH_VIEWERS: Vec<Rule> = parse::rules, {
        kind: Kind::List,
        help: "Who may only look, in the form of `AUTH_ADMINS`; `*` for everybody who is no admin. Everybody else who may enter may operate.",
    }
    AUTH_ALLOW_ANY: bool = parse::boolean, {
        kind: Kind::Boolean,
        default: Some("false"),
        help: "Let everybody with an account at the provider in. Without it a provider that no rule narrows is refused.",
        note: "The original does so without being asked.",
    }
    API_TOKENS_FILE: PathBuf = path, {
        kind: Kind::Path,
        help: "File of the tokens for programs, one line each as `gantry token new` prints it. It holds no secret, and is read again when it changes; a file that cannot be read lets nobody in.",
    }
    HTTP_CREDENTIALS: Vec<BasicUser> = parse::basic_users, {
        secret: true,
        help: "`user:password` for HTTP Basic authentication; several, one a line. What they may do `AUTH_ADMINS` and `AUTH_VIEWERS` say, as `basic:user`.",
        note: "Eremetic's variable; a text without a colon is refused instead of running open.",
    }
    CREDENTIALS_URL: SecretString = secret, {
        // It may hold a password, or a signature in its query.
        secret: true,
        help: "Address (`http`, `https` or `file`) of lines `export NAME=value`, which are read before everything else and go before the environment. Quotes are read as a shell does; nothing is expanded or executed: a `$` or a backquote outside of `'…'` is refused. What cannot be had within 30 s (at most 64 KiB, no redirect to another scheme) stops the start. The values are shown in no report. `gantry dev` does not fetch it.",
        note: "The original has `get_creds.sh` source the file, and starts without login when the download fails. The script here does what Gantry does, with a shell, and stops.",
        since: Variable::ORIGINAL,
    }
    GITLAB_APP_ID: String = parse::line, {
        help: "Id of the application at GitLab; with it people log in there. It needs the scopes `openid`, `profile` and `email`.",
        note: "The original asks for the scope `api`.",
        since: Variable::ORIGINAL,
    }
    GITLAB_APP_SECRET: SecretString = secret, {
        secret: true,
        help: "Its secret. Needed with `GITLAB_APP_ID`.",
        since: Variable::ORIGINAL,
    }
    GITLAB_CALLBACK_URL: String = parse::callback, {
        help: "Where GitLab sends the browser back to, exactly as registered there: the dashboard's address and `/auth/gitlab/callback`. Needed with `GITLAB_APP_ID`. With https the cookies are sent over https alone.",
        since: Variable::ORIGINAL,
    }
    GITLAB_URL: String = parse::provider, {
        default: Some("https://gitlab.com"),
        help: "Address of the GitLab; http is taken on loopback only.",
        since: Variable::ORIGINAL,
    }
    GITLAB_SCOPE: String = parse::line, {
        default: Some("openid profile email"),
        help: "What Gantry asks to know. Without `openid` plain OAuth 2.0 is used with `/api/v4/user` and, for groups, `/api/v4/groups`: `read_user read_api`, or the `api` of an old application. A GitLab without OpenID Connect is asked that way in any case.",
    }
    GITLAB_ALLOWED_GROUPS: Vec<String> = parse::groups, {
        kind: Kind::List,
        help: "Full paths of groups, `developers/frontend`: their members and those of their subgroups may enter.",
        note: "The original lets in whoever has an account.",
    }
    GITLAB_ALLOWED_USERS: Vec<String> = parse::user_names, {
        kind: Kind::List,
        help: "Names of users who may enter, whatever their groups.",
    }
    GOOGLE_CLIENT_ID: String = parse::line, {
        help: "Id of the OAuth client at Google; with it people log in there.",
        since: Variable::ORIGINAL,
    }
    GOOGLE_CLIENT_SECRET: SecretString = secret, {
        secret: true,
        help: "Its secret. Needed with `GOOGLE_CLIENT_ID`.",
        since: Variable::ORIGINAL,
    }
    GOOGLE_CALLBACK_URL: String = parse::callback, {
        help: "Where Google sends the browser back to, exactly as registered there: the dashboard's address and `/auth/google/callback`. Needed with `GOOGLE_CLIENT_ID`.",
        since: Variable::ORIGINAL,
    }
    GOOGLE_SCOPE: String = parse::line, {
        help: "What Gantry asks to know besides `openid`, `email` and `profile`.",
        note: "The original asks for `profile` alone, with which `GOOGLE_FILTER` lets nobody in.",
        since: Variable::ORIGINAL,
    }
    GOOGLE_FILTER: Regex = parse::filter, {
        help: "Regular expression that the verified e-mail address must match, anywhere in it: write `@example\\.com$`, not `example.com`.",
        since: Variable::ORIGINAL,
    }
    GOOGLE_ALLOWED_DOMAINS: Vec<String> = parse::domains, {
        kind: Kind::List,
        help: "Domains of Google Workspace whose accounts may enter; Google itself says of which domain an account is. With `GOOGLE_FILTER` both must hold.",
    }
    GOOGLE_ISSUER: String = parse::provider, {
        default: Some("https://accounts.google.com"),
        help: "Another provider of OpenID Connect in the place of Google, for trying things out; http is taken on loopback only.",
    }

    section Environment;
    GLOBAL_ENV: Vec<(String, String)> = parse::object, {
        kind: Kind::Json,
        secret: true,
        help: "JSON object of environment variables for the tasks of every type; `TASK#_ENV` goes first where both have a name.",
        aliases: &["GLOBAL_TASKS_VARS"],
    }
}
