//! Logging in and what it takes to get past the gate.

use std::time::Duration;

use actix_web::http::header;
use regex::Regex;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Reply,
    provider::{CLIENT, CLIENT_SECRET, Provider, Signature},
    world::{World, service},
};
use crate::{
    auth::{Access, NewToken},
    config::{Application, Auth, BasicUser, Gitlab, Google, Rule, Sessions},
    http::HttpSettings,
};

const KEY: &str = "0123456789abcdef0123456789abcdef";
const OWN: (&str, &str) = ("origin", "https://fw.example");
const HOST: (&str, &str) = ("host", "fw.example");

fn application(provider: &str, via: &str) -> Application {
    Application {
        id: CLIENT.to_owned(),
        secret: SecretString::from(CLIENT_SECRET),
        callback: format!("https://fw.example/auth/{via}/callback"),
        provider: provider.to_owned(),
        scopes: ["openid", "profile", "email"].map(str::to_owned).into(),
    }
}

fn sessions(provider: &str) -> Sessions {
    Sessions {
        key: SecretString::from(KEY),
        old_key: None,
        idle: Duration::from_secs(3_600),
        absolute: Duration::from_secs(86_400),
        gitlab: Some(Gitlab {
            application: application(provider, "gitlab"),
            groups: vec!["dev/web".to_owned()],
            users: vec!["root".to_owned()],
        }),
        google: Some(Google {
            application: application(provider, "google"),
            domains: vec!["example.com".to_owned()],
            filter: Regex::new("@example\\.com$").ok(),
        }),
    }
}

fn auth(provider: &str) -> Auth {
    Auth {
        sessions: Some(sessions(provider)),
        admins: vec![Rule::GitlabGroup("dev/web/leads".to_owned())],
        viewers: vec![Rule::GoogleMail("eve@example.com".to_owned())],
        ..Auth::default()
    }
}

fn world(auth: &Auth) -> World {
    let set = |settings: &mut HttpSettings| settings.auth = auth.clone();
    let world = World::with(vec![service("web", 1)], set);
    world.subscribe();
    world
}

/// The cookies that an answer sets, as a browser sends them; those to be forgotten are left out.
fn cookies(reply: &Reply) -> String {
    let set = reply.headers.get_all(header::SET_COOKIE);
    let kept = set.filter_map(|value| {
        let value = value.to_str().unwrap();
        let (pair, flags) = value.split_once(';').unwrap();
        (!flags.contains("Max-Age=0")).then(|| pair.to_owned())
    });
    kept.collect::<Vec<_>>().join("; ")
}

fn parameter(url: &str, name: &str) -> String {
    let url = reqwest::Url::parse(url).unwrap();
    let value = url.query_pairs().find(|(key, _)| key == name);
    value
        .unwrap_or_else(|| panic!("{name} in {url}"))
        .1
        .into_owned()
}

/// A login that was begun.
struct Begun {
    cookie: String,
    state: String,
    url: String,
}

async fn begin(world: &World, provider: &Provider, path: &str) -> Begun {
    let reply = world.get(path).await;
    assert_eq!(reply.status, 302, "{}", reply.body);
    let url = reply.header("location").to_owned();
    assert!(url.starts_with(&provider.url), "{url}");
    provider.set(|answers| {
        answers.nonce = if url.contains("nonce=") {
            parameter(&url, "nonce")
        } else {
            String::new()
        };
        answers.challenge = parameter(&url, "code_challenge");
    });
    assert_eq!(parameter(&url, "code_challenge_method"), "S256");
    Begun {
        cookie: cookies(&reply),
        state: parameter(&url, "state"),
        url,
    }
}

async fn come_back(world: &World, via: &str, begun: &Begun, cookie: &str) -> Reply {
    let line = format!(
        "GET /auth/{via}/callback?code=the-code&state={}",
        begun.state
    );
    world.send(&line, &[("cookie", cookie)], "").await
}

async fn log_in(world: &World, provider: &Provider, via: &str) -> Reply {
    let begun = begin(world, provider, &format!("/auth/{via}")).await;
    come_back(world, via, &begun, &begun.cookie).await
}

fn bob() -> Value {
    json!({
        "sub": "42", "name": "Bob B.", "email": "Bob@example.com", "email_verified": true,
        "hd": "example.com",
    })
}

async fn session(world: &World, cookie: &str) -> Value {
    let reply = world
        .send("GET /api/v2/session", &[("cookie", cookie)], "")
        .await;
    assert_eq!(reply.status, 200);
    reply.json()
}

#[actix_web::test]
async fn a_login_with_google_makes_a_new_session_that_ends() {
    let provider = Provider::start();
    let world = world(&auth(&provider.url));
    provider.set(|answers| answers.token = bob());
    let begun = begin(&world, &provider, "/auth/google?next=/%23/tasks").await;
    assert_eq!(
        parameter(&begun.url, "redirect_uri"),
        "https://fw.example/auth/google/callback"
    );
    assert_eq!(parameter(&begun.url, "scope"), "openid email profile");
    assert_eq!(parameter(&begun.url, "hd"), "example.com");
    assert!(
        begun.cookie.starts_with("__Host-gantry-my-fw-login-"),
        "{}",
        begun.cookie
    );
    assert!(
        !begun.cookie.contains(&begun.state[..16]),
        "what must come back is not readable"
    );

    // Somebody else's session in this browser is not gone on with.
    let other = log_in(&world, &provider, "google").await;
    let fixed = cookies(&other);
    let begun = begin(&world, &provider, "/auth/google?next=/%23/tasks").await;
    let both = format!("{fixed}; {}", begun.cookie);
    let reply = come_back(&world, "google", &begun, &both).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("location")),
        (302, "../../#/tasks")
    );
    assert_eq!(reply.header("referrer-policy"), "same-origin");
    let set: Vec<_> = reply.headers.get_all(header::SET_COOKIE).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    for cookie in set {
        let cookie = cookie.to_str().unwrap();
        for flag in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/;"] {
            assert!(format!("{cookie};").contains(flag), "{cookie}");
        }
        assert!(cookie.starts_with("__Host-gantry-my-fw-") && !cookie.contains("Domain"));
        assert!(cookie.len() < 4_096);
    }
    let cookie = cookies(&reply);
    assert_ne!(cookie, fixed);
    let user = session(&world, &cookie).await;
    assert_eq!(
        user,
        json!({
            "access": "login", "level": "operate", "providers": ["gitlab", "google"],
            "user": {"name": "Bob B.", "email": "bob@example.com", "via": "google"},
        })
    );

    // The session lets in, as whom it says, and not to what its level is too low for.
    let with = [("cookie", cookie.as_str()), HOST, OWN];
    let line = "PUT /api/v2/workloads/web/scale";
    let scaled = world.send(line, &with, r#"{"instances":3}"#).await;
    assert_eq!(scaled.status, 200, "{}", scaled.body);
    assert_eq!(scaled.header("cache-control"), "no-store");
    let actor = world.state.handle().view().audit[0].actor.clone();
    assert_eq!(actor.name, "google:bob@example.com");
    let denied = world.send("POST /api/v2/kill", &with, "{}").await;
    assert_eq!(
        (denied.status.as_u16(), denied.code()),
        (403, "forbidden".to_owned())
    );

    // What a browser sends by itself has to say from where.
    for headers in [
        &with[..2],
        &[with[0], HOST, ("origin", "https://evil.example")],
    ] {
        let reply = world.send(line, headers, r#"{"instances":9}"#).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (403, "cross_site".to_owned())
        );
    }

    // Logging out ends this session and no other; ending mine, all of them.
    let evil = [
        ("cookie", cookie.as_str()),
        HOST,
        ("referer", "https://evil.example/"),
    ];
    world.send("GET /logout", &evil, "").await;
    assert!(session(&world, &cookie).await["user"].is_object());
    let out = world.send("POST /logout", &with, "").await;
    assert_eq!(
        (out.status.as_u16(), out.header("location")),
        (303, "login/")
    );
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(
        session(&world, &cookie).await["user"],
        Value::Null,
        "a copy of the cookie"
    );
    assert!(session(&world, &fixed).await["user"].is_object());
    let with = [("cookie", fixed.as_str()), HOST, OWN];
    let all = world
        .send("POST /api/v2/sessions/end", &with, r#"{"whose":"all"}"#)
        .await;
    assert_eq!(all.status, 403);
    tokio::time::sleep(Duration::from_millis(2)).await;
    world.step_after(far_ahead(), Vec::new());
    let mine = world
        .send("POST /api/v2/sessions/end", &with, r#"{"whose":"mine"}"#)
        .await;
    assert_eq!(mine.status, 200, "{}", mine.body);
    assert_eq!(session(&world, &fixed).await["user"], Value::Null);
    provider.stop().await;
}

/// The scheduler of these worlds lives in the past.
fn far_ahead() -> u64 {
    let now = jiff::Timestamp::now().as_millisecond() as u64;
    now + 1_000 - super::world::START
}

#[actix_web::test]
async fn broken_tokens_let_nobody_in() {
    let provider = Provider::start();
    let world = world(&auth(&provider.url));
    provider.set(|answers| answers.token = bob());
    assert_eq!(
        log_in(&world, &provider, "google").await.header("location"),
        "../../"
    );
    let past = jiff::Timestamp::now().as_second() - 10;
    for (claims, signature) in [
        (json!({"aud": "other"}), Signature::Right),
        (json!({"aud": [CLIENT, "other"]}), Signature::Right),
        (
            json!({"iss": "https://accounts.google.com"}),
            Signature::Right,
        ),
        (
            json!({"iss": format!("{}/", provider.url)}),
            Signature::Right,
        ),
        (json!({"nonce": "other"}), Signature::Right),
        (json!({"nonce": null}), Signature::Right),
        (json!({"exp": past}), Signature::Right),
        (json!({"sub": ""}), Signature::Right),
        (json!({}), Signature::None),
        (json!({}), Signature::Hmac),
        (json!({}), Signature::OtherKey),
        (json!({}), Signature::UnknownKey),
        (json!({}), Signature::Changed),
    ] {
        provider.set(|answers| {
            answers.token = bob();
            for (name, value) in claims.as_object().unwrap() {
                answers.token[name] = value.clone();
            }
            answers.signature = signature;
        });
        let reply = log_in(&world, &provider, "google").await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (302, "../../login/?problem=provider"),
            "{claims} {signature:?}"
        );
        assert_eq!(cookies(&reply), "", "{claims} {signature:?}");
    }
    provider.stop().await;
}

#[actix_web::test]
async fn who_may_not_enter_is_told_so() {
    let provider = Provider::start();
    let world = world(&auth(&provider.url));
    for (claims, problem) in [
        (json!({"hd": null}), "not-allowed"),
        (json!({"hd": "example.com.evil.org"}), "not-allowed"),
        (json!({"email": "bob@example.org"}), "not-allowed"),
        // An address with two `@` is of no domain.
        (json!({"email": "bob@evil.org@example.com"}), "not-allowed"),
        (
            json!({"email": "bob@evil.org x@example.com"}),
            "not-allowed",
        ),
        (json!({"email_verified": false}), "unverified"),
        (json!({"email_verified": null}), "unverified"),
        (json!({"email": null}), "unverified"),
    ] {
        provider.set(|answers| {
            answers.token = bob();
            answers.userinfo = Some(json!({"sub": "42"}));
            for (name, value) in claims.as_object().unwrap() {
                answers.token[name] = value.clone();
            }
        });
        let reply = log_in(&world, &provider, "google").await;
        let location = format!("../../login/?problem={problem}");
        assert_eq!(reply.header("location"), location, "{claims}");
        assert_eq!(cookies(&reply), "", "{claims}");
    }
    let page = world.get("/login/?problem=not-allowed").await;
    assert!(page.body.contains("may not enter") && page.body.contains("../auth/gitlab"));
    let page = world
        .get("/login/?problem=%3Cscript%3E&next=//evil.example")
        .await;
    assert!(
        !page.body.contains("<script>") && !page.body.contains("evil"),
        "{}",
        page.body
    );
    provider.stop().await;
}

#[actix_web::test]
async fn gitlab_is_asked_for_groups_either_way() {
    let provider = Provider::start();
    provider.set(|answers| {
        answers.token = json!({"sub": "7"});
        answers.user = json!({
            "id": 7, "username": "alice", "name": "Alice", "email": "a@example.com",
            "confirmed_at": "2026-01-01T00:00:00Z", "state": "active",
        });
    });
    let info =
        |groups: Value| json!({"sub": "7", "nickname": "alice", "name": "Alice", "groups": groups});
    // With OpenID Connect, where the groups are in what is told of the person …
    let world_with = || world(&auth(&provider.url));
    let world = world_with();
    for (groups, location, level) in [
        (json!(["dev/web"]), "../../", json!("operate")),
        (json!(["DEV/web/leads"]), "../../", json!("admin")),
        (
            json!(["dev", "dev/webby", "x/dev/web"]),
            "../../login/?problem=not-allowed",
            Value::Null,
        ),
    ] {
        provider.set(|answers| answers.userinfo = Some(info(groups.clone())));
        let reply = log_in(&world, &provider, "gitlab").await;
        assert_eq!(reply.header("location"), location, "{groups}");
        assert_eq!(
            session(&world, &cookies(&reply)).await["level"],
            level,
            "{groups}"
        );
    }
    // … or not, and the API knows.
    provider.set(|answers| {
        answers.userinfo = Some(info(Value::Null));
        answers.groups = json!([{"full_path": "dev/web"}]);
    });
    let reply = log_in(&world, &provider, "gitlab").await;
    assert_eq!(reply.header("location"), "../../");
    // What is told of somebody else counts for nothing.
    provider.set(|answers| answers.userinfo = Some(json!({"sub": "1", "groups": ["dev/web"]})));
    let reply = log_in(&world, &provider, "gitlab").await;
    assert_eq!(reply.header("location"), "../../login/?problem=provider");

    // One without OpenID Connect.
    provider.set(|answers| answers.openid = false);
    let world = world_with();
    let begun = begin(&world, &provider, "/auth/gitlab").await;
    assert_eq!(parameter(&begun.url, "scope"), "read_user read_api");
    let reply = come_back(&world, "gitlab", &begun, &begun.cookie).await;
    let user = session(&world, &cookies(&reply)).await;
    assert_eq!(user["user"]["name"], "Alice", "{user}");
    for (field, value, problem) in [
        ("state", json!("blocked"), "provider"),
        ("confirmed_at", Value::Null, "unverified"),
    ] {
        provider.set(|answers| answers.user[field] = value);
        let reply = log_in(&world, &provider, "gitlab").await;
        assert_eq!(
            reply.header("location"),
            format!("../../login/?problem={problem}")
        );
        provider.set(|answers| {
            answers.user["state"] = json!("active");
        });
    }

    // A provider that says it is another one.
    provider.set(|answers| {
        answers.openid = true;
        answers.issuer = Some("https://gitlab.com".to_owned());
    });
    let reply = world_with().get("/auth/gitlab").await;
    assert_eq!(reply.header("location"), "../login/?problem=provider");
    provider.stop().await;
    // One that is away is no GitLab without OpenID Connect.
    let reply = world_with().get("/auth/gitlab").await;
    assert_eq!(reply.header("location"), "../login/?problem=provider");
}

#[actix_web::test]
async fn an_answer_counts_once_and_for_its_own_question() {
    let provider = Provider::start();
    let world = world(&auth(&provider.url));
    provider.set(|answers| answers.token = bob());
    let lost = "../../login/?problem=lost";
    let begun = begin(&world, &provider, "/auth/google").await;
    let another = begin(&world, &provider, "/auth/google").await;
    provider.set(|answers| answers.challenge = parameter(&begun.url, "code_challenge"));
    provider.set(|answers| answers.nonce = parameter(&begun.url, "nonce"));
    let mut tampered = begun.cookie.clone();
    let last = tampered.pop().unwrap();
    tampered.push(if last == 'A' { 'B' } else { 'A' });
    let (name, _) = begun.cookie.split_once('=').unwrap();
    let (_, value) = another.cookie.split_once('=').unwrap();
    for cookie in [
        "",
        "x=y",
        &tampered,
        &another.cookie,
        &format!("{name}={value}"),
    ] {
        let reply = come_back(&world, "google", &begun, cookie).await;
        assert_eq!(reply.header("location"), lost, "{cookie}");
        assert_eq!(cookies(&reply), "");
    }
    // An answer of one provider is none of the other's.
    let reply = come_back(&world, "gitlab", &begun, &begun.cookie).await;
    assert_eq!(reply.header("location"), lost);
    let issuer = format!(
        "GET /auth/google/callback?code=the-code&state={}&iss=https://evil.example",
        another.state
    );
    let reply = world
        .send(&issuer, &[("cookie", &another.cookie)], "")
        .await;
    assert_eq!(reply.header("location"), "../../login/?problem=provider");
    let reply = come_back(&world, "google", &begun, &begun.cookie).await;
    assert_eq!(reply.header("location"), "../../");
    let again = come_back(&world, "google", &begun, &begun.cookie).await;
    assert_eq!(again.header("location"), lost);
    let begun = begin(&world, &provider, "/auth/google").await;
    let denied = format!(
        "GET /auth/google/callback?error=access_denied&state={}",
        begun.state
    );
    let reply = world.send(&denied, &[("cookie", &begun.cookie)], "").await;
    assert_eq!(reply.header("location"), "../../login/?problem=cancelled");
    for odd in ["", "?state=a&state=b", "?code=%ff", "?state=%00"] {
        let reply = world.get(&format!("/auth/google/callback{odd}")).await;
        assert_eq!(reply.header("location"), lost, "{odd}");
    }
    for path in ["/auth/github", "/auth/github/callback"] {
        assert_eq!(world.get(path).await.status, 404);
    }

    // A session is of no use to another framework with the same key, nor under other rules, but
    // it is after a change of the key.
    let cookie = cookies(&log_in(&world, &provider, "google").await);
    let again = |adjust: &dyn Fn(&mut HttpSettings)| {
        World::with(vec![service("web", 1)], |settings| {
            settings.auth = auth(&provider.url);
            adjust(settings);
        })
    };
    let new_key = |settings: &mut HttpSettings| {
        if let Some(sessions) = &mut settings.auth.sessions {
            sessions.old_key = Some(SecretString::from(KEY));
            sessions.key = SecretString::from(KEY.replace('0', "x"));
        }
    };
    let user = |world: World| {
        let cookie = cookie.replace("my-fw", &world.state.settings().framework_in_ids);
        async move { session(&world, &cookie).await["user"].is_object() }
    };
    assert!(user(again(&|_| {})).await && user(again(&new_key)).await);
    assert!(!user(again(&|settings| settings.framework_in_ids = "other".into())).await);
    assert!(!user(again(&|settings| settings.auth.admins.clear())).await);
    provider.stop().await;
}

/// What others got wrong, each of which let everybody in.
#[actix_web::test]
async fn nothing_but_credentials_opens_the_gate() {
    let provider = Provider::start();
    let world = world(&auth(&provider.url));
    for (line, headers) in [
        // A header of a health checker is no proof of one.
        ("GET /api/v2/tasks", vec![("user-agent", "GoogleHC/1.0")]),
        ("GET /api/v2/tasks", vec![("user-agent", "kube-probe/1.30")]),
        ("GET /api/v2/tasks", vec![("user-agent", "Mesos/Marathon")]),
        // The path that counts is the one that is served.
        ("GET /api/v2/tasks", vec![("x-forwarded-uri", "/health")]),
        (
            "GET /api/v2/tasks",
            vec![("x-original-url", "/health"), ("x-rewrite-url", "/health")],
        ),
        ("GET /api/v2/tasks#/health", vec![]),
        ("GET /api/v2/tasks?/health", vec![]),
        ("GET /api/v2/tasks%23/health", vec![]),
        ("GET /api/v2/tasks%3F/health", vec![]),
        ("GET /static/../api/v2/tasks", vec![]),
        ("GET /static/..%2fapi/v2/tasks", vec![]),
        ("GET //api/v2/tasks", vec![]),
        ("GET /api/v2/tasks/../../../health", vec![]),
        ("GET /login/../api/v2/tasks", vec![]),
        ("GET /health/../api/v2/tasks", vec![]),
        (
            "POST /api/v2/rolling-restarts",
            vec![("x-http-method-override", "GET")],
        ),
        // Nobody is believed who he says he is.
        ("GET /api/v2/tasks", vec![("x-forwarded-for", "127.0.0.1")]),
        (
            "GET /api/v2/tasks",
            vec![("x-forwarded-user", "admin"), ("remote-user", "admin")],
        ),
        ("GET /api/v2/tasks", vec![("x-gantry-forwarded-by", "me")]),
        (
            "GET /api/v2/tasks",
            vec![("authorization", "Bearer gantry_x")],
        ),
        ("GET /api/v2/tasks?access_token=x&token=x", vec![]),
        (
            "GET /api/v2/tasks",
            vec![("cookie", "__Host-gantry-my-fw-session=x; session=e30=")],
        ),
        ("GET /framework/configurationX", vec![]),
        ("GET /framework/configuration/..%2fstats", vec![]),
        ("GET /nothing", vec![]),
        ("GET /api/v1/nothing", vec![]),
        ("DELETE /api/v1/tasks/launched", vec![]),
        ("GET /metrics", vec![]),
        ("GET /api/v2/backup", vec![]),
    ] {
        let reply = world.send(line, &headers, "").await;
        let shown = reply.status == 401
            || line.contains("/static/") && reply.status == 404 && !reply.body.contains("items");
        assert!(shown, "{line} {headers:?}: {} {}", reply.status, reply.body);
    }
    // In the words of each face.
    let reply = world.get("/api/v1/tasks/launched").await;
    assert_eq!(reply.body, r#"{"error":"Not authenticated"}"#);
    assert_eq!(world.get("/api/v2/tasks").await.code(), "not_authenticated");
    let reply = world.get("/framework/configuration").await;
    assert_eq!(
        (reply.status.as_u16(), reply.body.as_str()),
        (200, r#"{"frameworkName":"my fw","user":""}"#)
    );
    // People are shown where to log in, and come back.
    for (path, location) in [
        ("/", "login/"),
        ("/logs?tail=1", "login/?next=/logs%3Ftail%3D1"),
        ("/tasks/launched", "../login/?next=/tasks/launched"),
    ] {
        let reply = world
            .send(&format!("GET {path}"), &[("accept", "text/html,*/*")], "")
            .await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (302, location),
            "{path}"
        );
    }
    let reply = world.get("/login?next=/a").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("location")),
        (301, "login/?next=/a")
    );
    for open in ["/health", "/moduleList", "/static/css/login.css", "/login/"] {
        assert!(world.get(open).await.status != 401, "{open}");
    }
    assert_eq!(
        session(&world, "").await,
        json!({"access": "login", "user": null, "level": null, "providers": ["gitlab", "google"]})
    );
    provider.stop().await;
}

#[actix_web::test]
async fn programs_have_tokens_and_passwords() {
    let expires = jiff::Timestamp::from_second(4_000_000_000).unwrap();
    let token = |name, level| NewToken::make(name, level, expires).unwrap();
    let (view, operate, admin) = (
        token("watch", Access::View),
        token("ci", Access::Operate),
        token("root", Access::Admin),
    );
    let ended = jiff::Timestamp::from_second(1).unwrap();
    let ended = NewToken::make("ended", Access::Admin, ended).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = [&view, &operate, &admin, &ended].map(|token| token.line.clone());
    std::fs::write(&file, lines.join("\n")).unwrap();
    let user = |name: &str, password: &str| BasicUser {
        name: name.to_owned(),
        password: SecretString::from(password),
    };
    let world = world(&Auth {
        tokens_file: Some(file.path().to_owned()),
        basic: vec![user("ops", "pass:word"), user("guest", "guest")],
        admins: vec![Rule::Basic("ops".to_owned())],
        viewers: vec![Rule::Everyone],
        ..Auth::default()
    });
    let bearer = |token: &str| format!("Bearer {token}");
    let (look, change, kill) = (
        "GET /api/v2/tasks",
        "PUT /tasks/types/web/scale/2",
        "GET /framework/restart?sure=no",
    );
    for (credentials, look_status, change_status, kill_status) in [
        (bearer(&view.token), 200, 403, 403),
        (bearer(&operate.token), 200, 200, 403),
        // GET changes something for a token, as no browser sends one by itself …
        (bearer(&admin.token), 200, 200, 200),
        // … but it does send passwords.
        ("Basic b3BzOnBhc3M6d29yZA==".to_owned(), 200, 200, 403),
        ("basic Z3Vlc3Q6Z3Vlc3Q=".to_owned(), 200, 403, 403),
        (bearer(&ended.token), 401, 401, 401),
    ] {
        for (line, status) in [
            (look, look_status),
            (change, change_status),
            (kill, kill_status),
        ] {
            let reply = world
                .send(line, &[("authorization", &credentials)], "")
                .await;
            assert_eq!(
                reply.status.as_u16(),
                status,
                "{credentials} {line}: {}",
                reply.body
            );
        }
    }
    let with = bearer(&admin.token);
    let tokens = world
        .send("GET /api/v2/tokens", &[("authorization", &with)], "")
        .await;
    assert!(!tokens.body.contains("sha256") && !tokens.body.contains("gantry_"));
    assert_eq!(tokens.json()[0]["name"], "ci");
    assert!(tokens.json()[0]["last_used_at"].is_u64() && tokens.json()[1]["expired"] == true);
    let me = world
        .send("GET /api/v2/session", &[("authorization", &with)], "")
        .await;
    assert_eq!(
        me.json()["user"],
        json!({"name": "root", "email": null, "via": "token"})
    );
    let html = world.send("GET /", &[("accept", "text/html")], "").await;
    assert!(
        html.header("www-authenticate").starts_with("Basic"),
        "{:?}",
        html.headers
    );
    assert!(
        world
            .get("/api/v2/tasks")
            .await
            .header("www-authenticate")
            .starts_with("Bearer")
    );
    assert_eq!(world.get("/login").await.status, 404, "there is none");

    // Guessing comes to an end, for who guesses, and not for who knows a token.
    let wrong = [("authorization", "Basic b3BzOndyb25n")];
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(world.send(look, &wrong, "").await.status.as_u16());
    }
    assert!(
        answers.starts_with(&[401]) && answers.ends_with(&[429]),
        "{answers:?}"
    );
    let right = [("authorization", "Basic b3BzOnBhc3M6d29yZA==")];
    assert_eq!(world.send(look, &right, "").await.status, 429);
    assert_eq!(
        world
            .send(look, &[("authorization", &with)], "")
            .await
            .status,
        200
    );
}

#[actix_web::test]
async fn a_prefix_may_be_taken_away_or_not() {
    let world = World::with(vec![service("web", 1)], |settings| {
        settings.url_prefix = "/service/fw".to_owned();
        settings.auth.basic = vec![BasicUser {
            name: "a".to_owned(),
            password: SecretString::from("b"),
        }];
        settings.auth.sessions = Some(sessions("http://127.0.0.1:1"));
    });
    for (path, status, location) in [
        ("/service/fw", 302, "fw/"),
        ("/service/fw/", 302, "login/"),
        ("/service/fw/login", 301, "login/"),
        ("/service/fw/login/", 200, ""),
        ("/login/", 200, ""),
        ("/service/fw/health", 500, ""),
        ("/service/fw/api/v2/tasks?limit=1", 401, ""),
        ("/service/fwx/health", 401, ""),
        ("/service/fw/static/css/base.css", 200, ""),
    ] {
        let reply = world.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("location")),
            (status, location),
            "{path}"
        );
    }
    let with = [("authorization", "Basic YTpi")];
    let reply = world
        .send("GET /service/fw/api/v2/tasks?limit=1", &with, "")
        .await;
    assert_eq!(reply.json()["limit"], 1);
}
