//! Measures the matching core alone: placements a second on one core, effects included.
//!
//! `cargo run --release -p gantry-core --example placements [agents] [tasks]`

use std::{collections::BTreeMap, sync::Arc, time::Duration, time::Instant};

use gantry_core::*;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok());
    let agents: usize = arguments.next().unwrap_or(10_000);
    let tasks: u32 = arguments.next().unwrap_or(1_000_000) as u32;
    println!("agents {agents}, waiting tasks {tasks}");
    measure("no constraints", agents, tasks, Vec::new());
    let per_host = tasks.div_ceil(agents as u32) + 1;
    measure(
        "hostname MAX_PER",
        agents,
        tasks,
        vec![constraint("hostname", Operator::MaxPer(per_host))],
    );
    measure(
        "rack GROUP_BY",
        agents,
        tasks,
        vec![constraint("rack", Operator::GroupBy(20))],
    );
}

fn constraint(field: &str, operator: Operator) -> Constraint {
    Constraint {
        field: field.to_owned(),
        operator,
    }
}

fn measure(name: &str, agents: usize, tasks: u32, constraints: Vec<Constraint>) {
    let mut settings = Settings::new("bench");
    settings.starting_per_agent_max = u32::MAX;
    let started_with = resident();
    let mut now = Timestamp::from_millis(1);
    let (mut scheduler, effects) = Scheduler::start(
        now,
        settings,
        IdGenerator::new([1, 2, 3, 4]),
        vec![service(tasks, constraints)],
        Found::default(),
    );
    drop(effects);
    let subscribed = MesosEvent::Subscribed {
        framework_id: FrameworkId::new("bench"),
    };
    drop(scheduler.step(now, vec![Input::Mesos(subscribed)]));
    let per_agent = u64::from(tasks).div_ceil(agents as u64);
    // Offers in ten rounds, as they would come: a tenth of every agent each time.
    let rounds = 10;
    let mut placed = 0usize;
    let mut busy = Duration::ZERO;
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let offers = (0..agents)
            .map(|agent| offer(agent, round, per_agent.div_ceil(rounds) + 1))
            .collect();
        now = now + Duration::from_secs(1);
        let begin = Instant::now();
        let effects = scheduler.step(now, vec![Input::Mesos(MesosEvent::Offers(offers))]);
        let took = begin.elapsed();
        busy += took;
        slowest = slowest.max(took);
        for call in &effects.calls {
            if let Call::Accept { launches, .. } = call {
                placed += launches.len();
            }
        }
    }
    println!(
        "{name:18} {placed} placed, {:.0} placements/s, slowest cycle {:.0} ms, {} bytes a task",
        placed as f64 / busy.as_secs_f64(),
        slowest.as_secs_f64() * 1000.0,
        resident().saturating_sub(started_with) * 1024 / u64::from(tasks).max(1),
    );
}

/// Resident memory in kB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

fn offer(agent: usize, round: u64, tasks: u64) -> Offer {
    let reservations = Arc::new(Reservations::default());
    let entry = |value| OfferEntry {
        reservations: reservations.clone(),
        value,
    };
    let begin = 20_000 + (round * tasks) as u16;
    Offer {
        id: OfferId::new(format!("O{round}-{agent}")),
        agent: Arc::new(AgentAddress {
            id: AgentId::new(format!("0c7a7e5e-8a4e-4f0e-9d4f-2f6d3c1b9a10-S{agent}")),
            hostname: format!("host-{agent}.example"),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: vec![("rack".to_owned(), format!("r{}", agent % 20))],
        }),
        role: "*".into(),
        entries: vec![
            entry(EntryValue::Scalar(Scalar::Cpus, Amount::from_units(tasks))),
            entry(EntryValue::Scalar(
                Scalar::Mem,
                Amount::from_units(tasks * 64),
            )),
            entry(EntryValue::Ports(PortSet::from_ranges([(
                begin,
                begin + tasks as u16 - 1,
            )]))),
        ],
        unavailable: None,
    }
}

fn service(instances: u32, constraints: Vec<Constraint>) -> ServiceSpec {
    ServiceSpec {
        name: WorkloadName::new("web"),
        instances,
        priority: 1,
        wait_healthy: false,
        allow_scaling: true,
        back_off: BackOff::default(),
        update: Default::default(),
        template: Template {
            demand: Demand {
                cpus: Amount::from_units(1),
                mem: Amount::from_units(64),
                dynamic_ports: 1,
                ..Demand::default()
            },
            placement: Placement {
                constraints,
                ..Placement::default()
            },
            command: TaskCommand::Shell("sleep 1000".to_owned()),
            container: Container::None,
            environment: Vec::new(),
            uris: Vec::new(),
            labels: BTreeMap::new(),
            user: None,
            health_check: None,
            kill_grace: None,
        },
    }
}
