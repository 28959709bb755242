//! What is said of one route.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ArrayBuilder, ContentBuilder, Header, ObjectBuilder, Ref, RefOr, Required, Response,
        ResponseBuilder, Schema, Type,
        path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
    },
};

use super::{BASE, needs};
use crate::{
    auth::Access,
    http::{
        error::Code,
        routes::{Row, Verb},
        v2::{LIMIT_MAX, Page},
    },
};

/// What any request may be answered with.
const ALWAYS: [Code; 7] = [
    Code::BadRequest,
    Code::NotAuthenticated,
    Code::TooManyFailures,
    Code::Forbidden,
    Code::Unavailable,
    Code::Busy,
    Code::Internal,
];

/// What a change may be answered with besides.
const CHANGES: [Code; 5] = [
    Code::CrossSite,
    Code::BodyTooLarge,
    Code::StandBy,
    Code::OutcomeUnknown,
    Code::TimedOut,
];

/// What is said of one route.
pub(super) struct Operation {
    pub(super) verb: Verb,
    pub(super) path: String,
    pub(super) id: &'static str,
    summary: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: Vec<(u16, Response)>,
    anything: Option<Response>,
    codes: Vec<Code>,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

/// The path of a row as OpenAPI writes it: it has no way to say that a parameter holds slashes.
pub(super) fn plain(path: &str) -> String {
    path.replace(":.*}", "}")
}

impl Operation {
    pub(super) fn new(verb: Verb, path: &str, id: &'static str, summary: &'static str) -> Self {
        let codes = match verb {
            Verb::Get | Verb::GetAlone => ALWAYS.to_vec(),
            Verb::Post | Verb::Put | Verb::Patch | Verb::Delete => {
                ALWAYS.into_iter().chain(CHANGES).collect()
            }
        };
        Self {
            verb,
            path: format!("{BASE}{path}"),
            id,
            summary,
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            anything: None,
            codes,
            schemas: Vec::new(),
        }
    }

    /// Whether it tells of this row.
    pub(super) fn is_of(&self, row: &Row) -> bool {
        self.verb == row.verb && self.path == plain(&row.path)
    }

    #[cfg(test)]
    pub(super) fn codes(&self) -> impl Iterator<Item = Code> {
        self.codes.iter().copied()
    }

    // === What it takes ===

    fn parameter(
        mut self,
        place: ParameterIn,
        name: &str,
        about: &str,
        schema: ObjectBuilder,
    ) -> Self {
        let required = match place {
            ParameterIn::Path => Required::True,
            _ => Required::False,
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(schema));
        self.parameters.push(parameter.build());
        self
    }

    pub(super) fn of(self, name: &str, about: &str) -> Self {
        self.parameter(ParameterIn::Path, name, about, text())
    }

    pub(super) fn of_number(self, name: &str, about: &str, most: u64) -> Self {
        self.parameter(ParameterIn::Path, name, about, number(0, most))
    }

    pub(super) fn of_choice(self, name: &str, about: &str, choices: &[&str]) -> Self {
        self.parameter(ParameterIn::Path, name, about, choice(choices))
    }

    pub(super) fn query(self, name: &str, about: &str) -> Self {
        self.parameter(ParameterIn::Query, name, about, text())
    }

    pub(super) fn query_number(self, name: &str, about: &str, least: u64, most: u64) -> Self {
        self.parameter(ParameterIn::Query, name, about, number(least, most))
    }

    pub(super) fn query_choice(self, name: &str, about: &str, choices: &[&str]) -> Self {
        self.parameter(ParameterIn::Query, name, about, choice(choices))
    }

    pub(super) fn query_flag(self, name: &str, about: &str) -> Self {
        let schema = ObjectBuilder::new().schema_type(Type::Boolean);
        self.parameter(ParameterIn::Query, name, about, schema)
    }

    pub(super) fn paged(self) -> Self {
        self.query_number(
            "offset",
            "how many entries are left out",
            0,
            u64::from(u32::MAX),
        )
        .query_number(
            "limit",
            "most entries; 100 when absent",
            0,
            LIMIT_MAX as u64,
        )
    }

    /// Tells with `dry_run` what it would do.
    pub(super) fn rehearsed(self) -> Self {
        self.query_flag("dry_run", "only tell what would happen, with a `Preview`")
            .answers::<super::super::preview::Preview>(200, "what would happen (`dry_run`)")
    }

    pub(super) fn body<T: ToSchema>(mut self, required: bool) -> Self {
        let content = self.json::<T>();
        let required = if required {
            Required::True
        } else {
            Required::False
        };
        let body = RequestBodyBuilder::new()
            .content("application/json", content)
            .required(Some(required));
        self.body = Some(body.build());
        self
    }

    // === What it gives ===

    pub(super) fn answers<T: ToSchema>(mut self, status: u16, about: &str) -> Self {
        let content = self.json::<T>();
        let response = ResponseBuilder::new().description(about);
        // Of two answers with one status the schema allows both.
        match self.answers.iter_mut().find(|(other, _)| *other == status) {
            None => {
                let response = response.content("application/json", content);
                self.answers.push((status, response.build()));
            }
            Some((_, known)) => {
                let before = std::mem::take(known);
                let mut schemas: Vec<_> = before
                    .content
                    .values()
                    .filter_map(|known| match known {
                        RefOr::T(known) => known.schema.clone(),
                        RefOr::Ref(_) => None,
                    })
                    .collect();
                schemas.extend(content.build().schema);
                let both = schemas
                    .into_iter()
                    .fold(utoipa::openapi::schema::AnyOfBuilder::new(), |all, one| {
                        all.item(one)
                    });
                let content = ContentBuilder::new().schema(Some(both)).build();
                *known = ResponseBuilder::new()
                    .description(format!("{}; or {about}", before.description))
                    .content("application/json", content)
                    .build();
            }
        }
        self
    }

    /// A page of a list.
    pub(super) fn answers_page<T: ToSchema>(mut self) -> Self {
        let name = format!("Page_{}", T::name());
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        self.schemas.push((name.clone(), Page::<T>::schema()));
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name)));
        let response = ResponseBuilder::new()
            .description("a page of them")
            .content("application/json", content.build());
        self.answers.push((200, response.build()));
        self
    }

    /// A whole list, of which there are few entries.
    pub(super) fn answers_list<T: ToSchema>(mut self) -> Self {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        let list = ArrayBuilder::new().items(Ref::from_schema_name(T::name()));
        let content = ContentBuilder::new().schema(Some(list));
        let response = ResponseBuilder::new()
            .description("all of them")
            .content("application/json", content.build());
        self.answers.push((200, response.build()));
        self
    }

    /// JSON of a shape that is told elsewhere.
    pub(super) fn answers_object(mut self, about: &str) -> Self {
        let object = ObjectBuilder::new().schema_type(Type::Object);
        let content = ContentBuilder::new().schema(Some(object));
        let response = ResponseBuilder::new()
            .description(about)
            .content("application/json", content.build());
        self.answers.push((200, response.build()));
        self
    }

    /// Whatever somebody else says, with whatever status.
    pub(super) fn answers_anything(mut self, about: &str) -> Self {
        self.anything = Some(ResponseBuilder::new().description(about).build());
        self
    }

    /// An answer without a body.
    pub(super) fn answers_nothing(mut self, status: u16, about: &str) -> Self {
        let response = ResponseBuilder::new().description(about);
        self.answers.push((status, response.build()));
        self
    }

    pub(super) fn answers_text(mut self, kind: &str, about: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(text()));
        let response = ResponseBuilder::new()
            .description(about)
            .content(kind, content.build());
        self.answers.push((200, response.build()));
        self
    }

    /// Headers of whole numbers that its first answer has.
    pub(super) fn headers(mut self, headers: &[(&str, &str)]) -> Self {
        if let Some((_, response)) = self.answers.first_mut() {
            for (name, about) in headers {
                let mut header = Header::new(number(0, u64::MAX));
                header.description = Some((*about).to_owned());
                response.headers.insert((*name).to_owned(), header.into());
            }
        }
        self
    }

    pub(super) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn json<T: ToSchema>(&mut self) -> ContentBuilder {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name())))
    }

    pub(super) fn to_openapi(&self, access: Access) -> utoipa::openapi::path::Operation {
        let mut operation = OperationBuilder::new()
            .operation_id(Some(self.id))
            .summary(Some(self.summary))
            .description(Some(needs(access)))
            .request_body(self.body.clone());
        for parameter in &self.parameters {
            operation = operation.parameter(parameter.clone());
        }
        for (status, response) in &self.answers {
            operation = operation.response(status.to_string(), response.clone());
        }
        if let Some(anything) = &self.anything {
            operation = operation.response("default", anything.clone());
        }
        let mut by_status: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for code in &self.codes {
            let codes = by_status.entry(code.status().as_u16()).or_default();
            let code = match serde_json::to_value(code) {
                Ok(Value::String(code)) => format!("`{code}`"),
                _ => continue,
            };
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        for (status, codes) in by_status {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error")));
            let response = ResponseBuilder::new()
                .description(codes.join(", "))
                .content("application/json", content.build());
            operation = operation.response(status.to_string(), response.build());
        }
        operation.build()
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn number(least: u64, most: u64) -> ObjectBuilder {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least as f64));
    if most == u64::MAX {
        number
    } else {
        number.maximum(Some(most as f64))
    }
}

fn choice(choices: &[&str]) -> ObjectBuilder {
    text().enum_values(Some(choices.iter().copied()))
}
