//! Messages to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage,
    Value,
};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

/// A message in Mesos' JSON form.
pub(super) struct Json<'a>(pub(super) &'a DynamicMessage);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in self.0.descriptor().fields() {
            if !is_written(self.0, &field) {
                continue;
            }
            let value = self.0.get_field(&field);
            let kind = field.kind();
            if let (Value::EnumNumber(number), Kind::Enum(names)) = (&*value, &kind)
                && names.get_value(*number).is_none()
            {
                // Proto2 enums are closed: a number without a name reads as unset.
                continue;
            }
            map.serialize_entry(
                field.name(),
                &Field {
                    value: &value,
                    kind: &kind,
                },
            )?;
        }
        map.end()
    }
}

fn is_written(message: &DynamicMessage, field: &FieldDescriptor) -> bool {
    if message.has_field(field) {
        return true;
    }
    let proto = field.field_descriptor_proto();
    let deprecated = proto.options.as_ref().is_some_and(|o| o.deprecated());
    field.cardinality() == Cardinality::Optional && proto.default_value.is_some() && !deprecated
}

struct Field<'a> {
    value: &'a Value,
    kind: &'a Kind,
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(v) => serializer.serialize_bool(*v),
            Value::I32(v) => serializer.serialize_i32(*v),
            Value::I64(v) => serializer.serialize_i64(*v),
            Value::U32(v) => serializer.serialize_u32(*v),
            Value::U64(v) => serializer.serialize_u64(*v),
            Value::F32(v) => double(f64::from(*v), serializer),
            Value::F64(v) => double(*v, serializer),
            Value::String(v) => serializer.serialize_str(v),
            Value::Bytes(v) => serializer.serialize_str(&STANDARD.encode(v)),
            Value::EnumNumber(number) => match self.kind {
                Kind::Enum(names) => enum_name(names, *number, serializer),
                _ => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Json(message).serialize(serializer),
            Value::List(items) => {
                let mut list = serializer.serialize_seq(None)?;
                for value in items {
                    let unknown = match (value, self.kind) {
                        (Value::EnumNumber(n), Kind::Enum(names)) => names.get_value(*n).is_none(),
                        _ => false,
                    };
                    if !unknown {
                        list.serialize_element(&Field {
                            value,
                            kind: self.kind,
                        })?;
                    }
                }
                list.end()
            }
            Value::Map(entries) => {
                let Kind::Message(entry) = self.kind else {
                    return Err(serde::ser::Error::custom(
                        "a map field without an entry type",
                    ));
                };
                let kind = entry.map_entry_value_field().kind();
                // Hash order would make equal messages differ in text.
                let mut keys: Vec<_> = entries.keys().map(|k| (key_text(k), k)).collect();
                keys.sort();
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (text, key) in keys {
                    if let Some(value) = entries.get(key) {
                        map.serialize_entry(&text, &Field { value, kind: &kind })?;
                    }
                }
                map.end()
            }
        }
    }
}

fn enum_name<S: Serializer>(
    names: &EnumDescriptor,
    number: i32,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match names.get_value(number) {
        Some(value) => serializer.serialize_str(value.name()),
        None => serializer.serialize_i32(number),
    }
}

fn double<S: Serializer>(value: f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(value)
    } else if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value > 0.0 {
        serializer.serialize_str("Infinity")
    } else {
        serializer.serialize_str("-Infinity")
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(v) => v.to_string(),
        MapKey::I32(v) => v.to_string(),
        MapKey::I64(v) => v.to_string(),
        MapKey::U32(v) => v.to_string(),
        MapKey::U64(v) => v.to_string(),
        MapKey::String(v) => v.clone(),
    }
}
