//! The query of a request, read by hand: repeated and odd parameters get a clear answer.

use std::str::FromStr;

use actix_web::{HttpRequest, web};
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::error::{ApiError, Code};

/// Most parameters of a query; more are refused.
const PARAMETERS_MAX: usize = 64;

/// Parameters in the order they were given.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string())
            .map_err(|_| ApiError::new(Code::BadRequest, "the query cannot be decoded"))?
            .into_inner();
        if pairs.len() > PARAMETERS_MAX {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("the query has more than {PARAMETERS_MAX} parameters"),
            ));
        }
        Ok(Self(pairs))
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once; empty counts as absent.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("`{name}` is given more than once"),
            ));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    pub(crate) fn optional_number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            ApiError::new(
                Code::BadRequest,
                format!("`{name}` must be a whole number of 0 or more"),
            )
        })?;
        Ok(Some(number))
    }

    pub(crate) fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, ApiError> {
        Ok(self.optional_number(name)?.unwrap_or(default))
    }

    /// A switch: `true`, `1` or empty is on, `false`, `0` or absence is off.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.text(name)? {
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            None => Ok(self.all(name).next().is_some()),
            Some(_) => Err(ApiError::new(
                Code::BadRequest,
                format!("`{name}` must be `true` or `false`"),
            )),
        }
    }

    /// The boilerplate's confirmation: `sure` contains `yes` in any case. When it is repeated,
    /// every one must.
    pub(crate) fn is_sure(&self) -> bool {
        let mut values = self.all("sure").peekable();
        values.peek().is_some() && values.all(|value| value.to_ascii_lowercase().contains("yes"))
    }

    /// The parameters as the boilerplate shows them in error texts: a JSON object, in which a
    /// repeated parameter is an array.
    pub(crate) fn as_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for Query {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (position, (name, value)) in self.0.iter().enumerate() {
            if self.0[..position]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                continue;
            }
            let values: Vec<&str> = self.all(name).collect();
            match values.as_slice() {
                [_] => map.serialize_entry(name, value)?,
                many => map.serialize_entry(name, many)?,
            }
        }
        map.end()
    }
}
