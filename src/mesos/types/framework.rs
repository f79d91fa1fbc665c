//! Who a framework is.

use serde::{Deserialize, Serialize};

use super::FrameworkId;
use super::lenient::{loose, wire_enum};

wire_enum! {
    /// What a framework can deal with.
    FrameworkCapability {
        RevocableResources = "REVOCABLE_RESOURCES",
        TaskKillingState = "TASK_KILLING_STATE",
        GpuResources = "GPU_RESOURCES",
        SharedResources = "SHARED_RESOURCES",
        PartitionAware = "PARTITION_AWARE",
        MultiRole = "MULTI_ROLE",
        ReservationRefinement = "RESERVATION_REFINEMENT",
        RegionAware = "REGION_AWARE",
    }
}

/// A capability as it stands in lists: `{"type": "MULTI_ROLE"}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// Which one; unknown when absent.
    #[serde(default = "no_type", rename = "type")]
    pub kind: FrameworkCapability,
}

fn no_type() -> FrameworkCapability {
    FrameworkCapability::Unrecognised
}

/// A framework as it introduces itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct FrameworkInfo {
    /// User to run tasks as.
    pub user: String,
    /// Name for people.
    pub name: String,
    /// The id; absent at the first subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<FrameworkId>,
    /// Seconds that tasks outlive a scheduler that is gone.
    #[serde(default, deserialize_with = "loose")]
    pub failover_timeout: f64,
    /// Agents checkpoint this framework's tasks.
    #[serde(default, deserialize_with = "loose")]
    pub checkpoint: bool,
    /// The old single role; only without `MULTI_ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The roles; only with `MULTI_ROLE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// Host of the scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Principal of authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Page for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webui_url: Option<String>,
    /// What the framework can deal with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Capability>,
    /// Free labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

impl FrameworkInfo {
    /// Whether the framework has this capability.
    #[must_use]
    pub fn can(&self, capability: FrameworkCapability) -> bool {
        self.capabilities.iter().any(|c| c.kind == capability)
    }

    /// The roles that the framework subscribes to, whichever field names them.
    #[must_use]
    pub fn all_roles(&self) -> Vec<String> {
        if self.can(FrameworkCapability::MultiRole) {
            self.roles.clone()
        } else {
            vec![self.role.clone().unwrap_or_else(|| "*".to_owned())]
        }
    }
}

/// Free labels on a thing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Labels {
    /// The labels, in order.
    #[serde(default)]
    pub labels: Vec<Label>,
}

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Label {
    /// Its key.
    pub key: String,
    /// Its value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}
