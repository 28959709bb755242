//! No module hurts anything but itself.

use std::time::{Duration, Instant};

use gantry_modules::{Answer, Hook, NoAnswer, Question};
use serde_json::json;

use crate::support::{Bench, ask, error, is_running, until};

/// Longer than anything takes that ends at all.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_a_limit_is_stopped_and_nothing_else_is() {
    let mut bench = Bench::new();
    let good = bench
        .body("good", "gantry.beforeKill(() => ({refuse: 'still here'}))")
        .await;
    let short = bench.limits.call;
    let cases = [
        ("loop", "for (;;) {}", "more than 100 ms"),
        (
            "caught-loop",
            "for (;;) { try { for (;;) {} } catch {} finally { } }",
            "more than 100 ms",
        ),
        (
            "regex",
            "/^(a+)+$/.test('a'.repeat(40) + 'b')",
            "more than 100 ms",
        ),
        (
            "microtasks",
            "const spin = () => Promise.resolve().then(spin); return spin()",
            "more than 100 ms",
        ),
        (
            "async-loop",
            "return (async () => { for (;;) await null })()",
            "more than 100 ms",
        ),
        (
            "memory",
            "const all = []; for (;;) all.push(new Array(1000).fill({}))",
            "memory",
        ),
        (
            "memory-text",
            "let s = 'x'; for (;;) s += s",
            "5 failures in a row",
        ),
        (
            "buffer",
            "const all = []; for (;;) all.push(new ArrayBuffer(1 << 20))",
            "memory",
        ),
        (
            "long-answer",
            "return {refuse: 'x'.repeat(10 << 20)}",
            "more than 1048576",
        ),
        (
            "garbage",
            "return 42",
            "5 failures in a row: beforeKill: it must answer",
        ),
        (
            "thrower",
            "throw new Error('no')",
            "5 failures in a row: beforeKill: Error: no",
        ),
        (
            "recursion",
            "const f = () => f() + 1; f()",
            "5 failures in a row",
        ),
        (
            "not-json",
            "const a = {}; a.a = a; return a",
            "5 failures in a row",
        ),
    ];
    for (name, body, wanted) in cases {
        // Only one limit at a time: a slow machine needs some time to reach the others.
        bench.limits.call = if wanted == "more than 100 ms" {
            short
        } else {
            PATIENCE
        };
        let module = bench
            .body(name, &format!("gantry.beforeKill(() => {{ {body} }})"))
            .await;
        assert!(is_running(&module), "{name}");
        for _ in 0..5 {
            let asked = Instant::now();
            assert!(ask(&module, Hook::BeforeKill).await.is_err(), "{name}");
            assert!(asked.elapsed() < PATIENCE, "{name}");
        }
        until(name, || !is_running(&module)).await;
        assert!(
            error(&module).contains(wanted),
            "{name}: {}",
            error(&module)
        );
        // It has no opinion any more, and answers at once.
        assert_eq!(ask(&module, Hook::BeforeKill).await, Err(NoAnswer::Stopped));
        let answer = ask(&good, Hook::BeforeKill).await;
        assert_eq!(
            answer,
            Ok(Answer::Refused("still here".to_owned())),
            "after {name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_loaded_is_stopped_with_its_error() {
    let mut bench = Bench::new();
    let short = bench.limits.load;
    let cases = [
        (
            "throws",
            "export default () => { throw new TypeError('bad day') }",
            "TypeError: bad day",
        ),
        ("throws-outside", "throw new Error('early')", "Error: early"),
        ("loops", "for (;;) {}", "more than 1000 ms"),
        ("syntax", "export default (", "SyntaxError"),
        ("no-default", "export const x = 1", "must export a function"),
        ("outside", "import '../x.js'", "leads out"),
        (
            "system",
            "import fs from 'fs'",
            "only files of the module's own directory",
        ),
        (
            "require",
            "const x = require('fs')",
            "require is not defined",
        ),
        (
            "menu",
            "export default (g) => g.menu('A', 'nowhere')",
            "which no gantry.page names",
        ),
        (
            "route",
            "export default (g) => g.route('GET', 'x', () => 1)",
            "must begin with `/`",
        ),
        (
            "escape",
            "export default (g) => g.page('p', '../../etc/x.html')",
            "must be a file",
        ),
        (
            "timers",
            "export default () => { for (;;) setTimeout(() => 0, 1e6) }",
            "256 timers",
        ),
        ("memory", "const a = []; for (;;) a.push([a])", "memory"),
    ];
    for (name, source, wanted) in cases {
        bench.limits.load = if wanted == "memory" { PATIENCE } else { short };
        let module = bench.module(name, source).await;
        let said = error(&module);
        assert!(said.contains(wanted), "{name}: {said}");
        assert!(bench.world.said(&format!("{name}: stopped: ")), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promise_that_never_settles_holds_nobody_up() {
    let mut bench = Bench::new();
    bench.limits.settle = Duration::from_millis(200);
    let module = bench
        .body(
            "waits",
            "gantry.beforeKill(() => new Promise(() => {})); gantry.beforeRestart(() => ({refuse: 'no'}))",
        )
        .await;
    let asked = Instant::now();
    assert!(matches!(
        ask(&module, Hook::BeforeKill).await,
        Err(NoAnswer::Failed(_))
    ));
    assert!(asked.elapsed() < PATIENCE);
    // Meanwhile others are answered.
    let (stalled, answered) = tokio::join!(
        ask(&module, Hook::BeforeKill),
        ask(&module, Hook::BeforeRestart)
    );
    assert!(stalled.is_err());
    assert_eq!(answered, Ok(Answer::Refused("no".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_interrupted_is_given_up() {
    let mut bench = Bench::new();
    bench.limits.stuck = Duration::from_millis(300);
    bench.limits.settle = Duration::from_millis(100);
    // A loop inside the runtime, where nothing asks whether it should end.
    let module = bench
        .body(
            "stuck",
            "gantry.beforeKill(() => { 'a'.repeat(1e6).includes('a'.repeat(5e5) + 'b') })",
        )
        .await;
    let asked = Instant::now();
    assert!(ask(&module, Hook::BeforeKill).await.is_err());
    assert!(asked.elapsed() < PATIENCE);
    until("the verdict", || !is_running(&module)).await;
    let said = error(&module);
    assert!(said.contains("cannot be interrupted"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_bounded() {
    let mut bench = Bench::new();
    bench.limits.events = 8;
    bench.limits.questions = 4;
    let module = bench
        .body(
            "slow",
            "gantry.onStatus(() => new Promise(resolve => setTimeout(resolve, 9000)));
             gantry.beforeKill(() => new Promise(resolve => setTimeout(resolve, 9000)));",
        )
        .await;
    for number in 0..100 {
        module.tell(format!("{{\"number\":{number}}}").into());
    }
    assert!(
        module.status().events_dropped >= 91,
        "{:?}",
        module.status()
    );
    let asks = (0..6).map(|_| ask(&module, Hook::BeforeKill));
    let mut answers = Vec::new();
    let mut pending: Vec<_> = asks.map(Box::pin).collect();
    for ask in &mut pending {
        // Each is put into the queue by its first look.
        answers.push(tokio::time::timeout(Duration::from_millis(20), ask).await);
    }
    let busy = |answer: &&Result<_, _>| matches!(answer, Ok(Err(NoAnswer::Busy)));
    assert_eq!(answers.iter().filter(busy).count(), 2);
    assert!(is_running(&module));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_prototypes_change_only_the_module_itself() {
    let bench = Bench::new();
    let vandal = bench
        .module(
            "vandal",
            "for (const proto of [Array.prototype, Object.prototype, Promise.prototype, Map.prototype, String.prototype])
               for (const key of Object.getOwnPropertyNames(proto))
                 if (key !== 'constructor') try { proto[key] = () => { throw new Error('vandal') } } catch {}
             JSON.parse = JSON.stringify = () => 'vandal';
             globalThis.Promise = globalThis.Object = globalThis.Error = undefined;
             export default (gantry) => gantry.beforeKill(() => ({refuse: 'mine'}))",
        )
        .await;
    let other = bench
        .body(
            "other",
            "gantry.beforeKill(() => ({refuse: [1, 2].map(n => n * 2).join('')}))",
        )
        .await;
    let asked = ask(&vandal, Hook::BeforeKill).await;
    assert!(
        matches!(asked, Ok(Answer::Refused(_)) | Err(_)),
        "{asked:?}"
    );
    let answer = ask(&other, Hook::BeforeKill).await;
    assert_eq!(answer, Ok(Answer::Refused("24".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_and_lines_take_no_more_than_their_share() {
    let bench = Bench::new();
    let module = bench
        .body(
            "busy",
            "let runs = 0;
             for (let n = 0; n < 200; n++) setInterval(() => {
               runs++;
               console.log('line');
               for (const end = Date.now() + 5; Date.now() < end;) {}
             }, 0);
             gantry.route('GET', '/runs', () => ({json: runs}))",
        )
        .await;
    let before = module.status().spent;
    let began = Instant::now();
    until("many runs", || module.status().calls > 150).await;
    let spent = module.status().spent - before;
    assert!(
        spent < began.elapsed() * 3 / 4,
        "{spent:?} of {:?}",
        began.elapsed()
    );
    let question = Question::Route {
        index: 0,
        request: json!({}),
    };
    assert!(matches!(
        module.ask(question).await,
        Ok(Answer::Response(_))
    ));
    until("the bound of lines", || {
        let lines = bench.world.lines.lock().unwrap().len() as u64;
        module.status().calls > lines + 50
    })
    .await;
    assert!(is_running(&module));
}
