//! What is done to the processes and the connections, and how it ends.

use std::{fmt, time::Duration};

use gantry_testbed::{Link, Role};
use tokio::time::sleep;

use super::site::Site;

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// The Gantry that leads.
    Leader,
    /// A Gantry that does not.
    StandBy,
    /// The only ZooKeeper server, or one that follows.
    Server,
    /// The ZooKeeper server that leads the others.
    ServerLeader,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blow {
    /// SIGKILL; it is started again after a while.
    Kill,
    /// SIGSTOP for a while.
    Freeze,
    /// Nothing reaches it, and nobody is told. A Gantry is cut off from ZooKeeper.
    Cut,
    /// It hears no answers. A Gantry's to ZooKeeper.
    Deaf,
    /// A Gantry's connections to Mesos are silent for a while, then broken.
    CutMesos,
    /// SIGTERM to a Gantry; it is started again after a while.
    Stop,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault(pub(super) Victim, pub(super) Blow);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let victim = match self.0 {
            Victim::Leader => "leader",
            Victim::StandBy => "stand-by",
            Victim::Server => "zookeeper server",
            Victim::ServerLeader => "zookeeper leader",
        };
        let blow = match self.1 {
            Blow::Kill => "kill -9",
            Blow::Freeze => "stopped",
            Blow::Cut => "cut off",
            Blow::Deaf => "deaf",
            Blow::CutMesos => "cut off from mesos",
            Blow::Stop => "sigterm",
        };
        write!(f, "{victim} {blow}")
    }
}

const OF_LEADER: [Fault; 6] = [
    Fault(Victim::Leader, Blow::Kill),
    Fault(Victim::Leader, Blow::Freeze),
    Fault(Victim::Leader, Blow::Cut),
    Fault(Victim::Leader, Blow::Deaf),
    Fault(Victim::Leader, Blow::CutMesos),
    Fault(Victim::Leader, Blow::Stop),
];

const OF_STAND_BY: [Blow; 2] = [Blow::Kill, Blow::Freeze];

const OF_SERVER: [Blow; 4] = [Blow::Kill, Blow::Freeze, Blow::Cut, Blow::Deaf];

impl Fault {
    /// Every kind that there is with so many ZooKeeper servers.
    pub(super) fn all(servers: usize) -> Vec<Self> {
        let mut all = OF_LEADER.to_vec();
        all.extend(OF_STAND_BY.map(|blow| Self(Victim::StandBy, blow)));
        all.extend(OF_SERVER.map(|blow| Self(Victim::Server, blow)));
        if servers > 1 {
            all.extend(OF_SERVER.map(|blow| Self(Victim::ServerLeader, blow)));
        }
        all
    }

    /// Lets it happen, for `span`, and ends it.
    pub(super) async fn happen(self, site: &mut Site, span: Duration) {
        let Self(victim, blow) = self;
        match victim {
            Victim::Leader => {
                let index = site.leader().await;
                site.watch.tell(format!("FAULT: Gantry {index}: {self}"));
                strike_gantry(site, index, blow, span).await;
            }
            Victim::StandBy => {
                let index = (site.leader().await + 1) % site.gantries.len();
                site.watch.tell(format!("FAULT: Gantry {index}: {self}"));
                strike_gantry(site, index, blow, span).await;
            }
            Victim::Server | Victim::ServerLeader => {
                let index = server(site, victim).await;
                site.watch.tell(format!("FAULT: server {index}: {self}"));
                strike_server(site, index, blow, span).await;
            }
        }
        site.watch.tell("the fault is over");
    }
}

async fn strike_gantry(site: &mut Site, index: usize, blow: Blow, span: Duration) {
    let gantry = &mut site.gantries[index];
    match blow {
        Blow::Kill => {
            gantry.kill_9();
            sleep(span).await;
            gantry.start();
        }
        Blow::Stop => {
            gantry.stop().await;
            sleep(span).await;
            gantry.start();
        }
        Blow::Freeze => {
            gantry.signal("STOP");
            sleep(span).await;
            gantry.signal("CONT");
        }
        Blow::Cut | Blow::Deaf => {
            gantry.link_to_zookeeper(link(blow));
            sleep(span).await;
            gantry.link_to_zookeeper(Link::Pass);
        }
        Blow::CutMesos => {
            gantry.to_mesos.set(Link::BlackHole);
            sleep(span).await;
            gantry.to_mesos.cut();
            gantry.to_mesos.set(Link::Pass);
        }
    }
}

async fn strike_server(site: &mut Site, index: usize, blow: Blow, span: Duration) {
    match blow {
        Blow::Kill | Blow::Stop => {
            site.ensemble.server(index).kill();
            sleep(span).await;
            site.ensemble.server(index).start();
        }
        Blow::Freeze => {
            site.ensemble.server(index).freeze();
            sleep(span).await;
            site.ensemble.server(index).thaw();
        }
        Blow::Cut | Blow::Deaf | Blow::CutMesos => {
            let set = |link| {
                for gantry in &site.gantries {
                    gantry.to_zookeeper[index].set(link);
                }
            };
            set(link(blow));
            sleep(span).await;
            set(Link::Pass);
        }
    }
}

fn link(blow: Blow) -> Link {
    match blow {
        Blow::Deaf => Link::LoseAnswers,
        _ => Link::BlackHole,
    }
}

/// The server that plays this part at the moment.
async fn server(site: &mut Site, victim: Victim) -> usize {
    let servers = site.ensemble.hosts().len();
    loop {
        let found = (0..servers).find(|index| {
            matches!(
                (victim, site.ensemble.server(*index).role()),
                (Victim::Server, Some(Role::Alone | Role::Follower))
                    | (Victim::ServerLeader, Some(Role::Leader))
            )
        });
        if let Some(found) = found {
            return found;
        }
        site.ensemble.wait_until_serving();
    }
}
