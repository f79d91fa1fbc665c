//! Whether a fault's effect, or its end, shows in an observation. Pure; only probes that began after the act count.

use std::collections::BTreeSet;

use stormbed::clock::Millis;
use stormbed::outpost::cut::{Met, chain};
use stormbed::outpost::processes::ProcessView;
use stormbed::outpost::protocol::{ContainerState, ContainerView, MachineView};

use super::place::Place;
use super::work::held;
use super::{Fault, FaultKind, TargetClass, Victim};
use crate::observe::observation::{Observation, PartView, Probe};

/// Every victim is seen to be down (kill, stop, oom, blackout), another than before (restart), frozen (pause), without space (disk-full), short
/// of something (squeeze) or was seen damaged (tamper), or its packets are seen to be dropped or late.
#[must_use]
pub fn effect_seen(fault: &Fault, seen: &Observation) -> bool {
    let Some(began) = fault.life.inject_begin else {
        return false;
    };
    match fault.kind {
        FaultKind::Kill | FaultKind::Stop | FaultKind::Oom | FaultKind::Blackout => {
            every(fault, |victim| is_down(victim, seen, began))
        }
        FaultKind::Restart => every(fault, |victim| is_another(victim, seen, began)),
        FaultKind::Pause => every(fault, |victim| is_frozen(victim, seen, began) == Some(true)),
        FaultKind::Isolate { .. } | FaultKind::Loss { .. } | FaultKind::SlowLink { .. } => {
            every(fault, |victim| is_cut(fault.kind, &held(&fault.name, victim), &cut_at(victim, seen), seen, began))
        }
        FaultKind::Partition { .. } => is_cut(fault.kind, &fault.name, &hosts(seen), seen, began),
        FaultKind::DiskFull | FaultKind::Squeeze { .. } => {
            every(fault, |victim| mark(fault, victim, seen, began) == Some(true))
        }
        // The system may have healed it by now.
        FaultKind::Tamper { .. } => every(fault, |victim| mark(fault, victim, seen, began).is_some()),
    }
}

/// It is seen that the fault is over: a new incarnation runs, the frozen one goes on, the part runs again and serves, the rules are gone.
#[must_use]
pub fn undone_seen(fault: &Fault, seen: &Observation) -> bool {
    let Some(undone) = fault.life.undone else {
        return false;
    };
    let goes_on = |victim: &Victim| serves(victim, seen, undone);
    match fault.kind {
        FaultKind::Kill | FaultKind::Stop | FaultKind::Oom | FaultKind::Blackout => {
            every(fault, |victim| is_back(victim, seen, undone))
        }
        FaultKind::Restart => every(fault, |victim| is_another(victim, seen, undone) && goes_on(victim)),
        FaultKind::Pause => every(fault, |victim| is_frozen(victim, seen, undone) == Some(false) && goes_on(victim)),
        FaultKind::Isolate { .. } | FaultKind::Loss { .. } | FaultKind::SlowLink { .. } => every(fault, |victim| {
            is_uncut(&held(&fault.name, victim), &cut_at(victim, seen), seen, undone) && goes_on(victim)
        }),
        FaultKind::Partition { .. } => is_uncut(&fault.name, &hosts(seen), seen, undone),
        FaultKind::DiskFull | FaultKind::Squeeze { .. } => {
            every(fault, |victim| mark(fault, victim, seen, undone) == Some(false))
        }
        FaultKind::Tamper { .. } => every(fault, |victim| is_healed(fault, victim, seen, undone)),
    }
}

/// Where a fault's effect shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The outer engine's word on the topology's own containers.
    pub parts: bool,
    /// Hosts whose containers show it.
    pub containers: BTreeSet<String>,
    /// Machines whose processes show it.
    pub machines: BTreeSet<String>,
    /// Machines whose rules show it.
    pub cuts: BTreeSet<String>,
}

/// Where this fault's effect shows, of what was seen before.
#[must_use]
pub fn shows_at(fault: &Fault, seen: &Observation) -> Places {
    let mut places = Places::default();
    for victim in &fault.victims {
        let cuts = fault.kind.is_of_network();
        let parts = matches!(fault.kind, FaultKind::Partition { .. });
        let marks = matches!(fault.kind, FaultKind::Tamper { .. } | FaultKind::Squeeze { .. } | FaultKind::DiskFull);
        match victim.class.place() {
            _ if parts => places.cuts.extend(hosts(seen).into_iter().map(str::to_owned)),
            _ if cuts => places.cuts.extend(cut_at(victim, seen).into_iter().map(str::to_owned)),
            Place::Container if !marks && fault.kind != FaultKind::Restart => places.parts = true,
            Place::Node if !marks => places.containers.extend(victim.host.clone()),
            _ => {
                places.machines.insert(victim.machine().to_owned());
            }
        }
    }
    places
}

/// A fault that is held is seen to be over all the same: somebody else has undone it (a lease that ended, a heartbeat that stopped).
#[must_use]
pub fn lapsed(fault: &Fault, seen: &Observation) -> bool {
    let (Some(from), true) = (fault.life.seen, fault.life.in_force()) else {
        return false;
    };
    let goes_on = |victim: &Victim| {
        let now = process(victim, seen, from);
        let thawed = is_frozen(victim, seen, from) == Some(false);
        match victim.class.place() {
            Place::Container => thawed && runs(victim, seen, from),
            Place::Node => {
                let container = node_container(victim, seen, from).flatten();
                container.is_some_and(|container| container.state == ContainerState::Running)
            }
            Place::Part(_) | Place::Brick | Place::InNode(_) => thawed && now == Some(victim.process),
        }
    };
    let any = |test: &dyn Fn(&Victim) -> bool| fault.victims.iter().any(test);
    match fault.kind {
        FaultKind::Kill | FaultKind::Stop | FaultKind::Oom | FaultKind::Blackout => {
            any(&|victim| match victim.class.place() {
                Place::Container => runs(victim, seen, from),
                _ => is_another(victim, seen, from),
            })
        }
        FaultKind::DiskFull | FaultKind::Squeeze { .. } => {
            any(&|victim| mark(fault, victim, seen, from) == Some(false))
        }
        FaultKind::Restart | FaultKind::Tamper { .. } => false,
        FaultKind::Pause => any(&goes_on),
        FaultKind::Isolate { .. } | FaultKind::Loss { .. } | FaultKind::SlowLink { .. } => {
            any(&|victim| lacks_rules(&held(&fault.name, victim), &cut_at(victim, seen), seen, from))
        }
        FaultKind::Partition { .. } => lacks_rules(&fault.name, &hosts(seen), seen, from),
    }
}

/// The rules are missing on a machine that was looked at.
fn lacks_rules(name: &str, machines: &[&str], seen: &Observation, after: Millis) -> bool {
    let chain = chain(name);
    let lacks = |at: &&str| machine(at, seen, after).is_some_and(|view| !view.cuts.contains_key(&chain));
    machines.iter().any(lacks)
}

fn every(fault: &Fault, test: impl Fn(&Victim) -> bool) -> bool {
    !fault.victims.is_empty() && fault.victims.iter().all(test)
}

/// Its container, or its process, has ended.
fn is_down(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let dead = |state| matches!(state, None | Some(ContainerState::Exited | ContainerState::Dead));
    match victim.class.place() {
        Place::Container => part(victim, seen, after).is_some_and(|found| dead(found.map(|part| part.state))),
        Place::Node => node_container(victim, seen, after).is_some_and(|found| dead(found.map(|c| c.state))),
        // Whoever starts it again may be quick.
        Place::Part(_) | Place::Brick | Place::InNode(_) => {
            process(victim, seen, after).is_some_and(|process| process != victim.process)
        }
    }
}

/// It runs again, and serves: a node as a higher incarnation, a process as another one.
fn is_back(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    match victim.class.place() {
        Place::Container => runs(victim, seen, after) && serves(victim, seen, after),
        Place::Node => replaced(victim, seen, after),
        Place::Part(_) | Place::Brick => is_another(victim, seen, after) && serves(victim, seen, after),
        // Jupyter runs where the leader is by then; of a node that was replaced nothing is missing either.
        Place::InNode(program) => replaced(victim, seen, after) || runs_elsewhere(program, victim, seen, after),
    }
}

/// Its process runs, and is another one than was hit.
fn is_another(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let now = process(victim, seen, after).flatten();
    victim.process.is_some() && now.is_some() && now != victim.process
}

/// The program runs in another process: in the same node, or (Jupyter) in any.
fn runs_elsewhere(program: &str, victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let moves = victim.class == TargetClass::Jupyter;
    let key = victim.process_key();
    let machines = seen.fast.machines.values().filter_map(|probe| after_that(probe, after));
    let mut all = machines.flat_map(|view| &view.processes);
    all.any(|(name, process)| {
        let fits = if moves { name.ends_with(&format!("/{program}")) } else { Some(name) == key.as_ref() };
        fits && Some(*process) != victim.process
    })
}

/// Whether it is frozen; none without evidence. What is gone isn't.
fn is_frozen(victim: &Victim, seen: &Observation, after: Millis) -> Option<bool> {
    let paused = |state| state == Some(ContainerState::Paused);
    match victim.class.place() {
        Place::Container => part(victim, seen, after).map(|part| paused(part.map(|part| part.state))),
        Place::Node => node_container(victim, seen, after).map(|c| paused(c.map(|c| c.state))),
        Place::Part(_) | Place::Brick | Place::InNode(_) => {
            let view = machine(victim.machine(), seen, after)?;
            let key = victim.process_key()?;
            Some(view.stopped.contains(&key) && view.processes.get(&key) == victim.process.as_ref())
        }
    }
}

/// Machines on which a cut's rules stand: every host for what belongs to a node.
fn cut_at<'a>(victim: &'a Victim, seen: &'a Observation) -> Vec<&'a str> {
    match victim.class.is_of_node() {
        true => hosts(seen),
        false => vec![victim.machine()],
    }
}

fn hosts(seen: &Observation) -> Vec<&str> {
    seen.fast.containers.keys().map(String::as_str).collect()
}

/// The rules are in force wherever they must be, and packets met them: some were dropped; of loss, others passed; of a slow link, some
/// came late.
fn is_cut(kind: FaultKind, name: &str, machines: &[&str], seen: &Observation, after: Millis) -> bool {
    let chain = chain(name);
    let met = |at: &&str| machine(at, seen, after)?.cuts.get(&chain).copied();
    let Some(all) = machines.iter().map(met).collect::<Option<Vec<Met>>>() else {
        return false;
    };
    let some = |count: fn(&Met) -> u64| all.iter().map(count).sum::<u64>() > 0;
    match kind {
        FaultKind::Loss { .. } => some(|met| met.dropped) && some(|met| met.passed),
        FaultKind::SlowLink { .. } => some(|met| met.passed) && some(|met| met.late),
        _ => some(|met| met.dropped),
    }
}

/// The rules are gone everywhere.
fn is_uncut(name: &str, machines: &[&str], seen: &Observation, after: Millis) -> bool {
    let chain = chain(name);
    let gone = |at: &&str| machine(at, seen, after).is_some_and(|view| !view.cuts.contains_key(&chain));
    machines.iter().all(gone)
}

/// Whether what was done to the victim shows still; none if it never did, or its machine wasn't looked at.
fn mark(fault: &Fault, victim: &Victim, seen: &Observation, after: Millis) -> Option<bool> {
    machine(victim.machine(), seen, after)?.marks.get(&held(&fault.name, victim)).copied()
}

/// What was damaged is as it should be, or went with its node; lost data are another member's by then, and that one votes.
fn is_healed(fault: &Fault, victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let votes = || {
        let etcd = after_that(&seen.fast.etcd_after, after);
        let slot = victim.node.map(|(slot, _)| slot);
        let view = etcd.zip(slot).and_then(|(etcd, slot)| etcd.get(&slot)?.as_ref().ok());
        view.is_some_and(|view| {
            let another = victim.member.as_ref() != Some(&format!("{:x}", view.member_id));
            another && !view.learner && view.leader_id != 0
        })
    };
    let healed = replaced(victim, seen, after) || mark(fault, victim, seen, after) == Some(false);
    healed && (!fault.kind.loses_data() || votes())
}

/// A higher incarnation of the victim's slot runs, on whatever host.
fn replaced(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let Some((slot, incarnation)) = victim.node else {
        return false;
    };
    seen.fast.containers.values().filter_map(|probe| after_that(probe, after)).flatten().any(|container| {
        container.slot == slot && container.incarnation > incarnation && container.state == ContainerState::Running
    })
}

/// Its container runs, the same one.
fn runs(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    part(victim, seen, after).flatten().is_some_and(|part| part.state == ContainerState::Running)
}

/// The part answers for itself.
fn serves(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let fast = &seen.fast;
    match victim.class {
        TargetClass::MesosMaster => {
            runs(victim, seen, after)
                && after_that(&fast.mesos, after)
                    .and_then(|view| view.masters.get(&victim.name)?.as_ref().ok())
                    .is_some()
        }
        TargetClass::ZooKeeper => {
            let view =
                after_that(&fast.zookeeper, after).and_then(|view| view.servers.get(&victim.name)?.as_ref().ok());
            runs(victim, seen, after) && view.is_some_and(|server| server.mode == "leader" || server.mode == "follower")
        }
        TargetClass::MesosAgent => follows(&victim.name, seen, after),
        // Its engine answers, and its agent, which starts after everything else there, follows a master.
        TargetClass::Host => {
            let engine = fast.containers.get(&victim.name).and_then(|probe| after_that(probe, after));
            runs(victim, seen, after) && engine.is_some() && follows(&victim.name, seen, after)
        }
        TargetClass::Framework => {
            let view = machine(&victim.name, seen, after);
            runs(victim, seen, after) && view.is_some_and(|view| view.processes.contains_key("framework"))
        }
        // The edge.
        TargetClass::Topology => {
            let view = machine(&victim.name, seen, after);
            runs(victim, seen, after) && view.is_some_and(|view| view.processes.contains_key("proxy"))
        }
        TargetClass::NetworkDriver | TargetClass::Bird | TargetClass::Proxy | TargetClass::Brick => {
            process(victim, seen, after).is_some_and(|process| process.is_some())
        }
        // Whether a node is well is the invariants' to say.
        TargetClass::Node | TargetClass::Etcd | TargetClass::Sshd | TargetClass::NodeAgent | TargetClass::Jupyter => {
            true
        }
    }
}

/// The process that has the victim's place now. None: no evidence. Some(None): there is none.
fn process(victim: &Victim, seen: &Observation, after: Millis) -> Option<Option<ProcessView>> {
    let key = victim.process_key()?;
    Some(machine(victim.machine(), seen, after)?.processes.get(&key).copied())
}

/// The agent of this host answers, and knows a leading master.
fn follows(host: &str, seen: &Observation, after: Millis) -> bool {
    let agent = after_that(&seen.fast.mesos, after).and_then(|view| view.agents.get(host));
    matches!(agent, Some(Ok(Some(_))))
}

/// A node's container. None: no evidence. Some(None): the engine of its host doesn't know it.
fn node_container<'a>(victim: &Victim, seen: &'a Observation, after: Millis) -> Option<Option<&'a ContainerView>> {
    let all = after_that(seen.fast.containers.get(victim.host.as_ref()?)?, after)?;
    Some(all.iter().find(|container| container.id == victim.container))
}

/// None: no evidence. Some(None): the engine doesn't know this container.
fn part<'a>(victim: &Victim, seen: &'a Observation, after: Millis) -> Option<Option<&'a PartView>> {
    let parts = after_that(&seen.fast.parts, after)?;
    let part = parts.get(&victim.name);
    Some(part.filter(|part| part.id == victim.container))
}

/// Processes and cuts of a machine, if it was looked at.
fn machine<'a>(name: &str, seen: &'a Observation, after: Millis) -> Option<&'a MachineView> {
    after_that(seen.fast.machines.get(name)?, after)
}

fn after_that<T>(probe: &Probe<T>, after: Millis) -> Option<&T> {
    (probe.begin >= after).then_some(probe.result.as_ref().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stormbed::outpost::cut::Way;
    use stormbed::outpost::link::Link;

    use super::*;
    use crate::fault::life::Stage;
    use crate::fault::{Damage, Means, PeerSet, Peers, Role, Target, fixture};
    use crate::invariant::fixture::{BEGIN, Cluster, host_of, probe};

    /// A fault on these victims whose act began just before the observation.
    fn on(kind: FaultKind, victims: Vec<Victim>) -> Fault {
        let target = Target::new(victims[0].class, Role::Any);
        let mut fault = Fault::planned("t", "s1", kind, target);
        fault.victims = victims;
        fault.life.begin(Millis(BEGIN - 1)).expect("legal");
        fault
    }

    fn undone(fault: &mut Fault) {
        fault.life.step(Stage::Undone, Millis(BEGIN - 1)).expect("legal");
    }

    fn slot_0() -> Victim {
        fixture::node(0, 1, &host_of(0), "c0")
    }

    fn part(class: TargetClass, name: &str, cluster: &Cluster) -> Victim {
        let parts = cluster.seen.fast.parts.result.as_ref().expect("seen");
        fixture::part(class, name, &parts.get(name).expect("it exists").id)
    }

    fn agent_of(cluster: &mut Cluster, host: &str) -> Victim {
        let process = ProcessView { pid: 50, started_ticks: 9 };
        cluster.machine(host).processes.insert("agent".into(), process);
        Victim { process: Some(process), ..part(TargetClass::MesosAgent, host, cluster) }
    }

    #[test]
    fn a_dead_container_shows_a_kill_and_a_new_incarnation_its_end() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Kill, vec![slot_0()]);
        assert!(!effect_seen(&fault, &cluster.seen));
        cluster.container(0).state = ContainerState::Exited;
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen));
        let container = cluster.container(0);
        container.state = ContainerState::Running;
        container.incarnation += 1;
        container.id = "another".into();
        assert!(effect_seen(&fault, &cluster.seen));
        assert!(undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn probes_that_began_before_the_act_show_nothing() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Pause, vec![slot_0()]);
        cluster.container(0).state = ContainerState::Paused;
        assert!(effect_seen(&fault, &cluster.seen));
        fault.life.inject_begin = Some(Millis(BEGIN + 1));
        assert!(!effect_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_part_is_back_when_it_runs_and_serves() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Kill, vec![part(TargetClass::MesosMaster, "master-1", &cluster)]);
        undone(&mut fault);
        assert!(undone_seen(&fault, &cluster.seen));
        let mesos = cluster.seen.fast.mesos.result.as_mut().expect("seen");
        mesos.masters.insert("master-1".into(), Err("refused".into()));
        assert!(!undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn every_victim_counts() {
        let mut cluster = Cluster::steady();
        let both = ["zk-1", "zk-3"].map(|name| part(TargetClass::ZooKeeper, name, &cluster));
        let fault = on(FaultKind::Kill, both.to_vec());
        cluster.part("zk-1").state = ContainerState::Exited;
        assert!(!effect_seen(&fault, &cluster.seen), "one of two still runs");
        cluster.part("zk-3").state = ContainerState::Exited;
        assert!(effect_seen(&fault, &cluster.seen));
    }

    #[test]
    fn an_agent_is_dead_without_its_process_and_back_with_another_one_that_follows() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Kill, vec![agent_of(&mut cluster, "host-1")]);
        assert!(!effect_seen(&fault, &cluster.seen), "the same process runs");
        let same = cluster.machine("host-1").processes.clone();
        cluster.machine("host-1").processes.clear();
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen));
        cluster.machine("host-1").processes = same;
        assert!(!undone_seen(&fault, &cluster.seen), "that is the one that should be dead");
        cluster.machine("host-1").processes.insert("agent".into(), ProcessView { pid: 50, started_ticks: 10 });
        assert!(undone_seen(&fault, &cluster.seen));
        let mesos = cluster.seen.fast.mesos.result.as_mut().expect("seen");
        mesos.agents.insert("host-1".into(), Ok(None));
        assert!(!undone_seen(&fault, &cluster.seen), "it follows nobody yet");
    }

    #[test]
    fn a_machine_is_cut_off_when_packets_were_dropped_and_back_without_the_rules() {
        let mut cluster = Cluster::steady();
        let host = part(TargetClass::Host, "host-2", &cluster);
        let chain = chain(&held("t/s1", &host));
        let mut fault = on(FaultKind::isolate(Peers::Everyone), vec![host]);
        assert!(!effect_seen(&fault, &cluster.seen));
        cluster.machine("host-2").cuts.insert(chain.clone(), dropped(0));
        assert!(!effect_seen(&fault, &cluster.seen), "rules that nothing has met prove nothing");
        cluster.machine("host-2").cuts.insert(chain.clone(), dropped(3));
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen), "the rules are still there");
        cluster.machine("host-2").cuts.clear();
        assert!(undone_seen(&fault, &cluster.seen));
    }

    fn dropped(dropped: u64) -> Met {
        Met { dropped, ..Met::default() }
    }

    #[test]
    fn loss_drops_some_packets_and_lets_others_pass_and_a_slow_link_is_late() {
        let mut cluster = Cluster::steady();
        let host = part(TargetClass::Host, "host-2", &cluster);
        let chain = chain(&held("t/s1", &host));
        let (from, way) = (PeerSet::EVERYONE, Way::Both);
        let loss = on(FaultKind::Loss { from, way, percent: 30 }, vec![host.clone()]);
        let slow = on(FaultKind::SlowLink { from, link: Link { delay_ms: 9, ..Link::default() } }, vec![host]);
        let mut shows = |fault: &Fault, dropped, passed, late| {
            cluster.machine("host-2").cuts.insert(chain.clone(), Met { dropped, passed, late });
            effect_seen(fault, &cluster.seen)
        };
        assert!(!shows(&loss, 4, 0, 0), "that is no loss, nothing passes");
        assert!(!shows(&loss, 0, 4, 0), "nothing is lost");
        assert!(shows(&loss, 1, 4, 0));
        assert!(!shows(&slow, 0, 4, 0), "packets pass the queue by");
        assert!(shows(&slow, 0, 4, 3));
    }

    #[test]
    fn a_held_fault_that_is_over_before_its_time_has_lapsed() {
        let mut cluster = Cluster::steady();
        let held = |kind, victim: Victim| {
            let mut fault = on(kind, vec![victim]);
            fault.life.step(Stage::Injected, Millis(BEGIN - 1)).expect("legal");
            fault.life.step(Stage::Seen, Millis(BEGIN - 1)).expect("legal");
            fault
        };
        let node = held(FaultKind::Pause, slot_0());
        assert!(lapsed(&node, &cluster.seen), "it runs");
        cluster.container(0).state = ContainerState::Paused;
        assert!(!lapsed(&node, &cluster.seen));
        cluster.container(0).state = ContainerState::Exited;
        assert!(!lapsed(&node, &cluster.seen), "another fault may have killed it");
        let server = held(FaultKind::Kill, part(TargetClass::ZooKeeper, "zk-1", &cluster));
        assert!(lapsed(&server, &cluster.seen), "it runs");
        cluster.part("zk-1").state = ContainerState::Exited;
        assert!(!lapsed(&server, &cluster.seen));
        let agent = held(FaultKind::Pause, agent_of(&mut cluster, "host-1"));
        assert!(lapsed(&agent, &cluster.seen), "it isn't stopped");
        cluster.machine("host-1").stopped.insert("agent".into());
        assert!(!lapsed(&agent, &cluster.seen));
        let host = held(FaultKind::isolate(Peers::Everyone), part(TargetClass::Host, "host-2", &cluster));
        assert!(lapsed(&host, &cluster.seen), "its rules are gone");
    }

    #[test]
    fn damage_was_seen_and_is_over_when_it_is_not_seen_any_more() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Tamper { what: Damage::Hosts }, vec![slot_0()]);
        assert!(!effect_seen(&fault, &cluster.seen));
        let mark = held("t/s1", &fault.victims[0]);
        cluster.machine(&host_of(0)).marks.insert(mark.clone(), false);
        assert!(effect_seen(&fault, &cluster.seen), "it was healed before anybody else could look");
        undone(&mut fault);
        assert!(undone_seen(&fault, &cluster.seen));
        cluster.machine(&host_of(0)).marks.insert(mark, true);
        assert!(!undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_full_disk_refuses_writes_until_it_takes_them_again() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::DiskFull, vec![part(TargetClass::Brick, "host-1", &cluster)]);
        let mark = held("t/s1", &fault.victims[0]);
        assert!(!effect_seen(&fault, &cluster.seen), "nobody has tried to write");
        cluster.machine("host-1").marks.insert(mark.clone(), true);
        assert!(effect_seen(&fault, &cluster.seen));
        fault.life.step(Stage::Injected, Millis(BEGIN - 1)).expect("legal");
        fault.life.step(Stage::Seen, Millis(BEGIN - 1)).expect("legal");
        assert!(!lapsed(&fault, &cluster.seen));
        cluster.machine("host-1").marks.insert(mark, false);
        assert!(lapsed(&fault, &cluster.seen), "it was freed before its time");
        undone(&mut fault);
        assert!(undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_bad_disk_shows_where_its_program_is_traced_and_an_oom_as_a_kill() {
        let mut cluster = Cluster::steady();
        let late = FaultKind::Squeeze { what: Means::Disk { delay_ms: 100 } };
        let fault = on(late, vec![part(TargetClass::ZooKeeper, "zk-1", &cluster)]);
        let places = shows_at(&fault, &cluster.seen);
        assert!(places.machines.contains("zk-1") && !places.parts, "the engine knows nothing of it: {places:?}");
        assert!(!effect_seen(&fault, &cluster.seen));
        let view = cluster.machine("host-1").clone();
        cluster.seen.fast.machines.insert("zk-1".into(), probe(view));
        cluster.machine("zk-1").marks.insert(held("t/s1", &fault.victims[0]), true);
        assert!(effect_seen(&fault, &cluster.seen));
        let oom = on(FaultKind::Oom, vec![slot_0()]);
        assert!(shows_at(&oom, &cluster.seen).containers.contains(&host_of(0)));
        assert!(!effect_seen(&oom, &cluster.seen));
        cluster.container(0).state = ContainerState::Exited;
        assert!(effect_seen(&oom, &cluster.seen));
    }

    #[test]
    fn lost_data_are_healed_when_another_member_votes() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Tamper { what: Damage::EtcdData }, vec![slot_0()]);
        let former = cluster.etcd_view(0).member_id;
        fault.victims[0].member = Some(format!("{former:x}"));
        undone(&mut fault);
        cluster.machine(&host_of(0)).marks.insert(held("t/s1", &fault.victims[0]), false);
        assert!(!undone_seen(&fault, &cluster.seen), "that is the member whose data were lost");
        cluster.etcd_view(0).member_id = former + 1;
        assert!(undone_seen(&fault, &cluster.seen));
        cluster.etcd_view(0).learner = true;
        assert!(!undone_seen(&fault, &cluster.seen), "it has no vote yet");
    }

    #[test]
    fn a_blackout_is_over_when_every_machine_serves_again() {
        let mut cluster = Cluster::steady();
        let edge = part(TargetClass::Topology, "edge", &cluster);
        let mut fault = on(FaultKind::Blackout, vec![part(TargetClass::ZooKeeper, "zk-1", &cluster), edge]);
        cluster.part("zk-1").state = ContainerState::Exited;
        assert!(!effect_seen(&fault, &cluster.seen), "the edge runs");
        cluster.part("edge").state = ContainerState::Exited;
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen));
        for name in ["zk-1", "edge"] {
            cluster.part(name).state = ContainerState::Running;
        }
        assert!(!undone_seen(&fault, &cluster.seen), "there is no proxy yet");
        let proxy = BTreeMap::from([("proxy".to_owned(), ProcessView { pid: 7, started_ticks: 1 })]);
        let edge = probe(MachineView { processes: proxy, ..MachineView::default() });
        cluster.seen.fast.machines.insert("edge".into(), edge);
        assert!(undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_partition_needs_its_rules_on_every_host() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::PARTITION, vec![slot_0()]);
        let chain = chain("t/s1");
        for (host, packets) in [("host-1", 0), ("host-2", 4)] {
            cluster.machine(host).cuts.insert(chain.clone(), dropped(packets));
        }
        assert!(!effect_seen(&fault, &cluster.seen), "host-3 still lets everything pass");
        cluster.machine("host-3").cuts.insert(chain.clone(), dropped(0));
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen));
        for host in ["host-1", "host-2", "host-3"] {
            cluster.machine(host).cuts.clear();
        }
        assert!(undone_seen(&fault, &cluster.seen));
    }
}
