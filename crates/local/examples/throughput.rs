//! Measures a simulated cluster through its HTTP API: small calls, then launches with every
//! update acknowledged.
//!
//! `cargo run --release -p gantry-local --example throughput -- [agents] [tasks]`

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gantry_local::{AgentOptions, Cluster, ClusterOptions};
use gantry_mesos::v1::framework_info::Capability;
use gantry_mesos::v1::framework_info::capability::Type as CapabilityType;
use gantry_mesos::v1::offer::{Operation, operation};
use gantry_mesos::v1::scheduler::{Call, Event, call};
use gantry_mesos::v1::{
    CommandInfo, Filters, FrameworkId, FrameworkInfo, Resource, TaskId, TaskInfo, TaskState, value,
};
use prost::Message as _;

/// Tasks that may be on their way to TASK_RUNNING at once.
const WINDOW: u64 = 20_000;

/// One connection that calls are pipelined on; answers are counted by another thread.
struct Calls {
    socket: TcpStream,
    head: String,
    buffer: Vec<u8>,
    sent: u64,
    answered: Arc<AtomicU64>,
}

impl Calls {
    fn connect(master: SocketAddr, stream_id: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(master)?;
        socket.set_nodelay(true)?;
        let answered = Arc::new(AtomicU64::new(0));
        let (mut reader, count) = (socket.try_clone()?, Arc::clone(&answered));
        std::thread::spawn(move || {
            let mut chunk = vec![0u8; 256 << 10];
            let mut matched = 0;
            const END: &[u8] = b"\r\n\r\n";
            while let Ok(n) = reader.read(&mut chunk) {
                if n == 0 {
                    break;
                }
                // Every answer is a head without a body.
                for byte in &chunk[..n] {
                    matched = match (*byte == END[matched], *byte == END[0]) {
                        (true, _) => matched + 1,
                        (false, true) => 1,
                        (false, false) => 0,
                    };
                    if matched == END.len() {
                        matched = 0;
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let head = format!(
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/x-protobuf\r\n\
             Mesos-Stream-Id: {stream_id}\r\nContent-Length: "
        );
        Ok(Self {
            socket,
            head,
            buffer: Vec::new(),
            sent: 0,
            answered,
        })
    }

    fn queue(&mut self, call: &Call) -> io::Result<()> {
        self.buffer.extend_from_slice(self.head.as_bytes());
        write!(self.buffer, "{}\r\n\r\n", call.encoded_len())?;
        call.encode(&mut self.buffer).map_err(io::Error::other)?;
        self.sent += 1;
        if self.buffer.len() > 64 << 10 {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn drain(&mut self) -> io::Result<()> {
        self.flush()?;
        while self.answered.load(Ordering::Relaxed) < self.sent {
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

/// The subscription: chunks joined to records.
struct Events {
    reader: BufReader<TcpStream>,
    pending: Vec<u8>,
}

impl Events {
    fn subscribe(master: SocketAddr, info: FrameworkInfo) -> io::Result<(Self, String)> {
        let mut call = Call { ..Call::default() };
        call.set_type(call::Type::Subscribe);
        call.subscribe = Some(call::Subscribe {
            framework_info: info,
            ..Default::default()
        });
        let body = call.encode_to_vec();
        let mut socket = TcpStream::connect(master)?;
        write!(
            socket,
            "POST /api/v1/scheduler HTTP/1.1\r\nHost: m\r\nContent-Type: application/x-protobuf\r\n\
             Accept: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        socket.write_all(&body)?;
        let mut reader = BufReader::with_capacity(1 << 20, socket);
        let mut stream_id = String::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line == "\r\n" {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("mesos-stream-id")
            {
                value.trim().clone_into(&mut stream_id);
            }
        }
        Ok((
            Self {
                reader,
                pending: Vec::new(),
            },
            stream_id,
        ))
    }

    fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(end) = self.pending.iter().position(|b| *b == b'\n') {
                let length: usize = String::from_utf8_lossy(&self.pending[..end])
                    .parse()
                    .map_err(io::Error::other)?;
                if self.pending.len() > end + length {
                    let event = Event::decode(&self.pending[end + 1..=end + length])
                        .map_err(io::Error::other)?;
                    self.pending.drain(..=end + length);
                    return Ok(event);
                }
            }
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let at = self.pending.len();
            self.pending.resize(at + size, 0);
            self.reader.read_exact(&mut self.pending[at..])?;
            self.reader.read_exact(&mut [0; 2])?;
        }
    }
}

fn scalar(name: &str, value: f64) -> Resource {
    let mut resource = Resource {
        name: name.into(),
        ..Resource::default()
    };
    resource.set_type(value::Type::Scalar);
    resource.scalar = Some(value::Scalar { value });
    resource
}

fn small_calls(
    master: SocketAddr,
    stream_id: &str,
    id: &FrameworkId,
    count: u64,
) -> io::Result<()> {
    let mut calls = Calls::connect(master, stream_id)?;
    let mut call = Call {
        framework_id: Some(id.clone()),
        ..Call::default()
    };
    call.set_type(call::Type::Acknowledge);
    call.acknowledge = Some(call::Acknowledge {
        uuid: vec![0x47; 16],
        ..Default::default()
    });
    let begun = Instant::now();
    for _ in 0..count {
        calls.queue(&call)?;
    }
    calls.drain()?;
    println!(
        "{:.0} small calls/s, pipelined",
        count as f64 / begun.elapsed().as_secs_f64()
    );
    Ok(())
}

fn launches(
    master: SocketAddr,
    events: &mut Events,
    stream_id: &str,
    id: &FrameworkId,
    tasks: u64,
    share: u64,
) -> io::Result<()> {
    let mut calls = Calls::connect(master, stream_id)?;
    let begun = Instant::now();
    let (mut launched, mut running, mut updates) = (0u64, 0u64, 0u64);
    let mut tenth = Instant::now();
    let mut offers = VecDeque::new();
    while running < tasks {
        let event = events.next()?;
        offers.extend(event.offers.into_iter().flat_map(|o| o.offers));
        while launched - running < WINDOW
            && let Some(offer) = offers.pop_front()
        {
            let wanted = share.min(tasks - launched);
            let task_infos = (0..wanted)
                .map(|i| TaskInfo {
                    name: "t".into(),
                    task_id: TaskId {
                        value: format!("bench.web-{}.{}", launched + i, i),
                    },
                    agent_id: offer.agent_id.clone(),
                    resources: vec![scalar("cpus", 0.01), scalar("mem", 1.0)],
                    command: Some(CommandInfo {
                        value: Some("server".into()),
                        ..CommandInfo::default()
                    }),
                    ..TaskInfo::default()
                })
                .collect();
            launched += wanted;
            let mut launch = Operation {
                launch: Some(operation::Launch { task_infos }),
                ..Operation::default()
            };
            launch.set_type(operation::Type::Launch);
            let mut call = Call {
                framework_id: Some(id.clone()),
                ..Call::default()
            };
            call.set_type(call::Type::Accept);
            call.accept = Some(call::Accept {
                offer_ids: vec![offer.id.clone()],
                operations: if wanted == 0 { vec![] } else { vec![launch] },
                filters: Some(Filters {
                    refuse_seconds: Some(1e6),
                }),
            });
            calls.queue(&call)?;
        }
        if let Some(status) = event.update.map(|u| u.status) {
            updates += 1;
            if status.state == TaskState::TaskRunning as i32 {
                running += 1;
                if running.is_multiple_of((tasks / 10).max(1)) {
                    println!(
                        "  {running} running, the last tenth at {:.0} tasks/s",
                        (tasks / 10) as f64 / tenth.elapsed().as_secs_f64()
                    );
                    tenth = Instant::now();
                }
            }
            let mut call = Call {
                framework_id: Some(id.clone()),
                ..Call::default()
            };
            call.set_type(call::Type::Acknowledge);
            call.acknowledge = Some(call::Acknowledge {
                agent_id: status.agent_id.unwrap_or_default(),
                task_id: status.task_id,
                uuid: status.uuid.unwrap_or_default(),
            });
            calls.queue(&call)?;
        }
        if events.pending.is_empty() && events.reader.buffer().is_empty() {
            calls.flush()?;
        }
    }
    calls.drain()?;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:.0} launches/s ({tasks} tasks, {updates} updates, {:.1} s)",
        tasks as f64 / seconds,
        seconds
    );
    Ok(())
}

fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let agents: u64 = arguments.next().map_or(Ok(1000), |a| a.parse())?;
    let tasks: u64 = arguments.next().map_or(Ok(200_000), |a| a.parse())?;
    let share = tasks.div_ceil(agents);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let begun = Instant::now();
    let count = usize::try_from(agents)?;
    let hosts = AgentOptions::many(
        count,
        share as f64 * 0.01 + 1.0,
        share as f64 + 64.0,
        1000.0,
    );
    let cluster = runtime.block_on(Cluster::start(ClusterOptions::simulated(hosts)))?;
    println!(
        "{agents} agents up in {:.2} s",
        begun.elapsed().as_secs_f64()
    );
    let master = cluster.master_address();
    let ticking = std::thread::spawn(move || -> io::Result<()> {
        let capability = |c: CapabilityType| Capability {
            r#type: Some(c as i32),
        };
        let info = FrameworkInfo {
            user: "root".into(),
            name: "bench".into(),
            roles: vec!["web".into()],
            failover_timeout: Some(60.0),
            checkpoint: Some(true),
            capabilities: [
                CapabilityType::MultiRole,
                CapabilityType::PartitionAware,
                CapabilityType::ReservationRefinement,
                CapabilityType::TaskKillingState,
            ]
            .map(capability)
            .to_vec(),
            ..FrameworkInfo::default()
        };
        let (mut events, stream_id) = Events::subscribe(master, info)?;
        let first = events.next()?;
        let id = first
            .subscribed
            .ok_or_else(|| io::Error::other("not subscribed"))?
            .framework_id;
        small_calls(master, &stream_id, &id, 100_000)?;
        let before = resident_kilobytes();
        launches(master, &mut events, &stream_id, &id, tasks, share)?;
        let grown = resident_kilobytes().saturating_sub(before);
        println!(
            "{} bytes of memory a task, client included",
            grown * 1024 / tasks.max(1)
        );
        Ok(())
    });
    runtime.block_on(async {
        while !ticking.is_finished() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    ticking.join().map_err(|_| "the client failed")??;
    runtime.block_on(cluster.shutdown());
    Ok(())
}
