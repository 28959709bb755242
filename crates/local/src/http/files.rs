//! `/files/*` of an agent: browse, read and download what is in the sandboxes
//! (Mesos `src/files/files.cpp`).

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use gantry_mesos::v1;
use gantry_mesos::v1::agent::call;
use gantry_mesos::v1::agent::response::{ListFiles, ReadFile};
use hyper::StatusCode;
use serde_json::json;

use super::server::Response;
use super::{Request, Site, answer, json as json_answer, not_found, streaming, text};
use crate::options::TaskMode;
use crate::state::{AgentKey, Reply};

/// Bytes of one `/files/read` answer at most.
const READ_MAX: u64 = 64 << 10;

pub(super) fn handle(site: &Arc<Site>, agent: AgentKey, request: &Request, what: &str) -> Response {
    let Some(path) = request.query("path").filter(|p| !p.is_empty()) else {
        return text(&Reply::bad("Expecting 'path=value' in query.\n"));
    };
    let Some(found) = locate(site, agent, &path) else {
        return match what {
            "download" => not_found(),
            _ => text(&Reply::new(404, "")),
        };
    };
    match what {
        "browse" => browse(&path, &found),
        "read" => read(
            &found,
            request.query("offset").as_deref(),
            request.query("length").as_deref(),
        ),
        "download" => download(&found),
        _ => not_found(),
    }
}

// === The same in the v1 API ===

/// LIST_FILES: 404 without such a path. A file gives an empty list.
pub(super) fn list(site: &Arc<Site>, agent: AgentKey, path: &str) -> Result<ListFiles, Reply> {
    let found = locate(site, agent, path).ok_or_else(|| Reply::new(404, ""))?;
    if !found.is_dir() {
        return Ok(ListFiles::default());
    }
    let entries = fs::read_dir(&found).map_err(|e| Reply::new(500, e.to_string()))?;
    let mut file_infos: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(v1::FileInfo {
                path: format!("{}/{name}", path.trim_end_matches('/')),
                nlink: i32::try_from(meta.nlink()).ok(),
                size: Some(meta.size()),
                mtime: Some(v1::TimeInfo {
                    nanoseconds: meta.mtime().saturating_mul(1_000_000_000),
                }),
                mode: Some(meta.mode()),
                uid: Some(name_of("/etc/passwd", meta.uid())),
                gid: Some(name_of("/etc/group", meta.gid())),
            })
        })
        .collect();
    file_infos.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(ListFiles { file_infos })
}

/// READ_FILE: the size of the whole, and at most 64 KiB from an offset; nothing behind the end.
pub(super) fn part(
    site: &Arc<Site>,
    agent: AgentKey,
    call: &call::ReadFile,
) -> Result<ReadFile, Reply> {
    let found = locate(site, agent, &call.path).ok_or_else(|| Reply::new(404, ""))?;
    if found.is_dir() {
        return Err(Reply::bad("Cannot read a directory.\n"));
    }
    let read = || -> io::Result<ReadFile> {
        let mut file = File::open(&found)?;
        let size = file.metadata()?.len();
        let mut data = Vec::new();
        if call.offset < size {
            file.seek(SeekFrom::Start(call.offset))?;
            let length = call.length.unwrap_or(READ_MAX).min(READ_MAX);
            file.take(length).read_to_end(&mut data)?;
        }
        Ok(ReadFile { size, data })
    };
    read().map_err(|e| Reply::new(500, format!("Failed to read the file: {e}.\n")))
}

/// The file that a real or virtual path means, if it is inside a run of an executor.
fn locate(site: &Arc<Site>, agent: AgentKey, path: &str) -> Option<PathBuf> {
    let TaskMode::Real { work_dir } = &site.options.mode else {
        return None;
    };
    let id = site.hub.turn(|s| s.agents[agent.index()].id.clone());
    let root = fs::canonicalize(work_dir).ok()?.join("slaves").join(id);
    let asked = if let Some(relative) = path.strip_prefix("/frameworks/") {
        root.join("frameworks").join(relative)
    } else {
        Path::new(path).to_path_buf()
    };
    let found = fs::canonicalize(asked).ok()?;
    // frameworks/<id>/executors/<id>/runs/<id>
    let inside: Vec<_> = found.strip_prefix(&root).ok()?.components().collect();
    let named = |i: usize, name: &str| inside.get(i).is_some_and(|c| c.as_os_str() == name);
    (inside.len() >= 6 && named(0, "frameworks") && named(2, "executors") && named(4, "runs"))
        .then_some(found)
}

fn failed(error: &io::Error) -> Response {
    text(&Reply::new(
        500,
        format!("Failed to read the file: {error}.\n"),
    ))
}

fn browse(asked: &str, found: &Path) -> Response {
    if !found.is_dir() {
        return json_answer(&json!([]));
    }
    let entries = match fs::read_dir(found) {
        Ok(entries) => entries,
        Err(error) => return failed(&error),
    };
    let mut list: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            #[allow(clippy::cast_precision_loss)]
            let mtime = meta.mtime() as f64;
            let path = format!("{}/{name}", asked.trim_end_matches('/'));
            Some((
                path.clone(),
                json!({
                    "path": path,
                    "nlink": meta.nlink(),
                    "size": meta.size(),
                    "mtime": mtime,
                    "mode": mode_text(&meta),
                    "uid": name_of("/etc/passwd", meta.uid()),
                    "gid": name_of("/etc/group", meta.gid()),
                }),
            ))
        })
        .collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    json_answer(&list.into_iter().map(|(_, entry)| entry).collect())
}

/// The name of an account or group; its number where the system's list has none.
fn name_of(list: &str, id: u32) -> String {
    let number = id.to_string();
    let names = fs::read_to_string(list).unwrap_or_default();
    let named = names.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    });
    named.unwrap_or(number)
}

/// The mode as `ls -l` writes it.
fn mode_text(meta: &fs::Metadata) -> String {
    let mode = meta.permissions().mode();
    let kind = if meta.is_dir() {
        'd'
    } else if meta.file_type().is_symlink() {
        'l'
    } else {
        '-'
    };
    let bits = (0..9).map(|i| {
        if mode & (0o400 >> i) == 0 {
            '-'
        } else {
            ['r', 'w', 'x'][i % 3]
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

fn read(found: &Path, offset: Option<&str>, length: Option<&str>) -> Response {
    let number = |text: Option<&str>, name: &str| -> Result<Option<i64>, Reply> {
        text.map(|text| text.parse::<i64>().map_err(|_| not_a_number(name, text)))
            .transpose()
    };
    let (offset, length) = match (number(offset, "offset"), number(length, "length")) {
        (Ok(offset), Ok(length)) => (offset, length),
        (Err(reply), _) | (_, Err(reply)) => return text(&reply),
    };
    if found.is_dir() {
        return text(&Reply::bad("Cannot read a directory.\n"));
    }
    if offset.is_some_and(|o| o < -1) {
        return text(&Reply::bad("Negative offset provided.\n"));
    }
    if length.is_some_and(|l| l < -1) {
        return text(&Reply::bad("Negative length provided.\n"));
    }
    let result = File::open(found).and_then(|mut file| {
        let size = file.metadata()?.len();
        let Some(offset) = offset.and_then(|o| u64::try_from(o).ok()) else {
            return Ok((size, Vec::new()));
        };
        let length = length
            .and_then(|l| u64::try_from(l).ok())
            .unwrap_or(READ_MAX)
            .min(READ_MAX);
        let mut data = Vec::new();
        file.seek(SeekFrom::Start(offset))?;
        file.take(length).read_to_end(&mut data)?;
        Ok((offset, data))
    });
    match result {
        Ok((offset, data)) => answer(
            StatusCode::OK,
            &[("Content-Type", "application/json")],
            read_body(offset, &data),
        ),
        Err(error) => failed(&error),
    }
}

fn not_a_number(name: &str, found: &str) -> Reply {
    Reply::bad(format!(
        "Failed to parse {name}: Failed to convert '{found}' to number.\n"
    ))
}

/// The bytes stand in the JSON text as they are: a UTF-8 sequence that was cut stays cut, so
/// that offsets count bytes for the client too.
fn read_body(offset: u64, data: &[u8]) -> Vec<u8> {
    let mut out = b"{\"data\":\"".to_vec();
    for &byte in data {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x00..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.extend_from_slice(format!("\",\"offset\":{offset}}}").as_bytes());
    out
}

fn download(found: &Path) -> Response {
    if found.is_dir() {
        return text(&Reply::bad("Cannot download a directory.\n"));
    }
    let file = match File::open(found) {
        Ok(file) => file,
        Err(error) => return failed(&error),
    };
    let name = found
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .replace('"', "");
    let chunks = futures_util::stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut chunk = vec![0; 256 << 10];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(n) => {
                chunk.truncate(n);
                Some((Ok(bytes::Bytes::from(chunk)), Some(file)))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", &*disposition),
    ];
    streaming(&headers, chunks)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cut_character_stays_cut() {
        let body = super::read_body(7, &"a\"ü".as_bytes()[..3]);
        assert_eq!(body, b"{\"data\":\"a\\\"\xc3\",\"offset\":7}");
    }
}
