//! What a node decides: no clock, no I/O, no randomness.
//!
//! # Layout
//! * [`member`]: how this slot's etcd member starts, joins, is replaced.
//! * [`lead`]: whether Jupyter runs here, and when leadership is published.
//! * [`presence`]: when this node is registered, and when it is fenced.
//! * [`tables`]: the text of /etc/hosts, authorized_keys and known_hosts.
//! * [`names`]: which of these files is written, in which order.

pub mod lead;
pub mod member;
pub mod names;
pub mod presence;
pub mod tables;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::clock::Millis;
use crate::config::{Incarnation, NodeConfig};
use crate::registry::state::RegistryState;

/// The agent's tick. Everything periodic hangs on it.
pub const TICK: Duration = Duration::from_millis(100);
/// A tick this much later than planned means that the world went on without us: Jupyter stops first, questions come afterwards.
pub const LATE_MAX: Duration = Duration::from_secs(1);

/// What a node is told at its start, checked.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its configuration.
    pub config: NodeConfig,
    /// Its own address, one of the configuration's.
    pub address: Ipv4Addr,
    /// The operator's line for authorized_keys.
    pub operator_key: String,
}

/// What the local etcd member says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Its member id.
    pub member: u64,
    /// The member that it takes for the leader; 0 = none.
    pub leader: u64,
    /// Raft term.
    pub term: u64,
    /// It is a learner: no vote yet.
    pub learner: bool,
}

impl Local {
    /// It votes, and knows a leader.
    #[must_use]
    pub fn votes(&self) -> bool {
        !self.learner && self.leader != 0
    }

    /// It leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.votes() && self.leader == self.member
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time went by. The first one starts everything.
    Tick,
    /// Answer to [`member::Action::Inspect`] and [`member::Action::Wipe`].
    Disk(member::Disk),
    /// The same, if the directory can't be used now.
    DiskFailed,
    /// Answer to [`member::Action::Survey`].
    Survey(Option<Vec<member::Peer>>),
    /// Answer to [`member::Action::Join`].
    Joined(Result<member::Joined, String>),
    /// Answer to [`member::Action::Promote`].
    Promoted(Result<(), String>),
    /// The etcd process ended.
    EtcdExited,
    /// The local member's status; none while it doesn't answer.
    Local(Option<Local>),
    /// sshd accepts connections, or doesn't.
    Ssh(bool),
    /// The local member confirmed by a linearizable read, asked at this time, that it leads in this term.
    Confirmed {
        /// When the read was sent.
        asked: Millis,
        /// The term before and after the read.
        term: u64,
    },
    /// It couldn't.
    Unconfirmed,
    /// The registry changed.
    Registry(RegistryState),
    /// The registration stands since this revision.
    Registered {
        /// Revision of the write.
        revision: i64,
    },
    /// The registration failed, or its lease is gone.
    RegistrationLost,
    /// A write was refused because a later incarnation has registered.
    Fenced(Incarnation),
    /// What the files of names and keys say just now.
    Files(names::Found),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// About the etcd member.
    Member(member::Action),
    /// About Jupyter and the leader record.
    Lead(lead::Action),
    /// Write and hold the registration; the answer is [`Event::Registered`], later [`Event::RegistrationLost`].
    Register {
        /// Own etcd member.
        member: u64,
    },
    /// Write a file.
    Write(names::Write),
    /// Stop Jupyter, sshd and etcd, drop the address, exit 0.
    StepAside(Incarnation),
    /// The node can't do its work: stop everything, exit 1. The framework starts a new incarnation.
    GiveUp(String),
}

/// All decisions of one node.
#[derive(Debug)]
pub struct NodeCore {
    member: member::MemberCore,
    lead: lead::LeadCore,
    presence: presence::PresenceCore,
    names: names::NamesCore,
}

impl NodeCore {
    /// The core of a node that has just started.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            member: member::MemberCore::new(setup),
            lead: lead::LeadCore::new(setup),
            presence: presence::PresenceCore::new(setup),
            names: names::NamesCore::new(setup),
        }
    }

    /// Takes in an event at a time; says what is to be done, in this order.
    pub fn on(&mut self, now: Millis, event: Event) -> Vec<Action> {
        // Jupyter comes first: what must stop stops before anything else is done.
        let mut actions: Vec<Action> = self.lead.on(now, &event).into_iter().map(Action::Lead).collect();
        actions.extend(self.presence.on(now, &event));
        actions.extend(self.member.on(now, &event));
        let writes = match &event {
            Event::Registry(state) => self.names.on(state),
            Event::Files(found) => self.names.repair(found),
            _ => vec![],
        };
        actions.extend(writes.into_iter().map(Action::Write));
        actions
    }
}
