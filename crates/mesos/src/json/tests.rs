use serde_json::json;

use super::*;
use crate::v1;
use crate::v1::scheduler::Call;

fn error(text: &str) -> String {
    from_json::<Call>(text.as_bytes()).unwrap_err().to_string()
}

/// The texts are those of a real master (recording of scheduler HTTP errors).
#[test]
fn errors_read_as_those_of_a_master() {
    let subscribe = |info: &str| {
        error(&format!(
            r#"{{"type":"SUBSCRIBE","subscribe":{{"framework_info":{info}}}}}"#
        ))
    };
    assert_eq!(error(""), "syntax error at line 1 near: ");
    assert_eq!(error(r#"{"type":"#), "syntax error at line 1 near: ");
    assert_eq!(error("hello"), "syntax error at line 1 near: hello");
    assert_eq!(error("[]"), "Expecting a JSON object");
    assert_eq!(error("null"), "Expecting a JSON object");
    assert_eq!(
        error(r#"{"type":"SUBSCRIBE"} x"#),
        "Parsed JSON included non-whitespace trailing characters:  x"
    );
    assert_eq!(
        error(r#"{"type":1}"#),
        "Not expecting a JSON number for field 'type'"
    );
    assert_eq!(
        error(r#"{"type":{}}"#),
        "Not expecting a JSON object for field 'type'"
    );
    assert_eq!(
        subscribe("{}"),
        "Missing required fields: subscribe.framework_info.user, subscribe.framework_info.name"
    );
    assert_eq!(
        subscribe(r#"{"user":"root","name":"n","checkpoint":"yes"}"#),
        "Failed to parse 'yes' as a JSON boolean for field 'checkpoint': \
         syntax error at line 1 near: yes"
    );
    assert_eq!(
        subscribe(r#"{"user":"root","name":7}"#),
        "Not expecting a JSON number for field 'name'"
    );
    assert_eq!(
        error(r#"{"type":"SUBSCRIBE","subscribe":{"frameworkInfo":{"user":"r","name":"n"}}}"#),
        "Missing required fields: subscribe.framework_info"
    );
    assert_eq!(
        error(r#"{"acknowledge":{"uuid":"ab-d"}}"#),
        "Failed to base64 decode bytes field 'uuid': Invalid character '-'"
    );
    assert_eq!(
        error(
            r#"{"accept":{"operations":[{"launch":{"task_infos":
                [{"name":"t","task_id":{"value":"t"}}]}}]}}"#
        ),
        "Missing required fields: accept.operations[0].launch.task_infos[0].agent_id"
    );
}

#[test]
fn lenient_forms_are_accepted() {
    let call: Call = from_value(&json!({
        "type": "SUBSCRIBE", "frob": 1, "framework_id": null,
        "subscribe": {"framework_info": {
            "user": "root", "name": "n", "roles": "web", "failover_timeout": "12.5",
            "checkpoint": "true",
            "capabilities": [{"type": "NO_SUCH"}, {"type": "MULTI_ROLE"}],
        }},
    }))
    .unwrap();
    let info = call.subscribe.unwrap().framework_info;
    assert_eq!(info.roles, ["web"]);
    assert_eq!(info.failover_timeout, Some(12.5));
    assert_eq!(info.checkpoint, Some(true));
    assert_eq!(info.capabilities[0].r#type, None);
    assert_eq!(info.capabilities[1].r#type, Some(6));
    assert_eq!(call.framework_id, None);

    let filters: v1::Filters = from_value(&json!({"refuse_seconds": "Infinity"})).unwrap();
    assert_eq!(filters.refuse_seconds, Some(f64::INFINITY));
    let unknown: Call = from_value(&json!({"type": "FROBNICATE"})).unwrap();
    assert_eq!(unknown.r#type, None);
}

#[test]
fn defaults_are_written_unless_deprecated() {
    let info = v1::FrameworkInfo {
        user: "u".into(),
        name: "n".into(),
        ..Default::default()
    };
    assert_eq!(
        to_json(&info),
        json!({"user": "u", "name": "n", "failover_timeout": 0.0, "checkpoint": false})
    );
    assert_eq!(
        to_vec(&info),
        br#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#
    );
    assert_eq!(
        to_json(&v1::scheduler::call::Suppress::default()),
        json!({})
    );
}

#[test]
fn odd_values_survive_the_round_trip() {
    let time = v1::TimeInfo {
        nanoseconds: i64::MAX,
    };
    assert_eq!(to_vec(&time), br#"{"nanoseconds":9223372036854775807}"#);
    assert_eq!(from_json::<v1::TimeInfo>(&to_vec(&time)).unwrap(), time);

    let range = v1::value::Range {
        begin: u64::MAX,
        end: u64::MAX,
    };
    assert_eq!(
        from_value::<v1::value::Range>(&to_json(&range)).unwrap(),
        range
    );

    let infinite = v1::Filters {
        refuse_seconds: Some(f64::INFINITY),
    };
    assert_eq!(to_json(&infinite), json!({"refuse_seconds": "Infinity"}));

    let drain = v1::DrainConfig {
        max_grace_period: Some(v1::DurationInfo { nanoseconds: 5 }),
        ..Default::default()
    };
    assert_eq!(
        from_value::<v1::DrainConfig>(&to_json(&drain))
            .unwrap()
            .mark_gone,
        Some(false)
    );
    let drain = v1::master::call::DrainAgent {
        agent_id: v1::AgentId { value: "a".into() },
        max_grace_period: Some(prost_types::Duration {
            seconds: 3,
            nanos: 5,
        }),
        ..Default::default()
    };
    assert_eq!(
        to_json(&drain)["max_grace_period"],
        json!({"seconds": 3, "nanos": 5})
    );

    let mut config = v1::quota::QuotaConfig {
        role: "r".into(),
        ..Default::default()
    };
    config
        .limits
        .insert("cpus".into(), v1::value::Scalar { value: 1.0 });
    assert_eq!(
        to_json(&config),
        json!({"role": "r", "limits": {"cpus": {"value": 1.0}}})
    );
    assert_eq!(
        from_value::<v1::quota::QuotaConfig>(&to_json(&config)).unwrap(),
        config
    );
}
