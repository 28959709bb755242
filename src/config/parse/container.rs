//! What a container is made of: parameters, volumes, networks, fetched files.

use gantry_core::{Parameter, PortMapping, Uri, Volume};
use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, Wrong, json, plain, wrong};

/// Most entries of each kind.
const ENTRIES_MAX: usize = 100;

/// `TASK#_NETWORK`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Mode {
    Host,
    Bridge,
    Named(String),
}

/// `TASK#_CONTAINERIZER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Runtime {
    Docker,
    Mesos,
}

pub(in crate::config) fn runtime(text: &str) -> Outcome<Runtime> {
    match text.trim().to_ascii_lowercase().as_str() {
        "docker" => plain(Runtime::Docker),
        "mesos" => plain(Runtime::Mesos),
        _ => wrong("is not a containerizer", "write docker or mesos"),
    }
}

pub(in crate::config) fn mode(text: &str) -> Outcome<Mode> {
    let text = text.trim();
    match text.to_ascii_uppercase().as_str() {
        "HOST" => plain(Mode::Host),
        "BRIDGE" => plain(Mode::Bridge),
        _ if text.chars().any(|c| c.is_whitespace() || c.is_control()) || text.len() > 255 => {
            wrong(
                "is not the name of a network",
                "write HOST, BRIDGE or the name of a network",
            )
        }
        _ => plain(Mode::Named(text.to_owned())),
    }
}

fn bounded<T>(entries: Vec<T>) -> Outcome<Vec<T>> {
    if entries.len() > ENTRIES_MAX {
        return wrong(
            format!("has more than {ENTRIES_MAX} entries"),
            "remove some",
        );
    }
    plain(entries)
}

/// The elements of a JSON array, or a single object as one.
fn elements(text: &str, remedy: &str) -> Result<Vec<Value>, Wrong> {
    match json::value(text) {
        Ok(parsed) => match parsed.value {
            Value::Array(elements) => Ok(elements),
            object @ Value::Object(_) => Ok(vec![object]),
            _ => Err(Wrong::new("is not a JSON array", remedy)),
        },
        Err(error) => Err(Wrong::new(error.reason, remedy)),
    }
}

/// Reads every element as `T`; `T` must refuse unknown members, so that none is lost silently.
fn each<T: for<'de> Deserialize<'de>>(elements: Vec<Value>, remedy: &str) -> Result<Vec<T>, Wrong> {
    elements
        .into_iter()
        .enumerate()
        .map(|(position, element)| {
            serde_json::from_value(element).map_err(|_| {
                let number = position + 1;
                Wrong::new(format!("has a bad entry, number {number}"), remedy)
            })
        })
        .collect()
}

/// `TASK#_CONTAINER_PARAMS`: a JSON array of `{"key","value"}`, or one of them.
pub(in crate::config) fn parameters(text: &str) -> Outcome<Vec<Parameter>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        key: String,
        value: String,
    }
    let remedy = r#"write [{"key":"cap-add","value":"NET_ADMIN"}], with texts in double quotes"#;
    let entries: Vec<Entry> = each(elements(text, remedy)?, remedy)?;
    for entry in &entries {
        if entry.key.is_empty() || entry.key.starts_with('-') {
            return wrong("has a key that is empty or begins with a dash", remedy);
        }
        if entry.key == "name" {
            return wrong(
                "sets the container's name, which Mesos refuses",
                "remove the parameter",
            );
        }
    }
    bounded(
        entries
            .into_iter()
            .map(|Entry { key, value }| Parameter { key, value })
            .collect(),
    )
}

/// `TASK#_VOLUMES`: `host:container[:ro|:rw]` separated by commas, or a JSON array of objects.
pub(in crate::config) fn volumes(text: &str) -> Outcome<Vec<Volume>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        host_path: String,
        container_path: String,
        #[serde(default)]
        read_only: bool,
    }
    let remedy = r#"write /host/path:/container/path:ro separated by commas, or [{"host_path":"…","container_path":"…","read_only":true}]"#;
    let text = text.trim();
    let mut volumes = Vec::new();
    if text.starts_with(['[', '{']) {
        let entries: Vec<Entry> = each(elements(text, remedy)?, remedy)?;
        volumes.extend(entries.into_iter().map(|entry| Volume {
            container_path: entry.container_path,
            host_path: entry.host_path,
            read_only: entry.read_only,
        }));
    } else {
        for entry in text.split(',').map(str::trim) {
            let parts: Vec<_> = entry.split(':').collect();
            let (host, container, read_only) = match parts[..] {
                [host, container] | [host, container, "rw"] => (host, container, false),
                [host, container, "ro"] => (host, container, true),
                _ => {
                    let entry = crate::config::report::shown(entry, false);
                    return wrong(format!("has {entry}, which is not a volume"), remedy);
                }
            };
            volumes.push(Volume {
                container_path: container.to_owned(),
                host_path: host.to_owned(),
                read_only,
            });
        }
    }
    let bad = |path: &str| path.is_empty() || path.contains('\0');
    if volumes
        .iter()
        .any(|volume| bad(&volume.host_path) || bad(&volume.container_path))
    {
        return wrong("has an empty path", remedy);
    }
    bounded(volumes)
}

/// `TASK#_PORT_MAPPINGS`: container ports, `8080,53/udp`.
pub(in crate::config) fn port_mappings(text: &str) -> Outcome<Vec<PortMapping>> {
    let remedy = "write container ports in the order of the host ports, such as 8080,53/udp; 0 for the same number as the host port";
    let mut mappings = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let (port, protocol) = entry.split_once('/').unwrap_or((entry, "tcp"));
        let protocol = protocol.to_ascii_lowercase();
        match port.parse::<u16>() {
            Ok(container_port)
                if port.bytes().all(|b| b.is_ascii_digit())
                    && matches!(protocol.as_str(), "tcp" | "udp" | "sctp") =>
            {
                mappings.push(PortMapping {
                    container_port,
                    protocol,
                });
            }
            _ => {
                let entry = crate::config::report::shown(entry, false);
                return wrong(format!("has {entry}, which is not a port"), remedy);
            }
        }
    }
    plain(mappings)
}

fn bad_uri(value: &str) -> bool {
    value.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// `TASK#_URI`: one URI, not split.
pub(in crate::config) fn uri(text: &str) -> Outcome<Uri> {
    let value = text.trim();
    if bad_uri(value) {
        return wrong(
            "has a blank or a control character",
            "write one URI here; several go into TASK#_URIS",
        );
    }
    plain(Uri {
        value: value.to_owned(),
        executable: None,
        extract: None,
        cache: None,
        output_file: None,
    })
}

/// `TASK#_URIS`: a JSON array of texts or objects.
pub(in crate::config) fn uris(text: &str) -> Outcome<Vec<Uri>> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Entry {
        Text(String),
        Object(Object),
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Object {
        value: String,
        executable: Option<bool>,
        extract: Option<bool>,
        cache: Option<bool>,
        output_file: Option<String>,
    }
    let remedy = r#"write ["http://a/b"], or objects {"value":"http://a/b","extract":false}; they may also have executable, cache, output_file"#;
    let entries: Vec<Entry> = each(elements(text, remedy)?, remedy)?;
    let uris: Vec<_> = entries
        .into_iter()
        .map(|entry| match entry {
            Entry::Text(value) => Uri {
                value,
                executable: None,
                extract: None,
                cache: None,
                output_file: None,
            },
            Entry::Object(object) => Uri {
                value: object.value,
                executable: object.executable,
                extract: object.extract,
                cache: object.cache,
                output_file: object.output_file,
            },
        })
        .collect();
    for uri in &uris {
        if bad_uri(&uri.value) {
            return wrong("has a URI that is empty or has a blank", remedy);
        }
        let outside =
            |file: &String| file.starts_with('/') || file.split('/').any(|part| part == "..");
        if uri.output_file.as_ref().is_some_and(outside) {
            return wrong(
                "has an output_file outside the sandbox",
                "write a relative path without ..",
            );
        }
    }
    bounded(uris)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_an_array_or_one_object() {
        let one = Parameter {
            key: "cap-add".into(),
            value: "ALL".into(),
        };
        let array = parameters(r#"[{"key":"cap-add","value":"ALL"}]"#).unwrap();
        assert_eq!(array.value, [one]);
        assert_eq!(
            parameters(r#"{"key":"cap-add","value":"ALL"}"#).unwrap(),
            array
        );
        for bad in [
            r#"[{"key":"a"}]"#,
            r#"[{"key":"a","value":1}]"#,
            r#"[{"key":"--a","value":"1"}]"#,
            r#"[{"key":"name","value":"x"}]"#,
            r#"[{"key":"a","value":"1","x":1}]"#,
            "3",
            "a=b",
        ] {
            assert!(parameters(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_in_both_forms() {
        let short = volumes("/a:/b:ro, data:/c").unwrap().value;
        let json = r#"[{"host_path":"/a","container_path":"/b","read_only":true},{"host_path":"data","container_path":"/c"}]"#;
        assert_eq!(short, volumes(json).unwrap().value);
        assert!(short[0].read_only && !short[1].read_only);
        for bad in [
            "/a",
            "/a:/b:x",
            ":/b",
            "/a:",
            "/a:/b,,",
            r#"[{"host":"/a"}]"#,
        ] {
            assert!(volumes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uris_as_texts_and_objects() {
        let parsed =
            uris(r#"["http://a/b",{"value":"http://c","extract":false,"output_file":"x/y"}]"#)
                .unwrap()
                .value;
        assert_eq!(parsed[0], uri("http://a/b").unwrap().value);
        assert_eq!(parsed[1].extract, Some(false));
        for bad in [
            r#"[{"uri":"x"}]"#,
            r#"[1]"#,
            r#"["a b"]"#,
            r#"[""]"#,
            r#"[{"value":"a","output_file":"../x"}]"#,
            "http://a",
        ] {
            assert!(uris(bad).is_err(), "{bad}");
        }
        assert!(uri("http://a http://b").is_err());
    }

    #[test]
    fn networks_and_mappings() {
        assert_eq!(mode("bridge").unwrap().value, Mode::Bridge);
        assert_eq!(mode("weave").unwrap().value, Mode::Named("weave".into()));
        assert!(mode("a b").is_err() && runtime("rkt").is_err());
        let mappings = port_mappings("8080, 53/UDP,0").unwrap().value;
        let shown: Vec<_> = mappings
            .iter()
            .map(|mapping| format!("{}/{}", mapping.container_port, mapping.protocol))
            .collect();
        assert_eq!(shown, ["8080/tcp", "53/udp", "0/tcp"]);
        for bad in ["", "x", "80/icmp", "70000", "80,", "+1"] {
            assert!(port_mappings(bad).is_err(), "{bad}");
        }
    }
}
