//! Every recorded exchange with a real Mesos master and agent must be understood.
//!
//! The recordings lie beside the project; where they are absent nothing is checked.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use gantry_mesos::descriptor::MesosMessage;
use gantry_mesos::json::{from_json, from_value, to_json};
use gantry_mesos::recordio::RecordIo;
use gantry_mesos::required;
use gantry_mesos::v1::{agent, executor, master, scheduler};
use serde_json::{Value, json};
use tokio_util::codec::Decoder;

fn directory() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/mesos/recordings");
    path.is_dir().then_some(path)
}

fn files(extension: &str) -> Vec<(String, String)> {
    let Some(directory) = directory() else {
        eprintln!("no recordings beside the project: nothing is checked");
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(extension) {
            found.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Equal as JSON, where 1 and 1.0 are the same number.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

/// The recorder put a text with an ellipsis in the place of whole lists.
fn without_cuts(body: &Value) -> Value {
    match body {
        Value::String(text) if text.contains('…') => Value::Null,
        Value::Array(items) => items.iter().map(without_cuts).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), without_cuts(value)))
            .collect(),
        other => other.clone(),
    }
}

/// The operator API writes empty lists, which mean the same as none; and one field of
/// the older `SlaveInfo` that `AgentInfo` does not have.
fn without_oddities(body: &Value) -> Value {
    match body {
        Value::Array(items) => items.iter().map(without_oddities).collect(),
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| value.as_array().is_none_or(|items| !items.is_empty()))
            .map(|(key, value)| {
                let mut value = without_oddities(value);
                if key == "agent_info"
                    && let Some(info) = value.as_object_mut()
                {
                    info.remove("checkpoint");
                }
                (key.clone(), value)
            })
            .collect(),
        other => other.clone(),
    }
}

/// What a recorded body is to be read as. `Err` says what was not understood.
type Check = fn(body: &Value, bytes: Option<&[u8]>, whole: bool) -> Result<(), String>;

/// A message that a master or agent wrote.
fn written<M: MesosMessage + PartialEq + std::fmt::Debug>(
    body: &Value,
    bytes: Option<&[u8]>,
    whole: bool,
) -> Result<(), String> {
    let from_body = from_value::<M>(body).or_else(|e| match whole {
        true => Err(e.to_string()),
        false => from_value::<M>(&without_cuts(body)).map_err(|e| e.to_string()),
    });
    let from_body = match from_body {
        Err(problem) if !whole && problem.starts_with("Missing required") => return Ok(()),
        from_body => from_body?,
    };
    if let Some(bytes) = bytes {
        let message: M = required::decode(bytes).map_err(|e| e.to_string())?;
        if whole && message != from_body {
            return Err(format!("bytes and body differ: {message:?}\n{from_body:?}"));
        }
        let again = M::decode(message.encode_to_vec().as_slice()).map_err(|e| e.to_string())?;
        if again != message {
            return Err("changed by encoding it again".to_owned());
        }
    } else if whole {
        let again = to_json(&from_body);
        if !same(&again, &without_oddities(body)) {
            return Err(format!("changed by reading and writing:\n{body}\n{again}"));
        }
    }
    Ok(())
}

/// A message that a client wrote, in its own way.
fn understood<M: MesosMessage + PartialEq>(
    body: &Value,
    bytes: Option<&[u8]>,
    _whole: bool,
) -> Result<(), String> {
    match bytes {
        Some(bytes) => required::decode::<M>(bytes)
            .map(drop)
            .map_err(|e| e.to_string()),
        None => from_value::<M>(body).map(drop).map_err(|e| e.to_string()),
    }
}

fn either(a: Result<(), String>, b: Result<(), String>) -> Result<(), String> {
    match (a, b) {
        (Err(a), Err(b)) => Err(format!("as of a master: {a}; as of an agent: {b}")),
        _ => Ok(()),
    }
}

/// How to read the request, its answer and the records of its stream.
struct Api {
    call: Check,
    answer: Check,
    event: Check,
    /// The text a server gives for a JSON body it cannot convert, if any.
    conversion: fn(&[u8]) -> Option<String>,
}

fn refusal<M: MesosMessage>(text: &[u8]) -> Option<String> {
    from_json::<M>(text).err().map(|e| {
        let stage = if e.is_syntax() {
            "Failed to parse body into JSON"
        } else {
            "Failed to convert JSON into Call protobuf"
        };
        format!("{stage}: {e}")
    })
}

fn api(path: &str) -> Option<Api> {
    let path = path
        .split('?')
        .next()
        .unwrap_or_default()
        .trim_end_matches('/');
    if path.ends_with("/api/v1/scheduler") {
        Some(Api {
            call: understood::<scheduler::Call>,
            answer: written::<scheduler::Event>,
            event: written::<scheduler::Event>,
            conversion: refusal::<scheduler::Call>,
        })
    } else if path.ends_with("/api/v1/executor") {
        Some(Api {
            call: understood::<executor::Call>,
            answer: written::<executor::Event>,
            event: written::<executor::Event>,
            conversion: refusal::<executor::Call>,
        })
    } else if path.ends_with("/api/v1") {
        Some(Api {
            call: |body, bytes, whole| {
                either(
                    understood::<master::Call>(body, bytes, whole),
                    understood::<agent::Call>(body, bytes, whole),
                )
            },
            answer: |body, bytes, whole| {
                either(
                    written::<master::Response>(body, bytes, whole),
                    written::<agent::Response>(body, bytes, whole),
                )
            },
            event: |body, bytes, whole| {
                either(
                    written::<master::Event>(body, bytes, whole),
                    written::<agent::ProcessIo>(body, bytes, whole),
                )
            },
            conversion: refusal::<master::Call>,
        })
    } else {
        None
    }
}

/// Lines that were shortened without saying so: fewer bytes than their Content-Length.
const SHORTENED: [(&str, usize); 2] =
    [("08-agent-crash.jsonl", 91), ("13-operator-api.jsonl", 282)];

#[test]
fn every_recorded_message_is_understood() {
    let mut checked = HashMap::<&str, usize>::new();
    let mut problems = Vec::new();
    for (name, text) in files(".jsonl") {
        // By connection (and speaker): the request whose answer comes next.
        let mut requests = HashMap::<String, Value>::new();
        for (number, line) in text.lines().enumerate() {
            let cut = line.contains('…') || SHORTENED.contains(&(name.as_str(), number + 1));
            let line: Value = serde_json::from_str(line).unwrap();
            let connection = format!("{} {}", line["who"], line["conn"]);
            let dir = line["dir"].as_str().unwrap().to_owned();
            let body = &line["body"];
            let bytes = line["bytes"].as_str().map(|b| STANDARD.decode(b).unwrap());
            // Placeholders and cut texts stand in some bodies, but not in their bytes.
            let whole = !cut && line["trimmed"].is_null() && line["reencoded"].is_null();
            let mut note = |what: &'static str, result: Result<(), String>| {
                *checked.entry(what).or_default() += 1;
                if let Err(problem) = result {
                    problems.push(format!("{name}:{}: {what}: {problem}", number + 1));
                }
            };
            match dir.as_str() {
                "request" => {
                    requests.insert(connection, line);
                }
                "response-head" => {
                    let Some(request) = requests.get(&connection) else {
                        continue;
                    };
                    let Some(api) = request["path"].as_str().and_then(api) else {
                        continue;
                    };
                    let status = line["status"].as_u64().unwrap_or_default();
                    let sent = request["bytes"]
                        .as_str()
                        .map(|b| STANDARD.decode(b).unwrap());
                    let streamed = request["body"].is_null() && sent.is_none();
                    if (200..300).contains(&status) && !streamed {
                        let body = match &request["body"] {
                            // Some were sent compressed and recorded as a remark.
                            Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
                            body => body.clone(),
                        };
                        if body.is_object() || sent.is_some() {
                            note("request", (api.call)(&body, sent.as_deref(), true));
                        }
                    }
                    if status == 200 && body.is_object() {
                        note("answer", (api.answer)(body, bytes.as_deref(), whole));
                    }
                    let answer = body.as_str().unwrap_or_default();
                    let json = request["headers"]["Content-Type"] == "application/json";
                    let by_parser = answer.starts_with("Failed to parse body into JSON")
                        || answer.starts_with("Failed to convert JSON");
                    if by_parser && json {
                        let text = match &request["body"] {
                            Value::String(text) => text.clone(),
                            Value::Null => String::new(),
                            body => body.to_string(),
                        };
                        let found = (api.conversion)(text.as_bytes());
                        note(
                            "refusal",
                            (found.as_deref() == Some(answer))
                                .then_some(())
                                .ok_or_else(|| format!("{answer:?} here {found:?} for {text}")),
                        );
                    }
                }
                "event" if body.is_object() => {
                    let Some(request) = requests.get(&connection) else {
                        continue;
                    };
                    let Some(api) = request["path"].as_str().and_then(api) else {
                        continue;
                    };
                    note("event", (api.event)(body, bytes.as_deref(), whole));
                }
                "request-record" => {
                    note(
                        "record",
                        understood::<agent::Call>(body, bytes.as_deref(), whole),
                    );
                }
                _ => {}
            }
        }
    }
    assert!(problems.is_empty(), "{}\n{checked:?}", problems.join("\n"));
    println!("{checked:?}");
    if directory().is_some() {
        for what in ["request", "answer", "refusal", "event"] {
            assert!(
                checked.get(what).is_some_and(|n| *n > 20),
                "{what}: {checked:?}"
            );
        }
    }
}

/// The bytes of a whole subscription as they stood on the wire.
fn raw(name: &str) -> Option<Vec<u8>> {
    let (_, text) = files(".base64")
        .into_iter()
        .find(|(found, _)| found == name)?;
    let text: String = text.split_whitespace().collect();
    Some(STANDARD.decode(text).unwrap())
}

/// Takes the chunks apart.
fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(bytes) {
        let size = size as usize;
        if size == 0 || bytes.len() < line + size + 2 {
            break;
        }
        out.extend_from_slice(&bytes[line..line + size]);
        bytes = &bytes[line + size + 2..];
    }
    out
}

#[test]
fn raw_streams_pass_the_codec() {
    for (name, is_json) in [
        ("01-raw-wire-json.base64", true),
        ("01-raw-wire-protobuf.base64", false),
    ] {
        let Some(wire) = raw(name) else { continue };
        let body = wire.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let stream = dechunked(&wire[body..]);
        for step in [1, 7, stream.len()] {
            let mut codec = RecordIo::default();
            let mut buffer = BytesMut::new();
            let mut types = Vec::new();
            for piece in stream.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(record) = codec.decode(&mut buffer).unwrap() {
                    let event: scheduler::Event = if is_json {
                        from_json(&record).unwrap()
                    } else {
                        required::decode(&record).unwrap()
                    };
                    types.push(event.r#type().as_str_name());
                }
            }
            assert!(buffer.is_empty(), "{name}: {} bytes left", buffer.len());
            assert_eq!(types[0], "SUBSCRIBED", "{name}");
            for expected in ["HEARTBEAT", "OFFERS"] {
                assert!(types.contains(&expected), "{name}: {types:?}");
            }
        }
    }
}

#[test]
fn equality_here_means_what_it_should() {
    assert!(same(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
    assert!(!same(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
    assert!(!same(
        &json!(9_007_199_254_740_993i64),
        &json!(9_007_199_254_740_992i64)
    ));
}

/// Recorded events with some bytes changed, cut or doubled: an error or a message,
/// never a panic, and what was read can be written and read again.
#[test]
fn damaged_messages_are_errors_or_messages() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        // Xorshift: the same damage in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let mut read = 0;
    for (name, text) in files("protobuf.jsonl") {
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let (Some(bytes), Some("event")) = (line["bytes"].as_str(), line["dir"].as_str())
            else {
                continue;
            };
            let original = STANDARD.decode(bytes).unwrap();
            for _ in 0..400 {
                let mut bytes = original.clone();
                for _ in 0..=random(3) {
                    let at = random(bytes.len());
                    match random(4) {
                        0 => bytes.truncate(at),
                        1 => bytes.insert(at, random(256) as u8),
                        2 => bytes.extend_from_within(at..),
                        _ if bytes.is_empty() => {}
                        _ => bytes[at] = random(256) as u8,
                    }
                }
                let Ok(event) = required::decode::<scheduler::Event>(&bytes) else {
                    continue;
                };
                read += 1;
                let json = gantry_mesos::json::to_vec(&event);
                if let Err(problem) = from_json::<scheduler::Event>(&json) {
                    // A required enum whose number has no name is not written.
                    let excusable = problem.to_string().starts_with("Missing required");
                    assert!(
                        excusable,
                        "{name}: {problem} in {}",
                        String::from_utf8_lossy(&json)
                    );
                }
                let mut text = json;
                if !text.is_empty() {
                    let at = random(text.len());
                    text[at] = random(256) as u8;
                }
                let _ = from_json::<scheduler::Event>(&text);
            }
        }
    }
    assert!(
        read > 1000 || directory().is_none(),
        "only {read} were readable"
    );
}
