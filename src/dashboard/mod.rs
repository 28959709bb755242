//! The dashboard: one page made from templates, and the files it needs. What it shows it reads
//! from the API; nothing here knows the state.

mod assets;
mod page;

pub(crate) use assets::get as asset;
pub(crate) use page::{Pages, get as page, html};
