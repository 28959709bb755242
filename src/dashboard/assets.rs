//! Static files: built in, unless the operator's directory has a file of the same path.

use std::{
    borrow::Cow,
    fs, io,
    path::{Component, Path, PathBuf},
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, EntityTag, Header as _, IfNoneMatch},
    web,
};
use rust_embed::RustEmbed;

use crate::http::{AppState, not_found};

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/static/"]
pub(super) struct Assets;

/// Largest file of an operator that is served, in bytes.
const FILE_MAX: u64 = 8 << 20;

/// `GET /static/{path}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> HttpResponse {
    let own: Option<PathBuf> = state
        .pages()
        .static_dir()
        .and_then(|directory| inside(directory, &path));
    let own = match own {
        Some(file) => web::block(move || read_small(&file))
            .await
            .ok()
            .and_then(Result::ok),
        None => None,
    };
    let (content, tag) = match own {
        Some(content) => (Cow::Owned(content), None),
        None => match Assets::get(&path) {
            Some(file) => {
                let tag = file.metadata.sha256_hash();
                (file.data, Some(EntityTag::new_strong(hex(&tag[..16]))))
            }
            None => return not_found(request).await,
        },
    };
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, content_type(&path)))
        // Asked again each time, answered with 304: a new version shows at once.
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    if let Some(tag) = tag {
        let seen = IfNoneMatch::parse(&request).is_ok_and(|seen| match seen {
            IfNoneMatch::Any => true,
            IfNoneMatch::Items(tags) => tags.iter().any(|seen| seen.weak_eq(&tag)),
        });
        response.insert_header(header::ETag(tag));
        if seen {
            return response
                .status(actix_web::http::StatusCode::NOT_MODIFIED)
                .finish();
        }
    }
    response.body(content.into_owned())
}

/// The file of this path in the directory; `None` for a path that would lead out of it.
pub(crate) fn inside(directory: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let plain = relative
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    let hidden = path.contains('\0') || path.split('/').any(|part| part.starts_with('.'));
    (plain && !hidden && !path.is_empty()).then(|| directory.join(relative))
}

pub(crate) fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    fs::read(path)
}

pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_leads_out_of_the_directory() {
        let directory = Path::new("/files");
        for path in [
            "",
            "..",
            "../x",
            "a/../../x",
            "/etc/passwd",
            ".git/config",
            "a/.hidden",
            "a\0b",
        ] {
            assert_eq!(inside(directory, path), None, "{path:?}");
        }
        assert_eq!(
            inside(directory, "js/a.js"),
            Some(PathBuf::from("/files/js/a.js"))
        );
    }
}
