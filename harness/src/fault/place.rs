//! Where each kind of part lives, and so how it is hit and where it shows.

use super::{TargetClass, Victim};

/// What a part is to the machine that it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A container of the outer engine, with all that runs in it.
    Container,
    /// A container of a host's engine: a node.
    Node,
    /// A program that a machine's supervisor runs, by its name there.
    Part(&'static str),
    /// The process of a host's brick.
    Brick,
    /// A program that a node's agent runs, or the agent itself.
    InNode(&'static str),
}

impl TargetClass {
    /// Where parts of this kind live.
    #[must_use]
    pub fn place(self) -> Place {
        match self {
            Self::MesosMaster | Self::ZooKeeper | Self::Framework | Self::Host | Self::Topology => Place::Container,
            Self::Node => Place::Node,
            Self::MesosAgent => Place::Part("agent"),
            Self::NetworkDriver => Place::Part("calico"),
            Self::Bird => Place::Part("bird"),
            Self::Proxy => Place::Part("proxy"),
            Self::Brick => Place::Brick,
            Self::Etcd => Place::InNode("etcd"),
            Self::Sshd => Place::InNode("sshd"),
            Self::Jupyter => Place::InNode("jupyter"),
            Self::NodeAgent => Place::InNode("agent"),
        }
    }

    /// It is a node, or a program of one.
    #[must_use]
    pub fn is_of_node(self) -> bool {
        matches!(self.place(), Place::Node | Place::InNode(_))
    }

    /// It is a process, not a whole container.
    #[must_use]
    pub fn is_program(self) -> bool {
        !matches!(self.place(), Place::Container | Place::Node)
    }

    /// It lives on a host, whose number says which it is.
    #[must_use]
    pub fn is_by_host(self) -> bool {
        matches!(self, Self::Host | Self::MesosAgent | Self::NetworkDriver | Self::Bird | Self::Brick)
    }

    /// What an outpost calls its process; none for a node, which is its container. `container` is the node's.
    #[must_use]
    pub fn process_key(self, container: &str) -> Option<String> {
        match self.place() {
            // What is new after a restart is process 1.
            Place::Container => Some("init".to_owned()),
            Place::Node => None,
            Place::Part(part) => Some(part.to_owned()),
            Place::Brick => Some("brick".to_owned()),
            Place::InNode(program) => Some(format!("{container}/{program}")),
        }
    }
}

impl Victim {
    /// The machine whose outpost sees it.
    #[must_use]
    pub fn machine(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.name)
    }

    /// What that outpost calls its process.
    #[must_use]
    pub fn process_key(&self) -> Option<String> {
        self.class.process_key(&self.container)
    }
}
