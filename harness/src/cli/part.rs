//! Names of parts on the command line. Pure.

use std::str::FromStr;

use stormbed::config::Slot;

/// A part of a topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A machine, or one log of it.
    Machine {
        /// `host-1`, `master-2`, `edge`, ….
        machine: String,
        /// `agent` in `host-1/agent`.
        log: Option<String>,
    },
    /// A node.
    Node(NodeName),
}

/// A name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeName {
    /// The node of a slot: `storm-s3`, `slot-3`.
    Slot(Slot),
    /// `storm-0` is the etcd leader, the others follow.
    Number(u32),
}

impl NodeName {
    /// As it is shown.
    pub(super) fn shown(self, prefix: &str) -> String {
        match self {
            Self::Slot(slot) => format!("{prefix}-s{slot}"),
            Self::Number(number) => format!("{prefix}-{number}"),
        }
    }
}

/// The machines' names begin so; whatever else ends with a number is a node, because its prefix is the user's.
const MACHINES: [&str; 4] = ["host", "master", "framework", "zk"];

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, log) = match text.split_once('/') {
            Some((name, log)) => (name, Some(log.to_owned())),
            None => (text, None),
        };
        if name.is_empty() || log.as_ref().is_some_and(String::is_empty) {
            return Err("expected a machine (host-1), a log of one (host-1/agent), or a node (storm-0, slot-3)".into());
        }
        let tail = |text: &str| text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
        let (prefix, last) = name.rsplit_once(['-', ' ']).unwrap_or((name, ""));
        let node = match last.strip_prefix('s') {
            _ if MACHINES.contains(&prefix) => None,
            _ if prefix == "slot" => tail(last).map(NodeName::Slot),
            Some(slot) => slot.parse().ok().map(NodeName::Slot),
            None => last.parse().ok().map(NodeName::Number),
        };
        match (node, log) {
            (Some(node), None) => Ok(Self::Node(node)),
            (Some(_), Some(_)) => Err(format!("{name} is a node, and has one log only: leave '/…' out")),
            (None, log) => Ok(Self::Machine { machine: name.to_owned(), log }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_their_logs_and_nodes_are_told_apart() {
        let machine = |machine: &str, log: Option<&str>| {
            Ok(Part::Machine { machine: machine.into(), log: log.map(str::to_owned) })
        };
        for (text, part) in [
            ("host-1", machine("host-1", None)),
            ("host-1/agent", machine("host-1", Some("agent"))),
            ("edge", machine("edge", None)),
            ("zk-3/output", machine("zk-3", Some("output"))),
            ("storm-0", Ok(Part::Node(NodeName::Number(0)))),
            ("my-storm-12", Ok(Part::Node(NodeName::Number(12)))),
            ("storm-s3", Ok(Part::Node(NodeName::Slot(3)))),
            ("slot-3", Ok(Part::Node(NodeName::Slot(3)))),
            ("slot 3", Ok(Part::Node(NodeName::Slot(3)))),
        ] {
            assert_eq!(text.parse(), part, "{text}");
        }
        for wrong in ["", "/agent", "host-1/", "storm-0/etcd"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }
}
