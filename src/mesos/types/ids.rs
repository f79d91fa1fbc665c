//! Ids are objects `{"value": "…"}` on the wire.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        pub struct $name {
            /// The id's text.
            pub value: String,
        }

        impl $name {
            /// The id with this text.
            pub fn new(value: impl Into<String>) -> Self {
                Self { value: value.into() }
            }

            /// The id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.value
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self::new(value)
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self { value }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.value)
            }
        }
    )*};
}

ids! {
    /// A framework: `<master id>-0000`.
    FrameworkId,
    /// An agent: `<master id>-S0`.
    AgentId,
    /// An offer: `<master id>-O0`.
    OfferId,
    /// A task; chosen by the framework and never reused.
    TaskId,
    /// An executor; for command tasks the task's id.
    ExecutorId,
    /// A container: a uuid.
    ContainerId,
    /// An operation on resources; chosen by the framework.
    OperationId,
}
