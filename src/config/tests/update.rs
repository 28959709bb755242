//! How changes are made, and when nothing moves.

use std::time::Duration;

use gantry_core::{BrakePolicy, OnFailure, Share, UpdateOrder, UpdatePolicy};

use super::{bad, good, warned};

#[test]
fn updates_are_read_and_impossible_ones_refused() {
    let update = |changes: &[(&str, &str)]| good(changes).services[0].update.clone();
    assert_eq!(update(&[]), UpdatePolicy::default());
    let all = update(&[
        ("TASK0_UPDATE_PARALLELISM", "2"),
        ("TASK0_UPDATE_ORDER", "stop-first"),
        ("TASK0_UPDATE_MIN_HEALTHY", "50%"),
        ("TASK0_UPDATE_DEADLINE", "1m"),
        ("TASK0_UPDATE_ON_FAILURE", "pause"),
        ("TASK0_UPDATE_MONITOR", "0"),
    ]);
    assert_eq!(
        all,
        UpdatePolicy {
            parallelism: 2,
            order: UpdateOrder::StopFirst,
            min_healthy: Some(Share::Percent(50)),
            max_over: None,
            deadline: Duration::from_secs(60),
            on_failure: OnFailure::Pause,
            monitor: Duration::ZERO,
        }
    );
    let over = update(&[
        ("TASK0_UPDATE_MAX_OVER", "1"),
        ("TASK0_UPDATE_MIN_HEALTHY", "100%"),
    ]);
    assert_eq!(over.max_over, Some(Share::Count(1)));
    let stop_first = ("TASK0_UPDATE_ORDER", "stop-first");
    for (changes, why) in [
        (
            &[("TASK0_UPDATE_MAX_OVER", "0")][..],
            "no room for a new task",
        ),
        (&[("TASK0_UPDATE_MAX_OVER", "0%")], "no room for a new task"),
        (
            &[stop_first, ("TASK0_UPDATE_MIN_HEALTHY", "100%")],
            "keeps all 3 instances, and the old task is stopped first",
        ),
        // 3 of 3, as shares are rounded up.
        (
            &[stop_first, ("TASK0_UPDATE_MIN_HEALTHY", "67%")],
            "no task could ever be moved",
        ),
        (
            &[stop_first, ("TASK0_UPDATE_MIN_HEALTHY", "3")],
            "or set TASK0_UPDATE_ORDER=start-first",
        ),
        (
            &[
                ("TASK0_UPDATE_MIN_HEALTHY", "100%"),
                ("TASK0_PORT_NUM", "1"),
                ("TASK0_FIXED_PORTS", "8080"),
            ],
            "fixed ports make the old task stop first",
        ),
        (
            &[("TASK0_UPDATE_MIN_HEALTHY", "4")],
            "is more than TASK0_NUM_INSTANCES=3",
        ),
        (
            &[("TASK0_UPDATE_DEADLINE", "5s")],
            "is not longer than TASK0_UPDATE_MONITOR",
        ),
        (
            &[
                ("TASK0_UPDATE_DEADLINE", "10s"),
                ("TASK0_HEALTHCHECK", "/"),
                ("TASK0_PORT_NUM", "1"),
            ],
            "is not longer than TASK0_HEALTHCHECK_DELAY",
        ),
        (&[("TASK0_UPDATE_PARALLELISM", "0")], "is not from 1"),
        (&[("TASK0_UPDATE_ORDER", "first")], "is not an order"),
    ] {
        let errors = bad(changes);
        assert!(
            errors.len() == 1 && errors[0].contains(why),
            "{changes:?}: {errors:?}"
        );
    }
    let useless = warned(&[stop_first, ("TASK0_UPDATE_MAX_OVER", "1")]);
    assert!(
        useless.len() == 1 && useless[0].contains("without effect"),
        "{useless:?}"
    );
    let alone = warned(&[
        ("TASK0_UPDATE_ORDER", "start-first"),
        ("TASK0_UNIQUE_HOSTS", "true"),
    ]);
    assert!(
        alone.len() == 1 && alone[0].contains("a limit of tasks in one place"),
        "{alone:?}"
    );
}

#[test]
fn the_brake_can_be_set_and_taken_off() {
    let changed = good(&[("BRAKE_SHARE", "30%"), ("BRAKE_TASKS_MIN", "5")]).scheduler;
    let expected = BrakePolicy {
        share_thousandths: 300,
        tasks_min: 5,
        ..BrakePolicy::default()
    };
    assert_eq!(changed.brake, Some(expected));
    let off = [("BRAKE_SHARE", "off")];
    assert_eq!(good(&off).scheduler.brake, None);
    let useless = warned(&[off[0], ("BRAKE_WINDOW", "1m")]);
    assert!(useless[0].contains("BRAKE_SHARE is off"), "{useless:?}");
}
