//! The environment as typed configuration.
//!
//! One [`table`] knows every variable: it parses, validates, documents and suggests.
//! [`Config::read`] reads them all before it judges any, so that the operator sees every problem at
//! once. Reading opens nothing but the files that variables name, binds nothing and connects to
//! nothing.

mod access;
pub mod credentials;
mod document;
pub mod env_file;
mod framework;
mod model;
mod parse;
mod reader;
mod report;
pub mod sample;
mod store;
mod suggest;
pub mod table;
mod task;
#[cfg(test)]
mod tests;
mod variables;

pub use access::{Application, Auth, BasicUser, Gitlab, Google, Network, Rule, Sessions, Tls};
pub use document::{Format, reference};
pub use model::*;
pub(crate) use parse::{in_words as duration_in_words, is_mail};
pub use report::{Problem, Report};
pub(crate) use task::not_side_by_side;
pub use variables::{NotUnicode, ProcessEnvironment, Variables};

use reader::Reader;
use table::framework::{GLOBAL_ENV, TASK_DEF_NUM};

/// A duration of the command line, written as in the environment: at least a second.
///
/// # Errors
/// What is wrong with it and what to do, as a clause.
pub(crate) fn duration_in(
    text: &str,
    max: std::time::Duration,
) -> Result<std::time::Duration, String> {
    parse::duration_in(text, std::time::Duration::from_secs(1), max)
        .map(|parsed| parsed.value)
        .map_err(|wrong| format!("{}: {}", wrong.reason, wrong.remedy))
}

impl Config {
    /// The same, served at `port`: where the system was to choose one, others are told this.
    #[must_use]
    pub fn at_port(mut self, port: u16) -> Self {
        for url in [&mut self.http.advertised_url, &mut self.framework.webui_url] {
            if let Some(bare) = url.strip_suffix(":0") {
                *url = format!("{bare}:{port}");
            }
        }
        self
    }

    /// Reads the configuration, and with it what should be said about it.
    ///
    /// # Errors
    /// Everything that keeps Gantry from starting. The original's line for missing variables is
    /// [`Report::missing_line`]; the exit code is 1.
    pub fn read(variables: &dyn Variables) -> Result<(Self, Report), Report> {
        let mut reader = Reader::new(variables);
        let once = framework::read(&mut reader);
        let global = reader.framework(&GLOBAL_ENV).unwrap_or_default();
        let definitions = reader.framework(&TASK_DEF_NUM);
        let task_name = once.as_ref().map(|once| once.framework.task_name.clone());
        let surroundings = task::Surroundings {
            framework: task_name.as_deref().unwrap_or_default(),
            environment: &global,
            instances_max: once
                .as_ref()
                .map_or(u32::MAX, |once| once.scheduler.instances_max),
        };
        let indices: Vec<u32> = match definitions {
            Some(count) => (0..count).collect(),
            // The count is in error: look at least at what there is.
            None => suggest::task_indices(variables),
        };
        let read: Vec<_> = indices
            .into_iter()
            .map(|index| task::read(&mut reader, index, &surroundings))
            .collect();
        task::refuse_same_names(&mut reader, &read);
        let (services, declarations) = read
            .into_iter()
            .filter_map(|definition| definition.service)
            .unzip();
        let mut report = reader.report;
        suggest::names(variables, definitions, &mut report);
        match once {
            Some(once) if report.is_ok() => Ok((
                Self {
                    framework: once.framework,
                    mesos: once.mesos,
                    store: once.store,
                    http: once.http,
                    auth: once.auth,
                    modules: once.modules,
                    logging: once.logging,
                    scheduler: once.scheduler,
                    services,
                    declarations,
                    shutdown_timeout: once.shutdown_timeout,
                },
                report,
            )),
            _ => Err(report),
        }
    }
}
