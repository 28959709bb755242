//! The check of proto2 `required` fields that prost leaves out.
//!
//! prost decodes a message without its required fields to their defaults, so the
//! check has to be made on the bytes. The usual case, that all are present, walks
//! the bytes once and allocates nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::{Cardinality, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};
use thiserror::Error;

use crate::descriptor::{self, MesosMessage};

/// Deepest nesting that is walked; prost refuses more than 100 levels itself.
const DEPTH_MAX: u32 = 100;

/// Why bytes were not accepted as a message.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are no protobuf message of this type.
    #[error("the bytes are no valid {message}: {source}")]
    Protobuf {
        /// Full name of the message type.
        message: String,
        /// What prost found.
        source: prost::DecodeError,
    },
    /// Required fields are missing, each with its path.
    #[error("{message} lacks the required fields {}", missing.join(", "))]
    Missing {
        /// Full name of the message type.
        message: String,
        /// Path of each missing field, e.g. `subscribe.framework_info.user`.
        missing: Vec<String>,
    },
}

/// Decodes a message and checks that its required fields are present.
///
/// # Errors
///
/// [`DecodeError::Protobuf`] for malformed bytes, [`DecodeError::Missing`] for
/// absent required fields. A message type of another crate is decoded unchecked.
pub fn decode<M: MesosMessage>(bytes: &[u8]) -> Result<M, DecodeError> {
    let message = M::decode(bytes).map_err(|source| DecodeError::Protobuf {
        message: M::full_name(),
        source,
    })?;
    let missing = missing::<M>(bytes);
    if missing.is_empty() {
        Ok(message)
    } else {
        Err(DecodeError::Missing {
            message: M::full_name(),
            missing,
        })
    }
}

/// Paths of the required fields that the bytes of an `M` lack.
///
/// Bytes that are no protobuf at all give an empty list: decode them to find out.
#[must_use]
pub fn missing<M: MesosMessage>(bytes: &[u8]) -> Vec<String> {
    let Some(&shape) = SHAPES.by_name.get(&M::full_name()) else {
        return Vec::new();
    };
    if SHAPES.is_complete(shape, bytes, DEPTH_MAX) == Some(true) {
        return Vec::new();
    }
    // The walk cannot name paths and does not merge a message that comes in
    // pieces; both are rare enough for the slow and thorough way.
    descriptor::of::<M>()
        .and_then(|d| DynamicMessage::decode(d, bytes).ok())
        .map(|m| missing_in(&m))
        .unwrap_or_default()
}

/// Paths of the required fields that are unset in a dynamic message, in the order
/// protobuf's C++ library names them: own fields first, then those of the members.
#[must_use]
pub fn missing_in(message: &DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    collect(message, "", &mut found);
    found
}

fn collect(message: &DynamicMessage, prefix: &str, found: &mut Vec<String>) {
    for field in message.descriptor().fields() {
        if field.cardinality() == Cardinality::Required && !message.has_field(&field) {
            found.push(format!("{prefix}{}", field.name()));
        }
    }
    for (field, value) in message.fields() {
        let name = field.name();
        match value {
            Value::Message(inner) => collect(inner, &format!("{prefix}{name}."), found),
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if let Value::Message(inner) = item {
                        collect(inner, &format!("{prefix}{name}[{i}]."), found);
                    }
                }
            }
            Value::Map(entries) => {
                for (i, item) in entries.values().enumerate() {
                    if let Value::Message(inner) = item {
                        collect(inner, &format!("{prefix}{name}[{i}].value."), found);
                    }
                }
            }
            _ => {}
        }
    }
}

// === The quick walk ===

static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

/// What the walk must know of all message types.
struct Shapes {
    by_name: HashMap<String, usize>,
    shapes: Vec<Shape>,
}

#[derive(Default)]
struct Shape {
    /// One bit for each required field, 64 at most.
    required: u64,
    /// By field number; Mesos numbers its fields densely from 1.
    fields: Vec<FieldShape>,
}

#[derive(Clone, Copy, Default)]
struct FieldShape {
    required_bit: u64,
    /// Index of the message type, for fields that hold messages.
    inner: Option<usize>,
}

impl Shapes {
    fn new() -> Self {
        let all: Vec<MessageDescriptor> = descriptor::pool().all_messages().collect();
        let by_name: HashMap<String, usize> = all
            .iter()
            .enumerate()
            .map(|(i, d)| (d.full_name().to_owned(), i))
            .collect();
        let shapes = all
            .iter()
            .map(|message| {
                let mut shape = Shape::default();
                let mut bit = 1u64;
                for field in message.fields() {
                    let number = field.number() as usize;
                    if shape.fields.len() <= number {
                        shape.fields.resize(number + 1, FieldShape::default());
                    }
                    let slot = &mut shape.fields[number];
                    if field.cardinality() == Cardinality::Required {
                        slot.required_bit = bit;
                        shape.required |= bit;
                        bit <<= 1;
                    }
                    if let Kind::Message(inner) = field.kind() {
                        slot.inner = by_name.get(inner.full_name()).copied();
                    }
                }
                shape
            })
            .collect();
        Self { by_name, shapes }
    }

    /// Whether every required field is present at every level; `None` if the
    /// bytes cannot be walked.
    fn is_complete(&self, shape: usize, mut bytes: &[u8], depth: u32) -> Option<bool> {
        let shape = self.shapes.get(shape)?;
        let depth = depth.checked_sub(1)?;
        let mut seen = 0u64;
        while !bytes.is_empty() {
            let key = varint(&mut bytes)?;
            let field = usize::try_from(key >> 3)
                .ok()
                .and_then(|n| shape.fields.get(n))
                .copied();
            let content = match key & 7 {
                0 => {
                    varint(&mut bytes)?;
                    None
                }
                1 => {
                    bytes = bytes.get(8..)?;
                    None
                }
                2 => {
                    let len = usize::try_from(varint(&mut bytes)?).ok()?;
                    let content = bytes.get(..len)?;
                    bytes = bytes.get(len..)?;
                    Some(content)
                }
                5 => {
                    bytes = bytes.get(4..)?;
                    None
                }
                _ => return None,
            };
            let field = field.unwrap_or_default();
            seen |= field.required_bit;
            if let (Some(inner), Some(content)) = (field.inner, content)
                && !self.is_complete(inner, content, depth)?
            {
                return Some(false);
            }
        }
        Some(seen & shape.required == shape.required)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f)
            .checked_shl(shift)
            .unwrap_or_default();
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::v1;
    use crate::v1::scheduler::{Call, call};

    #[test]
    fn complete_messages_pass() {
        let call = Call {
            subscribe: Some(call::Subscribe {
                framework_info: v1::FrameworkInfo::default(),
                ..Default::default()
            }),
            ..Default::default()
        };
        // prost always writes required fields, so even the default is complete.
        assert_eq!(decode::<Call>(&call.encode_to_vec()).unwrap(), call);
        assert!(missing::<Call>(b"").is_empty());
    }

    #[test]
    fn absent_fields_are_named_with_their_path() {
        // Call{subscribe=3{framework_info=1{}}}
        let bytes = [0x1a, 2, 0x0a, 0];
        assert_eq!(
            missing::<Call>(&bytes),
            [
                "subscribe.framework_info.user",
                "subscribe.framework_info.name"
            ]
        );
        assert_eq!(missing::<Call>(&[0x1a, 0]), ["subscribe.framework_info"]);
        assert!(
            decode::<Call>(&bytes)
                .unwrap_err()
                .to_string()
                .contains("framework_info.user")
        );
        assert_eq!(missing::<v1::FrameworkInfo>(b""), ["user", "name"]);
    }

    #[test]
    fn a_message_in_two_pieces_is_merged() {
        // Call{subscribe{framework_info{user:"u"}}, subscribe{framework_info{name:"n"}}}
        let bytes = [
            0x1a, 5, 0x0a, 3, 0x0a, 1, b'u', 0x1a, 5, 0x0a, 3, 0x12, 1, b'n',
        ];
        assert!(missing::<Call>(&bytes).is_empty());
    }

    #[test]
    fn malformed_bytes_are_an_error_of_decoding() {
        for bytes in [&[0x1a][..], &[0x1a, 9, 1], &[0xff; 12]] {
            assert!(matches!(
                decode::<Call>(bytes),
                Err(DecodeError::Protobuf { .. })
            ));
        }
    }
}
