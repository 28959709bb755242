//! What `gantry dev` runs when nothing is declared, as variables, so that it goes the way of every
//! declaration and can be copied.

use std::{collections::BTreeMap, path::Path};

use super::Variables;

/// Whether the environment declares any work.
pub fn declares_work(variables: &dyn Variables) -> bool {
    matches!(variables.get("TASK_DEF_NUM"), Ok(Some(text)) if !text.trim().is_empty())
        || !super::suggest::task_indices(variables).is_empty()
}

/// Two task types: a small HTTP server with a health check, which is Gantry itself
/// (`<gantry> sample-web`, listening on `$PORT0`), and a loop that prints a line now and then.
/// `gantry` is the path of the program.
pub fn work(gantry: &Path) -> BTreeMap<String, String> {
    let gantry = gantry.to_string_lossy().replace('\'', r"'\''");
    let web = format!("exec '{gantry}' sample-web");
    [
        ("TASK_DEF_NUM", "2"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK0_CMD", web.as_str()),
        ("TASK0_CPUS", "0.1"),
        ("TASK0_MEM", "32MiB"),
        ("TASK0_PORT_NUM", "1"),
        ("TASK0_PRIORITY", "1"),
        ("TASK0_HEALTHCHECK", "/health"),
        ("TASK0_HEALTHCHECK_DELAY", "1s"),
        ("TASK0_HEALTHCHECK_INTERVAL", "2s"),
        ("TASK0_HEALTHCHECK_TIMEOUT", "2s"),
        ("TASK1_NAME", "worker"),
        ("TASK1_NUM_INSTANCES", "2"),
        (
            "TASK1_CMD",
            "while true; do echo \"$(date) at work\"; sleep 5; done",
        ),
        ("TASK1_CPUS", "0.1"),
        ("TASK1_MEM", "32MiB"),
        ("TASK1_PRIORITY", "2"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}
