//! `gantry audit`: what operators did.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::{
    leader::Remote,
    output::{self, Output, Table, colours, moment, or_none},
};

/// Options of `gantry audit`.
#[derive(Args, Debug)]
pub struct AuditOptions {
    /// At most so many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    pub limit: u16,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Entry {
    at: u64,
    actor: String,
    address: String,
    reason: Option<String>,
    action: String,
    before: Option<String>,
    after: Option<String>,
}

/// Asks and writes.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &AuditOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.remote.leader()?;
    let listed = leader
        .list("/api/v2/audit", usize::from(options.limit))
        .await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &listed)?);
    }
    let mut table = Table::new(["AT", "WHO", "FROM", "ACTION", "BEFORE", "AFTER", "REASON"]);
    for entry in listed.entries::<Entry>()? {
        table.row([
            moment(entry.at),
            entry.actor,
            entry.address,
            entry.action,
            or_none(entry.before.as_deref()).to_owned(),
            or_none(entry.after.as_deref()).to_owned(),
            or_none(entry.reason.as_deref()).to_owned(),
        ]);
    }
    table.write(out, colours())?;
    Ok(())
}
