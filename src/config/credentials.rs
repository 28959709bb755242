//! `CREDENTIALS_URL`: variables that are fetched before everything else, and go before the
//! environment, as where a shell sources them. Nothing of them is executed, and no value is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    fs::{self, File},
    io::Read as _,
    iter::Peekable,
    path::Path,
    str::Chars,
    thread,
    time::Duration,
};

use futures_util::StreamExt as _;
use reqwest::{Client, Url, redirect::Policy};
use secrecy::ExposeSecret as _;

use super::{
    NotUnicode, Report, Variables, parse::Wrong, reader::Reader, table::framework::CREDENTIALS_URL,
};

/// Most that is read: some hundred variables.
const BYTES_MAX: usize = 64 << 10;

/// From the name's look-up to the last byte. Whoever starts Gantry tries again.
const WITHIN: Duration = Duration::from_secs(30);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// Lays what `CREDENTIALS_URL` names over the variables. Without it they come back as they are.
///
/// # Errors
/// It is set, and what it names cannot be had whole or is not understood: nothing may start then,
/// as it would start without what was to protect it.
pub fn complete(environment: Box<dyn Variables>) -> Result<Box<dyn Variables>, Report> {
    let mut reader = Reader::new(environment.as_ref());
    let Some(url) = reader.framework(&CREDENTIALS_URL) else {
        let report = reader.report;
        return if report.is_ok() {
            Ok(environment)
        } else {
            Err(report)
        };
    };
    match fetch(url.expose_secret()).and_then(|text| understood(&text)) {
        Ok(fetched) => Ok(Box::new(Completed {
            environment,
            fetched,
        })),
        Err(wrong) => {
            reader.error(&CREDENTIALS_URL.about, 0, wrong.reason, wrong.remedy);
            Err(reader.report)
        }
    }
}

/// Variables with others laid over them.
struct Completed {
    environment: Box<dyn Variables>,
    fetched: BTreeMap<String, String>,
}

impl Variables for Completed {
    fn get(&self, name: &str) -> Result<Option<&str>, NotUnicode> {
        match self.fetched.get(name) {
            Some(value) => Ok(Some(value)),
            None => self.environment.get(name),
        }
    }

    fn names(&self) -> Vec<&str> {
        let mut names: BTreeSet<&str> = self.environment.names().into_iter().collect();
        names.extend(self.fetched.keys().map(String::as_str));
        names.into_iter().collect()
    }

    fn is_hidden(&self, name: &str) -> bool {
        self.fetched.contains_key(name) || self.environment.is_hidden(name)
    }
}

// === Fetching ===

fn fetch(url: &str) -> Result<String, Wrong> {
    let form =
        "write an address such as https://vault.example.com/creds.sh or file:///run/secrets/creds";
    let url = Url::parse(url.trim())
        .map_err(|error| Wrong::new(format!("is not an address: {error}"), form))?;
    let (place, bytes) = match url.scheme() {
        "file" => {
            let path = url
                .to_file_path()
                .map_err(|()| Wrong::new("names no file of this machine", form))?;
            (path.display().to_string(), read(&path))
        }
        "http" | "https" => {
            let place = url.origin().ascii_serialization();
            // A runtime of its own on a thread of its own: the caller may be within another one.
            let fetched = thread::scope(|scope| scope.spawn(|| download(url)).join());
            let fetched = fetched.unwrap_or_else(|_| Err("the download broke down".to_owned()));
            (place, fetched)
        }
        scheme => return Err(Wrong::new(format!("is of the scheme '{scheme}'"), form)),
    };
    let stopped = "nothing is started without it; mend the address or what answers there";
    let bytes = bytes
        .map_err(|reason| Wrong::new(format!("cannot be had from {place}: {reason}"), stopped))?;
    String::from_utf8(bytes).map_err(|_| {
        Wrong::new(
            format!("names something at {place} that is not text"),
            stopped,
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    // Anything else than a file might never come to an end.
    if !fs::metadata(path)
        .map_err(|error| error.to_string())?
        .is_file()
    {
        return Err("it is not a file".to_owned());
    }
    File::open(path)
        .and_then(|file| file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > BYTES_MAX {
        return Err(format!("it has more than {BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

fn download(url: Url) -> Result<Vec<u8>, String> {
    let scheme = url.scheme().to_owned();
    let redirects = Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error(format!("more than {REDIRECTS_MAX} redirects"))
        } else if attempt.url().scheme() == scheme {
            attempt.follow()
        } else {
            let to = attempt.url().scheme().to_owned();
            attempt.error(format!("it redirects from {scheme} to {to}"))
        }
    });
    let client = Client::builder()
        .timeout(WITHIN)
        .redirect(redirects)
        .build()
        .map_err(in_words)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let answer = client.get(url).send().await.map_err(in_words)?;
        let status = answer.status();
        if status != reqwest::StatusCode::OK {
            return Err(format!("the answer is {status}"));
        }
        let mut parts = answer.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = parts.next().await {
            bytes.extend_from_slice(&part.map_err(in_words)?);
            if bytes.len() > BYTES_MAX {
                return Err(format!("it has more than {BYTES_MAX} bytes"));
            }
        }
        Ok(bytes)
    })
}

/// An error with its causes, without the address, which may hold a secret.
fn in_words(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no whole answer within {} s", WITHIN.as_secs());
    }
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

// === Reading ===

fn understood(text: &str) -> Result<BTreeMap<String, String>, Wrong> {
    let variables = parse(text).map_err(|Bad { line, reason }| {
        let remedy =
            "write lines of export NAME='value'; what needs a shell can go through get_creds.sh";
        Wrong::new(format!("names a text whose line {line} {reason}"), remedy)
    })?;
    if variables.is_empty() {
        let remedy = "write lines of export NAME='value' there, or remove CREDENTIALS_URL";
        return Err(Wrong::new("names a text that sets no variable", remedy));
    }
    Ok(variables)
}

/// The line, from 1, and what is wrong with it, as a clause that repeats none of it.
#[derive(Debug, PartialEq, Eq)]
struct Bad {
    line: usize,
    reason: &'static str,
}

const EXPANDED: &str =
    "has a '$' or a backquote, which a shell would expand and Gantry does not; write it within '…'";

/// Reads what a shell would set, or refuses: it never comes to another value.
fn parse(text: &str) -> Result<BTreeMap<String, String>, Bad> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut script = Script {
        rest: text.chars().peekable(),
        line: 1,
        exported: false,
    };
    let mut variables = BTreeMap::new();
    while let Some(&c) = script.rest.peek() {
        match c {
            ' ' | '\t' => {
                script.next();
            }
            '\n' | ';' => {
                script.exported = false;
                script.next();
            }
            '#' => while script.rest.next_if(|c| *c != '\n').is_some() {},
            _ => script.word(&mut variables)?,
        }
    }
    Ok(variables)
}

struct Script<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
    /// Whether this command has begun with `export`.
    exported: bool,
}

impl Script<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    fn bad<T>(&self, reason: &'static str) -> Result<T, Bad> {
        let line = self.line;
        Err(Bad { line, reason })
    }

    /// `export`, `NAME=value`, or the name of what is to be exported.
    fn word(&mut self, variables: &mut BTreeMap<String, String>) -> Result<(), Bad> {
        let mut name = String::new();
        let in_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        while let Some(c) = self.rest.next_if(in_name) {
            name.push(c);
        }
        let is_name = name.starts_with(|c: char| !c.is_ascii_digit());
        match self.rest.peek() {
            Some('=') if is_name => {
                self.next();
                let value = self.value()?;
                variables.insert(name, value);
                Ok(())
            }
            None | Some(' ' | '\t' | '\n' | ';') if name == "export" && !self.exported => {
                self.exported = true;
                Ok(())
            }
            // Every variable that is set counts as exported.
            None | Some(' ' | '\t' | '\n' | ';')
                if self.exported && variables.contains_key(&name) =>
            {
                Ok(())
            }
            _ => self.bad("is not NAME=value; nothing else is done, and nothing executed"),
        }
    }

    /// Pieces side by side, up to a blank, the end of the line or `;`.
    fn value(&mut self) -> Result<String, Bad> {
        let mut value = String::new();
        let mut before = '=';
        while let Some(&c) = self.rest.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' => break,
                '\'' => {
                    let line = self.line;
                    self.next();
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => value.push(c),
                            None => {
                                return Err(Bad {
                                    line,
                                    reason: "has a ' without its end",
                                });
                            }
                        }
                    }
                }
                '"' => {
                    let line = self.line;
                    self.next();
                    self.double_quoted(line, &mut value)?;
                }
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') => {}
                        Some(c) => value.push(c),
                        None => return self.bad("ends in a backslash"),
                    }
                }
                '$' | '`' => return self.bad(EXPANDED),
                '~' if matches!(before, '=' | ':') => {
                    return self.bad("has a '~' that a shell would expand; write it within '…'");
                }
                '&' | '|' | '<' | '>' | '(' | ')' | '\0' => {
                    return self
                        .bad("has one of & | < > ( ) outside of quotes; write it within '…'");
                }
                c => {
                    self.next();
                    value.push(c);
                }
            }
            before = c;
        }
        Ok(value)
    }

    /// What follows a double quote that was opened on `line`, with its end.
    fn double_quoted(&mut self, line: usize, value: &mut String) -> Result<(), Bad> {
        let open = Bad {
            line,
            reason: "has a \" without its end",
        };
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some('$' | '`') => return self.bad(EXPANDED),
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                    Some(c) => value.extend(['\\', c]),
                    None => return Err(open),
                },
                Some(c) => value.push(c),
                None => return Err(open),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::config::Config;

    const UNDERSTOOD: &str = r##"#!/bin/sh
# a comment with a $ and a `
export A=1
B='it'\''s "x" $HOME `id`' # a comment
export C="a\"b\\c\$d\`e\n" D=a#b; E=two
export	F=
  G='over
two lines'
H="over
two lines, one of them \
joined"
I=a\ b\$c\\
A=the\
last
J='~' K=a~b L=x~ M={a,b} N=* O=a=b
export J K
export
"##;

    #[test]
    fn values_are_those_that_a_shell_sets() {
        let read = parse(UNDERSTOOD).unwrap();
        assert_eq!(read.len(), 15);
        assert_eq!(read["A"], "thelast");
        assert_eq!(read["C"], "a\"b\\c$d`e\\n");
        for (name, value) in &read {
            let script = format!("{UNDERSTOOD}\nprintf '%s' \"${name}\"");
            let script = script.replace("\nexport\n", "\n");
            let shell = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(shell.stdout).unwrap(), *value, "{name}");
        }
        assert_eq!(parse("A='1'\r\nB=\"2\"\r\n").unwrap()["A"], "1");
    }

    #[test]
    fn what_a_shell_would_execute_or_expand_is_refused_by_its_line() {
        for (text, line, why) in [
            ("A=1\nB=$HOME", 2, "'$'"),
            ("A=\"\n\n${HOME}\"", 3, "'$'"),
            ("A=`id`", 1, "backquote"),
            ("A=\"`id`\"", 1, "backquote"),
            ("A=$(id)", 1, "'$'"),
            ("A=1&&touch x", 1, "outside of quotes"),
            ("A=1; touch x", 1, "is not NAME=value"),
            ("A=1 touch x", 1, "is not NAME=value"),
            ("A=~/x", 1, "'~'"),
            ("A=b:~/x", 1, "'~'"),
            ("touch x", 1, "is not NAME=value"),
            (". ./x", 1, "is not NAME=value"),
            ("export X", 1, "is not NAME=value"),
            ("export -p", 1, "is not NAME=value"),
            ("1A=x", 1, "is not NAME=value"),
            ("A+=x", 1, "is not NAME=value"),
            ("A =x", 1, "is not NAME=value"),
            ("\n<html>", 2, "is not NAME=value"),
            ("A='x\ny", 1, "without its end"),
            ("A=\"x\\", 1, "without its end"),
            ("A=x\\", 1, "backslash"),
            ("A=x\0", 1, "outside of quotes"),
        ] {
            let bad = parse(text).unwrap_err();
            assert!(
                bad.line == line && bad.reason.contains(why),
                "{text:?}: {bad:?}"
            );
        }
    }

    #[test]
    fn what_is_fetched_goes_before_the_environment_and_is_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "export LOG_LEVEL=hushhush\nexport NEW=1\n").unwrap();
        let variables: BTreeMap<String, String> = [
            (
                "CREDENTIALS_URL",
                format!("file://{}", file.path().display()),
            ),
            ("FRAMEWORK_NAME", "f".to_owned()),
            ("LOG_LEVEL", "info".to_owned()),
            ("TASK_DEF_NUM", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let completed = complete(Box::new(variables.clone())).unwrap();
        assert_eq!(completed.get("NEW"), Ok(Some("1")));
        assert_eq!(completed.get("FRAMEWORK_NAME"), Ok(Some("f")));
        assert_eq!(completed.names().len(), 5);
        let report = Config::read(completed.as_ref()).unwrap_err().to_string();
        assert!(
            report.contains("LOG_LEVEL=**** is not a log level"),
            "{report}"
        );
        assert!(!report.contains("hushhush"), "{report}");

        // In vain: nothing is left to start with.
        for (url, why) in [
            ("ftp://x/y", "is of the scheme 'ftp'"),
            ("creds.sh", "is not an address"),
            ("file:///no/such/file", "No such file"),
            ("file:///dev/zero", "is not a file"),
            (
                "http://sesame@127.0.0.1:1/?open=sesame",
                "cannot be had from http://127.0.0.1:1",
            ),
        ] {
            let mut variables = variables.clone();
            variables.insert("CREDENTIALS_URL".to_owned(), url.to_owned());
            let Err(report) = complete(Box::new(variables)) else {
                panic!("{url} is accepted")
            };
            let report = report.to_string();
            assert!(
                report.contains(why) && !report.contains("sesame"),
                "{report}"
            );
        }
        for (text, why) in [
            (String::new(), "sets no variable"),
            ("A=1\nB=`id`".to_owned(), "line 2"),
            (format!("A={}", "x".repeat(BYTES_MAX)), "more than"),
        ] {
            fs::write(&file, text).unwrap();
            let Err(report) = complete(Box::new(variables.clone())) else {
                panic!("accepted instead of: {why}")
            };
            assert!(report.to_string().contains(why), "{report}");
        }
    }
}
