//! A declaration on its way to a leader that is asked for the plan. No secret travels: values of
//! secret variables are not written down at all, and what is secret within other texts is
//! replaced by a fingerprint, on both sides, before the two are compared.

use std::sync::Arc;

use gantry_core::{
    BackOff, Container, Record, RevisionRecord, ServiceSpec, Template, UpdatePolicy, WorkloadName,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use crate::http::mask::{self, MASK};

/// What is declared, sealed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Declaration {
    /// The framework's name as it stands in task ids; another framework refuses.
    pub framework: String,
    /// As `gantry plan` seals them.
    #[schema(value_type = Vec<Object>)]
    services: Vec<Service>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Service {
    name: WorkloadName,
    instances: u32,
    priority: i32,
    wait_healthy: bool,
    allow_scaling: bool,
    back_off: BackOff,
    update: UpdatePolicy,
    template: Template,
}

impl Declaration {
    /// Seals what is declared.
    pub fn of(framework: &str, services: &[ServiceSpec]) -> Self {
        let services = services.iter().map(|service| Service {
            name: service.name.clone(),
            instances: service.instances,
            priority: service.priority,
            wait_healthy: service.wait_healthy,
            allow_scaling: service.allow_scaling,
            back_off: service.back_off,
            update: service.update.clone(),
            template: sealed(framework, &service.template),
        });
        Self {
            framework: framework.to_owned(),
            services: services.collect(),
        }
    }

    /// The services, to be compared with [`sealed_records`] alone.
    pub(crate) fn into_services(self) -> Vec<ServiceSpec> {
        let services = self.services.into_iter().map(|service| ServiceSpec {
            name: service.name,
            instances: service.instances,
            priority: service.priority,
            wait_healthy: service.wait_healthy,
            allow_scaling: service.allow_scaling,
            back_off: service.back_off,
            update: service.update,
            template: service.template,
        });
        services.collect()
    }
}

/// Seals what is stored.
pub(crate) fn sealed_records(framework: &str, records: Vec<Record>) -> Vec<Record> {
    let records = records.into_iter().map(|record| match record {
        Record::Revision(record) => Record::Revision(RevisionRecord {
            template: Arc::new(sealed(framework, &record.template)),
            ..record
        }),
        other => other,
    });
    records.collect()
}

/// The template with a fingerprint for everything within it that is masked when shown. Sealing
/// twice would give other fingerprints.
fn sealed(framework: &str, template: &Template) -> Template {
    let mut template = template.clone();
    let seal = |shown: &str, exact: &str| {
        if shown == exact {
            exact.to_owned()
        } else {
            // Masked again when it is shown, as it still stands where the secret stood.
            shown.replacen(MASK, &fingerprint(framework, exact), 1)
        }
    };
    for uri in &mut template.uris {
        uri.value = seal(&mask::uri(&uri.value), &uri.value);
    }
    if let Container::Docker { parameters, .. } = &mut template.container {
        for parameter in parameters {
            let shown = mask::parameter(&parameter.key, &parameter.value);
            parameter.value = seal(&shown, &parameter.value);
        }
    }
    template
}

/// 32 bits of a hash: enough to notice a change, too little to confirm a guess.
fn fingerprint(framework: &str, text: &str) -> String {
    let mut hash = Sha256::new();
    for part in [framework, text] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let [a, b, c, d] = [digest[0], digest[1], digest[2], digest[3]];
    format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
}
