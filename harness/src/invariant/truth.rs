//! Ground truth: who is a member and who leads, drawn from engine, etcd, ZooKeeper and Mesos, never from the system's own registry.
//!
//! * *Members*: slots whose container the engine reports running and unpaused, and whose etcd member has started, votes and is
//!   connected to the quorum (it names the etcd leader at its term).
//! * *The etcd leader*: the id that a majority of the voters names at the highest term and that confirms itself, with the
//!   same (id, term) before and after the other probes of the tick. Otherwise: none.
//! * *The ZooKeeper leader*: the one server in mode `leader` at the highest epoch, if it and the followers are a majority of the
//!   ensemble. (A follower shows its former epoch until the new one's first transaction, so followers may lag behind.)
//! * *The leading master*: the one master that says `elected` and that the smallest candidate in ZooKeeper names.
//! * *The active scheduler*: the one that the smallest candidate in ZooKeeper names and that the leading master has subscribed.
//! * *Settling*: a slot from the start of its container until 5 s after its member votes. Tables with or without it are right.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stormbed::clock::Millis;
use stormbed::config::{Incarnation, Slot};
use stormbed::outpost::processes::ProcessView;
use stormbed::outpost::protocol::{ContainerState, ContainerView, EtcdView, MasterState};

use super::hosts::parse;
use crate::observe::observation::{Observation, Probe, Shape};

/// A slot settles for this long after its member votes: registration, tables and keys follow within a lease and a watch.
pub const SETTLE_MS: u64 = 5_000;

/// What is true at a tick.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Truth {
    /// End of the tick that shows it.
    pub at: Millis,
    /// Members.
    pub members: BTreeSet<Slot>,
    /// Slots that have a running container and are on their way in: tables with or without them are right. Some may be members already.
    pub settling: BTreeSet<Slot>,
    /// Slots that were members, whose container runs, and of which etcd's evidence of this tick is missing.
    pub unsure: BTreeSet<Slot>,
    /// Running, unpaused node containers: slot → incarnations with container id and host.
    pub running: BTreeMap<Slot, Vec<RunningNode>>,
    /// The etcd leader, if there is one.
    pub etcd_leader: Option<EtcdLeader>,
    /// The ZooKeeper leader, if there is one.
    pub zookeeper_leader: Option<ZooKeeperLeader>,
    /// The leading Mesos master, if there is one.
    pub mesos_leader: Option<MesosLeader>,
    /// The machine of the active scheduler, if there is one.
    pub active_framework: Option<String>,
    /// Slots of running, unpaused containers that this tick saw listen on Jupyter's port.
    pub serving_jupyter: BTreeSet<Slot>,
    /// Slots that each running node's /etc/hosts names, if it was read in this tick: not the truth, but who has noticed it.
    pub named: BTreeMap<Slot, BTreeSet<Slot>>,
    /// `/api/status` through the proxy said 200 with the token.
    pub jupyter_answers: bool,
    /// A majority of the ZooKeeper servers serves; none if ZooKeeper was not seen.
    pub zookeeper_quorum: Option<bool>,
    /// Agents that the leading master has registered, by host; none if its state was not seen.
    pub agents: Option<BTreeMap<String, RegisteredAgent>>,
    /// The main part's process of every machine that was looked at closely: a master's master, a host's agent; none = it doesn't run.
    pub processes: BTreeMap<String, Option<ProcessView>>,
    /// What every etcd member that answered says of its own place in Raft.
    pub raft: BTreeMap<Slot, RaftView>,
    /// Id of the framework that was first seen active: it must never change.
    pub framework_id: Option<String>,
    /// Begin of the first tick that showed the present members and etcd leader: older deep evidence speaks of another cluster.
    pub since: Millis,
    /// Begin of the first tick that showed the present etcd leader in its term: what Jupyter did before says nothing of it.
    pub led_since: Millis,
}

/// A member's place in Raft, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaftView {
    /// Its id.
    pub member: u64,
    /// Whom it takes for the leader; 0 = nobody.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// The last entry that it knows to be committed.
    pub index: u64,
    /// It is a learner.
    pub learner: bool,
}

/// An agent in the leading master's list. One that it has given up isn't there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredAgent {
    /// Its id.
    pub id: String,
    /// It is connected.
    pub active: bool,
}

/// A running, unpaused node container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningNode {
    /// Incarnation, from its label.
    pub incarnation: Incarnation,
    /// Full container id.
    pub container: String,
    /// The host that runs it.
    pub host: String,
}

/// The etcd leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdLeader {
    /// Its slot.
    pub slot: Slot,
    /// Its member id.
    pub member: u64,
    /// The Raft term in which it leads.
    pub term: u64,
}

/// The ZooKeeper leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZooKeeperLeader {
    /// Server name.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
}

/// The leading master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MesosLeader {
    /// Master name.
    pub name: String,
    /// Its znode in the election, if the directory was read.
    pub znode: Option<String>,
}

impl Truth {
    /// Members that have settled and were heard in this tick: what every table must name, and who is judged.
    #[must_use]
    pub fn core(&self) -> BTreeSet<Slot> {
        let optional = self.optional();
        self.members.difference(&optional).copied().collect()
    }

    /// Slots that a right table may name or not.
    #[must_use]
    pub fn optional(&self) -> BTreeSet<Slot> {
        self.settling.union(&self.unsure).copied().collect()
    }

    /// No settled member's /etc/hosts names this slot any more.
    #[must_use]
    pub fn is_forgotten(&self, slot: Slot) -> bool {
        let mut others = self.core();
        others.remove(&slot);
        let forgets = |other: &Slot| self.named.get(other).is_some_and(|named| !named.contains(&slot));
        !others.is_empty() && others.iter().all(forgets)
    }

    /// This container runs this slot now.
    #[must_use]
    pub fn runs(&self, slot: Slot, container: &str) -> bool {
        let nodes = self.running.get(&slot);
        nodes.is_some_and(|nodes| nodes.iter().any(|node| node.container == container))
    }

    /// The host that runs this slot.
    #[must_use]
    pub fn host_of(&self, slot: Slot) -> Option<&String> {
        Some(&self.running.get(&slot)?.first()?.host)
    }

    /// Names that `/etc/hosts` must hold for these members: `PREFIX-0` is the etcd leader, the others follow in slot order, without gaps.
    #[must_use]
    pub fn names(prefix: &str, leader: Slot, members: &BTreeSet<Slot>) -> BTreeMap<String, Slot> {
        std::iter::once(leader)
            .chain(members.iter().copied().filter(|slot| *slot != leader))
            .enumerate()
            .map(|(number, slot)| (format!("{prefix}-{number}"), slot))
            .collect()
    }
}

/// Turns observations into truth, one after another; remembers only what settling and missing evidence need.
#[derive(Debug, Clone)]
pub struct TruthTracker {
    shape: Shape,
    /// When each container's member was first seen to vote.
    voted: BTreeMap<String, Millis>,
    /// The last look at each host that succeeded.
    on_host: BTreeMap<String, Vec<ContainerView>>,
    /// Members and leader, and since when they are these.
    present: Option<(BTreeSet<Slot>, Slot, Millis)>,
    /// The last etcd leader, and since when it leads in its term.
    leading: Option<(EtcdLeader, Millis)>,
    framework_id: Option<String>,
}

impl TruthTracker {
    /// A tracker for this cluster.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            voted: BTreeMap::new(),
            on_host: BTreeMap::new(),
            present: None,
            leading: None,
            framework_id: None,
        }
    }

    /// The truth that this observation shows. Feed observations in order.
    pub fn see(&mut self, seen: &Observation) -> Truth {
        let views = self.containers(seen);
        let etcd_leader = etcd_leader(seen);
        let mut truth = Truth {
            at: seen.end,
            zookeeper_leader: zookeeper_leader(seen, &self.shape),
            mesos_leader: mesos_leader(seen, &self.shape),
            jupyter_answers: matches!(&seen.fast.status.result, Ok(status) if status.with_token == 200),
            active_framework: active_scheduler(seen, &self.shape),
            agents: registered_agents(seen),
            processes: processes(seen),
            raft: raft(seen),
            etcd_leader,
            ..Truth::default()
        };
        for (host, view, fresh) in &views {
            if *fresh && view.listening.contains(&self.shape.jupyter_port) {
                truth.serving_jupyter.insert(view.slot);
            }
            if let (true, Ok(file)) = (*fresh, &view.hosts_file) {
                truth.named.insert(view.slot, self.slots_named(file));
            }
            truth.running.entry(view.slot).or_default().push(RunningNode {
                incarnation: view.incarnation,
                container: view.id.clone(),
                host: host.clone(),
            });
            self.place(seen, view, *fresh, &mut truth);
        }
        truth.zookeeper_quorum = seen.fast.zookeeper.result.is_ok().then_some(truth.zookeeper_leader.is_some());
        // Where a slot runs twice (a machine that was cut off still has its former one), the newest is meant.
        truth.running.values_mut().for_each(|nodes| nodes.sort_by_key(|node| std::cmp::Reverse(node.incarnation)));
        let alive: BTreeSet<&String> = views.iter().map(|(_, view, _)| &view.id).collect();
        // A frozen container keeps its vote; one that is gone never comes back under its id.
        self.voted.retain(|id, _| alive.contains(id) || self.on_host.values().flatten().any(|view| view.id == *id));
        truth.since = self.since(seen, &truth);
        truth.led_since = self.led_since(seen, &truth);
        self.framework_id = self.framework_id.take().or_else(|| active_framework(seen, &self.shape));
        truth.framework_id.clone_from(&self.framework_id);
        truth
    }

    /// Running containers of all hosts with their host; of a host that wasn't seen, those of the last look (not fresh).
    fn containers(&mut self, seen: &Observation) -> Vec<(String, ContainerView, bool)> {
        for (host, probe) in &seen.fast.containers {
            if let Ok(views) = &probe.result {
                self.on_host.insert(host.clone(), views.clone());
            }
        }
        // What runs on a machine that is down or frozen, doesn't.
        if let Ok(parts) = &seen.fast.parts.result {
            self.on_host.retain(|host, _| parts.get(host).is_none_or(|part| part.state == ContainerState::Running));
        }
        let fresh = |host: &String| matches!(seen.fast.containers.get(host), Some(probe) if probe.result.is_ok());
        self.on_host
            .iter()
            .flat_map(|(host, views)| views.iter().map(move |view| (host, view)))
            .filter(|(_, view)| view.state == ContainerState::Running)
            .map(|(host, view)| (host.clone(), view.clone(), fresh(host)))
            .collect()
    }

    /// The slots whose addresses this hosts file gives numbered names.
    fn slots_named(&self, file: &str) -> BTreeSet<Slot> {
        let named: BTreeSet<Ipv4Addr> = parse(&self.shape.prefix, file).into_values().flatten().collect();
        let slots = self.shape.addresses.iter().filter(|(_, address)| named.contains(address));
        slots.map(|(slot, _)| *slot).collect()
    }

    /// Puts a running slot among members, settling and unsure.
    fn place(&mut self, seen: &Observation, view: &ContainerView, fresh: bool, truth: &mut Truth) {
        let slot = view.slot;
        let etcd = match &seen.fast.etcd_after.result {
            Ok(views) => views.get(&slot).and_then(|view| view.as_ref().ok()),
            Err(_) => None,
        };
        let votes =
            etcd.is_some_and(|etcd| !etcd.learner && etcd.members.iter().any(|m| m.id == etcd.member_id && !m.learner));
        let connected = etcd.is_some_and(|etcd| match &truth.etcd_leader {
            Some(leader) => etcd.leader_id == leader.member && etcd.term == leader.term,
            // Without a leader nobody can show a quorum: whoever votes may still be in.
            None => true,
        });
        if votes && connected {
            self.voted.entry(view.id.clone()).or_insert(seen.end);
            truth.members.insert(slot);
        }
        match self.voted.get(&view.id) {
            Some(since) if seen.end < *since + Duration::from_millis(SETTLE_MS) => {
                truth.settling.insert(slot);
            }
            Some(_) if etcd.is_none() || !fresh => {
                truth.unsure.insert(slot);
            }
            Some(_) => {}
            None => {
                truth.settling.insert(slot);
            }
        }
    }

    /// Since when members and leader are what they are. A tick without a leader, or without an answer, changes nothing.
    fn since(&mut self, seen: &Observation, truth: &Truth) -> Millis {
        let Some(leader) = &truth.etcd_leader else {
            return self.present.as_ref().map_or(seen.begin, |p| p.2);
        };
        let members: BTreeSet<Slot> = truth.members.union(&truth.unsure).copied().collect();
        match &self.present {
            Some((known, slot, since)) if *known == members && *slot == leader.slot => *since,
            _ => {
                self.present = Some((members, leader.slot, seen.begin));
                seen.begin
            }
        }
    }

    /// Since when the leader leads. A tick without a leader changes nothing: the same one in the same term never stopped.
    fn led_since(&mut self, seen: &Observation, truth: &Truth) -> Millis {
        match (&truth.etcd_leader, &self.leading) {
            (Some(leader), Some((known, since))) if leader == known => *since,
            (None, Some((_, since))) => *since,
            (None, None) => seen.begin,
            (Some(leader), _) => {
                self.leading = Some((leader.clone(), seen.begin));
                seen.begin
            }
        }
    }
}

/// The leader that both looks of a tick agree on.
fn etcd_leader(seen: &Observation) -> Option<EtcdLeader> {
    let leader = |probe: &Probe<BTreeMap<Slot, Result<EtcdView, String>>>| match &probe.result {
        Ok(views) => confirmed_leader(views),
        Err(_) => None,
    };
    let before = leader(&seen.fast.etcd_before)?;
    let after = leader(&seen.fast.etcd_after)?;
    (before == after).then_some(after)
}

/// The id that a majority of voters names at the highest term and that confirms itself.
fn confirmed_leader(views: &BTreeMap<Slot, Result<EtcdView, String>>) -> Option<EtcdLeader> {
    let answers = || views.iter().filter_map(|(slot, view)| view.as_ref().ok().map(|view| (*slot, view)));
    let term = answers().map(|(_, view)| view.term).max()?;
    let newest = answers().map(|(_, view)| view).max_by_key(|view| (view.term, view.applied_index))?;
    let voters = newest.members.iter().filter(|m| !m.learner).count();
    let (slot, itself) =
        answers().find(|(_, view)| view.term == term && view.leader_id == view.member_id && view.member_id != 0)?;
    let named =
        answers().filter(|(_, view)| !view.learner && view.term == term && view.leader_id == itself.member_id).count();
    (named > voters / 2).then_some(EtcdLeader { slot, member: itself.member_id, term })
}

fn zookeeper_leader(seen: &Observation, shape: &Shape) -> Option<ZooKeeperLeader> {
    let view = seen.fast.zookeeper.result.as_ref().ok()?;
    let answers = || view.servers.iter().filter_map(|(name, server)| server.as_ref().ok().map(|server| (name, server)));
    let epoch = answers().filter(|(_, server)| server.mode == "leader").map(|(_, server)| server.epoch).max()?;
    let leaders: Vec<&String> = answers()
        .filter(|(_, server)| server.mode == "leader" && server.epoch == epoch)
        .map(|(name, _)| name)
        .collect();
    let synced = answers().filter(|(_, server)| server.mode == "follower" && server.epoch <= epoch).count();
    match leaders.as_slice() {
        [name] if synced + 1 > shape.zookeepers.len() / 2 => Some(ZooKeeperLeader { name: (*name).clone(), epoch }),
        _ => None,
    }
}

fn mesos_leader(seen: &Observation, shape: &Shape) -> Option<MesosLeader> {
    let view = seen.fast.mesos.result.as_ref().ok()?;
    let mut elected =
        view.masters.iter().filter(|(_, master)| matches!(master, Ok(master) if master.elected)).map(|(name, _)| name);
    let (Some(name), None) = (elected.next(), elected.next()) else {
        return None;
    };
    let candidate = match &seen.fast.zookeeper.result {
        Ok(zookeeper) => zookeeper.election.as_ref().ok(),
        Err(_) => None,
    };
    let Some(candidates) = candidate else {
        return Some(MesosLeader { name: name.clone(), znode: None });
    };
    let (znode, address) = candidates.first()?;
    (shape.masters.get(name) == Some(address)).then(|| MesosLeader { name: name.clone(), znode: Some(znode.clone()) })
}

/// The scheduler that ZooKeeper's smallest candidate names and that is subscribed at the leading master.
fn active_scheduler(seen: &Observation, shape: &Shape) -> Option<String> {
    let candidates = seen.fast.zookeeper.result.as_ref().ok()?.schedulers.as_ref().ok()?;
    let (_, elected) = candidates.first()?;
    let mut frameworks = leading_state(seen)?.frameworks.iter();
    let ours = frameworks.find(|framework| framework.name == shape.framework_name && framework.active)?;
    let address = shape.machines.get(elected)?;
    (ours.hostname == address.to_string()).then(|| elected.clone())
}

/// The programs that faults are about, as supervisors call them.
const MAIN_PARTS: [&str; 3] = ["master", "agent", "framework"];

fn processes(seen: &Observation) -> BTreeMap<String, Option<ProcessView>> {
    let machines = seen.fast.machines.iter();
    let looked_at = machines.filter_map(|(name, probe)| Some((name, probe.result.as_ref().ok()?)));
    looked_at
        .map(|(name, view)| {
            let main = MAIN_PARTS.iter().find_map(|part| view.processes.get(*part));
            (name.clone(), main.copied())
        })
        .collect()
}

fn raft(seen: &Observation) -> BTreeMap<Slot, RaftView> {
    let views = seen.fast.etcd_after.result.iter().flatten();
    let place = |view: &EtcdView| RaftView {
        member: view.member_id,
        leader: view.leader_id,
        term: view.term,
        index: view.index,
        learner: view.learner,
    };
    views.filter_map(|(slot, view)| Some((*slot, place(view.as_ref().ok()?)))).collect()
}

/// The state of the one master that says it leads.
fn leading_state(seen: &Observation) -> Option<&MasterState> {
    let view = seen.fast.mesos.result.as_ref().ok()?;
    let masters = view.masters.values().filter_map(|master| master.as_ref().ok());
    masters.filter(|master| master.elected).find_map(|master| master.state.as_ref())
}

fn registered_agents(seen: &Observation) -> Option<BTreeMap<String, RegisteredAgent>> {
    let agents = leading_state(seen)?.agents.iter();
    let registered = agents.map(|agent| {
        let view = RegisteredAgent { id: agent.id.clone(), active: agent.active };
        (agent.hostname.clone(), view)
    });
    Some(registered.collect())
}

fn active_framework(seen: &Observation, shape: &Shape) -> Option<String> {
    let mut frameworks = leading_state(seen)?.frameworks.iter();
    let ours = frameworks.find(|framework| framework.name == shape.framework_name && framework.active);
    ours.map(|framework| framework.id.clone())
}

#[cfg(test)]
#[path = "truth_tests.rs"]
mod tests;
