//! What happens later.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use gantry_mesos::v1::TaskStatus;
use gantry_mesos::v1::scheduler;

use super::{AgentKey, ExecutorKey, FrameworkKey, State, TaskKey, event};

#[derive(Debug)]
pub(super) enum Timer {
    Allocate,
    OperatorHeartbeat,
    /// `stream` is the number of the subscription that asked for it.
    Heartbeat {
        framework: FrameworkKey,
        stream: u64,
    },
    FailoverTimeout {
        framework: FrameworkKey,
        stream: u64,
    },
    FilterExpired {
        agent: AgentKey,
    },
    OfferTimeout {
        offer: u64,
    },
    /// `sent` is the number of the sending that was not acknowledged.
    Resend {
        task: TaskKey,
        sent: u32,
    },
    ResendOperation {
        uuid: [u8; 16],
        sent: u32,
    },
    /// `epoch` is the number of the link change that asked for it.
    AgentTimeout {
        agent: AgentKey,
        epoch: u64,
    },
    AgentReturns {
        agent: AgentKey,
        epoch: u64,
    },
    AgentRecovered {
        agent: AgentKey,
    },
    Simulated {
        task: TaskKey,
        step: super::simulate::Step,
    },
    ExecutorRegistration {
        executor: ExecutorKey,
    },
    ExecutorReregistration {
        executor: ExecutorKey,
        restart: u64,
    },
    ExecutorGrace {
        executor: ExecutorKey,
    },
    Deliver {
        framework: FrameworkKey,
        status: Box<TaskStatus>,
    },
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    order: u64,
    timer: Timer,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The earliest is the greatest, as the heap pops its greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Entry>,
    pushed: u64,
}

impl Timers {
    pub(super) fn push(&mut self, at: Duration, timer: Timer) {
        self.pushed += 1;
        self.heap.push(Entry {
            at,
            order: self.pushed,
            timer,
        });
    }

    pub(super) fn pop_due(&mut self, now: Duration) -> Option<(Duration, Timer)> {
        if self.heap.peek()?.at > now {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.timer))
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|entry| entry.at)
    }
}

impl State {
    pub(super) fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Allocate => {
                self.allocate();
                let interval = self.options.allocation_interval;
                self.after(interval, Timer::Allocate);
            }
            Timer::OperatorHeartbeat => self.operator_heartbeat(),
            Timer::Heartbeat { framework, stream } => self.heartbeat(framework, stream),
            Timer::FailoverTimeout { framework, stream } => {
                self.failover_timed_out(framework, stream);
            }
            Timer::FilterExpired { agent } => {
                self.candidates.insert(agent);
            }
            Timer::OfferTimeout { offer } => self.rescind(offer),
            Timer::Resend { task, sent } => self.resend(task, sent),
            Timer::ResendOperation { uuid, sent } => self.resend_operation(uuid, sent),
            Timer::AgentTimeout { agent, epoch } => {
                if self.agents[agent.index()].epoch == epoch {
                    self.agent_unreachable(agent);
                }
            }
            Timer::AgentReturns { agent, epoch } => {
                if self.agents[agent.index()].epoch == epoch {
                    self.agent_returns(agent);
                }
            }
            Timer::AgentRecovered { agent } => self.agent_recovered(agent),
            Timer::Simulated { task, step } => self.simulated_step(task, step),
            Timer::ExecutorRegistration { executor } => self.executor_registration_due(executor),
            Timer::ExecutorReregistration { executor, restart } => {
                self.executor_reregistration_due(executor, restart);
            }
            Timer::ExecutorGrace { executor } => self.destroy_executor(executor),
            Timer::Deliver { framework, status } => self.send_update(framework, *status),
        }
    }

    fn heartbeat(&mut self, framework: FrameworkKey, stream: u64) {
        let current = self
            .frameworks
            .get(&framework)
            .and_then(|f| f.stream.as_ref());
        if current.is_none_or(|s| s.number != stream) {
            return;
        }
        if !self.faults.heartbeats_stopped {
            self.send(framework, &event(scheduler::event::Type::Heartbeat));
        }
        let interval = self.options.heartbeat_interval;
        self.after(interval, Timer::Heartbeat { framework, stream });
    }
}
