//! `gantry events`: what happens, as it happens.

use std::{io::Write, time::Duration};

use clap::Args;
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::time::{sleep, timeout};

use super::{
    leader::{AskError, Leader, Remote},
    output::{Output, clean, moment},
};

/// A stream that is silent for longer is dead: a ping comes every 15 s.
const SILENT_MAX: Duration = Duration::from_secs(45);

/// How long to wait before the stream is asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Longest event; a task's message is far shorter.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// Options of `gantry events`.
#[derive(Args, Debug)]
pub struct EventsOptions {
    /// Begin after the event of this id, as far as it is remembered
    #[arg(long, value_name = "ID")]
    pub after: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Who is asked. JSON is one object a line.
    #[command(flatten)]
    pub remote: Remote,
}

/// Where one is in the sequence of events.
struct Reader<'a> {
    after: Option<u64>,
    /// How many are still wanted.
    left: Option<u64>,
    output: Output,
    out: &'a mut dyn Write,
}

/// Writes events until enough have come, and for ever without `--count`.
///
/// # Errors
/// The first stream cannot be had, or `out` cannot be written to. A stream that ends is asked for
/// again.
pub async fn run(options: &EventsOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.remote.leader()?;
    let mut reader = Reader {
        after: options.after,
        left: options.count,
        output: options.remote.output,
        out,
    };
    let mut before = false;
    while reader.left != Some(0) {
        match reader.follow(&leader).await {
            Ok(why) => {
                before = true;
                if reader.left != Some(0) {
                    eprintln!("gantry: {why}; going on where it ended");
                }
            }
            Err(error) if before && error.is::<AskError>() => {
                eprintln!("gantry: {error:#}; trying again");
            }
            Err(error) => return Err(error),
        }
        if reader.left != Some(0) {
            sleep(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

impl Reader<'_> {
    /// Reads one stream to its end, and says why it ended.
    async fn follow(&mut self, leader: &Leader) -> anyhow::Result<&'static str> {
        let after = self.after.map(|id| format!("?after={id}"));
        let path = format!("/api/v2/events{}", after.unwrap_or_default());
        let mut stream = leader.stream(&path).await?.bytes_stream();
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let part = match timeout(SILENT_MAX, stream.next()).await {
                Err(_) => return Ok("the stream fell silent"),
                Ok(None) => return Ok("the stream ended"),
                Ok(Some(Err(_))) => return Ok("the stream broke off"),
                Ok(Some(Ok(part))) => part,
            };
            buffer.extend_from_slice(&part);
            while let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                self.event(&String::from_utf8_lossy(&event))?;
                if self.left == Some(0) {
                    return Ok("enough");
                }
            }
            if buffer.len() > EVENT_BYTES_MAX {
                return Ok("an event is too long");
            }
        }
    }

    fn event(&mut self, text: &str) -> std::io::Result<()> {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        match field("event") {
            Some("lagged") => eprintln!("gantry: some events are not remembered any more"),
            None | Some("snapshot" | "ping") => {}
            Some(_) => {
                let Ok(data) = serde_json::from_str(field("data").unwrap_or_default()) else {
                    return Ok(());
                };
                match self.output {
                    Output::Json => writeln!(self.out, "{data}")?,
                    Output::Text => writeln!(self.out, "{}", in_words(&data))?,
                }
                self.out.flush()?;
                self.after = field("id").and_then(|id| id.parse().ok()).or(self.after);
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
        }
        Ok(())
    }
}

/// Time and type, then what the event says.
fn in_words(data: &Value) -> String {
    let at = moment(data["at"].as_u64().unwrap_or_default());
    let kind = data["type"].as_str().unwrap_or_default();
    let mut words = format!("{at} {kind}");
    let mut add = |text: &str| {
        words.push(' ');
        words.push_str(&clean(text));
    };
    let text = |name: &str| data[name].as_str();
    let number = |name: &str| data[name].as_u64().unwrap_or_default();
    match kind {
        "task" => {
            let workload = text("workload").unwrap_or_default();
            add(&format!("{workload}-{}", number("number")));
            add(text("state").unwrap_or_default());
            match data["healthy"].as_bool() {
                Some(true) => add("healthy"),
                Some(false) => add("unhealthy"),
                None => {}
            }
            for more in ["reason", "message"] {
                if let Some(more) = text(more) {
                    add(more);
                }
            }
        }
        "scaled" => {
            add(text("workload").unwrap_or_default());
            add(&format!("{} -> {}", number("from"), number("to")));
        }
        _ => {
            let fields = data.as_object().into_iter().flatten();
            for (name, value) in fields {
                if !matches!(name.as_str(), "at" | "id" | "type") {
                    let value = value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned);
                    add(&format!("{name}={value}"));
                }
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (data, line) in [
            (
                json!({"id": 7, "at": 0, "type": "task", "workload": "web", "number": 1, "state": "TASK_FAILED",
                    "healthy": false, "reason": "REASON_X", "message": "a\nb\u{1b}"}),
                "1970-01-01T00:00:00Z task web-1 TASK_FAILED unhealthy REASON_X a b\u{fffd}",
            ),
            (
                json!({"id": 8, "at": 0, "type": "scaled", "workload": "web", "from": 1, "to": 2}),
                "1970-01-01T00:00:00Z scaled web 1 -> 2",
            ),
            (
                json!({"id": 9, "at": 0, "type": "later", "x": "y", "on": true}),
                "1970-01-01T00:00:00Z later on=true x=y",
            ),
        ] {
            assert_eq!(in_words(&data), line);
        }
    }
}
