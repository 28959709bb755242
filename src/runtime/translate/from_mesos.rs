//! From Mesos: offers and status updates as the scheduler takes them.
//!
//! prost turns a missing required field into its default and leaves an unknown enum value a number.
//! Here is where both are noticed: the item is refused with a reason, the rest goes on.

use std::{borrow::Cow, sync::Arc, time::Duration};

use gantry_core::{
    AgentAddress, AgentId, Amount, EntryValue, Offer, OfferEntry, OfferId, PortSet, Reservation,
    Reservations, Scalar, StatusUpdate, TaskId, TaskState, Timestamp, Unavailability,
};
use gantry_mesos::v1;

/// Where an agent listens when an offer does not say it.
const AGENT_PORT: u16 = 5051;

/// Why an item was left out, as a clause.
#[derive(Debug, PartialEq)]
pub(crate) struct Unusable(pub(crate) Cow<'static, str>);

/// An offer with what a service can use of it: whole, private, unshared resources without volumes.
pub(crate) fn offer(offer: v1::Offer) -> Result<Offer, Unusable> {
    if offer.id.value.is_empty() {
        return Err(Unusable("an offer has no id".into()));
    }
    if offer.agent_id.value.is_empty() {
        let reason = format!("offer {} names no agent", offer.id.value);
        return Err(Unusable(reason.into()));
    }
    let role = offer
        .allocation_info
        .and_then(|info| info.role)
        .unwrap_or_else(|| "*".to_owned());
    let (ip, port) = offer.url.map_or((None, None), |url| {
        (url.address.ip, u16::try_from(url.address.port).ok())
    });
    let agent = AgentAddress {
        id: AgentId::new(offer.agent_id.value),
        ip: ip.unwrap_or_else(|| offer.hostname.clone()),
        port: port.filter(|port| *port != 0).unwrap_or(AGENT_PORT),
        hostname: offer.hostname,
        attributes: agent_attributes(&offer.attributes),
    };
    let mut kinds = Kinds::default();
    let entries = offer
        .resources
        .into_iter()
        .filter_map(|resource| entry(resource, &mut kinds))
        .collect();
    Ok(Offer {
        id: OfferId::new(offer.id.value),
        agent: Arc::new(agent),
        role: role.into(),
        entries,
        unavailable: offer.unavailability.map(window),
    })
}

/// A window whose length is not to be understood has no end.
fn window(unavailability: v1::Unavailability) -> Unavailability {
    let nanoseconds = u64::try_from(unavailability.start.nanoseconds).unwrap_or(0);
    let from = Timestamp::from_millis(nanoseconds / 1_000_000);
    let lasts = unavailability.duration;
    let lasts = lasts.and_then(|duration| u64::try_from(duration.nanoseconds).ok());
    Unavailability {
        from,
        until: lasts.map(|nanoseconds| from + Duration::from_nanos(nanoseconds)),
    }
}

/// News of a task.
pub(crate) fn status(status: v1::TaskStatus) -> Result<StatusUpdate, Unusable> {
    let task = status.task_id.value;
    if task.is_empty() {
        return Err(Unusable("a status update names no task".into()));
    }
    let Some(state) = v1::TaskState::try_from(status.state).ok().map(state) else {
        let reason = format!("the status update of {task} has an unknown state");
        return Err(Unusable(reason.into()));
    };
    let uuid = match status.uuid.as_deref() {
        None | Some([]) => None,
        Some(uuid) => match <[u8; 16]>::try_from(uuid) {
            Ok(uuid) => Some(uuid),
            Err(_) => {
                let reason = format!("the uuid in the status update of {task} is not 16 bytes");
                return Err(Unusable(reason.into()));
            }
        },
    };
    Ok(StatusUpdate {
        task: TaskId::new(task),
        agent: status
            .agent_id
            .filter(|agent| !agent.value.is_empty())
            .map(|agent| AgentId::new(agent.value)),
        state,
        uuid,
        reason: status.reason.map(reason),
        message: status.message.filter(|message| !message.is_empty()),
        healthy: status.healthy,
    })
}

fn state(state: v1::TaskState) -> TaskState {
    match state {
        v1::TaskState::TaskStaging => TaskState::Staging,
        v1::TaskState::TaskStarting => TaskState::Starting,
        v1::TaskState::TaskRunning => TaskState::Running,
        v1::TaskState::TaskKilling => TaskState::Killing,
        v1::TaskState::TaskFinished => TaskState::Finished,
        v1::TaskState::TaskFailed => TaskState::Failed,
        v1::TaskState::TaskKilled => TaskState::Killed,
        v1::TaskState::TaskError => TaskState::Error,
        v1::TaskState::TaskLost => TaskState::Lost,
        v1::TaskState::TaskDropped => TaskState::Dropped,
        v1::TaskState::TaskUnreachable => TaskState::Unreachable,
        v1::TaskState::TaskGone => TaskState::Gone,
        v1::TaskState::TaskGoneByOperator => TaskState::GoneByOperator,
        v1::TaskState::TaskUnknown => TaskState::Unknown,
    }
}

fn reason(number: i32) -> Arc<str> {
    match v1::task_status::Reason::try_from(number) {
        Ok(reason) => reason.as_str_name().into(),
        // A newer master than ours has more reasons; they are shown, never interpreted.
        Err(_) => format!("REASON_{number}").into(),
    }
}

// === Resources ===

/// The reservation stacks of one offer, so that equal ones are one allocation.
#[derive(Default)]
struct Kinds(Vec<Arc<Reservations>>);

impl Kinds {
    fn of(&mut self, reservations: Reservations) -> Arc<Reservations> {
        if let Some(known) = self.0.iter().find(|known| ***known == reservations) {
            return Arc::clone(known);
        }
        let new = Arc::new(reservations);
        self.0.push(Arc::clone(&new));
        new
    }
}

/// An entry of an offer, if a service can ask for it.
fn entry(resource: v1::Resource, kinds: &mut Kinds) -> Option<OfferEntry> {
    let unusable = resource.revocable.is_some()
        || resource.shared.is_some()
        || resource.provider_id.is_some()
        || resource.disk.is_some();
    if unusable {
        return None;
    }
    let value = match v1::value::Type::try_from(resource.r#type).ok()? {
        v1::value::Type::Scalar => {
            let scalar = Scalar::ALL
                .into_iter()
                .find(|scalar| scalar.name() == resource.name)?;
            let amount = Amount::from_f64(resource.scalar.as_ref()?.value);
            EntryValue::Scalar(scalar, amount)
        }
        v1::value::Type::Ranges if resource.name == "ports" => {
            let ranges = resource.ranges.as_ref()?.range.iter().filter_map(|range| {
                let begin = u16::try_from(range.begin.max(1)).ok()?;
                Some((begin, u16::try_from(range.end).unwrap_or(u16::MAX)))
            });
            EntryValue::Ports(PortSet::from_ranges(ranges))
        }
        _ => return None,
    };
    let reservations = kinds.of(reservations(resource)?);
    Some(OfferEntry {
        reservations,
        value,
    })
}

/// The stack of reservations; `None` when one of them is of a kind that we do not know.
fn reservations(resource: v1::Resource) -> Option<Reservations> {
    // Masters before 1.4 put a single reservation into `role` and `reservation`.
    if resource.reservations.is_empty() {
        let role = resource.role.filter(|role| role != "*");
        let reservation = role.map(|role| v1::resource::ReservationInfo {
            r#type: Some(match &resource.reservation {
                Some(_) => v1::resource::reservation_info::Type::Dynamic.into(),
                None => v1::resource::reservation_info::Type::Static.into(),
            }),
            role: Some(role),
            ..resource.reservation.unwrap_or_default()
        });
        let stack = reservation.into_iter().map(self::reservation);
        return stack.collect::<Option<_>>().map(Reservations);
    }
    let stack = resource.reservations.into_iter().map(self::reservation);
    stack.collect::<Option<_>>().map(Reservations)
}

fn reservation(info: v1::resource::ReservationInfo) -> Option<Reservation> {
    use v1::resource::reservation_info::Type;
    let dynamic = match Type::try_from(info.r#type?).ok()? {
        Type::Static => false,
        Type::Dynamic => true,
        Type::Unknown => return None,
    };
    let labels = info.labels.map(|labels| labels.labels).unwrap_or_default();
    Some(Reservation {
        dynamic,
        role: info.role?,
        principal: info.principal,
        labels: labels
            .into_iter()
            .map(|label| (label.key, label.value))
            .collect(),
    })
}

// === Attributes ===

/// The attributes of an agent as text, in their order.
pub(crate) fn agent_attributes(attributes: &[v1::Attribute]) -> Vec<(String, String)> {
    attributes.iter().filter_map(attribute).collect()
}

/// An attribute as Mesos writes it in flags and on its pages (`src/common/values.cpp`).
fn attribute(attribute: &v1::Attribute) -> Option<(String, String)> {
    let text = match v1::value::Type::try_from(attribute.r#type).ok()? {
        v1::value::Type::Text => attribute.text.as_ref()?.value.clone(),
        v1::value::Type::Scalar => {
            let value = attribute.scalar.as_ref()?.value;
            let rounded = (value * 1000.0).round() / 1000.0;
            // Adding zero turns -0 into 0.
            (rounded + 0.0).to_string()
        }
        v1::value::Type::Ranges => {
            let ranges = attribute.ranges.as_ref()?.range.iter();
            let texts = ranges.map(|range| format!("{}-{}", range.begin, range.end));
            format!("[{}]", texts.collect::<Vec<_>>().join(", "))
        }
        v1::value::Type::Set => {
            format!("{{{}}}", attribute.set.as_ref()?.item.join(", "))
        }
    };
    Some((attribute.name.clone(), text))
}

#[cfg(test)]
mod tests {
    use gantry_mesos::json;
    use serde_json::{Value, json};

    use super::*;

    fn offer_of(resources: &Value, attributes: &Value) -> Offer {
        let message: v1::Offer = json::from_value(&json!({
            "id": {"value": "m-O1"},
            "framework_id": {"value": "m-0000"},
            "agent_id": {"value": "m-S1"},
            "hostname": "one.example",
            "url": {"scheme": "http", "path": "/slave(1)",
                    "address": {"hostname": "one.example", "ip": "10.0.0.1", "port": 5061}},
            "allocation_info": {"role": "web"},
            "unavailability": {"start": {"nanoseconds": 1_500_000_000_i64},
                               "duration": {"nanoseconds": 2_000_000_000_i64}},
            "resources": resources,
            "attributes": attributes,
        }))
        .unwrap();
        offer(message).unwrap()
    }

    #[test]
    fn an_offer_keeps_what_a_service_can_use() {
        let dynamic = json!([
            {"type": "STATIC", "role": "web"},
            {"type": "DYNAMIC", "role": "web/x", "principal": "p",
             "labels": {"labels": [{"key": "a", "value": "1"}, {"key": "b"}]}},
        ]);
        let offer = offer_of(
            &json!([
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}, "reservations": dynamic},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}, "reservations": dynamic},
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}},
                {"name": "ports", "type": "RANGES",
                 "ranges": {"range": [{"begin": 31000, "end": 31005}, {"begin": 0, "end": 2},
                                      {"begin": 65000, "end": 70000}, {"begin": 70000, "end": 70001}]}},
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 8.0}, "revocable": {}},
                {"name": "disk", "type": "SCALAR", "scalar": {"value": 9.0},
                 "disk": {"source": {"type": "MOUNT"}}},
                {"name": "disk", "type": "SCALAR", "scalar": {"value": 9.0}, "shared": {}},
                {"name": "disk", "type": "SCALAR", "scalar": {"value": 9.0}, "provider_id": {"value": "rp"}},
                {"name": "network_bandwidth", "type": "SCALAR", "scalar": {"value": 9.0}},
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 9.0},
                 "reservations": [{"role": "no type"}]},
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 2.0}, "role": "old"},
            ]),
            &json!([
                {"name": "rack", "type": "TEXT", "text": {"value": "a"}},
                {"name": "level", "type": "SCALAR", "scalar": {"value": -2.50004}},
                {"name": "units", "type": "RANGES",
                 "ranges": {"range": [{"begin": 1, "end": 3}, {"begin": 5, "end": 5}]}},
            ]),
        );
        assert_eq!(offer.agent.ip, "10.0.0.1");
        assert_eq!(offer.agent.port, 5061);
        assert_eq!(&*offer.role, "web");
        let window = Unavailability {
            from: Timestamp::from_millis(1500),
            until: Some(Timestamp::from_millis(3500)),
        };
        assert_eq!(offer.unavailable, Some(window));
        assert_eq!(
            offer.agent.attributes,
            [("rack", "a"), ("level", "-2.5"), ("units", "[1-3, 5-5]")]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
        );
        let values: Vec<_> = offer.entries.iter().map(|entry| &entry.value).collect();
        assert_eq!(
            values,
            [
                &EntryValue::Scalar(Scalar::Cpus, Amount::from_thousandths(1500)),
                &EntryValue::Scalar(Scalar::Mem, Amount::from_units(64)),
                &EntryValue::Scalar(Scalar::Cpus, Amount::from_thousandths(100)),
                &EntryValue::Ports(PortSet::from_ranges([
                    (1, 2),
                    (31000, 31005),
                    (65000, 65535)
                ])),
                &EntryValue::Scalar(Scalar::Cpus, Amount::from_units(2)),
            ]
        );
        let stack = &offer.entries[0].reservations;
        assert_eq!(
            stack.0[1],
            Reservation {
                dynamic: true,
                role: "web/x".to_owned(),
                principal: Some("p".to_owned()),
                labels: vec![
                    ("a".to_owned(), Some("1".to_owned())),
                    ("b".to_owned(), None)
                ],
            }
        );
        assert!(Arc::ptr_eq(stack, &offer.entries[1].reservations));
        assert_eq!(*offer.entries[2].reservations, Reservations::default());
        assert_eq!(offer.entries[4].reservations.0[0].role, "old");
    }

    #[test]
    fn items_without_what_names_them_are_refused_alone() {
        assert!(offer(v1::Offer::default()).is_err());
        assert!(status(v1::TaskStatus::default()).is_err());
        let mut message = v1::TaskStatus {
            task_id: "t".into(),
            state: 9999,
            reason: Some(7777),
            uuid: Some(vec![7; 16]),
            ..Default::default()
        };
        assert!(status(message.clone()).is_err());
        message.state = v1::TaskState::TaskGone.into();
        let update = status(message.clone()).unwrap();
        assert_eq!(update.state, TaskState::Gone);
        assert_eq!(update.reason.as_deref(), Some("REASON_7777"));
        assert_eq!(update.uuid, Some([7; 16]));
        message.uuid = Some(vec![7; 15]);
        assert!(status(message.clone()).is_err());
        message.uuid = Some(Vec::new());
        assert_eq!(status(message).unwrap().uuid, None);
    }
}
