//! What a task is made of, with its secrets masked.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use gantry_core::{
    Container, EnvironmentValue, HealthCheck, Placement, Probe, TaskCommand, Template, Uri,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::mask;

#[derive(Serialize, ToSchema)]
#[schema(as = Template)]
pub(crate) struct TemplateJson<'a> {
    /// A command line, or the arguments of the image's own.
    #[schema(value_type = Object)]
    command: &'a TaskCommand,
    #[schema(value_type = Object)]
    container: Container,
    environment: Vec<VariableJson<'a>>,
    uris: Vec<UriJson<'a>>,
    labels: &'a BTreeMap<String, String>,
    user: Option<&'a str>,
    #[schema(value_type = Object)]
    placement: &'a Placement,
    health_check: Option<HealthCheckJson<'a>>,
    kill_grace_seconds: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Variable)]
struct VariableJson<'a> {
    name: &'a str,
    value: &'a str,
    secret: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Uri)]
struct UriJson<'a> {
    value: Cow<'a, str>,
    executable: Option<bool>,
    extract: Option<bool>,
    cache: Option<bool>,
    output_file: Option<&'a str>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HealthCheck)]
struct HealthCheckJson<'a> {
    #[schema(value_type = Object)]
    probe: &'a Probe,
    delay_seconds: f64,
    interval_seconds: f64,
    timeout_seconds: f64,
    consecutive_failures: u32,
    grace_period_seconds: f64,
}

impl<'a> From<&'a Template> for TemplateJson<'a> {
    fn from(template: &'a Template) -> Self {
        let environment = template.environment.iter();
        Self {
            command: &template.command,
            container: masked(&template.container),
            environment: environment
                .map(|variable| VariableJson {
                    name: &variable.name,
                    value: mask::variable(&variable.value),
                    secret: matches!(variable.value, EnvironmentValue::Secret(_)),
                })
                .collect(),
            uris: template.uris.iter().map(UriJson::from).collect(),
            labels: &template.labels,
            user: template.user.as_deref(),
            placement: &template.placement,
            health_check: template.health_check.as_ref().map(HealthCheckJson::from),
            kill_grace_seconds: template.kill_grace.as_ref().map(Duration::as_secs_f64),
        }
    }
}

fn masked(container: &Container) -> Container {
    let mut container = container.clone();
    if let Container::Docker { parameters, .. } = &mut container {
        for parameter in parameters {
            parameter.value = mask::parameter(&parameter.key, &parameter.value).into_owned();
        }
    }
    container
}

impl<'a> From<&'a Uri> for UriJson<'a> {
    fn from(uri: &'a Uri) -> Self {
        Self {
            value: mask::uri(&uri.value),
            executable: uri.executable,
            extract: uri.extract,
            cache: uri.cache,
            output_file: uri.output_file.as_deref(),
        }
    }
}

impl<'a> From<&'a HealthCheck> for HealthCheckJson<'a> {
    fn from(check: &'a HealthCheck) -> Self {
        Self {
            probe: &check.probe,
            delay_seconds: check.delay.as_secs_f64(),
            interval_seconds: check.interval.as_secs_f64(),
            timeout_seconds: check.timeout.as_secs_f64(),
            consecutive_failures: check.consecutive_failures,
            grace_period_seconds: check.grace_period.as_secs_f64(),
        }
    }
}
