//! Records that cannot be read any more: they stay where they are until something is written there.

use std::{collections::BTreeMap, sync::Arc};

use gantry_core::{DeploymentKind, Found, Key, Record, Unreadable, WorkloadName, Write};

use crate::{dice::Dice, world::World};

/// How often records decay. Its chance is its own: a world without it is as it would be if there
/// were no such fault.
#[derive(Debug)]
pub(crate) struct Decay {
    dice: Dice,
    /// Of a thousand times that a new leader reads everything, so many find something unreadable
    /// that was readable before.
    rate: u64,
}

impl Decay {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 3);
        let rate = if dice.chance(150) {
            dice.between(50, 400)
        } else {
            0
        };
        Self { dice, rate }
    }
}

/// Where something is written.
pub(crate) fn key_of(write: &Write) -> Key {
    match write {
        Write::Put(record) => record.key(),
        Write::Delete(key) => key.clone(),
    }
}

impl World {
    /// Everything that is stored, as a new leader finds it.
    pub(crate) fn load(&mut self) -> Found {
        if !self.settled && self.decay.dice.chance(self.decay.rate) {
            for _ in 0..self.decay.dice.between(1, 3) {
                self.one_decays();
            }
        }
        let unreadable = &self.keeper.unreadable;
        let records = self.keeper.records.iter();
        Found {
            records: records
                .filter(|(key, _)| !unreadable.contains(key))
                .map(|(_, record)| as_read(record))
                .collect(),
            unreadable: unreadable
                .iter()
                .map(|key| Unreadable {
                    place: format!("{key:?}").into(),
                    key: Some(key.clone()),
                    reason: "it has decayed".into(),
                })
                .collect(),
        }
    }

    fn one_decays(&mut self) {
        let mut kinds: BTreeMap<u32, Vec<&Key>> = BTreeMap::new();
        let access = Key::Access; // Nobody here writes it, and it can be there all the same.
        for key in self.keeper.records.keys().chain([&access]) {
            let kind = match key {
                Key::Workload(_) => 0,
                Key::Task(_) => 1,
                Key::Instance(..) => 2,
                Key::Deployment(_) => 3,
                Key::Revision(..) => 4,
                Key::Brake => 5,
                Key::Access => 6,
                Key::Framework | Key::Audit(_) | Key::ModuleValue(..) => continue,
            };
            kinds.entry(kind).or_default().push(key);
        }
        let kinds: Vec<_> = kinds.into_values().collect();
        let kind = self.decay.dice.pick(&kinds);
        let key = kind.and_then(|keys| self.decay.dice.pick(keys));
        let Some(key) = key.map(|key| Key::clone(key)) else {
            return;
        };
        self.note(|| format!("{key:?} CANNOT BE READ any more"));
        self.summary.decayed += 1;
        if let Some(workload) = self.clouded_by(&key) {
            self.memory.clouded(workload);
        }
        self.keeper.unreadable.insert(key);
    }

    /// The workload of which it cannot be said any more what its tasks run.
    fn clouded_by(&self, key: &Key) -> Option<WorkloadName> {
        match (key, self.keeper.records.get(key)) {
            (Key::Workload(name) | Key::Revision(name, _), _) => Some(name.clone()),
            (_, Some(Record::Task(task))) => Some(task.workload.clone()),
            (_, Some(Record::Deployment(deployment))) => match &deployment.kind {
                DeploymentKind::Update { workload, .. } => Some(workload.clone()),
                DeploymentKind::RollingRestart { .. } => None,
            },
            _ => None,
        }
    }
}

/// A record as it comes back: secrets are not stored.
fn as_read(record: &Record) -> Record {
    let mut record = record.clone();
    if let Record::Revision(revision) = &mut record {
        Arc::make_mut(&mut revision.template).forget_secrets();
    }
    record
}
