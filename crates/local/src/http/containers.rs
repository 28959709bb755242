//! GET_CONTAINERS of an agent: what its containers use, as the system counts it
//! (Mesos `src/slave/containerizer/mesos/isolators/posix.hpp`).

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use gantry_mesos::v1::ResourceStatistics;
use gantry_mesos::v1::agent::{Response, call, response};

use super::Site;
use crate::state::AgentKey;

pub(super) fn answer(site: &Arc<Site>, agent: AgentKey, asked: &call::GetContainers) -> Response {
    let nested = asked.show_nested();
    let mut containers = site.hub.turn(|s| s.containers_on(agent, nested));
    let groups = if containers.is_empty() {
        HashMap::new()
    } else {
        groups()
    };
    for container in &mut containers {
        let status = container.container_status.as_ref();
        let used = status
            .and_then(|s| s.executor_pid)
            .and_then(|pid| groups.get(&pid));
        if let (Some(statistics), Some(used)) = (&mut container.resource_statistics, used) {
            used.tell(statistics);
        }
    }
    Response {
        r#type: Some(response::Type::GetContainers.into()),
        get_containers: Some(response::GetContainers { containers }),
        ..Response::default()
    }
}

/// What the processes of a group use together. Times of those that have ended count as far as
/// their parents have waited for them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Used {
    user_ticks: u64,
    system_ticks: u64,
    rss_pages: u64,
}

impl Used {
    #[allow(clippy::cast_precision_loss)]
    fn tell(self, statistics: &mut ResourceStatistics) {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let page = rustix::param::page_size() as u64;
        statistics.cpus_user_time_secs = Some(self.user_ticks as f64 / ticks);
        statistics.cpus_system_time_secs = Some(self.system_ticks as f64 / ticks);
        statistics.mem_rss_bytes = Some(self.rss_pages.saturating_mul(page));
    }
}

/// What each process group of the system uses.
fn groups() -> HashMap<u32, Used> {
    let mut groups: HashMap<u32, Used> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit);
        // One that ends meanwhile is left out.
        let stat = is_process.then(|| fs::read(entry.path().join("stat")));
        if let Some(Ok(stat)) = stat
            && let Some((group, used)) = parse_stat(&String::from_utf8_lossy(&stat))
        {
            let sum = groups.entry(group).or_default();
            sum.user_ticks += used.user_ticks;
            sum.system_ticks += used.system_ticks;
            sum.rss_pages += used.rss_pages;
        }
    }
    groups
}

/// Group and use of a process, from its `stat` (proc(5)). Its name may hold anything, brackets and
/// blanks too.
fn parse_stat(stat: &str) -> Option<(u32, Used)> {
    let (_, rest) = stat.rsplit_once(')')?;
    // Counted from the third field of the page, which is the first here.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let group = u32::try_from(number(5)?).ok()?;
    Some((
        group,
        Used {
            user_ticks: number(14)?.saturating_add(number(16)?),
            system_ticks: number(15)?.saturating_add(number(17)?),
            rss_pages: number(24)?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_whatever_the_name() {
        let stat = "17 (a) b (c) S 1 15 15 0 -1 4194560 5 6 7 8 100 20 3 4 20 0 1 0 9 1000 42 184";
        let used = Used {
            user_ticks: 103,
            system_ticks: 24,
            rss_pages: 42,
        };
        assert_eq!(parse_stat(stat), Some((15, used)));
        assert_eq!(parse_stat("17 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        assert!(groups()[&u32::try_from(own).unwrap()].rss_pages > 0);
    }
}
