//! What a task uses: cpu and memory as its agent counts them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::PoisonError,
    time::Duration,
};

use gantry_core::{AgentAddress, TaskId};
use gantry_mesos::v1::ResourceStatistics;

use super::{Cluster, ClusterError};

/// The processor time that was used is a difference of two looks, of which the first is kept.
const KEPT_MAX: usize = 1_024;

/// A kept look is compared with when it is so old, in seconds: closer ones say little, and older
/// ones do not say what is used now.
const COMPARED: std::ops::RangeInclusive<f64> = 0.5..=30.0;

/// Without one to compare with, a second look is taken after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(600);

/// What a task uses, with the executor that the agent has given it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// When, in seconds since 1970 by the agent's clock.
    pub(crate) at: f64,
    /// Processors in use on average between two looks.
    pub(crate) cpus: Option<f64>,
    pub(crate) cpus_limit: Option<f64>,
    pub(crate) mem_bytes: Option<u64>,
    pub(crate) mem_limit_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: f64,
    cpu_seconds: f64,
}

/// The last look at each task, of the tasks that were asked for last.
#[derive(Default)]
pub(super) struct Samples {
    of: BTreeMap<TaskId, Sample>,
    order: VecDeque<TaskId>,
}

impl Samples {
    fn put(&mut self, task: &TaskId, sample: Sample) {
        if self.of.insert(task.clone(), sample).is_none() {
            self.order.push_back(task.clone());
        }
        while self.order.len() > KEPT_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.of.remove(&oldest);
        }
    }
}

impl Cluster {
    /// What a task uses now.
    ///
    /// # Errors
    /// See [`ClusterError`]; `NoContainer` when the agent does not run it.
    pub(crate) async fn usage(
        &self,
        agent: &AgentAddress,
        framework: &str,
        task: &TaskId,
    ) -> Result<Usage, ClusterError> {
        let _place = self.place()?;
        let kept = |cluster: &Self| {
            let samples = cluster.0.samples.lock();
            let samples = samples.unwrap_or_else(PoisonError::into_inner);
            samples.of.get(task).copied()
        };
        let before = kept(self);
        let mut now = self.statistics(agent, framework, task).await?;
        let mut earlier = before.filter(|before| is_comparable(*before, &now));
        if earlier.is_none()
            && let Some(first) = sample(&now)
        {
            tokio::time::sleep(LOOK_AGAIN).await;
            now = self.statistics(agent, framework, task).await?;
            earlier = Some(first);
        }
        if let Some(sample) = sample(&now) {
            let mut samples = self
                .0
                .samples
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            samples.put(task, sample);
        }
        Ok(usage(earlier, &now))
    }

    async fn statistics(
        &self,
        agent: &AgentAddress,
        framework: &str,
        task: &TaskId,
    ) -> Result<ResourceStatistics, ClusterError> {
        let answer = self.client()?.get_containers(&self.address(agent)).await;
        let answer = answer.map_err(|error| ClusterError::of(&error, agent))?;
        let ours = answer.containers.into_iter().find(|container| {
            let framework_id = container.framework_id.as_ref();
            let executor_id = container.executor_id.as_ref();
            framework_id.is_some_and(|id| id.value == framework)
                && executor_id.is_some_and(|id| id.value == task.as_str())
        });
        let statistics = ours.and_then(|container| container.resource_statistics);
        statistics.ok_or_else(|| ClusterError::NoContainer {
            agent: agent.hostname.clone(),
        })
    }
}

fn sample(statistics: &ResourceStatistics) -> Option<Sample> {
    let user = statistics.cpus_user_time_secs?;
    Some(Sample {
        at: statistics.timestamp,
        cpu_seconds: user + statistics.cpus_system_time_secs.unwrap_or(0.0),
    })
}

fn is_comparable(before: Sample, now: &ResourceStatistics) -> bool {
    COMPARED.contains(&(now.timestamp - before.at))
}

fn usage(earlier: Option<Sample>, now: &ResourceStatistics) -> Usage {
    let cpus = earlier.zip(sample(now)).and_then(|(earlier, now)| {
        let seconds = now.at - earlier.at;
        let used = (now.cpu_seconds - earlier.cpu_seconds).max(0.0);
        (seconds > 0.0).then(|| used / seconds)
    });
    Usage {
        at: now.timestamp,
        cpus,
        cpus_limit: now.cpus_limit.or(now.cpus_soft_limit),
        mem_bytes: now.mem_rss_bytes,
        mem_limit_bytes: now.mem_limit_bytes.or(now.mem_soft_limit_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(timestamp: f64, user: f64) -> ResourceStatistics {
        ResourceStatistics {
            timestamp,
            cpus_user_time_secs: Some(user),
            cpus_system_time_secs: Some(1.0),
            cpus_soft_limit: Some(0.6),
            mem_rss_bytes: Some(1 << 20),
            mem_limit_bytes: Some(96 << 20),
            ..ResourceStatistics::default()
        }
    }

    #[test]
    fn processors_are_the_difference_of_two_looks() {
        let first = sample(&statistics(100.0, 3.0)).unwrap();
        assert!(is_comparable(first, &statistics(101.0, 3.0)));
        assert!(!is_comparable(first, &statistics(100.1, 3.0)), "too close");
        assert!(
            !is_comparable(first, &statistics(200.0, 3.0)),
            "too long ago"
        );
        assert!(
            !is_comparable(first, &statistics(99.0, 3.0)),
            "a clock was set back"
        );
        let used = usage(Some(first), &statistics(102.0, 3.5));
        assert_eq!(used.cpus, Some(0.25));
        assert_eq!(
            (used.cpus_limit, used.mem_bytes),
            (Some(0.6), Some(1 << 20))
        );
        // The process was started anew, so that its time began anew.
        assert_eq!(usage(Some(first), &statistics(102.0, 0.0)).cpus, Some(0.0));
        assert_eq!(usage(None, &statistics(102.0, 0.0)).cpus, None);
        assert_eq!(usage(Some(first), &statistics(100.0, 3.5)).cpus, None);
    }

    #[test]
    fn few_looks_are_kept() {
        let mut samples = Samples::default();
        let kept = Sample {
            at: 1.0,
            cpu_seconds: 1.0,
        };
        for number in 0..2 * KEPT_MAX {
            samples.put(&TaskId::new(format!("t{number}")), kept);
            samples.put(&TaskId::new(format!("t{number}")), kept);
        }
        assert_eq!(
            (samples.of.len(), samples.order.len()),
            (KEPT_MAX, KEPT_MAX)
        );
        assert!(samples.of.contains_key(&TaskId::new("t2047")));
    }
}
