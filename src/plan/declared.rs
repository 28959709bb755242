//! What is declared and does not run, or not yet all of it, because its update was held or undone.

use gantry_core::{Deployment, DeploymentStatus};

/// Why tasks are not started as the declared revision, or are not moved to it, as a clause. `update`
/// is the last one of the workload. `None` when they are, or an update is at work.
pub(crate) fn held_back(
    declared: u32,
    started_as: u32,
    update: Option<&Deployment>,
) -> Option<String> {
    let because = |reason: Option<&str>| match reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let undone = |what: &str, reason: Option<&str>| {
        (declared != started_as).then(|| {
            format!(
                "revision {declared} is declared, and tasks are started as revision {started_as}{what}{}",
                because(reason)
            )
        })
    };
    let Some(update) = update else {
        return undone("", None);
    };
    let id = update.id;
    match &update.status {
        DeploymentStatus::Paused { reason, .. } => Some(format!(
            "update {id} to revision {declared} is paused after {} of {} instances{}",
            update.done,
            update.total,
            because(reason.as_deref())
        )),
        DeploymentStatus::RollingBack { reason, .. } => Some(format!(
            "revision {declared} is declared, and update {id} to it is being rolled back{}",
            because(reason.as_deref())
        )),
        DeploymentStatus::RolledBack { reason, .. } => undone(
            &format!(", as update {id} was rolled back"),
            reason.as_deref(),
        ),
        DeploymentStatus::Failed { reason, .. } => {
            undone(&format!(", as update {id} has failed"), Some(reason))
        }
        DeploymentStatus::Aborted { reason, .. } => {
            undone(&format!(", as update {id} was aborted"), reason.as_deref())
        }
        DeploymentStatus::Running | DeploymentStatus::Done { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use gantry_core::{DeploymentId, DeploymentKind, Timestamp, WorkloadName};

    use super::*;

    #[test]
    fn what_does_not_run_is_told_with_its_reason() {
        let at = Timestamp::ZERO;
        let reason = Some("the new task of web-1 failed 3 times".to_owned());
        let update = |status| Deployment {
            id: DeploymentId(3),
            kind: DeploymentKind::Update {
                workload: WorkloadName::new("web"),
                from: 2,
                to: 4,
            },
            status,
            started_at: at,
            total: 13,
            done: 2,
            resumed: None,
        };
        let held = |started_as, status| held_back(4, started_as, Some(&update(status)));
        let rolled_back = DeploymentStatus::RolledBack {
            at,
            reason: reason.clone(),
        };
        assert_eq!(
            held(2, rolled_back.clone()).unwrap(),
            "revision 4 is declared, and tasks are started as revision 2, as update 3 was rolled \
             back: the new task of web-1 failed 3 times"
        );
        // It was of a declaration of before.
        assert_eq!(held(4, rolled_back), None);
        assert_eq!(
            held(2, DeploymentStatus::Paused { at, reason: None }).unwrap(),
            "update 3 to revision 4 is paused after 2 of 13 instances"
        );
        // Without a way back it launches as before, and is held all the same.
        assert!(held(4, DeploymentStatus::Paused { at, reason }).is_some());
        assert_eq!(held(4, DeploymentStatus::Running), None);
        assert_eq!(held(4, DeploymentStatus::Done { at }), None);
        assert_eq!(held_back(4, 4, None), None);
        assert!(held_back(4, 2, None).is_some());
    }
}
