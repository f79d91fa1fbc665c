//! What the core hears, and what it wants done.

use std::collections::BTreeMap;

use super::state::State;
use crate::config::{Bootstrap, Incarnation, Slot};
use crate::mesos::types::TaskState;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Time has passed; comes every [`TICK_MS`](super::TICK_MS).
    Tick,
    /// The master accepted our subscription.
    Subscribed {
        /// Our id.
        framework_id: String,
    },
    /// The subscription is gone, and all offers with it.
    Disconnected,
    /// Resources to launch on.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescind(String),
    /// A statement about a task.
    Update(Update),
    /// The master gave an agent up.
    AgentLost(String),
    /// This state, and all before it, is durable.
    Persisted(u64),
    /// Answer to [`Action::Probe`].
    Probed {
        /// The generation that was looked at.
        generation: u64,
        /// All N etcd members are started and voting, in one cluster, under one leader.
        healthy: bool,
    },
    /// Answer to [`Action::Census`]: the incarnation of each slot that is registered; none if no quorum of etcd confirms it.
    Census(Option<BTreeMap<Slot, Incarnation>>),
}

/// What one agent offers.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// The agent.
    pub agent: String,
    /// The agent's host name: a slot's home.
    pub hostname: String,
    /// CPUs that we may use.
    pub cpus: f64,
    /// Memory that we may use.
    pub mem_mb: f64,
}

/// A statement about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The task.
    pub task_id: String,
    /// Its state.
    pub state: TaskState,
    /// Its agent, where known.
    pub agent: Option<String>,
    /// To be acknowledged if there is one.
    pub uuid: Option<String>,
}

/// Something to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the state durable, then say [`Event::Persisted`]. A newer one replaces those that haven't been begun.
    Persist {
        /// Number of this state.
        sequence: u64,
        /// The state.
        state: State,
    },
    /// Accept an offer to launch these tasks.
    Launch {
        /// The offer.
        offer: Offer,
        /// The tasks.
        tasks: Vec<Launch>,
    },
    /// Decline an offer.
    Decline {
        /// The offer.
        offer: String,
        /// Don't offer the same again for this long.
        refuse_s: f64,
    },
    /// Ask for offers: clears every filter.
    Revive,
    /// Ask for no more offers.
    Suppress,
    /// Kill a task.
    Kill {
        /// The task.
        task_id: String,
        /// Its agent, where known.
        agent: Option<String>,
    },
    /// Acknowledge an update.
    Acknowledge {
        /// The task.
        task_id: String,
        /// The agent that sent it.
        agent: String,
        /// The update.
        uuid: String,
    },
    /// Ask for the state of these tasks (id, agent); of all tasks that the master knows, if there are none.
    Reconcile(Vec<(String, String)>),
    /// Delete the slot's registration if it still carries this incarnation.
    Withdraw {
        /// The slot.
        slot: Slot,
        /// The incarnation that has ended.
        incarnation: Incarnation,
    },
    /// See whether etcd has formed, then say [`Event::Probed`].
    Probe {
        /// The generation to look at.
        generation: u64,
    },
    /// Ask etcd which nodes are registered, then say [`Event::Census`].
    Census,
}

/// One incarnation to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The slot.
    pub slot: Slot,
    /// The incarnation.
    pub incarnation: Incarnation,
    /// How its etcd may start.
    pub bootstrap: Bootstrap,
    /// Whether its former data is known to be lost.
    pub data_lost: bool,
}
