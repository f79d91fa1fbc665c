//! `mesos`: exactly one leading master, all masters, agents and ZooKeeper agree on it; one active framework with the id it had at
//! the start; N tasks running, no duplicate slot, no orphan container.
//!
//! Masters and agents that a fault holds down needn't answer; all others must agree without them.

use std::collections::{BTreeMap, BTreeSet};

use stormbed::config::{Incarnation, Slot};
use stormbed::outpost::protocol::{ContainerState, FrameworkView, MasterState, MesosView};

use super::evidence::Evidence;
use super::{Breach, Invariant, Judged, Look};

/// A master that was frozen beyond its session may say that it leads until its client has heard of the loss.
pub const TWO_MASTERS_MAX_MS: u64 = 5_000;
/// Hosts are looked at one after another within a tick, so a slot that starts elsewhere may be seen twice for a moment.
pub const TWICE_MAX_MS: u64 = 2_000;

/// The invariant.
#[derive(Debug)]
pub struct Mesos;

impl Invariant for Mesos {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        let mut breach = None;
        evidence.uses(&look.seen.fast.zookeeper);
        if let Some(view) = evidence.look("Mesos", &look.seen.fast.mesos) {
            breach = judge_leader(look, view, &mut evidence);
            if let Some(state) = leading_state(view) {
                judge_state(look, state, &mut evidence);
            }
        }
        let unseen = look.containers().any(|(_, probe)| probe.result.is_err());
        let blind = unseen || look.seen.fast.mesos.result.is_err();
        Judged { fast: Some(evidence.part()), breach: breach.or_else(|| twice(look)), blind, ..Judged::default() }
    }
}

fn leading_state(view: &MesosView) -> Option<&MasterState> {
    view.masters.values().filter_map(|master| master.as_ref().ok()).find(|master| master.elected)?.state.as_ref()
}

/// One leader on whom everybody agrees.
fn judge_leader(look: &Look<'_>, view: &MesosView, evidence: &mut Evidence) -> Option<Breach> {
    let mut elected = vec![];
    for name in look.shape.masters.keys() {
        match view.masters.get(name) {
            Some(Ok(master)) if master.elected => elected.push(name.as_str()),
            Some(Ok(_)) => {}
            _ if look.held.masters.contains(name) => {}
            Some(Err(why)) => evidence.broken(format!("{name} doesn't answer: {why}")),
            None => evidence.unknown(format!("{name} was not asked")),
        }
    }
    let leader = match elected.as_slice() {
        [name] => *name,
        [] => {
            evidence.broken("no master says that it is elected; expected exactly one");
            return None;
        }
        names => {
            let why = format!("{} say that they are elected; expected exactly one", names.join(" and "));
            evidence.broken(why.clone());
            return Some(Breach { why, tolerated_ms: TWO_MASTERS_MAX_MS });
        }
    };
    let address = look.shape.masters.get(leader).map_or("", String::as_str);
    for (name, master) in &view.masters {
        if let Ok(master) = master
            && !look.held.masters.contains(name)
            && !master.redirect.as_deref().is_some_and(|to| names_master(to, leader, address))
        {
            evidence.broken(format!("{name} redirects to {:?}; expected {leader} ({address})", master.redirect));
        }
    }
    judge_election(look, leader, address, evidence);
    for host in look.shape.hosts.iter().filter(|host| !look.held.agent_of(host)) {
        match view.agents.get(host) {
            Some(Ok(Some(to))) if names_master(to, leader, address) => {}
            Some(Ok(to)) => evidence.broken(format!("{host}'s agent follows {to:?}; expected {leader} ({address})")),
            Some(Err(why)) => evidence.broken(format!("{host}'s agent doesn't answer: {why}")),
            None => evidence.unknown(format!("{host}'s agent was not asked")),
        }
    }
    None
}

fn judge_election(look: &Look<'_>, leader: &str, address: &str, evidence: &mut Evidence) {
    match look.seen.fast.zookeeper.result.as_ref().map(|view| &view.election) {
        Ok(Ok(candidates)) => match candidates.first() {
            Some((_, first)) if first == address => {}
            first => {
                evidence
                    .broken(format!("the first candidate in ZooKeeper is {first:?}; expected {leader} ({address})"));
            }
        },
        Ok(Err(why)) | Err(why) => evidence.unknown(format!("the masters' election could not be read: {why}")),
    }
}

/// Masters name each other as `name`, `ip` or `ip:port`, as they were told to. Apache Mesos's agents say what their master's address
/// resolves to: in an engine's network `<container>.<network>`, and a container's name ends with its machine's.
fn names_master(found: &str, name: &str, address: &str) -> bool {
    let host = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let found = found.trim_start_matches('/');
    let label = found.split(['.', ':']).next().unwrap_or_default();
    let is_machine = label.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('-'));
    found == address || host(found) == host(address) || is_machine
}

/// Agents, framework and tasks as the leading master knows them.
fn judge_state(look: &Look<'_>, state: &MasterState, evidence: &mut Evidence) {
    let active: BTreeSet<&String> = state.agents.iter().filter(|a| a.active).map(|a| &a.hostname).collect();
    for host in look.shape.hosts.iter().filter(|host| !active.contains(host) && !look.held.agent_of(host)) {
        evidence.broken(format!("{host}'s agent is not active at the leading master; active are {active:?}"));
    }
    let ours: Vec<&FrameworkView> =
        state.frameworks.iter().filter(|framework| framework.name == look.shape.framework_name).collect();
    let [framework] = ours.as_slice() else {
        evidence.broken(format!("frameworks named {}: expected 1, found {}", look.shape.framework_name, ours.len()));
        return;
    };
    if !(framework.active && framework.connected) {
        evidence.broken(format!(
            "framework {}: expected active and connected, found active {} and connected {}",
            framework.id, framework.active, framework.connected
        ));
    }
    if let Some(first) = &look.truth.framework_id {
        evidence.expect("the framework's id (as at the start)", first, &framework.id);
    }
    judge_tasks(look, framework, evidence);
}

/// One running task per slot, and a task for every container.
fn judge_tasks(look: &Look<'_>, framework: &FrameworkView, evidence: &mut Evidence) {
    let mut alive: BTreeSet<(Slot, Incarnation)> = BTreeSet::new();
    let mut running: BTreeMap<Slot, u32> = look.shape.addresses.keys().map(|slot| (*slot, 0)).collect();
    for task in &framework.tasks {
        let Some((slot, incarnation)) = parse_task_id(&look.shape.cluster, &task.id) else {
            evidence.broken(format!("task {} is no incarnation of a slot of {}", task.id, look.shape.cluster));
            continue;
        };
        if matches!(task.state.as_str(), "TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING" | "TASK_KILLING") {
            alive.insert((slot, incarnation));
        }
        if task.state == "TASK_RUNNING" {
            *running.entry(slot).or_default() += 1;
        }
    }
    for (slot, count) in &running {
        let known = look.shape.addresses.contains_key(slot);
        if *count != u32::from(known) {
            evidence.broken(format!("running tasks of slot {slot}: expected {}, found {count}", u32::from(known)));
        }
    }
    for (host, probe) in look.containers() {
        let Some(views) = evidence.look(&format!("the containers of {host}"), probe) else {
            continue;
        };
        for view in views.iter().filter(|v| matches!(v.state, ContainerState::Running | ContainerState::Paused)) {
            if !alive.contains(&(view.slot, view.incarnation)) {
                evidence.broken(format!(
                    "container {} on {host} (slot {}, incarnation {}) has no task: an orphan",
                    view.name, view.slot, view.incarnation
                ));
            }
        }
    }
}

/// `<cluster>.<slot>.<incarnation>`.
fn parse_task_id(cluster: &str, id: &str) -> Option<(Slot, Incarnation)> {
    let (slot, incarnation) = id.strip_prefix(cluster)?.strip_prefix('.')?.split_once('.')?;
    Some((slot.parse().ok()?, incarnation.parse().ok()?))
}

/// Two running containers of one slot share an address and a data directory. Only what this tick saw counts: what ran on a
/// host that can't be seen may have ended since.
fn twice(look: &Look<'_>) -> Option<Breach> {
    let mut running: BTreeMap<Slot, Vec<String>> = BTreeMap::new();
    // A machine that is cut off can't be told that its slots run elsewhere by now.
    for (host, probe) in look.containers() {
        let views = probe.result.iter().flatten();
        for view in views.filter(|view| view.state == ContainerState::Running) {
            running.entry(view.slot).or_default().push(format!("incarnation {} on {host}", view.incarnation));
        }
    }
    let (slot, places) = running.into_iter().find(|(_, places)| places.len() > 1)?;
    Some(Breach {
        why: format!("slot {slot} runs {} times: {}; expected once", places.len(), places.join(", ")),
        tolerated_ms: TWICE_MAX_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::fixture::Cluster;

    fn changed(change: impl Fn(&mut Cluster)) -> Cluster {
        let mut cluster = Cluster::steady();
        change(&mut cluster);
        cluster
    }

    fn mesos(cluster: &mut Cluster) -> &mut MesosView {
        cluster.seen.fast.mesos.result.as_mut().expect("a look")
    }

    #[test]
    fn a_right_mesos_holds() {
        Cluster::steady().accepted(&Mesos);
    }

    #[test]
    fn there_is_exactly_one_leader() {
        changed(|c| c.master("master-1").elected = false).rejected(&Mesos, &["no master"]);
        let two = changed(|c| c.master("master-3").elected = true);
        two.rejected(&Mesos, &["master-1 and master-3"]);
        assert_eq!(two.judged(&Mesos).breach.map(|b| b.tolerated_ms), Some(TWO_MASTERS_MAX_MS));
    }

    #[test]
    fn a_silent_master_is_rejected_unless_a_fault_holds_it_down() {
        let mut cluster = changed(|c| {
            mesos(c).masters.insert("master-2".into(), Err("refused".into()));
        });
        cluster.rejected(&Mesos, &["master-2 doesn't answer", "refused"]);
        cluster.held.masters.insert("master-2".into());
        cluster.accepted(&Mesos);
    }

    #[test]
    fn masters_agents_and_zookeeper_agree() {
        changed(|c| c.master("master-2").redirect = None).rejected(&Mesos, &["master-2 redirects to None"]);
        changed(|c| c.master("master-2").redirect = Some("198.18.0.23:5050".into()))
            .rejected(&Mesos, &["master-2", "198.18.0.23"]);
        changed(|c| {
            mesos(c).agents.insert("host-2".into(), Ok(Some("198.18.0.22".into())));
        })
        .rejected(&Mesos, &["host-2's agent follows"]);
        let follows = |container: &str| {
            let name = format!("stormbed-ab12-{container}.stormbed-ab12");
            changed(|c| drop(mesos(c).agents.insert("host-2".into(), Ok(Some(name.clone())))))
        };
        follows("master-1").accepted(&Mesos);
        follows("master-2").rejected(&Mesos, &["host-2's agent follows"]);
        changed(|c| {
            mesos(c).agents.insert("host-2".into(), Err("refused".into()));
        })
        .rejected(&Mesos, &["host-2's agent doesn't answer"]);
        changed(|c| {
            if let Ok(candidates) = &mut c.zookeeper().election {
                candidates.remove(0);
            }
        })
        .rejected(&Mesos, &["first candidate", "198.18.0.22"]);
    }

    #[test]
    fn agents_and_framework_are_registered_and_active() {
        changed(|c| c.state().agents[0].active = false).rejected(&Mesos, &["host-1's agent is not active"]);
        changed(|c| c.state().frameworks[0].connected = false).rejected(&Mesos, &["connected false"]);
        changed(|c| c.state().frameworks[0].id = "f2".into()).rejected(&Mesos, &["as at the start", "f1", "f2"]);
        changed(|c| c.state().frameworks.clear()).rejected(&Mesos, &["expected 1, found 0"]);
    }

    #[test]
    fn every_slot_runs_once_and_no_container_is_an_orphan() {
        changed(|c| c.state().frameworks[0].tasks[3].state = "TASK_STAGING".into())
            .rejected(&Mesos, &["slot 3: expected 1, found 0"]);
        changed(|c| {
            let tasks = &mut c.state().frameworks[0].tasks;
            let mut second = tasks[3].clone();
            second.id = "storm.3.2".into();
            tasks.push(second);
        })
        .rejected(&Mesos, &["slot 3: expected 1, found 2"]);
        changed(|c| c.container(3).incarnation = 9).rejected(&Mesos, &["orphan", "incarnation 9"]);
        changed(|c| c.state().frameworks[0].tasks[0].id = "other.0.1".into())
            .rejected(&Mesos, &["no incarnation of a slot"]);
    }

    #[test]
    fn a_slot_that_runs_twice_is_a_breach() {
        let cluster = changed(|c| {
            let mut second = c.container(0).clone();
            second.id = "again".into();
            c.containers("host-2").push(second);
        });
        let breach = cluster.judged(&Mesos).breach.expect("it runs twice");
        assert!(breach.why.contains("slot 0 runs 2 times"), "{breach:?}");
        let mut cut_off = cluster.clone();
        cut_off.held.hosts.insert("host-1".into());
        assert_eq!(cut_off.judged(&Mesos).breach, None, "the former one is on a machine that is cut off");
        let mut unseen = cluster;
        unseen.seen.fast.containers.get_mut("host-1").expect("a host").result = Err("no answer".into());
        let judged = unseen.judged(&Mesos);
        assert!(judged.breach.is_none() && judged.blind, "the first may have ended since");
    }

    #[test]
    fn a_failed_look_neither_confirms_nor_ends_what_was_seen_before() {
        let blind = |change: fn(&mut Cluster)| {
            let judged = changed(change).judged(&Mesos);
            assert_eq!(judged.breach, None);
            judged.blind
        };
        assert!(!blind(|_| {}));
        assert!(blind(|c| c.seen.fast.mesos.result = Err("outpost gone".into())), "two masters may lead");
        assert!(blind(|c| c.seen.fast.containers.get_mut("host-1").expect("a host").result = Err("gone".into())));
        assert!(!blind(|c| c.seen.fast.zookeeper.result = Err("gone".into())), "no breach rests on ZooKeeper");
    }

    #[test]
    fn an_agent_that_a_fault_holds_down_needs_no_word() {
        let mut cluster = changed(|c| {
            mesos(c).agents.insert("host-2".into(), Err("refused".into()));
            c.state().agents[1].active = false;
        });
        cluster.rejected(&Mesos, &["host-2's agent doesn't answer", "host-2's agent is not active"]);
        cluster.held.agents.insert("host-2".into());
        cluster.accepted(&Mesos);
    }

    #[test]
    fn missing_evidence_is_unknown() {
        changed(|c| c.seen.fast.mesos.result = Err("outpost gone".into())).unknown(&Mesos, &["outpost gone"]);
        changed(|c| c.zookeeper().election = Err("connection loss".into())).unknown(&Mesos, &["connection loss"]);
        changed(|c| {
            mesos(c).masters.remove("master-2");
        })
        .unknown(&Mesos, &["master-2 was not asked"]);
    }
}
