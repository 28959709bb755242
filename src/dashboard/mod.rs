//! The dashboard: one page made from templates, and the files it needs. What it shows it reads
//! from the API; nothing here knows the state.

mod assets;
mod page;

pub(crate) use assets::{content_type, get as asset, inside, read_small};
pub(crate) use page::{Pages, get as page, html};
