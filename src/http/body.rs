//! Bodies of requests: bounded, strict, and refused with the name of the field at fault.

use actix_web::{HttpRequest, http::header, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, Visitor},
};
use utoipa::ToSchema;

use super::{
    AppState,
    error::{ApiError, Code},
};

/// How much of a body that is too large is still read and thrown away, in bytes: a client that is
/// cut off while it sends often does not see the answer.
const DISCARD_MAX: usize = 16 << 20;

/// Longest reason for an action, in characters.
pub(crate) const REASON_MAX: usize = 256;

/// Reads the JSON object of a body.
pub(crate) async fn json<T: DeserializeOwned>(
    state: &AppState,
    payload: web::Payload,
) -> Result<T, ApiError> {
    object(&read(payload, state.settings().body_max).await?)
}

/// Like [`json`], for what has a limit of its own; the larger of the two holds.
pub(crate) async fn large_json<T: DeserializeOwned>(
    state: &AppState,
    payload: web::Payload,
    body_max: usize,
) -> Result<T, ApiError> {
    object(&read(payload, state.settings().body_max.max(body_max)).await?)
}

/// Like [`json`], with the default for an empty body.
pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(
    state: &AppState,
    payload: web::Payload,
) -> Result<T, ApiError> {
    let body = read(payload, state.settings().body_max).await?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(T::default());
    }
    object(&body)
}

fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // An array would do for a struct, its fields without names.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ApiError::new(
            Code::BadRequest,
            "the body must be a JSON object",
        ));
    }
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(Code::BadRequest, format!("the body does not fit: {error}")))
}

/// Reads a body of at most `body_max` bytes.
pub(crate) async fn read(mut payload: web::Payload, body_max: usize) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    let mut received = 0usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(
                Code::BadRequest,
                format!("the body cannot be read: {error}"),
            )
        })?;
        received = received.saturating_add(chunk.len());
        if received <= body_max {
            body.extend_from_slice(&chunk);
        } else if received > DISCARD_MAX {
            break;
        }
    }
    if received > body_max {
        return Err(ApiError::new(
            Code::BodyTooLarge,
            format!("the body is larger than {body_max} bytes"),
        ));
    }
    Ok(body.freeze())
}

/// Whether the client asks for JSON and for nothing else: clients of the original that would take
/// anything (`Accept: application/json, text/plain, */*`) keep getting the original's answers.
pub(crate) fn wants_json(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    accept
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("application/json") && !value.contains("*/*"))
}

/// A number of instances. The scheduler has its own, lower limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstanceCount(pub(crate) u32);

impl<'de> Deserialize<'de> for InstanceCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl Visitor<'_> for Count {
            type Value = InstanceCount;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "`instances` to be a whole number from 0 to {}", u32::MAX)
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                u32::try_from(value)
                    .map(InstanceCount)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                Err(E::invalid_value(de::Unexpected::Signed(value), &self))
            }
        }
        deserializer.deserialize_u64(Count)
    }
}

/// Why an operator does something: one line of at most [`REASON_MAX`] characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reason(pub(crate) String);

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)
            .map_err(|error| de::Error::custom(format!("`reason`: {error}")))?;
        if text.chars().count() > REASON_MAX {
            return Err(de::Error::custom(format!(
                "`reason` is longer than {REASON_MAX} characters"
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(de::Error::custom(
                "`reason` has control characters: write it in one line",
            ));
        }
        Ok(Self(text))
    }
}

/// What can be said with any action.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OnlyReason {
    /// Why, for the audit: one line.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) reason: Option<Reason>,
}

/// The body of a scale request.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScaleBody {
    /// How many are wanted.
    #[schema(value_type = u32)]
    pub(crate) instances: InstanceCount,
    /// Why, for the audit: one line.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) reason: Option<Reason>,
}

/// The body of an action on one workload, or on all of them.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkloadBody {
    /// Which one; all of them when absent.
    #[serde(default, deserialize_with = "workload_name")]
    pub(crate) workload: Option<String>,
    /// Why, for the audit: one line.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub(crate) reason: Option<Reason>,
}

fn workload_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
        .map_err(|error| de::Error::custom(format!("`workload`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_body_names_its_field() {
        for (body, says) in [
            (r#"{"instances":-1}"#, "instances"),
            (r#"{"instances":"abc"}"#, "instances"),
            (r#"{"instances":"3"}"#, "instances"),
            (r#"{"instances":1e12}"#, "instances"),
            (r#"{"instances":1000000000000}"#, "instances"),
            (r#"{"instances":2.5}"#, "instances"),
            (r#"{"instances":null}"#, "instances"),
            (r#"{"instances":[1]}"#, "instances"),
            (r#"{"instances":1,"instances":2}"#, "instances"),
            (r#"{"instances":1,"count":2}"#, "count"),
            (r#"{"instances":1,"reason":7}"#, "reason"),
            (r#"{"instances":1,"reason":"a\nb"}"#, "reason"),
            (r#"{}"#, "instances"),
        ] {
            let error = serde_json::from_str::<ScaleBody>(body)
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{body}: {error}");
        }
        let long = format!(r#"{{"instances":1,"reason":"{}"}}"#, "x".repeat(257));
        assert!(serde_json::from_str::<ScaleBody>(&long).is_err());
        let error = serde_json::from_str::<WorkloadBody>(r#"{"workload":1}"#).unwrap_err();
        assert!(error.to_string().contains("workload"), "{error}");

        let body: ScaleBody = serde_json::from_str(r#"{"instances":0,"reason":"night"}"#).unwrap();
        assert_eq!(body.instances, InstanceCount(0));
        assert_eq!(body.reason, Some(Reason("night".to_owned())));
    }
}
