//! The end of the program's own log, as text.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use actix_web::{HttpRequest, HttpResponse, http::header, web};

use super::{
    AppState,
    error::{ApiError, Code},
    query::Query,
};

/// Most of the log that one answer carries, in bytes.
pub const LOG_BYTES_MAX: u64 = 1 << 20;

/// Most directory entries that are looked at when searching the newest log file.
const ENTRIES_MAX: usize = 10_000;

/// Where the log lies: a directory with files `<file name>` or `YYYY-MM-DD.<file name>`, of which
/// the one with the greatest date is the current one.
#[derive(Clone, Debug)]
pub struct LogTail {
    directory: PathBuf,
    file_name: String,
}

impl LogTail {
    /// The log of this directory and file name (without date).
    pub fn new(directory: impl Into<PathBuf>, file_name: impl Into<String>) -> Self {
        Self {
            directory: directory.into(),
            file_name: file_name.into(),
        }
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its file name, without date.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The last `bytes` of the current file (at most [`LOG_BYTES_MAX`]), from the beginning of a
    /// line on, and of these the last `lines` lines. Empty when nothing has been written yet.
    ///
    /// # Errors
    /// The file is there but cannot be read.
    pub fn tail(&self, bytes: u64, lines: Option<usize>) -> io::Result<String> {
        let Some(path) = self.current()? else {
            return Ok(String::new());
        };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        let start = length.saturating_sub(bytes.min(LOG_BYTES_MAX));
        // One byte more tells whether the cut is at the beginning of a line.
        let from = start.saturating_sub(1);
        file.seek(SeekFrom::Start(from))?;
        let mut raw = Vec::new();
        file.take(length - from).read_to_end(&mut raw)?;
        let mut text: &[u8] = &raw;
        if start > 0 {
            let line = text.iter().position(|byte| *byte == b'\n');
            text = line.map_or(&[], |end| &text[end + 1..]);
        }
        if let Some(lines) = lines {
            text = last_lines(text, lines);
        }
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn current(&self) -> io::Result<Option<PathBuf>> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let newest = entries
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                name.strip_suffix(self.file_name.as_str())
                    .is_some_and(|date| date.is_empty() || is_date_prefix(date))
            })
            .max();
        Ok(newest.map(|name| self.directory.join(name)))
    }
}

/// Whether this is `YYYY-MM-DD.`
fn is_date_prefix(text: &str) -> bool {
    let form = "0000-00-00.";
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                fixed => byte == fixed,
            })
}

fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    if lines == 0 {
        return &[];
    }
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let cut = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(lines - 1);
    cut.map_or(text, |(position, _)| &text[position + 1..])
}

/// `GET /logs?lines=&bytes=`
pub(crate) async fn get(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    let bytes = query.number("bytes", LOG_BYTES_MAX)?;
    let lines = query.optional_number("lines")?;
    let lines = lines.map(|lines: u64| usize::try_from(lines).unwrap_or(usize::MAX));
    let log = state.settings().log.clone();
    let text = web::block(move || log.tail(bytes, lines))
        .await
        .map_err(|_| ApiError::stopping())?
        .map_err(|error| {
            ApiError::new(Code::Internal, format!("the log cannot be read: {error}"))
        })?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_end_of_the_newest_file_by_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let log = LogTail::new(directory.path(), "fw.log");
        assert_eq!(log.tail(100, None).unwrap(), "", "nothing written yet");
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("2026-01-01.fw.log", "old\n");
        write("2026-01-02.fw.log", "one\ntwo\nthr\u{e9}e\n");
        write("2026-09-09.other.log", "not ours\n");
        write("zzzz-zz-zz.fw.log", "not a date\n");

        assert_eq!(log.tail(100, None).unwrap(), "one\ntwo\nthr\u{e9}e\n");
        assert_eq!(log.tail(7, None).unwrap(), "thr\u{e9}e\n");
        assert_eq!(log.tail(6, None).unwrap(), "", "cut inside the only line");
        assert_eq!(log.tail(11, None).unwrap(), "two\nthr\u{e9}e\n");
        assert_eq!(log.tail(100, Some(2)).unwrap(), "two\nthr\u{e9}e\n");
        assert_eq!(log.tail(100, Some(0)).unwrap(), "");
        assert_eq!(log.tail(100, Some(9)).unwrap(), "one\ntwo\nthr\u{e9}e\n");

        let missing = LogTail::new(directory.path().join("nowhere"), "fw.log");
        assert_eq!(missing.tail(100, None).unwrap(), "");
    }

    #[test]
    fn never_more_than_the_limit() {
        let directory = tempfile::tempdir().unwrap();
        let log = LogTail::new(directory.path(), "fw.log");
        let line = "x".repeat(99) + "\n";
        std::fs::write(directory.path().join("fw.log"), line.repeat(20_000)).unwrap();
        let text = log.tail(u64::MAX, None).unwrap();
        assert!(text.len() as u64 <= LOG_BYTES_MAX);
        assert!(text.len() as u64 > LOG_BYTES_MAX - 100);
        assert!(text.starts_with('x'));
    }
}
