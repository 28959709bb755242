//! JSON to messages.

use std::collections::HashMap;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    Value,
};
use serde_json::Value as Json;

use super::JsonError;

/// A Mesos master stops at the first `=`, however many there should be.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longest piece of foreign text that goes into an error.
const QUOTE_BYTES_MAX: usize = 200;

pub(super) fn parse(text: &[u8]) -> Result<Json, JsonError> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Json>();
    let value = match values.next() {
        Some(Ok(value)) => value,
        Some(Err(e)) => return Err(syntax(text, e.line(), e.column())),
        None => return Err(syntax(text, 1, 0)),
    };
    let rest = text.get(values.byte_offset()..).unwrap_or_default();
    if rest.iter().all(u8::is_ascii_whitespace) {
        Ok(value)
    } else {
        Err(JsonError::Trailing {
            trailing: quote(&String::from_utf8_lossy(rest)),
        })
    }
}

fn syntax(text: &[u8], line: usize, column: usize) -> JsonError {
    let found = text
        .split(|b| *b == b'\n')
        .nth(line.saturating_sub(1))
        .unwrap_or_default();
    let near = found.get(column.saturating_sub(1)..).unwrap_or_default();
    // At the end of the text serde_json points at the last character read.
    let at_end = column >= found.len();
    let near = if at_end {
        String::new()
    } else {
        quote(&String::from_utf8_lossy(near))
    };
    JsonError::Syntax {
        line: line.max(1),
        near,
    }
}

fn quote(text: &str) -> String {
    let mut end = text.len().min(QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

pub(super) fn message(
    descriptor: MessageDescriptor,
    value: &Json,
) -> Result<DynamicMessage, JsonError> {
    let Json::Object(object) = value else {
        return Err(JsonError::NotAnObject);
    };
    let mut message = DynamicMessage::new(descriptor.clone());
    for (name, value) in object {
        if let Some(field) = descriptor.get_field_by_name(name) {
            set(&mut message, &field, value)?;
        }
    }
    Ok(message)
}

fn set(
    message: &mut DynamicMessage,
    field: &FieldDescriptor,
    json: &Json,
) -> Result<(), JsonError> {
    if json.is_null() {
        return Ok(());
    }
    if field.is_map() {
        let entries = map(field, json)?;
        message.set_field(field, Value::Map(entries));
    } else if field.is_list() {
        let mut items = Vec::new();
        match json {
            Json::Array(elements) => {
                for element in elements {
                    items.extend(single(field, element)?);
                }
            }
            element => items.extend(single(field, element)?),
        }
        message.set_field(field, Value::List(items));
    } else if let Some(value) = single(field, json)? {
        message.set_field(field, value);
    }
    Ok(())
}

fn map(field: &FieldDescriptor, json: &Json) -> Result<HashMap<MapKey, Value>, JsonError> {
    let (Json::Object(object), Kind::Message(entry)) = (json, field.kind()) else {
        return Err(unexpected(field, json));
    };
    let value_field = entry.map_entry_value_field();
    let mut entries = HashMap::new();
    for (key, json) in object {
        if let Some(value) = single(&value_field, json)? {
            // Mesos has maps from strings only.
            entries.insert(MapKey::String(key.clone()), value);
        }
    }
    Ok(entries)
}

/// One value of a field; `None` if it leaves the field unset.
fn single(field: &FieldDescriptor, json: &Json) -> Result<Option<Value>, JsonError> {
    match json {
        Json::Null => Ok(None),
        Json::Object(_) => match field.kind() {
            Kind::Message(inner) => message(inner, json).map(|m| Some(Value::Message(m))),
            _ => Err(unexpected(field, json)),
        },
        Json::Array(_) => Err(unexpected(field, json)),
        Json::Bool(value) => match field.kind() {
            Kind::Bool => Ok(Some(Value::Bool(*value))),
            _ => Err(unexpected(field, json)),
        },
        Json::Number(n) => number(&field.kind(), n)
            .map(Some)
            .ok_or_else(|| unexpected(field, json)),
        Json::String(text) => string(field, text),
    }
}

fn string(field: &FieldDescriptor, text: &str) -> Result<Option<Value>, JsonError> {
    match field.kind() {
        Kind::String => Ok(Some(Value::String(text.to_owned()))),
        Kind::Bytes => base64(field, text).map(Some),
        Kind::Enum(names) => enum_value(field, &names, text),
        Kind::Bool => match text {
            "true" => Ok(Some(Value::Bool(true))),
            "false" => Ok(Some(Value::Bool(false))),
            _ => Err(bad_scalar(field, text, "boolean")),
        },
        Kind::Message(_) => Err(JsonError::Unexpected {
            found: "string",
            field: field.name().to_owned(),
        }),
        kind => {
            let infinite = match text {
                "Infinity" => Some(f64::INFINITY),
                "-Infinity" => Some(f64::NEG_INFINITY),
                "NaN" => Some(f64::NAN),
                _ => None,
            };
            let value = match (infinite, &kind) {
                (Some(v), Kind::Double) => Some(Value::F64(v)),
                (Some(v), Kind::Float) => Some(Value::F32(v as f32)),
                (Some(_), _) => None,
                (None, _) => serde_json::from_str(text)
                    .ok()
                    .and_then(|n| number(&kind, &n)),
            };
            value
                .map(Some)
                .ok_or_else(|| bad_scalar(field, text, "number"))
        }
    }
}

/// Conversions wrap and cut off as C++ casts do, so that both sides of a
/// conversation see the same number.
fn number(kind: &Kind, n: &serde_json::Number) -> Option<Value> {
    let integer = || {
        n.as_i64()
            .or_else(|| n.as_u64().map(|v| v as i64))
            .or_else(|| n.as_f64().map(|v| v as i64))
            .unwrap_or_default()
    };
    match kind {
        Kind::Double => n.as_f64().map(Value::F64),
        Kind::Float => n.as_f64().map(|v| Value::F32(v as f32)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Some(Value::I32(integer() as i32)),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Some(Value::I64(integer())),
        Kind::Uint32 | Kind::Fixed32 => Some(Value::U32(integer() as u32)),
        Kind::Uint64 | Kind::Fixed64 => {
            let value = match n.as_f64() {
                Some(v) if n.is_f64() && v >= 0.0 => v as u64,
                _ => integer() as u64,
            };
            Some(Value::U64(value))
        }
        _ => None,
    }
}

fn base64(field: &FieldDescriptor, text: &str) -> Result<Value, JsonError> {
    let bytes = BASE64.decode(text).map_err(|e| JsonError::Base64 {
        field: field.name().to_owned(),
        reason: match e {
            base64::DecodeError::InvalidByte(_, b) => {
                format!("Invalid character '{}'", char::from(b))
            }
            other => other.to_string(),
        },
    })?;
    Ok(Value::Bytes(bytes.into()))
}

fn enum_value(
    field: &FieldDescriptor,
    names: &EnumDescriptor,
    text: &str,
) -> Result<Option<Value>, JsonError> {
    match names.get_value_by_name(text) {
        Some(value) => Ok(Some(Value::EnumNumber(value.number()))),
        None if field.cardinality() == Cardinality::Required => Err(JsonError::UnknownEnum {
            name: quote(text),
            field: field.name().to_owned(),
        }),
        None => Ok(None),
    }
}

fn unexpected(field: &FieldDescriptor, json: &Json) -> JsonError {
    let found = match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    JsonError::Unexpected {
        found,
        field: field.name().to_owned(),
    }
}

fn bad_scalar(field: &FieldDescriptor, text: &str, expected: &'static str) -> JsonError {
    JsonError::BadScalar {
        text: quote(text),
        expected,
        field: field.name().to_owned(),
    }
}
