//! The dashboard: one page made from templates, and the files it needs. What it shows it reads
//! from the API; nothing here knows the state.

mod assets;
mod page;

use actix_web::web::ServiceConfig;

use crate::http::read;

pub(crate) use page::Pages;

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .route("/", read().to(page::get))
        .route("/static/{path:.*}", read().to(assets::get));
}
