//! Finding the leading master.

mod zookeeper;

use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::address::{HostPort, MasterSource, Scheme};

/// Why no master can be named at the moment. All of these may pass.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DetectError {
    /// ZooKeeper answers but no master has registered.
    #[error(
        "no master is registered under '{path}' in ZooKeeper; is the path right and a master running?"
    )]
    NoLeader {
        /// The path looked at.
        path: String,
    },
    /// ZooKeeper cannot be asked.
    #[error("ZooKeeper cannot be asked for the master: {0}")]
    ZooKeeper(String),
    /// The leader's node holds something that is no `MasterInfo`.
    #[error("node '{node}' in ZooKeeper does not describe a master: {reason}")]
    Unreadable {
        /// Name of the node.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A master to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it listens.
    pub address: HostPort,
    /// Whether every known master has been tried once after this one: if it fails
    /// too, it is time to wait.
    pub last_of_round: bool,
}

/// Names masters to try.
///
/// For a list, each host in turn; for ZooKeeper, the elected leader. Must be made
/// within a tokio runtime.
#[derive(Debug)]
pub struct Detector(Kind);

#[derive(Debug)]
enum Kind {
    List {
        hosts: Vec<HostPort>,
        next: usize,
        tried: usize,
    },
    ZooKeeper {
        seen: watch::Receiver<Seen>,
        _task: AbortOnDropHandle<()>,
    },
}

/// What is known of the leader.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    /// Nothing yet.
    Nothing,
    Leader(HostPort),
    Failed(DetectError),
}

impl Detector {
    /// A detector for `source`. `scheme` decides between a leader's address and its
    /// host name, which TLS certificates are made out to.
    #[must_use]
    pub fn new(source: &MasterSource, scheme: Scheme) -> Self {
        Self(match source {
            MasterSource::List { hosts, .. } => Kind::List {
                hosts: hosts.clone(),
                next: 0,
                tried: 0,
            },
            MasterSource::ZooKeeper(source) => {
                let (sender, seen) = watch::channel(Seen::Nothing);
                let task = tokio::spawn(zookeeper::watch(source.clone(), scheme, sender));
                Kind::ZooKeeper {
                    seen,
                    _task: AbortOnDropHandle::new(task),
                }
            }
        })
    }

    /// The next master to try. Waits up to `limit` for ZooKeeper to name one.
    ///
    /// # Errors
    ///
    /// [`DetectError`] if ZooKeeper names none within `limit`.
    pub async fn candidate(&mut self, limit: Duration) -> Result<Candidate, DetectError> {
        match &mut self.0 {
            Kind::List { hosts, next, tried } => {
                // Parsing gives no empty list; one made by hand must not panic.
                let Some(address) = hosts.get(*next % hosts.len().max(1)).cloned() else {
                    return Err(DetectError::ZooKeeper(
                        "the list of masters is empty".into(),
                    ));
                };
                *next = (*next + 1) % hosts.len();
                *tried += 1;
                let last_of_round = *tried >= hosts.len();
                if last_of_round {
                    *tried = 0;
                }
                Ok(Candidate {
                    address,
                    last_of_round,
                })
            }
            Kind::ZooKeeper { seen, .. } => {
                let leader = seen.wait_for(|seen| matches!(seen, Seen::Leader(_)));
                let _ = tokio::time::timeout(limit, leader).await;
                match &*seen.borrow() {
                    Seen::Leader(address) => Ok(Candidate {
                        address: address.clone(),
                        last_of_round: true,
                    }),
                    Seen::Failed(error) => Err(error.clone()),
                    Seen::Nothing => Err(DetectError::ZooKeeper(
                        "no server has answered yet".to_owned(),
                    )),
                }
            }
        }
    }

    /// Tells that the last candidate led to the leader: a list starts with it next time.
    pub fn succeeded(&mut self) {
        if let Kind::List { hosts, next, tried } = &mut self.0 {
            *next = (*next + hosts.len().max(1) - 1) % hosts.len().max(1);
            *tried = 0;
        }
    }

    /// Waits until a master that is none of `current` is known to lead. Only
    /// ZooKeeper tells; for a list this never ends.
    ///
    /// A leader that is merely unknown (session lost, node gone) does not count: the
    /// stream to the old one breaks by itself if that is gone.
    pub async fn leader_other_than(&mut self, current: &[&HostPort]) -> HostPort {
        let Kind::ZooKeeper { seen, .. } = &mut self.0 else {
            return std::future::pending().await;
        };
        let other = match seen
            .wait_for(|seen| matches!(seen, Seen::Leader(l) if !current.contains(&l)))
            .await
        {
            Ok(seen) => match &*seen {
                Seen::Leader(leader) => Some(leader.clone()),
                _ => None,
            },
            Err(_) => None,
        };
        match other {
            Some(leader) => leader,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_tried_in_turn_and_sticks_to_what_worked() {
        let source: MasterSource = "a,b,c".parse().unwrap();
        let mut detector = Detector::new(&source, Scheme::Http);
        let mut next = async || {
            let candidate = detector.candidate(Duration::ZERO).await.unwrap();
            if candidate.address.host == "b" {
                detector.succeeded();
            }
            (candidate.address.host, candidate.last_of_round)
        };
        assert_eq!(next().await, ("a".into(), false));
        assert_eq!(next().await, ("b".into(), false));
        assert_eq!(next().await, ("b".into(), false));
    }

    #[tokio::test]
    async fn the_end_of_a_round_is_told() {
        let mut detector = Detector::new(&"a,b".parse().unwrap(), Scheme::Http);
        let mut last = Vec::new();
        for _ in 0..4 {
            last.push(
                detector
                    .candidate(Duration::ZERO)
                    .await
                    .unwrap()
                    .last_of_round,
            );
        }
        assert_eq!(last, [false, true, false, true]);
    }
}
