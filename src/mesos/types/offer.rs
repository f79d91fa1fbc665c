//! What agents have, and how a framework hears of it.

use serde::{Deserialize, Serialize};

use super::lenient::{loose, loose_option};
use super::{
    Address, AgentId, AllocationInfo, ExecutorId, FrameworkId, Items, OfferId, Ranges, Resource, Scalar, ValueType,
};

/// Free resources of one agent for one role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// To whom.
    pub framework_id: FrameworkId,
    /// Of which agent.
    pub agent_id: AgentId,
    /// The agent's announced name.
    pub hostname: String,
    /// Where the agent listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// What is offered.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// The agent's attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
    /// Custom executors that run there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub executor_ids: Vec<ExecutorId>,
    /// The role that the resources are allocated to; absent without `MULTI_ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_info: Option<AllocationInfo>,
}

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Url {
    /// `http`.
    pub scheme: String,
    /// Host and port.
    pub address: Address,
    /// Path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// How long refused resources aren't offered again.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Filters {
    /// Seconds; 5 when absent.
    #[serde(default, deserialize_with = "loose_option", skip_serializing_if = "Option::is_none")]
    pub refuse_seconds: Option<f64>,
}

/// An agent as it registers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Announced name.
    pub hostname: String,
    /// Port of its HTTP endpoints.
    #[serde(default = "port_default", deserialize_with = "loose")]
    pub port: u16,
    /// The id, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<AgentId>,
    /// All that it has.
    #[serde(default)]
    pub resources: Vec<Resource>,
    /// Attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

fn port_default() -> u16 {
    5051
}

/// Something that is said of an agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Which of the values is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// Ranges of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// Items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Items>,
    /// Text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Text>,
}

/// A text value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Text {
    /// The text.
    pub value: String,
}
