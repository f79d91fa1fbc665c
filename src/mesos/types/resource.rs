//! Resources as they are on the wire; arithmetic is in [`crate::mesos::resources`].

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{loose, wire_enum};

wire_enum! {
    /// The kind of a resource's value.
    ValueType {
        Scalar = "SCALAR",
        Ranges = "RANGES",
        Set = "SET",
        Text = "TEXT",
    }
}

/// An amount of something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// `cpus`, `mem`, `disk`, `ports`, …
    pub name: String,
    /// Which of the values is set.
    #[serde(rename = "type")]
    pub kind: ValueType,
    /// An amount; three decimals count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<Scalar>,
    /// Ranges of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Ranges>,
    /// Items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Items>,
    /// Role of the pre-refinement format; `*` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The role that it is allocated to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocation_info: Option<AllocationInfo>,
    /// Reservations, outermost first; none = unreserved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<ReservationInfo>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Value>,
    /// Carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocable: Option<Value>,
}

impl Resource {
    /// An unreserved, unallocated amount.
    #[must_use]
    pub fn scalar(name: &str, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            kind: ValueType::Scalar,
            scalar: Some(Scalar { value }),
            ranges: None,
            set: None,
            role: None,
            allocation_info: None,
            reservations: Vec::new(),
            disk: None,
            revocable: None,
        }
    }

    /// The same amount, allocated to a role.
    #[must_use]
    pub fn allocated_to(mut self, role: &str) -> Self {
        self.allocation_info = Some(AllocationInfo { role: Some(role.to_owned()) });
        self
    }

    /// The same in the refined format: a role becomes a reservation.
    #[must_use]
    pub fn refined(mut self) -> Self {
        if let Some(role) = self.role.take().filter(|role| role != "*" && self.reservations.is_empty()) {
            let kind = Some("STATIC".to_owned());
            self.reservations.push(ReservationInfo { kind, role: Some(role), principal: None });
        }
        self
    }

    /// The role it is reserved for; `*` if it is unreserved.
    #[must_use]
    pub fn reserved_for(&self) -> &str {
        let refined = self.reservations.last().and_then(|r| r.role.as_deref());
        refined.or(self.role.as_deref()).unwrap_or("*")
    }
}

/// As Mesos writes it in messages: `cpus(allocated: demo)(reservations: [(STATIC,demo)]):0.5`.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(role) = self.allocation_info.as_ref().and_then(|a| a.role.as_ref()) {
            write!(f, "(allocated: {role})")?;
        }
        if !self.reservations.is_empty() {
            let one = |r: &ReservationInfo| {
                let kind = r.kind.as_deref().unwrap_or("STATIC");
                format!("({kind},{})", r.role.as_deref().unwrap_or("*"))
            };
            let all: Vec<_> = self.reservations.iter().map(one).collect();
            write!(f, "(reservations: [{}])", all.join(","))?;
        }
        match (&self.ranges, &self.set) {
            (Some(ranges), _) => {
                let one = |r: &Range| format!("{}-{}", r.begin, r.end);
                let all: Vec<_> = ranges.range.iter().map(one).collect();
                write!(f, ":[{}]", all.join(", "))
            }
            (_, Some(set)) => write!(f, ":{{{}}}", set.item.join(", ")),
            _ => {
                let value = self.scalar.map_or(0.0, |scalar| scalar.value);
                write!(f, ":{}", (value * 1000.0).round() / 1000.0)
            }
        }
    }
}

/// An amount.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scalar {
    /// The number.
    #[serde(deserialize_with = "loose")]
    pub value: f64,
}

/// Ranges of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ranges {
    /// The ranges.
    #[serde(default)]
    pub range: Vec<Range>,
}

/// Numbers from `begin` to `end`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// First.
    #[serde(deserialize_with = "loose")]
    pub begin: u64,
    /// Last.
    #[serde(deserialize_with = "loose")]
    pub end: u64,
}

/// A set of items.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Items {
    /// The items.
    #[serde(default)]
    pub item: Vec<String>,
}

/// The role that resources are allocated to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AllocationInfo {
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// A reservation of the refined format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReservationInfo {
    /// `STATIC` or `DYNAMIC`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// For whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
}
