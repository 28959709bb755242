//! What stands before every route.

use gantry_core::TaskState;

use super::world::{SECRET, World, rich_service};
use crate::{
    auth::{Access, NewToken},
    http::routes::{self, About, Row},
};

/// A row as a request, confirmed and with names filled in.
fn line(row: &Row) -> String {
    let path = row.path.replace("{name}", "web").replace("{type}", "web");
    let path = path
        .replace("{instances}", "7")
        .replace("{action}", "pause")
        .replace("{stream}", "stdout")
        .replace("{module}", "none")
        .replace("{number}", "1")
        .replace("{path:.*}", "css/base.css")
        .replace("{provider}", "gitlab");
    let path = path.replace("{id}", "1").replace("{task}", "any");
    assert!(!path.contains('{'), "{path}");
    format!("{} {path}?sure=yes", row.verb.name())
}

/// Every route that changes something.
fn changes() -> Vec<String> {
    let rows = routes::all().into_iter();
    let changing = rows.filter(|row| row.rule.about == About::Change);
    changing.map(|row| line(&row)).collect()
}

#[actix_web::test]
async fn every_route_asks_for_its_level() {
    let expires = jiff::Timestamp::from_second(4_000_000_000).unwrap();
    let levels = [Access::View, Access::Operate, Access::Admin];
    let tokens = levels.map(|level| NewToken::make(level.name(), level, expires).unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let lines = tokens.each_ref().map(|token| token.line.as_str());
    std::fs::write(&file, lines.join("\n")).unwrap();
    let world = World::with(vec![rich_service("web", 1)], |settings| {
        settings.auth.tokens_file = Some(file.path().to_owned());
    });
    world.subscribe();
    let rows = routes::all();
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let line = line(&row);
        let needs = row.rule.access;
        let stranger = world.open(&line, &[], "{}").await.status();
        assert_eq!(stranger == 401, needs != Access::Open, "{line}: {stranger}");
        for (level, token) in levels.iter().zip(&tokens) {
            let bearer = format!("Bearer {}", token.token);
            let status = world
                .open(&line, &[("authorization", &bearer)], "{}")
                .await
                .status();
            assert_ne!(status, 401, "{line} {level:?}");
            assert_eq!(status == 403, *level < needs, "{line} {level:?}: {status}");
        }
        // What is open to a token is not to a page of another site that has none of ours.
        let evil = [("origin", "https://evil.example"), ("cookie", "session=x")];
        let status = world.open(&line, &evil, "{}").await.status();
        let reads = line.starts_with("GET");
        let refused = if reads { status == 401 } else { status == 403 };
        assert!(
            refused || needs == Access::Open && reads,
            "{line}: {status}"
        );
    }
}

#[actix_web::test]
async fn nothing_changes_on_a_cross_site_request() {
    let world = World::new(vec![rich_service("web", 1)]);
    world.subscribe();
    let host = ("host", "fw.example:31000");
    let changes = changes();
    assert!(changes.len() > 15, "{changes:?}");
    for line in &changes {
        for evil in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
        ] {
            let reply = world.send(line, &[host, evil], r#"{"instances":7}"#).await;
            assert_eq!(reply.status, 403, "{line} {evil:?}");
            assert_eq!(reply.code(), "cross_site", "{line} {evil:?}");
        }
    }
    let view = world.state.handle().view();
    assert_eq!(view.audit.len(), 0);
    assert_eq!(view.workload("web").unwrap().desired, 1);

    // The same from our own page, and from no browser at all.
    let own = ("origin", "http://fw.example:31000");
    for headers in [&[host, own][..], &[]] {
        let reply = world
            .send("PUT /tasks/types/web/scale/7", headers, "")
            .await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(
        world.state.handle().view().workload("web").unwrap().desired,
        7
    );
    // GET changes something only for our own page.
    let get = "GET /framework/restart?sure=yes";
    assert_eq!(world.send(get, &[host], "").await.status, 403);
    let own = ("sec-fetch-site", "same-origin");
    assert_eq!(world.send(get, &[host, own], "").await.status, 200);
}

#[actix_web::test]
async fn every_answer_is_strict_and_none_shows_a_secret() {
    let world = World::new(vec![rich_service("web", 1)]);
    world.subscribe();
    let task = world.offer(1, 8, 8_000).remove(0).task;
    world.status(&task, TaskState::Running);
    let of_task = format!("/api/v2/tasks/{task}");
    for (path, status) in [
        ("/", 200),
        ("/static/css/base.css", 200),
        ("/static/../Cargo.toml", 404),
        ("/static/..%2f..%2fCargo.toml", 404),
        ("/api/v1/framework/configuration", 200),
        ("/tasks/launched", 200),
        ("/api/v2/overview", 200),
        ("/api/v2/workloads", 200),
        ("/api/v2/workloads/web", 200),
        ("/api/v2/workloads/web/explain", 200),
        ("/api/v2/tasks", 200),
        (of_task.as_str(), 200),
        ("/api/v2/agents", 200),
        ("/api/v2/deployments", 200),
        ("/api/v2/audit", 200),
        ("/api/v2/nothing", 404),
        ("/metrics", 200),
        ("/nothing", 404),
    ] {
        let reply = world.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(!reply.body.contains(SECRET), "{path} shows a secret");
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("default-src 'self'"), "{path}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(reply.header("referrer-policy"), "same-origin", "{path}");
    }
}
