//! How long pages and events take while the scheduler is busy: 100,000 tasks run, a thousand are
//! launched every second, each of which reports twice.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{http, process, store::Place};

/// Tasks that run before anything is measured.
const TASKS: usize = 100_000;
const AGENTS: usize = 1_000;

/// Launched each second while it is measured.
const LAUNCHES: u64 = 1_000;

/// Steps in which they are asked for.
const STEP: Duration = Duration::from_millis(100);

/// How long it is measured.
const LASTS: Duration = Duration::from_secs(20);

/// Between two requests of one kind.
const ASK_EVERY: Duration = Duration::from_millis(10);

pub(crate) fn run() -> Result<()> {
    let more = LAUNCHES * LASTS.as_secs();
    let per_agent = (TASKS + usize::try_from(more)?).div_ceil(AGENTS) + 20;
    let mem = (per_agent * 32).to_string();
    let (_cluster, master) = process::cluster(AGENTS, &per_agent.to_string(), &mem)?;
    let port = process::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = process::serve(port, &master, TASKS);
    for (name, value) in [
        ("NAME", "busy"),
        ("NUM_INSTANCES", "0"),
        ("CPUS", "1"),
        ("MEM", "32"),
        ("CMD", "sleep 100000"),
    ] {
        command.env(format!("TASK1_{name}"), value);
    }
    command.env("TASK_DEF_NUM", "2");
    // It is to be there until the Gantry has ended.
    let place = Place::embedded()?;
    place.apply(&mut command);
    let _gantry = process::start(&mut command)?;
    process::until(Duration::from_secs(300), "all tasks run", || {
        Ok(running(&address).unwrap_or(0) >= TASKS as u64)
    })?;
    let one = http::get(&address, "/api/v2/tasks?limit=1&offset=50000")?;
    let one = one["items"][0]["id"].as_str().context("a task")?.to_owned();

    let done = Arc::new(AtomicBool::new(false));
    let told = Told::default();
    let sent = watch_cluster(&master, &told, &done)?;
    let seen = watch_gantry(&address, &told, &done)?;
    let before = launched(&address)?;
    let begin = Instant::now();
    let page = AtomicU64::new(0);
    let (pages, single) = thread::scope(|scope| {
        let busy = scope.spawn(|| keep_busy(&address));
        let pages = scope.spawn(|| {
            ask(&address, || {
                let offset = page.fetch_add(7_919, Ordering::Relaxed) % (TASKS as u64 - 100);
                format!("/api/v2/tasks?limit=100&offset={offset}")
            })
        });
        let single = scope.spawn(|| ask(&address, || format!("/api/v2/tasks/{one}")));
        let pages = pages
            .join()
            .map_err(|_| anyhow::anyhow!("a fault of the bench"))?;
        let single = single
            .join()
            .map_err(|_| anyhow::anyhow!("a fault of the bench"))?;
        busy.join()
            .map_err(|_| anyhow::anyhow!("a fault of the bench"))??;
        Ok::<_, anyhow::Error>((pages?, single?))
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    let rate = (launched(&address)? - before) as f64 / seconds;
    // What was sent at the end is still on its way.
    thread::sleep(Duration::from_secs(1));
    done.store(true, Ordering::Relaxed);
    let (sent, mut late) = (sent.load(Ordering::Relaxed), seen.latencies());
    println!(
        "{TASKS} tasks run; {rate:.0} launches/s and {:.0} updates/s meanwhile",
        sent as f64 / seconds
    );
    for (what, mut times) in [("page of 100 tasks", pages), ("one task", single)] {
        println!("  {what}: {}", told_of(&mut times));
    }
    println!(
        "  status update to event: {} of {sent} updates",
        told_of(&mut late)
    );
    if (late.len() as u64) < sent {
        bail!("{} updates were not told", sent - late.len() as u64);
    }
    Ok(())
}

/// Median, 99th percentile and maximum.
fn told_of(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        let time = times.get(index.min(times.len().saturating_sub(1)));
        time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms, {} measured",
        at(0.5),
        at(0.99),
        at(1.0),
        times.len()
    )
}

/// Asks for more instances, step by step.
fn keep_busy(address: &str) -> Result<()> {
    let begin = Instant::now();
    let mut wanted = 0;
    while begin.elapsed() < LASTS {
        wanted = begin.elapsed().as_millis() as u64 * LAUNCHES / 1_000 + LAUNCHES / 10;
        let body = format!("{{\"instances\":{wanted}}}");
        http::request(address, "PUT", "/api/v2/workloads/busy/scale", &body)?;
        thread::sleep(STEP);
    }
    if wanted == 0 {
        bail!("nothing was asked for");
    }
    Ok(())
}

/// Asks on one connection at a steady pace, and measures from the request to the end of the answer.
fn ask(address: &str, path: impl Fn() -> String) -> Result<Vec<Duration>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut times = Vec::new();
    let begin = Instant::now();
    let mut next = begin;
    while begin.elapsed() < LASTS {
        // A pace that does not wait for late answers: what is late shows.
        next += ASK_EVERY;
        let asked = Instant::now().min(next);
        let request = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", path());
        writer.write_all(request.as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        let mut head = Vec::new();
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let field = line.trim_end().to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
            if field.is_empty() {
                break;
            }
            head.push(field);
        }
        let ok = head.first().is_some_and(|status| status.contains(" 200 "));
        if !ok || length == 0 {
            bail!("not answered as expected: {head:?}");
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        times.push(asked.elapsed());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(times)
}

fn running(address: &str) -> Result<u64> {
    let web = http::get(address, "/api/v2/workloads/web")?;
    Ok(web["counts"]["running"].as_u64().unwrap_or(0))
}

fn launched(address: &str) -> Result<u64> {
    let metrics = http::request(address, "GET", "/metrics", "")?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("gantry_tasks_launched_total "));
    Ok(line.context("the metric")?.trim().parse()?)
}

/// When each update was made by the cluster, in milliseconds since 1970, and when it was seen as an
/// event. The two streams are read apart, so that either may come first.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Updates>>);

#[derive(Default)]
struct Updates {
    made: HashMap<(String, String), f64>,
    seen: HashMap<(String, String), f64>,
}

impl Told {
    fn lock(&self) -> std::sync::MutexGuard<'_, Updates> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn latencies(&self) -> Vec<Duration> {
        let updates = self.lock();
        let both = updates.made.iter().filter_map(|(key, made)| {
            let seen = updates.seen.get(key)?;
            Some(Duration::from_secs_f64((seen - made).max(0.0) / 1000.0))
        });
        both.collect()
    }
}

fn wall() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64() * 1000.0
}

/// Reads the operator's stream of the cluster; how many updates it told of.
fn watch_cluster(master: &str, told: &Told, done: &Arc<AtomicBool>) -> Result<Arc<AtomicU64>> {
    let stream = TcpStream::connect(master)?;
    let body = "{\"type\":\"SUBSCRIBE\"}";
    let mut writer = stream.try_clone()?;
    write!(
        writer,
        "POST /api/v1 HTTP/1.1\r\nHost: {master}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    until_blank(&mut reader)?;
    // The first record is the whole state: what follows is new.
    chunk(&mut reader)?;
    let count = Arc::new(AtomicU64::new(0));
    let (counted, told, done) = (Arc::clone(&count), told.clone(), Arc::clone(done));
    thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            let Ok(record) = chunk(&mut reader) else {
                return;
            };
            // One chunk is one record: its length in a line, then the record.
            let begin = record.iter().position(|byte| *byte == b'\n');
            let json = record
                .get(begin.map_or(0, |at| at + 1)..)
                .unwrap_or_default();
            let Ok(event) = serde_json::from_slice::<Value>(json) else {
                continue;
            };
            if event["type"] != "TASK_UPDATED" {
                continue;
            }
            let status = &event["task_updated"]["status"];
            let made = status["timestamp"].as_f64().unwrap_or_default() * 1000.0;
            if let Some(key) = key(&status["task_id"]["value"], &status["state"]) {
                counted.fetch_add(1, Ordering::Relaxed);
                told.lock().made.insert(key, made);
            }
        }
    });
    Ok(count)
}

fn key(task: &Value, state: &Value) -> Option<(String, String)> {
    Some((task.as_str()?.to_owned(), state.as_str()?.to_owned()))
}

/// Reads the event stream of Gantry.
fn watch_gantry(address: &str, told: &Told, done: &Arc<AtomicBool>) -> Result<Told> {
    let stream = TcpStream::connect(address)?;
    let mut writer = stream.try_clone()?;
    write!(
        writer,
        "GET /api/v2/events HTTP/1.1\r\nHost: {address}\r\n\r\n"
    )?;
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    until_blank(&mut reader)?;
    let (kept, told, done) = (told.clone(), told.clone(), Arc::clone(done));
    thread::spawn(move || {
        let mut text = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let Ok(bytes) = chunk(&mut reader) else {
                return;
            };
            let at = wall();
            text.extend_from_slice(&bytes);
            let Some(end) = text.windows(2).rposition(|pair| pair == b"\n\n") else {
                continue;
            };
            let rest = text.split_off(end + 2);
            let whole = std::mem::replace(&mut text, rest);
            let whole = String::from_utf8_lossy(&whole);
            for data in whole.lines().filter_map(|line| line.strip_prefix("data: ")) {
                let Ok(event) = serde_json::from_str::<Value>(data) else {
                    continue;
                };
                if event["type"] == "task"
                    && let Some(key) = key(&event["task"], &event["state"])
                {
                    told.lock().seen.entry(key).or_insert(at);
                }
            }
        }
    });
    Ok(kept)
}

fn until_blank(reader: &mut impl std::io::BufRead) -> Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            bail!("the answer broke off");
        }
        if line.trim_end().is_empty() {
            return Ok(());
        }
    }
}

/// The next chunk of a chunked answer.
fn chunk(reader: &mut impl std::io::BufRead) -> Result<Vec<u8>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16).context("the length of a chunk")?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok(chunk)
}
