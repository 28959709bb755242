//! Files of `NAME=value` lines, as `gantry check --env-file` reads and `gantry dev` prints them.
//!
//! A line is blank, a comment (`#`), or `NAME=value` with an optional `export ` in front. A value
//! that begins with a quote is read as a shell would: `'…'` word for word, `"…"` with `\"`, `\\`,
//! `\$`, `` \` `` and `\n`, pieces joined, and quoted pieces may run over several lines. Any other
//! value is taken as it stands, up to ` #`, without the blanks around it: so JSON needs no quotes.
//! Nothing is expanded or executed.

use std::{collections::BTreeMap, fmt::Write, iter::Peekable, str::Chars};

/// Largest file, in bytes.
pub const FILE_MAX: usize = 1 << 20;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct EnvFileError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, as a clause.
    pub reason: String,
}

/// Reads a file's text. Every bad line is reported.
///
/// # Errors
/// All lines that are no assignments, or assign a name twice, in order.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, Vec<EnvFileError>> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    let mut errors = Vec::new();
    if text.len() > FILE_MAX {
        let reason = format!("the file has more than {FILE_MAX} bytes");
        return Err(vec![EnvFileError { line: 1, reason }]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor {
        rest: text.chars().peekable(),
        line: 1,
    };
    while cursor.rest.peek().is_some() {
        let line = cursor.line;
        match assignment(&mut cursor) {
            Ok(None) => {}
            Ok(Some((name, value))) => {
                if let Some(first) = lines.insert(name.clone(), line) {
                    let reason = format!("{name} is already set on line {first}; keep one of them");
                    errors.push(EnvFileError { line, reason });
                }
                variables.insert(name, value);
            }
            Err(reason) => errors.push(EnvFileError { line, reason }),
        }
        cursor.skip_line();
    }
    if errors.is_empty() {
        Ok(variables)
    } else {
        Err(errors)
    }
}

/// Writes variables as a file that [`parse`] and a shell read back to the same.
pub fn render(variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:,@+%=".contains(c);
        let written = if value.chars().all(bare) {
            writeln!(text, "{name}={value}")
        } else {
            writeln!(text, "{name}='{}'", value.replace('\'', r"'\''"))
        };
        // Writing into a text cannot fail.
        debug_assert!(written.is_ok());
    }
    text
}

struct Cursor<'a> {
    rest: Peekable<Chars<'a>>,
    line: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.next();
        self.line += usize::from(c == Some('\n'));
        c
    }

    /// The rest of the line, without its end, which is left.
    fn take_line(&mut self) -> String {
        let mut text = String::new();
        while let Some(c) = self.rest.next_if(|c| *c != '\n') {
            text.push(c);
        }
        text
    }

    /// To the beginning of the next line.
    fn skip_line(&mut self) {
        self.take_line();
        self.next();
    }
}

fn assignment(cursor: &mut Cursor<'_>) -> Result<Option<(String, String)>, String> {
    let mut name = String::new();
    while let Some(c) = cursor.rest.next_if(|c| !matches!(c, '=' | '\n')) {
        name.push(c);
        if name.trim_start().starts_with('#') {
            return Ok(None);
        }
    }
    let trimmed = name.trim();
    let trimmed = trimmed
        .strip_prefix("export")
        .filter(|rest| rest.starts_with([' ', '\t']))
        .map_or(trimmed, str::trim_start);
    if cursor.rest.peek() != Some(&'=') {
        return if trimmed.is_empty() {
            Ok(None)
        } else {
            Err("is not NAME=value".to_owned())
        };
    }
    if name.ends_with([' ', '\t']) {
        return Err("has a blank before '='".to_owned());
    }
    let mut bytes = trimmed.bytes();
    let begins = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !begins || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("has a name that is not made of letters, digits and '_'".to_owned());
    }
    let name = trimmed.to_owned();
    cursor.next();
    let value = match cursor.rest.peek() {
        Some('\'' | '"') => quoted(cursor)?,
        _ => bare(&cursor.take_line()).to_owned(),
    };
    Ok(Some((name, value)))
}

/// A value without quotes: up to ` #`, without the blanks around it.
fn bare(line: &str) -> &str {
    let comment = line
        .char_indices()
        .find(|(at, c)| *c == '#' && (*at == 0 || line[..*at].ends_with([' ', '\t'])));
    comment.map_or(line, |(at, _)| &line[..at]).trim()
}

/// A value that begins with a quote: quoted and escaped pieces side by side.
fn quoted(cursor: &mut Cursor<'_>) -> Result<String, String> {
    let mut value = String::new();
    loop {
        match cursor.rest.peek() {
            Some('\'') => {
                cursor.next();
                loop {
                    match cursor.next() {
                        Some('\'') => break,
                        Some(c) => value.push(c),
                        None => return Err("has a ' without its end".to_owned()),
                    }
                }
            }
            Some('"') => {
                cursor.next();
                loop {
                    match cursor.next() {
                        Some('"') => break,
                        Some('\\') => match cursor.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => value.push(c),
                            Some('n') => value.push('\n'),
                            Some(c) => value.extend(['\\', c]),
                            None => return Err("has a \" without its end".to_owned()),
                        },
                        Some(c) => value.push(c),
                        None => return Err("has a \" without its end".to_owned()),
                    }
                }
            }
            Some('\\') => {
                cursor.next();
                match cursor.rest.next_if(|c| *c != '\n') {
                    Some(c) => value.push(c),
                    None => return Err("ends in a backslash".to_owned()),
                }
            }
            _ => break,
        }
    }
    let after = cursor.take_line();
    let clean = after.trim_start();
    if clean.is_empty() || clean.starts_with('#') && clean.len() < after.len() {
        Ok(value)
    } else {
        Err("has something behind the closing quote; quote the whole value".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        let text = r#"
# a comment
export A=1
B= two words  # not this
  C='it'\''s "x" $HOME `id`'
D="a\"b\\c\$d\n" # this neither
E={"JSON":"as it is # too"}
F=
G='over
two lines'
H=a#b
I="\x"
"#;
        let read = parse(
            &text
                .replace("# too", "#too")
                .replace('\n', "\r\n")
                .replace("over\r", "over"),
        )
        .unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "it's \"x\" $HOME `id`"),
            ("D", "a\"b\\c$d\n"),
            ("F", ""),
            ("G", "over\ntwo lines"),
            ("H", "a#b"),
            ("I", "\\x"),
        ];
        for (name, value) in expected {
            assert_eq!(read[name], value, "{name}");
        }
        assert_eq!(
            read["E"], "{\"JSON\":\"as it is",
            "a blank and # begin a comment"
        );
        assert_eq!(read.len(), 9);
    }

    #[test]
    fn every_bad_line_is_reported_with_its_number() {
        let text = "A=1\nB\n1C=2\nD =3\nA=4\nE='x'y\nF=\"open\nG=1";
        let shown: Vec<_> = parse(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "line 2: is not NAME=value",
                "line 3: has a name that is not made of letters, digits and '_'",
                "line 4: has a blank before '='",
                "line 5: A is already set on line 1; keep one of them",
                "line 6: has something behind the closing quote; quote the whole value",
                "line 7: has a \" without its end",
            ]
        );
        assert!(parse(&"x".repeat(FILE_MAX + 1)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_rendered_is_read_back(
            variables in proptest::collection::btree_map("[A-Z_][A-Z0-9_]{0,5}", "[^\r]{0,12}", 0..5)
        ) {
            prop_assert_eq!(parse(&render(&variables)).unwrap(), variables);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[ A=#'\"\\\\\n\té]{0,24}") {
            let _ = parse(&text);
        }
    }
}
