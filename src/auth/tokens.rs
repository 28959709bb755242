//! Tokens for programs: a file with a line for each, none of which holds the token itself.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use gantry_core::Timestamp;
use oauth2::CsrfToken;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::Access;

/// What every token begins with, so that scanners for secrets find it.
const PREFIX: &str = "gantry_";

/// Random bytes of a token.
const RANDOM_BYTES: u32 = 32;

/// Characters at the end that tell a token from what only looks like one.
const CHECK_CHARS: usize = 6;

/// Longest token that is looked at, in bytes.
const TOKEN_MAX: usize = 128;

/// Largest file, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// Most tokens.
const TOKENS_MAX: usize = 1_000;

/// Longest name of a token, in bytes.
const NAME_MAX: usize = 64;

/// How often the file is looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    level: Access,
    /// `sha256:` and 64 hexadecimal digits.
    hash: String,
    /// When it ends, `2027-01-31T12:00:00Z`.
    expires: jiff::Timestamp,
}

/// A token as the file tells of it.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) name: Arc<str>,
    pub(super) access: Access,
    /// In milliseconds since the Unix epoch.
    pub(super) expires: u64,
    /// When it was last used here, in milliseconds since the Unix epoch; 0 for never.
    used: Arc<AtomicU64>,
}

/// What may be shown of a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenUse {
    /// Its name.
    #[schema(value_type = String)]
    pub(crate) name: Arc<str>,
    /// What it may do.
    pub(crate) level: Access,
    /// When it ends, in milliseconds since the Unix epoch.
    pub(crate) expires_at: u64,
    /// Whether it has ended.
    pub(crate) expired: bool,
    /// When this Gantry last took it; nothing since the start otherwise.
    pub(crate) last_used_at: Option<u64>,
}

/// What a file of tokens says.
#[derive(Debug, Default)]
pub(crate) struct TokenFile {
    tokens: HashMap<[u8; 32], Token>,
    /// Number and fault, as a clause, of each line that cannot be used.
    pub(crate) problems: Vec<(usize, String)>,
}

impl TokenFile {
    /// Reads the lines; blank ones and those that begin with `#` count for nothing.
    pub(crate) fn parse(text: &str) -> Self {
        let mut file = Self::default();
        let mut names = HashSet::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(reason) = file.add(line, &mut names) {
                file.problems.push((number + 1, reason));
            }
        }
        file
    }

    fn add(&mut self, line: &str, names: &mut HashSet<String>) -> Result<(), String> {
        if self.tokens.len() >= TOKENS_MAX {
            return Err(format!("is the one after {TOKENS_MAX} tokens"));
        }
        if line.starts_with(PREFIX) {
            return Err("holds a token itself instead of the line for it".to_owned());
        }
        let line: Line = serde_json::from_str(line)
            .map_err(|error| format!("is not the line of a token: {error}"))?;
        check_name(&line.name)?;
        if line.level == Access::Open {
            return Err("gives the level open: write view, operate or admin".to_owned());
        }
        let hash = line.hash.strip_prefix("sha256:").and_then(from_hex);
        let hash = hash.ok_or("has no hash of the form sha256:…")?;
        if !names.insert(line.name.clone()) {
            return Err("names a token twice".to_owned());
        }
        let token = Token {
            name: line.name.into(),
            access: line.level,
            expires: u64::try_from(line.expires.as_millisecond()).unwrap_or_default(),
            used: Arc::default(),
        };
        if self.tokens.insert(hash, token).is_some() {
            return Err("has the hash of another".to_owned());
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
        return Err(format!(
            "has a name that is not 1 to {NAME_MAX} letters, digits or any of -_./"
        ));
    }
    Ok(())
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (position, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * position..2 * position + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The characters that end a token with this beginning.
fn check_of(begin: &str) -> String {
    let mut hash = to_hex(&Sha256::digest(begin.as_bytes()));
    hash.truncate(CHECK_CHARS);
    hash
}

/// A token that was just made, and the only time that it can be seen.
pub(crate) struct NewToken {
    /// The token.
    pub(crate) token: String,
    /// The line for the file.
    pub(crate) line: String,
}

impl NewToken {
    /// Makes one that ends at `expires`.
    ///
    /// # Errors
    /// What is wrong with the name, as a clause.
    pub(crate) fn make(
        name: &str,
        level: Access,
        expires: jiff::Timestamp,
    ) -> Result<Self, String> {
        check_name(name)?;
        let random = CsrfToken::new_random_len(RANDOM_BYTES);
        let begin = format!("{PREFIX}{}", random.secret());
        let token = format!("{begin}{}", check_of(&begin));
        let line = Line {
            name: name.to_owned(),
            level,
            hash: format!("sha256:{}", to_hex(&Sha256::digest(token.as_bytes()))),
            expires,
        };
        let line = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        Ok(Self { token, line })
    }
}

/// Whether the text has the form of a token, its end included.
fn is_token(text: &str) -> bool {
    let split = text.len().checked_sub(CHECK_CHARS);
    let split = split.and_then(|split| text.split_at_checked(split));
    text.len() <= TOKEN_MAX
        && split.is_some_and(|(begin, check)| begin.starts_with(PREFIX) && check == check_of(begin))
}

/// The tokens that count now.
pub(super) struct Tokens {
    path: PathBuf,
    file: ArcSwap<TokenFile>,
    look: Mutex<Look>,
}

/// The last look at the file.
struct Look {
    at: Instant,
    /// By which a change is noticed; `None` when the file could not be looked at.
    stamp: Option<(SystemTime, u64, u64)>,
}

/// Why a token does not let anybody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BadToken {
    /// There is no such token.
    Unknown,
    /// It has ended.
    Expired(Arc<str>),
}

impl Tokens {
    /// The tokens of this file.
    pub(super) fn new(path: PathBuf) -> Self {
        let look = Look {
            at: Instant::now(),
            stamp: stamp(&path).ok(),
        };
        let file = ArcSwap::from_pointee(read(&path));
        Self {
            path,
            file,
            look: Mutex::new(look),
        }
    }

    /// Reads the file again if it has changed, and if the last look was long ago.
    pub(super) fn refresh(&self, now: Instant) {
        // Who comes meanwhile gets what is known.
        let Ok(mut look) = self.look.try_lock() else {
            return;
        };
        if now.saturating_duration_since(look.at) < LOOK_EVERY {
            return;
        }
        look.at = now;
        let stamp = stamp(&self.path).ok();
        if stamp == look.stamp {
            return;
        }
        look.stamp = stamp;
        let mut file = read(&self.path);
        let known = self.file.load();
        for (hash, token) in &mut file.tokens {
            if let Some(known) = known.tokens.get(hash) {
                token.used = Arc::clone(&known.used);
            }
        }
        tracing::info!(
            path = %self.path.display(),
            tokens = file.tokens.len(),
            "API_TOKENS_FILE has changed and was read again"
        );
        self.file.store(Arc::new(file));
    }

    /// Whose token it is and what it is good for; notes that it was used.
    pub(super) fn find(&self, token: &str, now: Timestamp) -> Result<(Arc<str>, Access), BadToken> {
        if !is_token(token) {
            return Err(BadToken::Unknown);
        }
        // Nobody can choose what a guess is hashed to: how long the search takes tells nothing.
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let file = self.file.load();
        let token = file.tokens.get(&hash).ok_or(BadToken::Unknown)?;
        if now.as_millis() >= token.expires {
            return Err(BadToken::Expired(Arc::clone(&token.name)));
        }
        token.used.store(now.as_millis(), Ordering::Relaxed);
        Ok((Arc::clone(&token.name), token.access))
    }

    /// What may be shown of all tokens, by name.
    pub(super) fn uses(&self, now: Timestamp) -> Vec<TokenUse> {
        let file = self.file.load();
        let tokens = file.tokens.values();
        let mut uses: Vec<_> = tokens
            .map(|token| TokenUse {
                name: Arc::clone(&token.name),
                level: token.access,
                expires_at: token.expires,
                expired: now.as_millis() >= token.expires,
                last_used_at: Some(token.used.load(Ordering::Relaxed)).filter(|at| *at > 0),
            })
            .collect();
        uses.sort_by(|a, b| a.name.cmp(&b.name));
        uses
    }
}

/// What the file says now. One that cannot be read lets nobody in; a bad line only concerns itself.
fn read(path: &Path) -> TokenFile {
    match text_of(path) {
        Ok(text) => {
            let file = TokenFile::parse(&text);
            for (line, reason) in &file.problems {
                tracing::error!(path = %path.display(), "line {line} of API_TOKENS_FILE {reason}");
            }
            file
        }
        Err(error) => {
            tracing::error!(
                path = %path.display(), %error,
                "API_TOKENS_FILE cannot be read: no token lets anybody in"
            );
            TokenFile::default()
        }
    }
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_MAX {
        let reason = format!("it is larger than {FILE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(text)
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64, u64)> {
    let about = fs::metadata(path)?;
    Ok((about.modified()?, about.len(), about.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, level: Access, expires: i64) -> NewToken {
        let expires = jiff::Timestamp::from_second(expires).unwrap();
        NewToken::make(name, level, expires).unwrap()
    }

    #[test]
    fn a_token_counts_until_it_ends_and_only_as_a_whole() {
        let ci = new("ci", Access::Operate, 100);
        let other = new("ci", Access::Operate, 100);
        assert_ne!(ci.token, other.token);
        assert!(ci.token.starts_with("gantry_") && ci.token.len() == 7 + 43 + 6);
        assert!(!ci.line.contains(&ci.token[7..40]));

        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, format!("# programs\n\n{}\n", ci.line)).unwrap();
        let tokens = Tokens::new(file.path().to_owned());
        let (now, end) = (Timestamp::from_millis(5), Timestamp::from_millis(100_000));
        assert_eq!(tokens.uses(now)[0].last_used_at, None);
        assert_eq!(
            tokens.find(&ci.token, now),
            Ok(("ci".into(), Access::Operate))
        );
        assert_eq!(tokens.uses(now)[0].last_used_at, Some(5));
        assert_eq!(
            tokens.find(&ci.token, end),
            Err(BadToken::Expired("ci".into()))
        );
        let shown = serde_json::to_string(&tokens.uses(now)).unwrap();
        assert!(
            !shown.contains("sha256") && !shown.contains("gantry_"),
            "{shown}"
        );
        let cut = &ci.token[..ci.token.len() - 1];
        for wrong in [
            "",
            "gantry_",
            &other.token,
            cut,
            &ci.token.to_uppercase(),
            &"é".repeat(40),
        ] {
            assert_eq!(tokens.find(wrong, now), Err(BadToken::Unknown), "{wrong}");
        }

        // The file changes: what was known of the tokens that stay is kept.
        let second = new("night", Access::View, 100);
        fs::write(&file, format!("{}\n{}", ci.line, second.line)).unwrap();
        let later = Instant::now() + LOOK_EVERY;
        tokens.refresh(later);
        assert_eq!(tokens.find(&second.token, now).unwrap().1, Access::View);
        assert_eq!(tokens.uses(now)[0].last_used_at, Some(5));
        drop(file);
        tokens.refresh(later + LOOK_EVERY);
        assert_eq!(
            tokens.find(&ci.token, now),
            Err(BadToken::Unknown),
            "no file, no entry"
        );
    }

    #[test]
    fn every_bad_line_is_named() {
        let good = new("ci", Access::Admin, 100).line;
        for (line, why) in [
            ("nonsense", "not the line of a token"),
            (r#"{"name":"x"}"#, "missing field"),
            (&new("x", Access::View, 1).token, "a token itself"),
            (&good, "twice"),
            (&good.replace("\"ci\"", "\"co\""), "the hash of another"),
            (&good.replace("admin", "root"), "unknown variant"),
            (&good.replace("admin", "open"), "level open"),
            (&good.replace("sha256:", "md5:"), "no hash"),
            (&good.replace("\"ci\"", "\"c i\""), "a name"),
        ] {
            let file = TokenFile::parse(&format!("{good}\n{line}"));
            assert_eq!(file.problems.len(), 1, "{line}");
            let (number, reason) = &file.problems[0];
            assert!(*number == 2 && reason.contains(why), "{line}: {reason}");
        }
    }
}
