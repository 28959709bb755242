//! `gantry token`: tokens for programs.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};

use super::fail;
use crate::auth::{Access, NewToken};

/// Longest life of a token.
const EXPIRES_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Options of `gantry token`.
#[derive(Args, Clone, Debug)]
pub struct TokenOptions {
    /// What to do
    #[command(subcommand)]
    pub action: TokenAction,
}

/// What can be done with tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenAction {
    /// Make a token: it is printed once, with the line for API_TOKENS_FILE, which does not hold it
    New(NewOptions),
}

/// Options of `gantry token new`.
#[derive(Args, Clone, Debug)]
pub struct NewOptions {
    /// What the token is for; it stands in the audit log
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// What it may do; each level includes those before it
    #[arg(long, value_enum)]
    pub level: Level,
    /// For how long it counts, such as 12h, 90d or 52w; at most ten years
    #[arg(long, value_name = "DURATION")]
    pub expires: String,
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Look at everything
    View,
    /// Scale, restart, deploy
    Operate,
    /// Also kill everything, restart the framework, back up
    Admin,
}

impl From<Level> for Access {
    fn from(level: Level) -> Self {
        match level {
            Level::View => Self::View,
            Level::Operate => Self::Operate,
            Level::Admin => Self::Admin,
        }
    }
}

/// Prints the token to `out` and what to do with it to `err`, so that a pipe gets the token alone.
pub fn run(
    options: &TokenOptions,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let TokenAction::New(options) = &options.action;
    let expires = match crate::config::duration_in(&options.expires, EXPIRES_MAX) {
        Ok(expires) => expires,
        Err(reason) => {
            return Ok(fail(format_args!(
                "--expires '{}' {reason}",
                options.expires
            )));
        }
    };
    let end = jiff::Timestamp::try_from(SystemTime::now() + expires);
    // Whole seconds read better, and nobody needs less.
    let end = end.and_then(|end| jiff::Timestamp::from_second(end.as_second()));
    let made = end
        .map_err(|error| error.to_string())
        .and_then(|end| NewToken::make(&options.name, options.level.into(), end));
    let made = match made {
        Ok(made) => made,
        Err(reason) => return Ok(fail(format_args!("the token {reason}"))),
    };
    writeln!(out, "{}", made.token)?;
    out.flush()?;
    writeln!(
        err,
        "This is the token; it is not shown again. Add this line to API_TOKENS_FILE:"
    )?;
    writeln!(err, "{}", made.line)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenFile;

    fn ran(name: &str, expires: &str) -> (String, String) {
        let options = TokenOptions {
            action: TokenAction::New(NewOptions {
                name: name.to_owned(),
                level: Level::Operate,
                expires: expires.to_owned(),
            }),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        run(&options, &mut out, &mut err).unwrap();
        (
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn the_token_is_apart_from_its_line() {
        let (token, line) = ran("ci/deploy", "90d");
        assert!(token.starts_with("gantry_") && !line.contains(token.trim()));
        let line = line.lines().last().unwrap();
        assert!(TokenFile::parse(line).problems.is_empty(), "{line}");
        assert!(line.contains("operate"));
        for (name, expires) in [("a b", "1d"), ("ci", "0s"), ("ci", "soon"), ("ci", "9999w")] {
            assert_eq!(ran(name, expires).0, "", "{name} {expires}");
        }
    }
}
