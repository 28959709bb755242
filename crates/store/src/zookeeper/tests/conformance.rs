//! What all homes promise.

use super::support::{Ensemble, Place};
use crate::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn one_server_passes_the_conformance_suite() {
    let Some(ensemble) = Ensemble::start(1) else {
        return;
    };
    conformance::run(async || Place::new(ensemble.hosts())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_pass_the_conformance_suite() {
    let Some(ensemble) = Ensemble::start(3) else {
        return;
    };
    conformance::run(async || Place::new(ensemble.hosts())).await;
}
