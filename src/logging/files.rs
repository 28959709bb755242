//! The daily files of the log: `YYYY-MM-DD.<name>`, the oldest removed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::PathBuf,
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::config::Logging;

/// Size at which a day's file is moved aside (to `….1`, replacing the one before), so that a day
/// takes at most twice this.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The files, of which the current day's is open.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    name: String,
    kept: usize,
    bytes_max: u64,
    day: Date,
    file: Option<File>,
    bytes: u64,
}

impl Files {
    /// Makes the directory when there is none, and opens today's file.
    pub(super) fn open(logging: &Logging) -> io::Result<Self> {
        fs::create_dir_all(&logging.directory).map_err(|error| {
            let text = format!(
                "the log directory {} cannot be made: {error}",
                logging.directory.display()
            );
            io::Error::new(error.kind(), text)
        })?;
        let mut files = Self {
            directory: logging.directory.clone(),
            name: logging.file_name.clone(),
            kept: usize::try_from(logging.files_max)
                .unwrap_or(usize::MAX)
                .max(1),
            bytes_max: FILE_BYTES_MAX,
            day: today(),
            file: None,
            bytes: 0,
        };
        files.turn().map_err(|error| {
            let text = format!(
                "the log file {} cannot be opened: {error}",
                files.path().display()
            );
            io::Error::new(error.kind(), text)
        })?;
        Ok(files)
    }

    /// Writes a line. What fails is tried again with the next.
    pub(super) fn write(&mut self, line: &str) {
        self.write_on(today(), line);
    }

    fn write_on(&mut self, day: Date, line: &str) {
        if self.day != day {
            self.day = day;
            self.file = None;
        }
        if self.bytes >= self.bytes_max {
            let mut aside = self.path().into_os_string();
            aside.push(".1");
            let _ = fs::rename(self.path(), aside);
            self.file = None;
        }
        if self.file.is_none() && self.turn().is_err() {
            return;
        }
        if let Some(file) = &mut self.file {
            if file.write_all(line.as_bytes()).is_ok() {
                self.bytes += line.len() as u64;
            } else {
                self.file = None;
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.{}", self.day, self.name))
    }

    fn turn(&mut self) -> io::Result<()> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path())?;
        self.bytes = file.metadata()?.len();
        self.file = Some(file);
        self.remove_old();
        Ok(())
    }

    fn remove_old(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let suffix = format!(".{}", self.name);
        let mut days: Vec<Date> = entries
            .filter_map(|entry| {
                let name = entry.ok()?.file_name().into_string().ok()?;
                name.strip_suffix(&suffix)?.parse().ok()
            })
            .collect();
        days.sort_unstable();
        for day in days.iter().rev().skip(self.kept) {
            let path = self.directory.join(format!("{day}{suffix}"));
            let mut aside = path.clone().into_os_string();
            aside.push(".1");
            // Whoever removed it first has done the work.
            let _ = fs::remove_file(path);
            let _ = fs::remove_file(aside);
        }
    }
}

/// In UTC, as the times in the lines.
fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LogFormat, LogLevel};

    #[test]
    fn a_file_a_day_of_which_the_last_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let logging = Logging {
            level: LogLevel::Info,
            format: LogFormat::Text,
            directory: directory.path().join("logs"),
            file_name: "my fw.log".to_owned(),
            files_max: 2,
        };
        let mut files = Files::open(&logging).unwrap();
        let first = files.day;
        let other = directory.path().join("logs/2000-01-01.other.log");
        fs::write(&other, "kept").unwrap();
        let second = first.tomorrow().unwrap();
        let third = second.tomorrow().unwrap();
        files.write_on(first, "one\n");
        files.write_on(second, "two\n");
        files.write_on(third, "three\n");
        let read =
            |day: Date| fs::read_to_string(logging.directory.join(format!("{day}.my fw.log")));
        assert!(read(first).is_err());
        assert_eq!(read(second).unwrap(), "two\n");
        assert_eq!(read(third).unwrap(), "three\n");
        assert!(other.exists());

        // A full file is moved aside, and the day goes on in a new one.
        files.bytes_max = 10;
        files.write_on(third, "four\n");
        files.write_on(third, "five\n");
        assert_eq!(read(third).unwrap(), "five\n");
        let aside = logging.directory.join(format!("{third}.my fw.log.1"));
        assert_eq!(fs::read_to_string(aside).unwrap(), "three\nfour\n");
    }
}
