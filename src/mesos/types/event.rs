//! What the master says to a scheduler.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{loose, wire_enum};
use super::{AgentId, ExecutorId, FrameworkId, MasterInfo, Offer, OfferId, OperationId, TaskStatus};

/// An event of the scheduler's stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub enum Event {
    /// The subscription stands.
    Subscribed(Subscribed),
    /// Free resources.
    Offers(Vec<Offer>),
    /// An offer isn't valid any more.
    Rescind(OfferId),
    /// A task's state.
    Update(TaskStatus),
    /// What became of an operation that has an id.
    UpdateOperationStatus(OperationStatus),
    /// An agent (without `executor_id`) or a custom executor is gone.
    Failure(Failure),
    /// The subscription is refused, or somebody else has taken it; the stream ends.
    Error(String),
    /// The master lives.
    Heartbeat,
    /// Something that this library doesn't know.
    Other(String),
}

/// Body of SUBSCRIBED.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The framework's id; persist it before anything else.
    pub framework_id: FrameworkId,
    /// Time between heartbeats.
    #[serde(default = "fifteen", deserialize_with = "loose")]
    pub heartbeat_interval_seconds: f64,
    /// The master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_info: Option<MasterInfo>,
}

fn fifteen() -> f64 {
    15.0
}

/// Body of FAILURE.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// The agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The executor, if only that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_id: Option<ExecutorId>,
    /// The executor's exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
}

wire_enum! {
    /// The state of an operation.
    OperationState {
        Pending = "OPERATION_PENDING",
        Finished = "OPERATION_FINISHED",
        Failed = "OPERATION_FAILED",
        Error = "OPERATION_ERROR",
        Dropped = "OPERATION_DROPPED",
        Unreachable = "OPERATION_UNREACHABLE",
        Gone = "OPERATION_GONE_BY_OPERATOR",
        Recovering = "OPERATION_RECOVERING",
        Unknown = "OPERATION_UNKNOWN",
    }
}

/// A statement about an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStatus {
    /// Which operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<OperationId>,
    /// Its state.
    pub state: OperationState,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

wire_enum! {
    /// The kind of an event.
    EventType {
        Subscribed = "SUBSCRIBED",
        Offers = "OFFERS",
        Rescind = "RESCIND",
        Update = "UPDATE",
        UpdateOperationStatus = "UPDATE_OPERATION_STATUS",
        Failure = "FAILURE",
        Error = "ERROR",
        Heartbeat = "HEARTBEAT",
    }
}

impl Event {
    /// The event's kind.
    #[must_use]
    pub fn kind(&self) -> EventType {
        match self {
            Self::Subscribed(_) => EventType::Subscribed,
            Self::Offers(_) => EventType::Offers,
            Self::Rescind(_) => EventType::Rescind,
            Self::Update(_) => EventType::Update,
            Self::UpdateOperationStatus(_) => EventType::UpdateOperationStatus,
            Self::Failure(_) => EventType::Failure,
            Self::Error(_) => EventType::Error,
            Self::Heartbeat => EventType::Heartbeat,
            Self::Other(_) => EventType::Unrecognised,
        }
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(flatten)]
    body: serde_json::Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct OffersBody {
    #[serde(default)]
    offers: Vec<Offer>,
}

#[derive(Serialize, Deserialize)]
struct RescindBody {
    offer_id: OfferId,
}

#[derive(Serialize, Deserialize)]
struct UpdateBody {
    status: TaskStatus,
}

#[derive(Serialize, Deserialize)]
struct OperationBody {
    status: OperationStatus,
}

#[derive(Serialize, Deserialize)]
struct ErrorBody {
    message: String,
}

impl TryFrom<Wire> for Event {
    type Error = serde_json::Error;

    fn try_from(mut wire: Wire) -> Result<Self, serde_json::Error> {
        let body = wire.body.remove(&wire.kind.to_ascii_lowercase()).unwrap_or_default();
        use serde_json::from_value as read;
        Ok(match wire.kind.as_str() {
            "SUBSCRIBED" => Self::Subscribed(read(body)?),
            "OFFERS" => Self::Offers(read::<OffersBody>(body)?.offers),
            "RESCIND" => Self::Rescind(read::<RescindBody>(body)?.offer_id),
            "UPDATE" => Self::Update(read::<UpdateBody>(body)?.status),
            "UPDATE_OPERATION_STATUS" => Self::UpdateOperationStatus(read::<OperationBody>(body)?.status),
            "FAILURE" => Self::Failure(read(body)?),
            "ERROR" => Self::Error(read::<ErrorBody>(body)?.message),
            "HEARTBEAT" => Self::Heartbeat,
            _ => Self::Other(wire.kind),
        })
    }
}

impl From<Event> for Wire {
    fn from(event: Event) -> Self {
        let kind = match &event {
            Event::Other(kind) => kind.clone(),
            known => known.kind().as_str().to_owned(),
        };
        let body = match event {
            Event::Subscribed(body) => to_value(&body),
            Event::Offers(offers) => to_value(&OffersBody { offers }),
            Event::Rescind(offer_id) => to_value(&RescindBody { offer_id }),
            Event::Update(status) => to_value(&UpdateBody { status }),
            Event::UpdateOperationStatus(status) => to_value(&OperationBody { status }),
            Event::Failure(body) => to_value(&body),
            Event::Error(message) => to_value(&ErrorBody { message }),
            Event::Heartbeat | Event::Other(_) => Value::Null,
        };
        let mut wire = Self { kind, ..Self::default() };
        if !body.is_null() {
            wire.body.insert(wire.kind.to_ascii_lowercase(), body);
        }
        wire
    }
}

fn to_value(body: &impl Serialize) -> Value {
    serde_json::to_value(body).expect("the types here have text keys and no failing serializers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_are_an_envelope_on_the_wire() {
        let rescind = Event::Rescind("m-O1".into());
        let wire = json!({"type":"RESCIND","rescind":{"offer_id":{"value":"m-O1"}}});
        assert_eq!(to_value(&rescind), wire);
        assert_eq!(to_value(&Event::Heartbeat), json!({"type":"HEARTBEAT"}));
        assert_eq!(serde_json::from_value::<Event>(wire).ok(), Some(rescind));
    }

    #[test]
    fn unknown_kinds_and_fields_are_let_pass() {
        let odd = json!({"type":"INVERSE_OFFERS","inverse_offers":{"inverse_offers":[]},"x":1});
        let event: Event = serde_json::from_value(odd).unwrap();
        assert_eq!(event, Event::Other("INVERSE_OFFERS".to_owned()));
        let update = json!({"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},
            "state":"TASK_NEW","timestamp":"1.5","novelty":[]}}});
        let Event::Update(status) = serde_json::from_value(update).unwrap() else { panic!("an UPDATE") };
        assert_eq!(status.state, crate::mesos::types::TaskState::Unrecognised);
        assert_eq!(status.timestamp, Some(1.5));
    }
}
