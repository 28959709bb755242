//! The page, made by handlebars from `templates/`. A file of the same name in the operator's
//! directory replaces a template; it is read again for every page, so that a change shows at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use actix_web::{HttpResponse, http::header, web};
use handlebars::Handlebars;
use rust_embed::RustEmbed;
use serde::Serialize;

use crate::http::AppState;

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/templates/"]
struct Templates;

/// The template that the page begins with; the others are its parts.
const PAGE: &str = "page";

/// Largest template of an operator, in bytes.
const TEMPLATE_MAX: u64 = 1 << 20;

/// What the templates may use.
#[derive(Serialize)]
struct PageModel<'a> {
    framework_name: &'a str,
    version: &'static str,
}

/// Makes the page and knows where its files are.
pub(crate) struct Pages {
    built_in: Handlebars<'static>,
    templates_dir: Option<PathBuf>,
    static_dir: Option<PathBuf>,
}

impl Pages {
    pub(crate) fn new(templates_dir: Option<PathBuf>, static_dir: Option<PathBuf>) -> Self {
        let mut built_in = Handlebars::new();
        built_in.set_strict_mode(true);
        for file in Templates::iter() {
            let name = file.trim_end_matches(".hbs");
            let Some(template) = Templates::get(&file) else {
                continue;
            };
            let text = String::from_utf8_lossy(&template.data);
            if let Err(error) = built_in.register_template_string(name, text) {
                tracing::error!(%error, "a built-in template is malformed");
            }
        }
        Self {
            built_in,
            templates_dir,
            static_dir,
        }
    }

    /// Where the operator's static files are.
    pub(crate) fn static_dir(&self) -> Option<&Path> {
        self.static_dir.as_deref()
    }

    /// Makes a page from the template of this name, the operator's if it can be used.
    pub(crate) fn render(&self, name: &str, model: &impl Serialize) -> Result<String, String> {
        if let Some(directory) = &self.templates_dir {
            match self.render_own(directory, name, model) {
                Ok(page) => return Ok(page),
                // A mistake in a template must not take the dashboard away.
                Err(error) => tracing::warn!(
                    directory = %directory.display(),
                    error,
                    "the operator's templates cannot be used, the built-in ones are"
                ),
            }
        }
        self.built_in
            .render(name, model)
            .map_err(|error| error.to_string())
    }

    fn render_own(
        &self,
        directory: &Path,
        name: &str,
        model: &impl Serialize,
    ) -> Result<String, String> {
        let mut registry = self.built_in.clone();
        for file in Templates::iter() {
            let text = match read_small(&directory.join(&*file)) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("{file}: {error}")),
            };
            registry
                .register_template_string(file.trim_end_matches(".hbs"), text)
                .map_err(|error| format!("{file}: {error}"))?;
        }
        registry
            .render(name, model)
            .map_err(|error| error.to_string())
    }
}

fn read_small(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > TEMPLATE_MAX {
        let message = format!("larger than {TEMPLATE_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    fs::read_to_string(path)
}

/// `GET /`
pub(crate) async fn get(state: web::Data<AppState>) -> HttpResponse {
    let model = PageModel {
        framework_name: &state.settings().framework_name,
        version: env!("CARGO_PKG_VERSION"),
    };
    html(state.pages().render(PAGE, &model))
}

/// A page that was made, or not.
pub(crate) fn html(page: Result<String, String>) -> HttpResponse {
    match page {
        Ok(page) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(page),
        Err(error) => {
            tracing::error!(error, "the page cannot be made");
            HttpResponse::InternalServerError()
                .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
                .body("the page cannot be made: the log says why\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: PageModel<'_> = PageModel {
        framework_name: "<b>my & fw</b>",
        version: "1.2.3",
    };

    #[test]
    fn built_in_templates_render_in_strict_mode_and_escape() {
        let pages = Pages::new(None, None);
        let page = pages.render(PAGE, &MODEL).unwrap();
        assert!(page.contains("&lt;b&gt;my &amp; fw&lt;/b&gt;"));
        assert!(!page.contains("<b>my"));
        // Nothing inline, and no address that would leave the path the page is served at.
        for forbidden in [
            "<script>",
            " style=",
            " onclick=",
            "href=\"/",
            "src=\"/",
            "http://",
            "https://",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn every_file_the_page_names_is_there() {
        let page = Pages::new(None, None).render(PAGE, &MODEL).unwrap();
        let named: Vec<&str> = page
            .split(['"', '#'])
            .filter_map(|text| text.strip_prefix("static/"))
            .collect();
        assert!(named.len() > 5, "{named:?}");
        for file in named {
            assert!(
                crate::dashboard::assets::Assets::get(file).is_some(),
                "{file}"
            );
        }
    }

    #[test]
    fn a_template_of_the_operator_wins_unless_it_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let pages = Pages::new(Some(directory.path().to_owned()), None);
        let write = |text: &str| std::fs::write(directory.path().join("page.hbs"), text).unwrap();
        let built_in = pages.render(PAGE, &MODEL).unwrap();
        write("mine: {{version}}");
        assert_eq!(pages.render(PAGE, &MODEL).unwrap(), "mine: 1.2.3");
        for broken in ["{{#if}", "{{no_such_value}}"] {
            write(broken);
            assert_eq!(pages.render(PAGE, &MODEL).unwrap(), built_in, "{broken}");
        }
    }
}
