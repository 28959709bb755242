//! What is kept for modules and for who logs in.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

fn put(bench: &mut Bench, module: &str, key: &str, value: Option<&str>) -> Result<Answer, Refusal> {
    bench.command(Command::PutModuleValue {
        module: module.into(),
        key: key.into(),
        value: value.map(Into::into),
    })
}

fn value(bench: &Bench, module: &str, key: &str) -> Option<String> {
    let view = bench.scheduler.view();
    let value = view.module_values.get(module)?.get(key)?;
    Some(value.to_string())
}

#[test]
fn a_module_finds_its_values_again_and_nobody_elses() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let stored = Ok(Answer::Stored);
    assert_eq!(put(&mut bench, "leader", "a", Some("1")), stored);
    assert_eq!(put(&mut bench, "leader", "a", Some("2")), stored);
    assert_eq!(put(&mut bench, "leader", "b", Some("")), stored);
    assert_eq!(put(&mut bench, "notify", "a", Some("x")), stored);
    bench.restart();
    assert_eq!(value(&bench, "leader", "a").as_deref(), Some("2"));
    assert_eq!(value(&bench, "leader", "b").as_deref(), Some(""));
    assert_eq!(value(&bench, "notify", "a").as_deref(), Some("x"));
    // Stand-bys see them too.
    let records: Vec<_> = bench.store.values().cloned().collect::<Vec<_>>();
    let seen = stored_view(bench.now, &bench.settings, records.into());
    assert_eq!(seen.module_values, bench.scheduler.view().module_values);

    // What does not change is not written again.
    let seen = bench.scheduler.view().module_values;
    assert_eq!(put(&mut bench, "leader", "a", Some("2")), stored);
    assert_eq!(put(&mut bench, "leader", "never", None), stored);
    assert!(std::sync::Arc::ptr_eq(
        &seen,
        &bench.scheduler.view().module_values
    ));
    assert_eq!(put(&mut bench, "notify", "a", None), stored);
    assert_eq!(bench.scheduler.view().module_values.len(), 1);
    bench.restart();
    assert_eq!(value(&bench, "notify", "a"), None);
    assert!(bench.scheduler.view().audit.is_empty());
}

#[test]
fn a_module_cannot_fill_the_store() {
    let mut bench = Bench::new(Vec::new());
    let refused = |outcome: Result<Answer, Refusal>| {
        let before = matches!(outcome, Err(Refusal::NotStored { .. }));
        assert!(before, "{outcome:?}");
    };
    let large = "x".repeat(MODULE_VALUE_BYTES_MAX);
    assert_eq!(put(&mut bench, "m", "k", Some(&large)), Ok(Answer::Stored));
    refused(put(&mut bench, "m", "k", Some(&format!("{large}x"))));
    assert_eq!(value(&bench, "m", "k"), Some(large));
    refused(put(&mut bench, "m", "", Some("")));
    refused(put(
        &mut bench,
        "m",
        &"k".repeat(MODULE_KEY_BYTES_MAX + 1),
        Some(""),
    ));
    refused(put(&mut bench, "", "k", Some("")));
    refused(put(
        &mut bench,
        &"m".repeat(MODULE_NAME_BYTES_MAX + 1),
        "k",
        Some(""),
    ));
    for number in 1..MODULE_VALUES_MAX {
        let key = format!("k{number}");
        assert_eq!(put(&mut bench, "m", &key, Some("")), Ok(Answer::Stored));
    }
    refused(put(&mut bench, "m", "one more", Some("")));
    assert_eq!(
        put(&mut bench, "m", "k1", Some("changed")),
        Ok(Answer::Stored)
    );
    assert_eq!(put(&mut bench, "m", "k2", None), Ok(Answer::Stored));
    assert_eq!(
        put(&mut bench, "m", "one more", Some("")),
        Ok(Answer::Stored)
    );
    for number in 1..MODULES_MAX {
        let module = format!("m{number}");
        assert_eq!(put(&mut bench, &module, "k", Some("")), Ok(Answer::Stored));
    }
    refused(put(&mut bench, "one more", "k", Some("")));
}

#[test]
fn ended_sessions_stay_ended_and_it_is_known_who_ended_them() {
    let mut bench = Bench::new(Vec::new());
    let end = |user: Option<&str>| Command::EndSessions {
        user: user.map(Into::into),
    };
    let began = bench.now;
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.command(end(Some("ann"))), Ok(Answer::SessionsEnded));
    bench.restart();
    let access = bench.scheduler.view().access;
    assert!(access.has_ended("ann", began) && !access.has_ended("bob", began));
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.command(end(None)), Ok(Answer::SessionsEnded));
    assert_eq!(bench.command(end(Some(""))), Err(Refusal::NoUser));
    bench.restart();
    let view = bench.scheduler.view();
    assert!(view.access.has_ended("bob", began));
    let actions: Vec<_> = view.audit.iter().map(|entry| &*entry.action).collect();
    assert_eq!(actions, ["end the sessions of ann", "end all sessions"]);

    // A leader whose clock is behind ends them all the same.
    bench.now = began;
    bench.advance(Duration::ZERO);
    assert_eq!(bench.command(end(Some("eve"))), Ok(Answer::SessionsEnded));
    let later = bench.scheduler.view().access;
    assert!(later.has_ended("eve", began) && later.has_ended("bob", began));
}
