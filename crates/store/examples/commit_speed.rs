//! Measures the embedded store: `cargo run --release -p gantry-store --example commit_speed`.
//! With a path it makes its file there, else in the directory for temporary files.
//!
//! On two cores of a virtual machine with an ext4 disk, other builds running beside it:
//!
//! | tasks a commit | tasks/s | median commit | slowest |
//! |---|---|---|---|
//! | 1 | 3,900 | 0.24 ms | 1.3 ms |
//! | 10 | 27,000 | 0.37 ms | 1.1 ms |
//! | 100 | 141,000 | 0.62 ms | 4.3 ms |
//! | 1,000 | 196,000 | 4.2 ms | 14 ms |
//! | 10,000 | 225,000 | 42 ms | 64 ms |
//!
//! 100,000 tasks: opened, with every checksum verified, in 0.10 s; loaded in 0.25 s; 817 bytes of
//! file a task.

use std::{error::Error, path::PathBuf, sync::Arc, time::Instant};

use gantry_core::{
    AgentAddress, AgentId, Goal, Record, TaskId, TaskRecord, TaskState, Timestamp, Uuid,
    WorkloadName, Write,
};
use gantry_store::{Embedded, Store};

fn task(number: u32) -> Write {
    let uuid =
        Uuid::from_bits(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    Write::Put(Record::Task(TaskRecord {
        id: TaskId::from_parts("measure", "web", number, uuid),
        workload: WorkloadName::new("web"),
        number,
        uuid,
        revision: 1,
        agent: Arc::new(AgentAddress {
            id: AgentId::new("20261121-100000-16842879-5050-1-S1"),
            hostname: "node-1.example.net".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
        }),
        ports: [31_000, 31_001].into_iter().collect(),
        state: TaskState::Launching,
        goal: Goal::Run,
        launched_at: Timestamp::from_millis(1_700_000_000_000),
        started_at: None,
        running_at: None,
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).map_or_else(
        || std::env::temp_dir().join("gantry-commit-speed.store"),
        PathBuf::from,
    );
    if file.exists() {
        return Err(format!("`{}` exists: remove it first", file.display()).into());
    }
    let store = Embedded::open(&file).await?;
    for size in [1, 10, 100, 1_000, 10_000] {
        let commits = (20_000 / size).clamp(10, 2_000);
        let batches: Vec<Vec<Write>> = (0..commits)
            .map(|commit| {
                (0..size)
                    .map(|task_number| task(1 + commit * size + task_number))
                    .collect()
            })
            .collect();
        let mut times = Vec::new();
        let begin = Instant::now();
        for batch in batches {
            let begin = Instant::now();
            store.commit(batch).await?;
            times.push(begin.elapsed());
        }
        let took = begin.elapsed();
        times.sort_unstable();
        println!(
            "{size:>6} tasks a commit: {:>9.0} tasks/s, {:>9.2?} the median commit, {:>9.2?} the slowest",
            f64::from(commits * size) / took.as_secs_f64(),
            times[times.len() / 2],
            times[times.len() - 1],
        );
    }
    drop(store);
    let begin = Instant::now();
    let store = Embedded::open(&file).await?;
    let opened = begin.elapsed();
    let count = store.load().await?.records.len();
    println!(
        "{count} tasks: opened in {opened:.2?}, loaded in {:.2?}, {} bytes of file a task",
        begin.elapsed() - opened,
        std::fs::metadata(&file)?.len() / count.max(1) as u64
    );
    drop(store);
    std::fs::remove_file(&file)?;
    Ok(())
}
