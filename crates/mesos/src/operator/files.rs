//! The files of sandboxes, as agents (and masters) show them (Mesos
//! `src/files/files.cpp`).

use bytes::Bytes;
use serde::Deserialize;

use super::{OperatorClient, OperatorError, Sent, network};
use crate::address::HostPort;
use crate::v1::{ExecutorId, FrameworkId, TaskId, agent};

/// Largest answer to a read. An agent sends at most 64 KiB of a file at once, each
/// byte of which may take six in JSON.
const READ_ANSWER_BYTES_MAX: usize = 1 << 20;

/// Path of the latest sandbox of an executor, for the files of its agent. The executor
/// of a task that brings none has the id of the task.
#[must_use]
pub fn sandbox_path(framework: &FrameworkId, executor: &ExecutorId) -> String {
    format!(
        "/frameworks/{}/executors/{}/runs/latest",
        framework.value, executor.value
    )
}

/// Path of the sandbox of one task of a task group.
#[must_use]
pub fn task_sandbox_path(framework: &FrameworkId, executor: &ExecutorId, task: &TaskId) -> String {
    format!("{}/tasks/{}", sandbox_path(framework, executor), task.value)
}

/// An entry of a directory.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct FileInfo {
    /// Path, to be given to the other calls.
    pub path: String,
    /// Size, in bytes.
    #[serde(default)]
    pub size: u64,
    /// Type and permissions as `ls -l` shows them, e.g. `-rw-r--r--`.
    #[serde(default)]
    pub mode: String,
    /// Time of the last change, in seconds since 1970.
    #[serde(default)]
    pub mtime: f64,
    /// Number of hard links.
    #[serde(default)]
    pub nlink: u64,
    /// Name of the owner.
    #[serde(default)]
    pub uid: String,
    /// Name of the group.
    #[serde(default)]
    pub gid: String,
}

impl FileInfo {
    /// Whether it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.mode.starts_with('d')
    }
}

/// A part of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileChunk {
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its bytes. It may begin and end within a UTF-8 sequence.
    pub data: Vec<u8>,
}

impl FileChunk {
    /// Where to read on.
    #[must_use]
    pub fn next_offset(&self) -> u64 {
        self.offset.saturating_add(self.data.len() as u64)
    }
}

/// A part of a file, with the size of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilePart {
    /// Size of the file when it was read, in bytes.
    pub size: u64,
    /// The bytes. They may begin and end within a UTF-8 sequence.
    pub data: Vec<u8>,
}

impl OperatorClient {
    /// A part of a file from `offset` with the size of the whole (READ_FILE of the v1 API): at
    /// most `length` bytes, and never more than the agent gives at once (64 KiB). Data of length
    /// 0 means the end, for now; an `offset` behind the end is no error.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `Status` 404 if there is no such file (any more), 400 if it is a
    /// directory.
    pub async fn read_file(
        &self,
        agent: &HostPort,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<FilePart, OperatorError> {
        let call = agent::Call {
            r#type: Some(agent::call::Type::ReadFile.into()),
            read_file: Some(agent::call::ReadFile {
                path: path.to_owned(),
                offset,
                length: Some(length),
            }),
            ..Default::default()
        };
        let read = super::expect(agent, self.agent_call(agent, &call).await?.read_file)?;
        if read.data.len() as u64 > length {
            let reason = "it holds more of the file than was asked for".to_owned();
            return Err(unreadable(agent, reason));
        }
        Ok(FilePart {
            size: read.size,
            data: read.data,
        })
    }

    /// The entries of a directory. A file gives an empty list.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `Status` 404 if there is no such path.
    pub async fn browse(
        &self,
        agent: &HostPort,
        path: &str,
    ) -> Result<Vec<FileInfo>, OperatorError> {
        let query = format!("browse?path={}", encoded(path));
        let body = self
            .file_answer(agent, &query, self.limits.browse_bytes_max)
            .await?;
        let body = String::from_utf8_lossy(&body);
        serde_json::from_str(&body).map_err(|e| unreadable(agent, e.to_string()))
    }

    /// A part of a file from `offset`, at most `length` bytes, and never more than the
    /// agent gives at once (64 KiB). Empty data means the end, for now.
    ///
    /// # Errors
    ///
    /// [`OperatorError`]; `Status` 404 if there is no such file, 400 if it is a
    /// directory.
    pub async fn read(
        &self,
        agent: &HostPort,
        path: &str,
        offset: u64,
        length: Option<u64>,
    ) -> Result<FileChunk, OperatorError> {
        // The offset -1 has a meaning of its own; numbers that large are none.
        let offset = offset.min(i64::MAX as u64);
        let mut query = format!("read?path={}&offset={offset}", encoded(path));
        if let Some(length) = length {
            query.push_str(&format!("&length={}", length.min(i64::MAX as u64)));
        }
        let body = self
            .file_answer(agent, &query, READ_ANSWER_BYTES_MAX)
            .await?;
        parse_chunk(&body).ok_or_else(|| unreadable(agent, "it is no part of a file".to_owned()))
    }

    /// The size of a file, in bytes: where a tail begins to follow.
    ///
    /// # Errors
    ///
    /// As [`OperatorClient::read`].
    pub async fn file_size(&self, agent: &HostPort, path: &str) -> Result<u64, OperatorError> {
        let query = format!("read?path={}&offset=-1", encoded(path));
        let body = self
            .file_answer(agent, &query, READ_ANSWER_BYTES_MAX)
            .await?;
        parse_chunk(&body)
            .map(|chunk| chunk.offset)
            .ok_or_else(|| unreadable(agent, "it is no size of a file".to_owned()))
    }

    /// A whole file, piece by piece.
    ///
    /// # Errors
    ///
    /// As [`OperatorClient::read`].
    pub async fn download(&self, agent: &HostPort, path: &str) -> Result<Download, OperatorError> {
        let url = self.files_url(agent, &format!("download?path={}", encoded(path)));
        let sent = self
            .limited(agent, self.send(agent, self.http.client.get(url)))
            .await?;
        match sent {
            Sent::Answer(response) => Ok(Download {
                size: response.content_length(),
                response,
                agent: agent.clone(),
                client: self.clone(),
                taken: 0,
            }),
            Sent::Redirect(_) => Err(unreadable(agent, "it is a redirect".to_owned())),
        }
    }

    fn files_url(&self, agent: &HostPort, query: &str) -> String {
        format!("{}://{agent}/files/{query}", self.http.scheme.as_str())
    }

    async fn file_answer(
        &self,
        agent: &HostPort,
        query: &str,
        limit: usize,
    ) -> Result<Vec<u8>, OperatorError> {
        let url = self.files_url(agent, query);
        let asking = async {
            match self.send(agent, self.http.client.get(url)).await? {
                Sent::Answer(mut answer) => self.body(agent, &mut answer, limit).await,
                Sent::Redirect(_) => Err(unreadable(agent, "it is a redirect".to_owned())),
            }
        };
        self.limited(agent, asking).await
    }
}

/// A file on its way.
#[derive(Debug)]
pub struct Download {
    response: reqwest::Response,
    size: Option<u64>,
    agent: HostPort,
    client: OperatorClient,
    taken: u64,
}

impl Download {
    /// Size of the file in bytes, if the agent told.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`OperatorError`] if the connection breaks or stalls, or the file is too large.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, OperatorError> {
        let limit = self.client.limits.download_stall_max;
        let peer = self.agent.clone();
        let chunk = match tokio::time::timeout(limit, self.response.chunk()).await {
            Err(_) => return Err(OperatorError::Timeout { peer, limit }),
            Ok(chunk) => chunk.map_err(|e| network(&peer, &e))?,
        };
        self.taken += chunk.as_ref().map_or(0, |c| c.len() as u64);
        let limit = self.client.limits.download_bytes_max;
        if self.taken > limit {
            return Err(OperatorError::TooLarge { peer, limit });
        }
        Ok(chunk)
    }
}

fn unreadable(agent: &HostPort, reason: String) -> OperatorError {
    OperatorError::Unreadable {
        peer: agent.clone(),
        reason,
    }
}

/// Percent-encodes everything but unreserved characters and `/`.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

// === The answer to a read ===

/// Reads `{"data":"…","offset":N}`, keys in any order.
///
/// By hand, for agents cut the data anywhere, also within a UTF-8 sequence, so that
/// the answer is not always valid JSON. Replacing the broken bytes would make it so,
/// but also make a reader lose its place in the file.
fn parse_chunk(body: &[u8]) -> Option<FileChunk> {
    let mut rest = Cursor(body);
    let mut data = None;
    let mut offset = None;
    rest.token(b'{')?;
    loop {
        let key = rest.string()?;
        rest.token(b':')?;
        match key.as_slice() {
            b"data" => data = Some(rest.string()?),
            b"offset" => offset = Some(rest.number()?),
            _ => return None,
        }
        match rest.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    Some(FileChunk {
        data: data?,
        offset: offset?,
    })
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// The next byte that is no white space.
    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.trim_ascii_start();
        self.byte()
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn token(&mut self, token: u8) -> Option<()> {
        (self.next()? == token).then_some(())
    }

    fn number(&mut self) -> Option<u64> {
        self.0 = self.0.trim_ascii_start();
        let end = self.0.iter().position(|b| !b.is_ascii_digit())?;
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.token(b'"')?;
        let mut out = Vec::new();
        loop {
            match self.byte()? {
                b'"' => return Some(out),
                b'\\' => match self.byte()? {
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'r' => out.push(b'\r'),
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'u' => {
                        let mut buffer = [0; 4];
                        let c = self.escaped_char()?;
                        out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                    }
                    other => out.push(other),
                },
                byte => out.push(byte),
            }
        }
    }

    fn escaped_char(&mut self) -> Option<char> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        (self.byte()? == b'\\' && self.byte()? == b'u').then_some(())?;
        let second = self.hex4()?.checked_sub(0xdc00).filter(|s| *s < 0x400)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + second)
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.0.get(..4)?;
        self.0 = &self.0[4..];
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_of_a_real_agent() {
        let chunk = parse_chunk(br#"{"data":"line 0\nline 1\nline 2","offset":0}"#).unwrap();
        assert_eq!(chunk.data, b"line 0\nline 1\nline 2");
        assert_eq!(chunk.next_offset(), 20);
        // A read that begins within a character.
        let body = base64::engine::general_purpose::STANDARD
            .decode("eyJkYXRhIjoivCIsIm9mZnNldCI6Mn0=")
            .unwrap();
        assert_eq!(
            parse_chunk(&body).unwrap(),
            FileChunk {
                data: vec![0xbc],
                offset: 2
            }
        );
        let zeros = parse_chunk(br#"{"data":"\u0000\u0000","offset":7}"#).unwrap();
        assert_eq!(
            zeros,
            FileChunk {
                data: vec![0, 0],
                offset: 7
            }
        );
        let pair = parse_chunk(br#" { "offset" : 1, "data" : "\ud83d\ude00\/\"" } "#).unwrap();
        assert_eq!(
            pair,
            FileChunk {
                data: "😀/\"".into(),
                offset: 1
            }
        );
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"data":"x"}"#,
            r#"{"data":"\ud83d","offset":1}"#,
            r#"{"data":"x","offset":1"#,
        ] {
            assert_eq!(parse_chunk(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn paths() {
        let path = task_sandbox_path(&"f".into(), &"e".into(), &"t".into());
        assert_eq!(path, "/frameworks/f/executors/e/runs/latest/tasks/t");
        assert_eq!(encoded("/a b/ü&=?"), "/a%20b/%C3%BC%26%3D%3F");
    }

    proptest! {
        #[test]
        fn text_survives_json(text in any::<String>(), offset in 0..u64::MAX) {
            let body = serde_json::json!({"data": text, "offset": offset}).to_string();
            let chunk = parse_chunk(body.as_bytes()).unwrap();
            prop_assert_eq!(chunk, FileChunk { data: text.into_bytes(), offset });
        }

        #[test]
        fn garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_chunk(&garbage);
            let _ = parse_chunk(&[br#"{"data":""#, garbage.as_slice()].concat());
        }
    }
}
