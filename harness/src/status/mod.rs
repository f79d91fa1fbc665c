//! A topology at a glance: who runs, who leads, what holds, what is broken on purpose. Made from ground truth, by the command
//! that looks once, or by the runner once a second while a scenario runs ([`live`]). Pure but for the file.
//!
//! # Layout
//! * [`screen`]: as people read it.
//! * [`live`]: the runner's newest view, for commands that look on.

pub mod live;
pub mod screen;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::config::{Incarnation, Slot};
use stormbed::outpost::protocol::ContainerState;

use crate::fault::Fault;
use crate::invariant::truth::Truth;
use crate::invariant::{Judgement, Name};
use crate::observe::observation::{Observation, Shape};

/// A topology, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Who leads.
    pub leaders: Leaders,
    /// Every machine, by name.
    pub machines: BTreeMap<String, Machine>,
    /// Every slot, in order.
    pub slots: Vec<SlotLine>,
    /// Every invariant, in order; those of the scenario's own last.
    pub health: Vec<Health>,
    /// Faults in force.
    pub faults: Vec<Held>,
}

/// Who leads; none while nobody does, or nobody could be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Leaders {
    /// The slot of the etcd leader.
    pub etcd: Option<Slot>,
    /// Its Raft term.
    pub etcd_term: Option<u64>,
    /// Slots that listen on Jupyter's port.
    pub jupyter: Vec<Slot>,
    /// The leading master.
    pub mesos: Option<String>,
    /// The active scheduler.
    pub framework: Option<String>,
    /// The ZooKeeper leader.
    pub zookeeper: Option<String>,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// On the underlay.
    pub address: Option<Ipv4Addr>,
    /// Its container's state; none if it has no container.
    pub state: Option<ContainerState>,
    /// `leader`, `active`, …; empty if its role is its name.
    pub role: String,
}

/// A slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLine {
    /// Its number.
    pub slot: Slot,
    /// The name that it must have by ground truth: `storm-0` is the etcd leader.
    pub name: Option<String>,
    /// Its address.
    pub address: Ipv4Addr,
    /// The host that runs it.
    pub host: Option<String>,
    /// The newest incarnation that runs.
    pub incarnation: Option<Incarnation>,
    /// What it is now.
    pub state: SlotState,
}

/// What a slot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Its member leads etcd.
    Leader,
    /// Its member votes and follows.
    Follower,
    /// Its container runs, its member is not in yet.
    Joining,
    /// No container of it runs.
    Down,
}

/// An invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HealthLine", into = "HealthLine")]
pub struct Health {
    /// Which.
    pub invariant: Name,
    /// Whether it holds.
    pub judgement: Judgement,
}

/// The same as `status --json` has it.
#[derive(Serialize, Deserialize)]
struct HealthLine {
    invariant: Name,
    /// None if that can't be told.
    holds: Option<bool>,
    /// Why it doesn't, or why that can't be told.
    why: String,
}

impl From<Health> for HealthLine {
    fn from(Health { invariant, judgement }: Health) -> Self {
        let (holds, why) = match judgement {
            Judgement::Holds => (Some(true), String::new()),
            Judgement::Broken(why) => (Some(false), why),
            Judgement::Unknown(why) => (None, why),
        };
        Self { invariant, holds, why }
    }
}

impl From<HealthLine> for Health {
    fn from(HealthLine { invariant, holds, why }: HealthLine) -> Self {
        let judgement = match holds {
            Some(true) => Judgement::Holds,
            Some(false) => Judgement::Broken(why),
            None => Judgement::Unknown(why),
        };
        Self { invariant, judgement }
    }
}

/// A fault in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id in the scenario.
    pub id: String,
    /// What was done.
    pub fault: String,
    /// The aim.
    pub target: String,
    /// To whom.
    pub victims: Vec<String>,
    /// For how long.
    pub for_ms: u64,
}

impl View {
    /// What this observation shows. Of invariants that `judged` leaves out nothing can be told.
    #[must_use]
    pub fn of(
        shape: &Shape,
        seen: &Observation,
        truth: &Truth,
        judged: &BTreeMap<Name, Judgement>,
        faults: &[Fault],
    ) -> Self {
        let own = judged.keys().filter(|name| !Name::ALL.contains(name));
        let unjudged = || Judgement::Unknown("nothing was judged yet".to_owned());
        let health =
            |name: &Name| Health { invariant: *name, judgement: judged.get(name).cloned().unwrap_or_else(unjudged) };
        Self {
            leaders: Leaders {
                etcd: truth.etcd_leader.as_ref().map(|leader| leader.slot),
                etcd_term: truth.etcd_leader.as_ref().map(|leader| leader.term),
                jupyter: truth.serving_jupyter.iter().copied().collect(),
                mesos: truth.mesos_leader.as_ref().map(|leader| leader.name.clone()),
                framework: truth.active_framework.clone(),
                zookeeper: truth.zookeeper_leader.as_ref().map(|leader| leader.name.clone()),
            },
            machines: machines(shape, seen, truth),
            slots: slots(shape, truth),
            health: Name::ALL.iter().chain(own).map(health).collect(),
            faults: faults.iter().filter(|fault| fault.life.in_force()).map(|fault| held(fault, seen.end)).collect(),
        }
    }
}

fn machines(shape: &Shape, seen: &Observation, truth: &Truth) -> BTreeMap<String, Machine> {
    let parts = seen.fast.parts.result.as_ref().ok();
    let leads = |name: &String| {
        let is = |leader: Option<&String>| leader == Some(name);
        if shape.masters.contains_key(name) {
            if is(truth.mesos_leader.as_ref().map(|leader| &leader.name)) { "leader" } else { "standby" }
        } else if shape.zookeepers.contains(name) {
            if is(truth.zookeeper_leader.as_ref().map(|leader| &leader.name)) { "leader" } else { "follower" }
        } else if shape.frameworks.contains(name) {
            if is(truth.active_framework.as_ref()) { "active" } else { "standby" }
        } else {
            ""
        }
    };
    let machine = |(name, address): (&String, &Ipv4Addr)| {
        let state = parts.and_then(|parts| Some(parts.get(name)?.state));
        // A role is for those who run.
        let role = if state == Some(ContainerState::Running) { leads(name) } else { "" };
        (name.clone(), Machine { address: Some(*address), state, role: role.to_owned() })
    };
    shape.machines.iter().map(machine).collect()
}

fn slots(shape: &Shape, truth: &Truth) -> Vec<SlotLine> {
    let leader = truth.etcd_leader.as_ref().map(|leader| leader.slot);
    let names = leader.map(|leader| Truth::names(&shape.prefix, leader, &truth.members)).unwrap_or_default();
    let line = |(slot, address): (&Slot, &Ipv4Addr)| {
        let node = truth.running.get(slot).and_then(|nodes| nodes.first());
        SlotLine {
            slot: *slot,
            name: names.iter().find(|(_, named)| *named == slot).map(|(name, _)| name.clone()),
            address: *address,
            host: node.map(|node| node.host.clone()),
            incarnation: node.map(|node| node.incarnation),
            state: match node {
                None => SlotState::Down,
                Some(_) if leader == Some(*slot) => SlotState::Leader,
                Some(_) if truth.members.contains(slot) => SlotState::Follower,
                Some(_) => SlotState::Joining,
            },
        }
    };
    shape.addresses.iter().map(line).collect()
}

fn held(fault: &Fault, now: Millis) -> Held {
    let since = fault.began().unwrap_or(now);
    Held {
        id: fault.id.clone(),
        fault: fault.kind.to_string(),
        target: fault.target.to_string(),
        victims: fault.victims.iter().map(|victim| victim.name.clone()).collect(),
        for_ms: u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX),
    }
}
