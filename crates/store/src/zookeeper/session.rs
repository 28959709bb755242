//! The session with the ensemble: one task keeps it, and makes a new one when it has ended.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use gantry_core::Timestamp;
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use tokio::{sync::watch, time::timeout};
use zookeeper_client::{Client, Error, SessionId, SessionState, TlsOptions};

use super::{Member, Shared, ZooKeeperConfig, ZooKeeperStatus, ZooKeeperTls, campaign};
use crate::StoreError;

/// Between a session that ended, or could not be had, and the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Between attempts to see who leads, after one that failed.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// A server that says nothing for this part of the session's time-out is left, be it one we are
/// connected to or one we try: there must be time for several, as some may be frozen, and for us to
/// confirm the lease, which lasts two thirds. The client's own choice, two fifths, leaves time for one.
const CONNECTIONS: u32 = 6;

/// The client's pause between attempts to reconnect doubles with each pass over its list of
/// servers, without a ceiling; with this many entries in the list it never gets far.
const ENTRIES_MIN: usize = 12;

/// Where Debian keeps the certificates of public authorities.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What the supervisor tells the others.
#[derive(Debug)]
pub(super) struct Link {
    // `None` without a session. A session may be disconnected: calls wait then.
    client: watch::Sender<Option<Client>>,
    status: watch::Sender<ZooKeeperStatus>,
    // The session that is of no more use, if there is one.
    spent: watch::Sender<Option<SessionId>>,
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            client: watch::Sender::new(None),
            status: watch::Sender::new(ZooKeeperStatus {
                connected: Err("not connected yet".to_owned()),
                leader: None,
            }),
            spent: watch::Sender::new(None),
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<ZooKeeperStatus> {
        self.status.subscribe()
    }

    /// Lets go of the session: nobody is left to keep it.
    pub(super) fn close(&self) {
        self.client.send_replace(None);
        self.status.send_modify(|status| {
            status.connected = Err("the connection was closed".to_owned());
        });
    }

    /// Has the session ended, and a new one made: with any of the servers.
    pub(super) fn renew(&self, session: SessionId) {
        self.spent.send_replace(Some(session));
    }

    /// Waits until the session is of no more use.
    async fn is_spent(&self, session: SessionId) {
        let mut spent = self.spent.subscribe();
        if spent
            .wait_for(|spent| *spent == Some(session))
            .await
            .is_err()
        {
            // The sender lives as long as `self`.
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.status.borrow().connected.is_ok()
    }

    fn set_connected(&self) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status.connected.is_err();
            if changed {
                status.connected = Ok(now());
            }
            changed
        });
        if changed {
            tracing::info!("ZooKeeper is connected");
        }
    }

    fn set_away(&self, reason: &str) {
        let changed = self.status.send_if_modified(|status| {
            let changed = status
                .connected
                .as_ref()
                .err()
                .is_none_or(|old| old != reason);
            if changed {
                status.connected = Err(reason.to_owned());
            }
            changed
        });
        if changed {
            tracing::warn!(reason, "ZooKeeper is not connected");
        }
    }

    fn set_leader(&self, leader: Option<Member>) {
        self.status.send_if_modified(|status| {
            let changed = status.leader != leader;
            status.leader = leader;
            changed
        });
    }
}

impl Shared {
    /// The longest that one call may take.
    pub(super) fn call_limit(&self) -> Duration {
        self.config.session_timeout
    }

    /// A session, as soon as there is one.
    pub(super) async fn client(&self) -> Client {
        let mut client = self.link.client.subscribe();
        loop {
            if let Some(client) = &*client.borrow_and_update() {
                return client.clone();
            }
            if client.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// A session, if there is one soon.
    pub(super) async fn client_soon(&self) -> Result<Client, StoreError> {
        match timeout(self.call_limit(), self.client()).await {
            Ok(client) => Ok(client),
            Err(_) => Err(StoreError::Unavailable {
                reason: match &self.link.status.borrow().connected {
                    Ok(_) => "ZooKeeper did not answer".to_owned(),
                    Err(reason) => format!("ZooKeeper is not connected: {reason}"),
                },
            }),
        }
    }

    /// Waits for the answer of one call. The client holds calls back while it is disconnected, so
    /// that without a limit they might wait for long. A call that is no longer waited for may still
    /// have an effect.
    pub(super) async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        E: From<Error>,
    {
        timeout(self.call_limit(), call)
            .await
            .unwrap_or_else(|_| Err(Error::Timeout.into()))
    }
}

/// What a failed call means for whoever wanted something of the store.
pub(super) fn failed(what: &str, error: &Error) -> StoreError {
    match error {
        Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => StoreError::Refused {
            reason: format!("ZooKeeper does not let us {what}: check user and password"),
        },
        error => StoreError::Unavailable {
            reason: format!("ZooKeeper did not {what}: {error}"),
        },
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

// === The supervisor ===

/// Keeps a session, for ever.
pub(super) async fn supervise(shared: Arc<Shared>) {
    loop {
        match connect(&shared.config).await {
            Ok(client) => {
                shared.link.client.send_replace(Some(client.clone()));
                let reason = keep(&shared, &client).await;
                shared.link.client.send_replace(None);
                shared.link.set_away(reason);
            }
            Err(reason) => shared.link.set_away(&reason),
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Follows one session to its end, and tells why it ended.
async fn keep(shared: &Shared, client: &Client) -> &'static str {
    let states = async {
        let mut watcher = client.state_watcher();
        let mut state = client.state();
        loop {
            match state {
                SessionState::Disconnected => shared.link.set_away("the connection was lost"),
                SessionState::Expired => return "the session has expired",
                SessionState::AuthFailed => return "ZooKeeper refuses the user and password",
                SessionState::Closed => return "the session was closed",
                _ => shared.link.set_connected(),
            }
            state = watcher.changed().await;
        }
    };
    let leader = async {
        loop {
            if campaign::follow_leader(shared, client, |leader| shared.link.set_leader(leader))
                .await
                .is_err()
            {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        }
    };
    tokio::select! {
        reason = states => reason,
        () = leader => "the session has ended",
        () = shared.link.is_spent(client.session_id()) => "the session was given up",
    }
}

async fn connect(config: &ZooKeeperConfig) -> Result<Client, String> {
    let mut connector = Client::connector()
        .with_session_timeout(config.session_timeout)
        .with_connection_timeout(config.session_timeout / CONNECTIONS);
    if let Some(auth) = &config.auth {
        connector = connector.with_auth("digest", auth.expose_secret().as_bytes());
    }
    let servers = servers(&config.hosts);
    let connecting = async {
        match &config.tls {
            None => connector.connect(&servers).await,
            Some(tls) => {
                connector
                    .with_tls(tls_options(tls).await?)
                    .secure_connect(&servers)
                    .await
            }
        }
        .map_err(|error| match error {
            Error::Timeout => format!(
                "no server of {} gave us a session within {} s",
                config.hosts.join(","),
                config.session_timeout.as_secs()
            ),
            error => format!("no session with {}: {error}", config.hosts.join(",")),
        })
    };
    // The client limits itself to the session's time-out; a name that is not resolved might not.
    timeout(config.session_timeout * 2, connecting)
        .await
        .unwrap_or_else(|_| Err(format!("no answer of {}", config.hosts.join(","))))
}

fn servers(hosts: &[String]) -> String {
    let rounds = ENTRIES_MIN.div_ceil(hosts.len().max(1));
    let entries: Vec<&str> = (0..rounds)
        .flat_map(|_| hosts)
        .map(String::as_str)
        .collect();
    entries.join(",")
}

async fn tls_options(tls: &ZooKeeperTls) -> Result<TlsOptions, String> {
    let wrong = |error: Error| format!("the TLS files cannot be used: {error}");
    let ca = match &tls.ca {
        Some(ca) => pem(ca).await?,
        None => pem(Path::new(SYSTEM_AUTHORITIES)).await?,
    };
    let options = TlsOptions::new().with_pem_ca(&ca).map_err(wrong)?;
    match &tls.identity {
        None => Ok(options),
        Some(identity) => {
            let certificate = pem(&identity.certificate).await?;
            let key = pem(&identity.key).await?;
            options.with_pem_identity(&certificate, &key).map_err(wrong)
        }
    }
}

async fn pem(path: &Path) -> Result<String, String> {
    tokio::fs::read_to_string(path)
        .await
        .map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}
