//! Mesos' own JSON form of its messages.
//!
//! It is *not* the JSON mapping of proto3 (Mesos
//! `3rdparty/stout/include/stout/protobuf.hpp`):
//!
//! | | written | accepted |
//! |---|---|---|
//! | field names | as in the `.proto` files | the same; unknown names and `null` are ignored |
//! | enum | name | name; an unknown name leaves the field unset; a number is an error |
//! | bytes | base64, standard alphabet | the same |
//! | 64-bit integers | number | number, or number in a string |
//! | double | number with a decimal point | number, number in a string, `"Infinity"`, `"-Infinity"` |
//! | repeated | array, left out if empty | array, or a single element without the array |
//! | unset, with a default in the `.proto` file | the default, unless the field is deprecated | |
//! | `google.protobuf.Duration` | `{"seconds": n, "nanos": n}` | the same |
//!
//! Everything here works from descriptors, so that each rule stands once for all
//! messages.

mod read;
mod write;

use prost::Message;
use prost_reflect::DynamicMessage;
use serde_json::Value;
use thiserror::Error;

use crate::descriptor::{self, MesosMessage};

/// Why a text could not be turned into a message.
///
/// The texts are those of a Mesos master. It puts them behind "Failed to parse
/// body into JSON: " if [`JsonError::is_syntax`], else behind "Failed to convert
/// JSON into Call protobuf: " (Mesos `src/master/http.cpp`).
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is not JSON.
    #[error("syntax error at line {line} near: {near}")]
    Syntax {
        /// Line of the error, from 1.
        line: usize,
        /// What stands there, up to the end of the line (at most 200 bytes).
        near: String,
    },
    /// Something other than white space follows the value.
    #[error("Parsed JSON included non-whitespace trailing characters: {trailing}")]
    Trailing {
        /// What follows (at most 200 bytes).
        trailing: String,
    },
    /// The text is JSON but not an object.
    #[error("Expecting a JSON object")]
    NotAnObject,
    /// The value is of a kind the field cannot take.
    #[error("Not expecting a JSON {found} for field '{field}'")]
    Unexpected {
        /// `object`, `array`, `string`, `number` or `boolean`.
        found: &'static str,
        /// Name of the field, without its parents.
        field: String,
    },
    /// A string that should hold a number or a boolean does not.
    #[error(
        "Failed to parse '{text}' as a JSON {expected} for field '{field}': syntax error at line 1 near: {text}"
    )]
    BadScalar {
        /// The string (at most 200 bytes).
        text: String,
        /// `number` or `boolean`.
        expected: &'static str,
        /// Name of the field, without its parents.
        field: String,
    },
    /// A `bytes` field does not hold base64 of the standard alphabet.
    #[error("Failed to base64 decode bytes field '{field}': {reason}")]
    Base64 {
        /// Name of the field, without its parents.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// A `required` enum field holds a name this crate does not know.
    #[error("Failed to find enum for '{name}' of required field '{field}'")]
    UnknownEnum {
        /// The unknown name (at most 200 bytes).
        name: String,
        /// Name of the field, without its parents.
        field: String,
    },
    /// Required fields are missing, each with its path.
    #[error("Missing required fields: {}", .0.join(", "))]
    MissingRequired(Vec<String>),
    /// The Rust type is not a message of this crate.
    #[error("'{0}' is not a message of Mesos v1")]
    UnknownMessage(String),
    /// The message could not be built although every field was accepted.
    #[error("the message could not be built: {0}")]
    Build(String),
}

impl JsonError {
    /// Whether the text was no JSON at all, as opposed to JSON that is no such message.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        matches!(self, Self::Syntax { .. } | Self::Trailing { .. })
    }
}

// === Writing ===

/// The JSON value of a message. `null` for a type that is no message of this crate.
#[must_use]
pub fn to_json<M: MesosMessage>(message: &M) -> Value {
    dynamic(message).map_or(Value::Null, |message| dynamic_to_json(&message))
}

/// The JSON text of a message, with keys in the order of the `.proto` file, as a
/// Mesos master writes it. `null` for a type that is no message of this crate.
#[must_use]
pub fn to_vec<M: MesosMessage>(message: &M) -> Vec<u8> {
    dynamic(message)
        .and_then(|message| serde_json::to_vec(&write::Json(&message)).ok())
        .unwrap_or_else(|| b"null".to_vec())
}

/// The JSON value of a message that is known by its descriptor only.
#[must_use]
pub fn dynamic_to_json(message: &DynamicMessage) -> Value {
    serde_json::to_value(write::Json(message)).unwrap_or(Value::Null)
}

fn dynamic<M: MesosMessage>(message: &M) -> Option<DynamicMessage> {
    let descriptor = descriptor::of::<M>()?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok()
}

// === Reading ===

/// Reads a message from JSON text.
///
/// The size of the text is the caller's to bound; nesting is bounded to 128
/// levels.
///
/// # Errors
///
/// [`JsonError`], with the texts a Mesos master uses.
pub fn from_json<M: MesosMessage>(text: &[u8]) -> Result<M, JsonError> {
    from_value(&read::parse(text)?)
}

/// Reads a message from a JSON value.
///
/// # Errors
///
/// [`JsonError`], with the texts a Mesos master uses.
pub fn from_value<M: MesosMessage>(value: &Value) -> Result<M, JsonError> {
    let descriptor =
        descriptor::of::<M>().ok_or_else(|| JsonError::UnknownMessage(M::full_name()))?;
    let message = read::message(descriptor, value)?;
    let missing = crate::required::missing_in(&message);
    if !missing.is_empty() {
        return Err(JsonError::MissingRequired(missing));
    }
    M::decode(message.encode_to_vec().as_slice()).map_err(|e| JsonError::Build(e.to_string()))
}

#[cfg(test)]
mod tests;
