//! Checks and health checks: what is tried, and how often.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::{
    CheckInfo, CheckStatusInfo, CommandInfo, HealthCheck, check_info, check_status_info,
};
use gantry_mesos::v1::{health_check, network_info};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

use super::Shop;
use super::sandbox::Account;
use super::spawn::{Group, arguments};

/// What one try is.
#[derive(Clone, Debug)]
enum Probe {
    Command(CommandInfo),
    Http(String),
    Tcp(String, u16),
}

/// What a try found. `None` in it: no answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Command(Option<i32>),
    Http(Option<u16>),
    Tcp(bool),
}

impl Finding {
    pub(super) fn is_healthy(self) -> bool {
        match self {
            Self::Command(status) => status == Some(0),
            Self::Http(status) => status.is_some_and(|s| (200..400).contains(&s)),
            Self::Tcp(connected) => connected,
        }
    }

    /// As a check reports it.
    pub(super) fn status(self) -> CheckStatusInfo {
        let mut out = CheckStatusInfo::default();
        match self {
            Self::Command(exit_code) => {
                out.set_type(check_info::Type::Command);
                out.command = Some(check_status_info::Command { exit_code });
            }
            Self::Http(status) => {
                out.set_type(check_info::Type::Http);
                out.http = Some(check_status_info::Http {
                    status_code: status.map(u32::from),
                });
            }
            Self::Tcp(succeeded) => {
                out.set_type(check_info::Type::Tcp);
                out.tcp = Some(check_status_info::Tcp {
                    succeeded: Some(succeeded),
                });
            }
        }
        out
    }
}

/// The status of a check that has not found anything yet.
pub(super) fn unknown(check: &CheckInfo) -> CheckStatusInfo {
    let mut out = CheckStatusInfo {
        r#type: check.r#type,
        ..CheckStatusInfo::default()
    };
    match check.r#type() {
        check_info::Type::Command => out.command = Some(check_status_info::Command::default()),
        check_info::Type::Http => out.http = Some(check_status_info::Http::default()),
        check_info::Type::Tcp => out.tcp = Some(check_status_info::Tcp::default()),
        check_info::Type::Unknown => {}
    }
    out
}

/// Where command probes run.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) shop: Arc<Shop>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directory: PathBuf,
    pub(super) account: Option<Account>,
}

/// A probe and its times.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    probe: Probe,
    delay: Duration,
    interval: Duration,
    timeout: Duration,
}

fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or(Duration::from_secs(365 * 24 * 3600))
}

fn host(protocol: network_info::Protocol) -> &'static str {
    if protocol == network_info::Protocol::IPv6 {
        "[::1]"
    } else {
        "127.0.0.1"
    }
}

impl Schedule {
    pub(super) fn of_check(check: &CheckInfo) -> Option<Self> {
        let probe = match check.r#type() {
            check_info::Type::Command => Probe::Command(check.command.as_ref()?.command.clone()),
            check_info::Type::Http => {
                let http = check.http.as_ref()?;
                Probe::Http(format!("http://127.0.0.1:{}{}", http.port, http.path()))
            }
            check_info::Type::Tcp => Probe::Tcp(
                "127.0.0.1".into(),
                u16::try_from(check.tcp.as_ref()?.port).unwrap_or(0),
            ),
            check_info::Type::Unknown => return None,
        };
        Some(Self {
            probe,
            delay: seconds(check.delay_seconds()),
            interval: seconds(check.interval_seconds()),
            timeout: seconds(check.timeout_seconds()),
        })
    }

    pub(super) fn of_health_check(check: &HealthCheck) -> Option<Self> {
        let probe = match check.r#type() {
            health_check::Type::Command => Probe::Command(check.command.clone()?),
            health_check::Type::Http => {
                let http = check.http.as_ref()?;
                let scheme = http.scheme.as_deref().unwrap_or("http");
                Probe::Http(format!(
                    "{scheme}://{}:{}{}",
                    host(http.protocol()),
                    http.port,
                    http.path()
                ))
            }
            health_check::Type::Tcp => {
                let tcp = check.tcp.as_ref()?;
                Probe::Tcp(
                    host(tcp.protocol()).into(),
                    u16::try_from(tcp.port).unwrap_or(0),
                )
            }
            health_check::Type::Unknown => return None,
        };
        Some(Self {
            probe,
            delay: seconds(check.delay_seconds()),
            interval: seconds(check.interval_seconds()),
            timeout: seconds(check.timeout_seconds()),
        })
    }

    /// Tries for ever and tells what it finds, until nobody listens.
    pub(super) async fn run(self, bench: Bench, findings: Sender<Finding>) {
        sleep(self.delay).await;
        loop {
            let finding = self.attempt(&bench).await;
            if findings.send(finding).await.is_err() {
                return;
            }
            sleep(self.interval).await;
        }
    }

    async fn attempt(&self, bench: &Bench) -> Finding {
        let limit = if self.timeout.is_zero() {
            Duration::from_secs(365 * 24 * 3600)
        } else {
            self.timeout
        };
        match &self.probe {
            Probe::Command(command) => {
                let run = async {
                    let program = arguments(command)?;
                    let mut group = Group::start(
                        &bench.shop,
                        &program,
                        &bench.environment,
                        &bench.directory,
                        bench.account,
                        false,
                    )
                    .await
                    .ok()?;
                    group.wait().await.ok()?.code()
                };
                Finding::Command(timeout(limit, run).await.ok().flatten())
            }
            Probe::Http(url) => {
                let request = bench.shop.http.get(url).send();
                let answer = timeout(limit, request).await.ok().and_then(Result::ok);
                Finding::Http(answer.map(|a| a.status().as_u16()))
            }
            Probe::Tcp(host, port) => {
                let address = format!("{host}:{port}");
                let connected = timeout(limit, TcpStream::connect(address)).await;
                Finding::Tcp(connected.is_ok_and(|c| c.is_ok()))
            }
        }
    }
}
