//! A store that forgets, for tests: nothing survives the process, and faults can be planted.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use gantry_core::{Record, Write};
use tokio::sync::watch;

use crate::{Lease, Loaded, Store, StoreError, codec};

/// A store in memory. Clones share what is kept, so that a clone is what a restarted process
/// would find.
#[derive(Clone, Debug)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    // Held by a commit from its start to its end: commits take turns in the order they came.
    turn: tokio::sync::Mutex<()>,
    holders: watch::Sender<usize>,
    lease: Lease,
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<String, Vec<u8>>,
    faults: VecDeque<Fault>,
    commits: u64,
}

/// What shall go wrong with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is changed, and the outcome is not told.
    Lost,
    /// All is changed, and the outcome is not told.
    AppliedUnheard,
    /// Nothing is changed; this process has been deposed.
    Deposed,
}

/// While this lives, commits wait. See [`Memory::hold`].
#[derive(Debug)]
pub struct Held {
    shared: Arc<Shared>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.holders.send_modify(|holders| *holders -= 1);
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        let entries = BTreeMap::from([(codec::LAYOUT_PATH.to_owned(), codec::encode_layout())]);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    entries,
                    faults: VecDeque::new(),
                    commits: 0,
                }),
                turn: tokio::sync::Mutex::new(()),
                holders: watch::Sender::new(0),
                lease: Lease::forever(),
            }),
        }
    }

    /// Plants a fault; each commit takes the oldest one that is left.
    pub fn plant(&self, fault: Fault) {
        self.state().faults.push_back(fault);
    }

    /// Makes commits wait until what is returned has been dropped.
    pub fn hold(&self) -> Held {
        self.shared.holders.send_modify(|holders| *holders += 1);
        Held {
            shared: self.shared.clone(),
        }
    }

    /// How many commits were made, heard or not.
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    /// Puts bytes under a path behind the store's back.
    pub fn put_raw(&self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.state().entries.insert(path.into(), bytes.into());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while looking left the entries whole.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.read()?.finish()
    }

    async fn salvage(&self) -> Result<Loaded, StoreError> {
        Ok(self.read()?.salvage())
    }

    async fn commit(&self, batch: Vec<Write>) -> Result<(), StoreError> {
        let changes = codec::changes(&batch);
        self.apply(changes, false).await
    }

    async fn replace(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let changes = codec::puts(records);
        self.apply(changes, true).await
    }

    fn lease(&self) -> Lease {
        self.shared.lease.clone()
    }

    async fn resign(&self) {}
}

impl Memory {
    fn read(&self) -> Result<codec::Loading, StoreError> {
        const PLACE: &str = "memory";
        let state = self.state();
        let layout = state
            .entries
            .get(codec::LAYOUT_PATH)
            .map_or(&[][..], Vec::as_slice);
        let mut loading = codec::Loading::new(PLACE, codec::decode_layout(PLACE, layout)?);
        for (path, bytes) in &state.entries {
            loading.entry(path, bytes);
        }
        Ok(loading)
    }

    async fn apply(
        &self,
        changes: Result<Vec<codec::Change>, StoreError>,
        replace: bool,
    ) -> Result<(), StoreError> {
        let _turn = self.shared.turn.lock().await;
        let mut holders = self.shared.holders.subscribe();
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = holders.wait_for(|holders| *holders == 0).await;
        let changes = changes?;
        let mut state = self.state();
        let fault = state.faults.pop_front();
        let unheard = || StoreError::Unavailable {
            reason: "a planted fault".to_owned(),
        };
        let refused = || StoreError::Refused {
            reason: "this process has been deposed".to_owned(),
        };
        match fault {
            Some(Fault::Lost) => return Err(unheard()),
            Some(Fault::Deposed) => {
                self.shared.lease.end("this process has been deposed");
            }
            Some(Fault::AppliedUnheard) | None => {}
        }
        if !self.shared.lease.holds() {
            return Err(refused());
        }
        if replace {
            state.entries.retain(|path, _| path == codec::LAYOUT_PATH);
        }
        for (path, bytes) in changes {
            match bytes {
                Some(bytes) => state.entries.insert(path, bytes),
                None => state.entries.remove(&path),
            };
        }
        state.commits += 1;
        match fault {
            Some(Fault::AppliedUnheard) => Err(unheard()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
