//! The leader as ZooKeeper knows it.
//!
//! Every master in the race keeps an ephemeral node `json.info_<sequence>` with its
//! `MasterInfo`; the one with the smallest sequence number leads (Mesos
//! `src/zookeeper/group.cpp`, `src/master/detector/zookeeper.cpp`).

use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::watch::Sender;
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error, SessionState};

use super::{DetectError, Seen};
use crate::address::{HostPort, MASTER_PORT, Scheme, ZooKeeperSource};
use crate::json;
use crate::v1::MasterInfo;

/// Prefix of the nodes that hold JSON; older masters also wrote binary ones.
const NODE_PREFIX: &str = "json.info_";

/// As the masters' own default (`--zk_session_timeout`).
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of one request. The client queues requests while it is disconnected, so
/// without a limit they would wait for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a failure. One process asks, so the servers need no gentler treatment.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The client's pause between attempts to reconnect doubles with each host it has
/// tried and has no ceiling; with this many entries in its list it is through
/// the list, and reconnected, quickly.
const ENTRIES_MIN: usize = 12;

/// Publishes who leads, for ever; ends when nobody listens.
pub(super) async fn watch(source: ZooKeeperSource, scheme: Scheme, seen: Sender<Seen>) {
    let cluster = cluster(&source.hosts);
    while !seen.is_closed() {
        if let Err(error) = session(&source, scheme, &cluster, &seen).await {
            tracing::debug!(%error, "ZooKeeper cannot be asked for the master");
            publish(&seen, Seen::Failed(error));
        }
        sleep(RETRY_PAUSE).await;
    }
}

fn cluster(hosts: &[HostPort]) -> String {
    let rounds = ENTRIES_MIN.div_ceil(hosts.len().max(1));
    let entries: Vec<String> = (0..rounds)
        .flat_map(|_| hosts)
        .map(ToString::to_string)
        .collect();
    entries.join(",")
}

/// A leader once known stays known while ZooKeeper is away: it very likely still
/// leads, and if not, its stream breaks and it redirects.
fn publish(seen: &Sender<Seen>, now: Seen) {
    seen.send_if_modified(|before| {
        let keep = matches!(
            (&*before, &now),
            (Seen::Leader(_), Seen::Failed(DetectError::ZooKeeper(_)))
        );
        let changed = !keep && *before != now;
        if changed {
            *before = now;
        }
        changed
    });
}

/// One ZooKeeper session; ends when it does.
async fn session(
    source: &ZooKeeperSource,
    scheme: Scheme,
    cluster: &str,
    seen: &Sender<Seen>,
) -> Result<(), DetectError> {
    let mut connector = Client::connector()
        .with_session_timeout(SESSION_TIMEOUT)
        .with_connection_timeout(REQUEST_TIMEOUT);
    if let Some(auth) = &source.auth {
        connector = connector.with_auth("digest", auth.expose_secret().as_bytes());
    }
    let client = limited(connector.connect(cluster)).await.map_err(failed)?;
    loop {
        let (children, _, changed) =
            match limited(client.get_and_watch_children(&source.path)).await {
                Ok(answer) => answer,
                Err(Error::NoNode) => {
                    publish(seen, no_leader(source));
                    let (stat, created) = limited(client.check_and_watch_stat(&source.path))
                        .await
                        .map_err(failed)?;
                    if stat.is_none() {
                        created.changed().await;
                        ended(client.state())?;
                    }
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
        match leader_node(&children) {
            None => publish(seen, no_leader(source)),
            Some(node) => {
                let path = format!("{}/{node}", source.path);
                match limited(client.get_data(&path)).await {
                    // Gone between listing and reading: list again.
                    Err(Error::NoNode) => continue,
                    Err(error) => return Err(failed(error)),
                    Ok((data, _)) => publish(
                        seen,
                        match leader_address(&data, scheme) {
                            Ok(address) => Seen::Leader(address),
                            Err(reason) => Seen::Failed(DetectError::Unreadable {
                                node: node.to_owned(),
                                reason,
                            }),
                        },
                    ),
                }
            }
        }
        tokio::select! {
            _ = changed.changed() => ended(client.state())?,
            () = seen.closed() => return Ok(()),
        }
    }
}

async fn limited<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(REQUEST_TIMEOUT, request)
        .await
        .unwrap_or(Err(Error::Timeout))
}

fn failed(error: Error) -> DetectError {
    DetectError::ZooKeeper(match error {
        Error::NoAuth | Error::AuthFailed => format!("{error}; check user and password"),
        error => error.to_string(),
    })
}

fn ended(state: SessionState) -> Result<(), DetectError> {
    match state {
        SessionState::AuthFailed => Err(failed(Error::AuthFailed)),
        SessionState::Expired | SessionState::Closed => Err(failed(Error::SessionExpired)),
        _ => Ok(()),
    }
}

fn no_leader(source: &ZooKeeperSource) -> Seen {
    Seen::Failed(DetectError::NoLeader {
        path: source.path.clone(),
    })
}

fn leader_node(children: &[String]) -> Option<&str> {
    children
        .iter()
        .filter_map(|name| {
            let sequence = name.strip_prefix(NODE_PREFIX)?.parse::<i64>().ok()?;
            Some((sequence, name.as_str()))
        })
        .min()
        .map(|(_, name)| name)
}

/// `MasterInfo.ip` is not looked at: its byte order depends on the master's machine.
fn leader_address(data: &[u8], scheme: Scheme) -> Result<HostPort, String> {
    let info: MasterInfo = json::from_json(data).map_err(|e| e.to_string())?;
    let port = |port: Option<i32>| port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0);
    let known = |text: Option<&String>| text.filter(|t| !t.is_empty()).cloned();
    let default_port = u16::try_from(info.port)
        .ok()
        .filter(|p| *p != 0)
        .unwrap_or(MASTER_PORT);
    let address = info.address.as_ref();
    let address_port = port(address.map(|a| a.port)).unwrap_or(default_port);
    let host_name = known(address.and_then(|a| a.hostname.as_ref()))
        .or_else(|| known(info.hostname.as_ref()))
        .map(|host| HostPort {
            host,
            port: address_port,
        });
    let ip = known(address.and_then(|a| a.ip.as_ref()))
        .map(|host| HostPort {
            host,
            port: address_port,
        })
        .or_else(|| {
            let (_, pid) = info.pid.as_ref()?.split_once('@')?;
            HostPort::parse(pid, default_port).ok()
        });
    let choice = match scheme {
        Scheme::Http => ip.or(host_name),
        Scheme::Https => host_name.or(ip),
    };
    choice.ok_or_else(|| "it has neither an address nor a host name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_sequence_leads() {
        let children = [
            "log_replicas",
            "info_0000000001",
            "json.info_0000000010",
            "json.info_0000000009",
            "json.info_x",
        ]
        .map(str::to_owned);
        assert_eq!(leader_node(&children), Some("json.info_0000000009"));
        assert_eq!(leader_node(&children[..2]), None);
    }

    #[test]
    fn the_address_comes_from_the_best_field() {
        let full = r#"{"address":{"hostname":"m1.example","ip":"10.0.0.1","port":5055},"hostname":"m1",
            "id":"x","ip":16777226,"pid":"master@10.0.0.2:5056","port":5050,"version":"1.11.0"}"#;
        let address =
            |json: &str, scheme| leader_address(json.as_bytes(), scheme).unwrap().to_string();
        assert_eq!(address(full, Scheme::Http), "10.0.0.1:5055");
        assert_eq!(address(full, Scheme::Https), "m1.example:5055");
        let pid = r#"{"id":"x","ip":1,"pid":"master@10.0.0.2:5056","port":5050,"hostname":"h"}"#;
        assert_eq!(address(pid, Scheme::Http), "10.0.0.2:5056");
        let name = r#"{"id":"x","ip":1,"port":5051,"hostname":"h"}"#;
        assert_eq!(address(name, Scheme::Http), "h:5051");
        assert!(leader_address(br#"{"id":"x","ip":1,"port":1}"#, Scheme::Http).is_err());
        assert!(leader_address(b"\xff", Scheme::Http).is_err());
        assert!(
            leader_address(b"{}", Scheme::Http)
                .unwrap_err()
                .contains("Missing required")
        );
    }

    #[test]
    fn few_hosts_are_repeated() {
        let hosts = [
            HostPort::parse("a", 1).unwrap(),
            HostPort::parse("b", 2).unwrap(),
        ];
        assert_eq!(cluster(&hosts).split(',').count(), 12);
        assert!(cluster(&hosts).starts_with("a:1,b:2,a:1"));
    }

    #[test]
    fn a_known_leader_outlives_a_lost_session_but_not_an_empty_election() {
        let (sender, seen) = tokio::sync::watch::channel(Seen::Nothing);
        let leader = Seen::Leader(HostPort::parse("a", 1).unwrap());
        publish(&sender, leader.clone());
        publish(&sender, Seen::Failed(DetectError::ZooKeeper("x".into())));
        assert_eq!(*seen.borrow(), leader);
        let none = Seen::Failed(DetectError::NoLeader { path: "/m".into() });
        publish(&sender, none.clone());
        assert_eq!(*seen.borrow(), none);
    }
}
