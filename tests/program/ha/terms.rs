//! Who acted in which term: what the cluster was asked, held against what the Gantrys say of
//! themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use serde_json::Value;

use super::watch::Call;

/// One life of a Gantry.
pub(super) struct Life {
    /// Its `webui_url`, by which the cluster knows it.
    pub(super) called: String,
    /// What it printed.
    pub(super) output: PathBuf,
}

/// The moments at which a life began to lead, with the numbers of the terms.
fn terms(output: &str) -> Vec<(u64, u64)> {
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["message"] == "this Gantry leads")
        .map(|line| {
            let time = line["time"].as_str().unwrap();
            let at: jiff::Timestamp = time.parse().unwrap();
            let epoch = line["epoch"].as_str().unwrap().parse().unwrap();
            (u64::try_from(at.as_millisecond()).unwrap(), epoch)
        })
        .collect()
}

/// What the calls that the cluster got say about leaders.
#[derive(Debug, Default)]
pub(super) struct Acting {
    /// The terms in which somebody subscribed, in the cluster's order.
    pub(super) terms: Vec<u64>,
    /// Calls of a term after a later one had begun. The cluster refuses them, as their stream is
    /// over; still, a Gantry that sends one believes that it leads. What one sent before it stopped, and
    /// said that it would not wait for, may arrive at any time.
    pub(super) late: Vec<String>,
    /// What must never be.
    pub(super) wrong: Vec<String>,
}

/// Holds the calls, in their order, against the terms.
pub(super) fn acting<'a>(calls: &[Call], lives: impl Iterator<Item = &'a Life>) -> Acting {
    let mut acting = Acting::default();
    let mut not_waited_for = Vec::new();
    let lives: BTreeMap<&str, Vec<(u64, u64)>> = lives
        .map(|life| {
            let output = fs::read_to_string(&life.output).unwrap();
            if output.contains("has not answered every call, and is not waited for") {
                not_waited_for.push(life.called.as_str());
            }
            (life.called.as_str(), terms(&output))
        })
        .collect();
    let mut holders: BTreeMap<u64, &str> = BTreeMap::new();
    for (called, terms) in &lives {
        for (_, epoch) in terms {
            if let Some(other) = holders.insert(*epoch, called) {
                let wrong = format!("term {epoch} is {other}'s and {called}'s");
                acting.wrong.push(wrong);
            }
        }
    }
    let not_waited_for: BTreeSet<u64> = not_waited_for
        .iter()
        .filter_map(|called| lives[called].last())
        .map(|(_, epoch)| *epoch)
        .collect();
    let begins: BTreeMap<u64, u64> = lives
        .values()
        .flatten()
        .map(|(at, epoch)| (*epoch, *at))
        .collect();
    let mut streams: BTreeMap<&str, u64> = BTreeMap::new();
    let mut frameworks = BTreeSet::new();
    for call in calls {
        let stream = call.stream.as_deref().unwrap_or_default();
        if call.call == "SUBSCRIBE" {
            let called = call.webui_url.as_deref().unwrap_or_default();
            // Of a life that was killed at once the last lines may be missing.
            let of_call = lives.get(called).and_then(|terms| {
                let begun = terms.iter().rfind(|(at, _)| *at <= call.at + 2)?;
                Some(begun.1)
            });
            let Some(epoch) = of_call else {
                let wrong = format!("{called} subscribed without saying that it leads: {call:?}");
                acting.wrong.push(wrong);
                continue;
            };
            streams.insert(stream, epoch);
            frameworks.extend(call.framework.as_deref());
            if acting.terms.last().is_some_and(|last| epoch < *last) {
                let wrong = format!(
                    "{called} subscribed in its term {epoch}, after {:?}",
                    acting.terms
                );
                acting.wrong.push(wrong);
            } else if acting.terms.last() != Some(&epoch) {
                acting.terms.push(epoch);
            }
            continue;
        }
        let (Some(epoch), Some(last)) = (streams.get(stream), acting.terms.last()) else {
            continue;
        };
        if not_waited_for.contains(epoch) {
            continue;
        }
        // Whether or not the later leader has been heard of by the cluster.
        let later = begins
            .range(epoch + 1..)
            .find(|(_, began)| call.at > **began + 2);
        if epoch < last {
            acting
                .late
                .push(format!("of term {epoch}, in term {last}: {call:?}"));
        } else if let Some((later, began)) = later {
            acting.late.push(format!(
                "of term {epoch}, when term {later} had begun at {began}: {call:?}"
            ));
        }
    }
    if frameworks.len() > 1 {
        acting
            .wrong
            .push(format!("several frameworks: {frameworks:?}"));
    }
    acting
}
