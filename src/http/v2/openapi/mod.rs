//! The OpenAPI document of `/api/v2`: made from the table of routes, the wire types, and what is
//! said of each route in [`operations`].
//!
//! `docs/openapi.json` is this document; a test holds the two together, and every row of the table
//! of routes to an operation.

mod operation;
mod operations;

use actix_web::{HttpResponse, http::header};
use utoipa::{
    ToSchema as _,
    openapi::{
        ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, PathsBuilder,
        ServerBuilder,
        security::{
            ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
        },
    },
};

use crate::{
    auth::Access,
    http::{
        error::ErrorJson,
        routes::{self, Row, Verb},
    },
    runtime::Event,
};
use operation::Operation;

/// Where the full model is.
const BASE: &str = "/api/v2";

const ABOUT: &str = "\
The full model of Gantry: for the dashboard, the command line, and new clients.

Keys are in snake case. Times are milliseconds since the Unix epoch. Memory and disk are in megabytes. Lists are \
paged by the server. A change is answered when it is durable. Errors have one shape, with a code that is never renamed.";

/// `GET /api/v2/openapi.json`
pub(crate) async fn get() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(text())
}

/// The document as it is served and checked in.
fn text() -> String {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
}

fn document() -> OpenApi {
    let operations = operations::all();
    let mut components = ComponentsBuilder::new();
    let mut schemas = Vec::new();
    for schema in [
        (
            ErrorJson::name(),
            <ErrorJson<'_> as utoipa::PartialSchema>::schema(),
        ),
        (Event::name(), <Event as utoipa::PartialSchema>::schema()),
    ] {
        schemas.push((schema.0.into_owned(), schema.1));
    }
    ErrorJson::schemas(&mut schemas);
    Event::schemas(&mut schemas);
    let mut paths = PathsBuilder::new();
    for row in documented_rows() {
        let Some(operation) = operations.iter().find(|operation| operation.is_of(&row)) else {
            continue;
        };
        schemas.extend(operation.schemas.iter().cloned());
        let Operation { path, .. } = operation;
        paths = paths.path(
            path.clone(),
            utoipa::openapi::PathItem::new(method(row.verb), operation.to_openapi(row.rule.access)),
        );
    }
    for (name, schema) in schemas {
        components = components.schema(name, schema);
    }
    let session = ApiKey::Cookie(ApiKeyValue::with_description(
        "__Host-gantry",
        "what a login leaves",
    ));
    for (name, scheme) in [
        (
            "token",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
        ),
        (
            "basic",
            SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Basic).build()),
        ),
        ("session", SecurityScheme::ApiKey(session)),
    ] {
        components = components.security_scheme(name, scheme);
    }
    // The first is that of a Gantry without login.
    let security = ["token", "basic", "session"];
    let security = security.map(|name| SecurityRequirement::new(name, [] as [&str; 0]));
    let nothing = SecurityRequirement::default();
    let info = InfoBuilder::new()
        .title("Gantry")
        .description(Some(ABOUT))
        .license(Some(License::new(env!("CARGO_PKG_LICENSE"))))
        .version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new()
        .info(info.build())
        // Seen from the document's own address, below whatever path it is.
        .servers(Some([ServerBuilder::new().url("../..").build()]))
        .security(Some([nothing].into_iter().chain(security)))
        .paths(paths.build())
        .components(Some(components.build()))
        .build()
}

/// The rows of the table of routes that the document is about.
fn documented_rows() -> impl Iterator<Item = Row> {
    let rows = routes::all().into_iter();
    rows.filter(|row| row.path.starts_with(&format!("{BASE}/")))
}

const fn method(verb: Verb) -> utoipa::openapi::HttpMethod {
    use utoipa::openapi::HttpMethod;
    match verb {
        Verb::Get | Verb::GetAlone => HttpMethod::Get,
        Verb::Post => HttpMethod::Post,
        Verb::Put => HttpMethod::Put,
        Verb::Patch => HttpMethod::Patch,
        Verb::Delete => HttpMethod::Delete,
    }
}

/// What a route asks for, as a sentence.
fn needs(access: Access) -> &'static str {
    match access {
        Access::Open => "Open to everybody.",
        Access::View => "Needs `view`.",
        Access::Operate => "Needs `operate`.",
        Access::Admin => "Needs `admin`.",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::http::error::Code;

    use super::*;

    fn names<'a>(
        operations: impl IntoIterator<Item = (Verb, &'a str)>,
    ) -> BTreeSet<(&'static str, String)> {
        let operations = operations.into_iter();
        operations
            .map(|(verb, path)| (verb.name(), path.to_owned()))
            .collect()
    }

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let operations = operations::all();
        let rows: Vec<_> = documented_rows()
            .map(|row| (row.verb, operation::plain(&row.path)))
            .collect();
        let routes = names(rows.iter().map(|(verb, path)| (*verb, &**path)));
        let documented = names(operations.iter().map(|one| (one.verb, one.path.as_str())));
        assert_eq!(routes, documented);
        assert_eq!(
            operations.len(),
            documented.len(),
            "something is told twice"
        );
        let ids: BTreeSet<_> = operations.iter().map(|one| one.id).collect();
        assert_eq!(ids.len(), operations.len(), "an id is used twice");
    }

    #[test]
    fn every_code_is_documented_somewhere() {
        let operations = operations::all();
        let told: BTreeSet<Code> = operations.iter().flat_map(Operation::codes).collect();
        for code in Code::ALL {
            // These two say that there is no such operation.
            let of_none = matches!(code, Code::NotFound | Code::MethodNotAllowed);
            assert!(of_none || told.contains(&code), "{code:?}");
        }
    }

    /// `UPDATE_DOCS=1` writes the file anew.
    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_is_served() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, text()).unwrap();
        }
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            checked_in == text(),
            "docs/openapi.json is not what is served: UPDATE_DOCS=1 cargo test openapi"
        );
    }

    /// References lead somewhere, and parameters of paths are those of the path.
    #[test]
    fn the_document_is_whole() {
        let document: serde_json::Value = serde_json::from_str(&text()).unwrap();
        let mut references = Vec::new();
        collect(&document, &mut references);
        assert!(references.len() > 50);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(
                document.pointer(pointer).is_some(),
                "{reference} leads nowhere"
            );
        }
        for (path, item) in document["paths"].as_object().unwrap() {
            let in_path: BTreeSet<_> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            for operation in item.as_object().unwrap().values() {
                let parameters = operation["parameters"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let told: BTreeSet<_> = parameters
                    .iter()
                    .filter(|one| one["in"] == "path")
                    .map(|one| one["name"].as_str().unwrap())
                    .collect();
                assert_eq!(told, in_path, "{path}");
            }
        }
    }

    fn collect(value: &serde_json::Value, references: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    match value.as_str() {
                        Some(text) if name == "$ref" => references.push(text.to_owned()),
                        _ => collect(value, references),
                    }
                }
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| collect(value, references));
            }
            _ => {}
        }
    }
}
