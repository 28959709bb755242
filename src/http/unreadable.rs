//! What of the store could not be read, for people: what follows from it and what to do.

use gantry_core::{Key, Unreadable};

/// Most records that are told of one by one.
const TOLD_MAX: usize = 10;

/// A sentence for each of the first, and one for the rest.
pub(crate) fn sentences(unreadable: &[Unreadable]) -> Vec<String> {
    let mut told: Vec<_> = unreadable.iter().take(TOLD_MAX).map(sentence).collect();
    if let Some(rest) = unreadable
        .len()
        .checked_sub(TOLD_MAX)
        .filter(|rest| *rest > 0)
    {
        told.push(format!(
            "{rest} more stored records cannot be read: the log names them all"
        ));
    }
    told
}

/// All in one clause, for one line.
pub(crate) fn clause(unreadable: &[Unreadable]) -> Option<String> {
    let first = unreadable.first()?;
    Some(match unreadable.len() {
        1 => sentence(first),
        many => format!(
            "{many} stored records cannot be read, the first of them {}: the overview says what follows",
            first.place
        ),
    })
}

fn sentence(one: &Unreadable) -> String {
    format!(
        "the stored record {} cannot be read and is left alone ({}): {}",
        one.place,
        one.reason,
        consequence(one.key.as_ref())
    )
}

fn consequence(key: Option<&Key>) -> &'static str {
    match key {
        Some(Key::Workload(_)) => {
            "as many instances are kept as belong to it; scale the workload, which writes it anew"
        }
        Some(Key::Task(_)) => {
            "the task counts as alive until Mesos has said what became of it, which writes it anew"
        }
        Some(Key::Revision(..)) => {
            "nothing is replaced because of it; if the declaration has changed meanwhile, a rolling \
             restart brings all tasks to it"
        }
        Some(Key::Deployment(_)) => {
            "it stands still; a rolling restart moves what it has left, then remove the record"
        }
        Some(Key::Brake) => "the brake is on; release it when all is well",
        Some(Key::Access) => "all sessions have ended",
        Some(Key::Instance(..)) => "the failures of the instance are forgotten",
        Some(Key::ModuleValue(..)) => "the module does without the value until it keeps another",
        Some(Key::Audit(_)) => "the action is missing in the list until it is overwritten",
        Some(Key::Framework) => "restore it from a backup",
        None => {
            "nothing of this version of Gantry belongs there; remove it if nothing else needs it"
        }
    }
}
