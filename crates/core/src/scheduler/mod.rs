//! The scheduler: what it knows, and the order in which a step goes through it.
//!
//! | file | what it is about |
//! |---|---|
//! | `load` | coming back from stored records and the declared services |
//! | `services` | one service's books: counts, waiting instances, where its tasks are |
//! | `instances` | how many instances there should be, and what each of them needs next |
//! | `status` | news of tasks, and what follows when one ends |
//! | `stopping` | KILL until it is done |
//! | `connection` | subscription and reconciliation |
//! | `strangers` | tasks that may run although there is no record of them |
//! | `offers` | offers at hand, declines, suppress and revive |
//! | `matching` | one cycle: waiting instances against offers |
//! | `commands` | what operators ask |
//! | `deployments` | rolling restarts and updates |
//! | `keeping` | what is kept for modules and for who logs in |
//! | `admission` | asking modules before instances are launched |
//! | `readiness` | modules say when a task is ready |
//! | `brake` | nothing is done automatically while too much fails |
//! | `plan` | what a start would change |
//! | `unreadable` | what could not be read, and what is made of it |
//! | `timers` | what is to be looked at later |
//! | `check` | the invariants |

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use smallvec::SmallVec;

use crate::{
    AccessRecord, AgentId, AuditEntry, Brake, Call, Counters, Deployment, DeploymentId, Effects,
    FrameworkRecord, FrameworkView, IdGenerator, Input, ModuleValues, Notice, Settings,
    StatusUpdate, TaskId, Timestamp, View,
};

mod admission;
mod brake;
mod check;
mod commands;
mod connection;
mod deployments;
mod instances;
mod keeping;
mod load;
mod matching;
mod offers;
mod plan;
mod readiness;
mod services;
mod status;
mod stopping;
mod strangers;
mod timers;
mod unreadable;

pub use plan::{Change, Declared, DeclaredSettings, Plan, WorkloadPlan, plan, stored_view};

use admission::Admission;
use brake::Trouble;
use connection::Connection;
use deployments::Moves;
use offers::Offers;
use services::Service;
use timers::{Timer, Timers};
use unreadable::Unread;

/// Position of a service in [`Scheduler::services`]; stable for the life of the scheduler.
type ServiceIndex = u32;

/// The scheduler. See the crate's documentation for the contract with its caller.
#[derive(Debug)]
pub struct Scheduler {
    settings: Settings,
    ids: IdGenerator,
    now: Timestamp,
    framework: Option<FrameworkRecord>,
    connection: Connection,
    services: Vec<Option<Service>>,
    /// By the name as it stands in task ids: one each, but for one that is no longer declared and
    /// another that took its name there. Never iterated: its order is not deterministic.
    by_task_name: HashMap<Arc<str>, SmallVec<[ServiceIndex; 1]>>,
    /// Services with instances waiting for an offer, by priority.
    waiting_services: BTreeSet<(i32, ServiceIndex)>,
    /// How many tasks are starting on each agent that has any. Never iterated.
    starting: HashMap<AgentId, u32>,
    /// Ports that some service insists on: not given away as dynamic ones without need.
    fixed_ports: BTreeSet<u16>,
    offers: Offers,
    admission: Admission,
    timers: Timers,
    deployments: BTreeMap<DeploymentId, Arc<Deployment>>,
    moves: BTreeMap<DeploymentId, Moves>,
    next_deployment: u64,
    audit: VecDeque<Arc<AuditEntry>>,
    next_audit: u64,
    unknown_tasks: Arc<BTreeMap<TaskId, StatusUpdate>>,
    brake: Option<Brake>,
    module_values: Arc<ModuleValues>,
    access: Arc<AccessRecord>,
    unread: Unread,
    trouble: Trouble,
    counters: Counters,
    out: Effects,
    /// Instances that may be proven before the next full check, in debug builds.
    check_credit: usize,
}

impl Scheduler {
    /// Takes in everything that has happened, moves what is toward what is wanted, and says what
    /// is to be done. `now` must not go back; if it does, the last value is used again.
    pub fn step(&mut self, now: Timestamp, inputs: Vec<Input>) -> Effects {
        self.now = self.now.max(now);
        for input in inputs {
            match input {
                Input::Mesos(event) => self.mesos_event(event),
                Input::Command {
                    token,
                    actor,
                    command,
                } => self.command(token, actor, command),
                Input::Admission {
                    workload,
                    number,
                    asked,
                    verdict,
                } => self.answered(&workload, number, asked, verdict),
                Input::AdmissionNeeded(needed) => self.need_admission(needed),
                Input::Readiness { task, ready } => self.reported(&task, ready),
                Input::ReadinessNeeded(of) => self.need_readiness(of),
            }
        }
        self.fire_timers();
        self.watch_brake();
        self.advance_deployments();
        self.cycle();
        self.ask_for_admission();
        self.ask_for_offers();
        self.effects()
    }

    /// Everything that was decided since the last time.
    fn effects(&mut self) -> Effects {
        self.settle_unreadable();
        let mut effects = std::mem::take(&mut self.out);
        effects.wake_at = self.timers.next();
        debug_assert_eq!(self.check_in_turn(), Ok(()));
        effects
    }

    /// An immutable copy of the state for readers; costs a pointer copy for each workload,
    /// deployment and audit entry.
    pub fn view(&self) -> View {
        View {
            at: self.now,
            framework: FrameworkView {
                id: self.framework.as_ref().map(|record| record.id.clone()),
                subscribed: self.connection.subscribed,
                since: self.connection.since,
                subscription: self.connection.subscription,
                unconfirmed: self
                    .services()
                    .map(|(_, service)| service.state.counts.unconfirmed as usize)
                    .sum(),
                suppressed: self.offers.suppressed,
                offers_held: self.offers.held.len(),
                agents: self.offers.agents_seen.len(),
            },
            workloads: self
                .services()
                .map(|(_, service)| service.state.clone())
                .collect(),
            deployments: self.deployments.values().cloned().collect(),
            audit: self.audit.iter().cloned().collect(),
            unknown_tasks: self.unknown_tasks.clone(),
            brake: self.brake.clone(),
            module_values: self.module_values.clone(),
            access: self.access.clone(),
            unreadable: self.unread.list.clone(),
            counters: self.counters,
        }
    }

    fn services(&self) -> impl Iterator<Item = (ServiceIndex, &Service)> {
        self.services
            .iter()
            .enumerate()
            .filter_map(|(index, service)| Some((index as ServiceIndex, service.as_ref()?)))
    }

    fn service(&self, index: ServiceIndex) -> Option<&Service> {
        self.services.get(index as usize)?.as_ref()
    }

    fn service_mut(&mut self, index: ServiceIndex) -> Option<&mut Service> {
        self.services.get_mut(index as usize)?.as_mut()
    }

    fn service_indices(&self) -> Vec<ServiceIndex> {
        self.services().map(|(index, _)| index).collect()
    }

    /// Sends a call, unless nobody is there to take it: what must happen all the same is repeated
    /// from the state at the next subscription.
    fn send(&mut self, call: Call) {
        if self.connection.subscribed {
            self.out.calls.push(call);
        }
    }

    fn notice(&mut self, notice: Notice) {
        self.out.notices.push(notice);
    }

    fn fire_timers(&mut self) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Instance { service, number } => self.settle(service, number),
                Timer::Launch {
                    service,
                    number,
                    run,
                } => self.launch_overdue(service, number, run),
                Timer::Kill {
                    service,
                    number,
                    run,
                } => self.kill_again(service, number, run),
                Timer::Reconcile => self.reconcile_unheard(),
                Timer::ReconcileAll => self.reconcile_all(),
                Timer::Strangers => self.look_for_strangers(),
                Timer::Offers => self.offers.changed = true,
                Timer::Revive | Timer::Brake | Timer::Admission => {} // Every step looks at it.
                Timer::KillUnknown => self.kill_unknown_when_safe(),
            }
        }
    }
}
