//! Whether a fault's effect, or its end, shows in an observation. Pure; only probes that began after the act count.

use stormbed::clock::Millis;
use stormbed::outpost::protocol::{ContainerView, MachineView};

use super::{Fault, FaultKind, TargetClass, Victim, isolate, kill, partition, pause};
use crate::observe::observation::{Observation, PartView, Probe};

/// Every victim is seen to be dead (kill), frozen (pause) or cut off (isolate, partition).
#[must_use]
pub fn effect_seen(fault: &Fault, seen: &Observation) -> bool {
    let Some(began) = fault.life.inject_begin else {
        return false;
    };
    match fault.kind {
        FaultKind::Kill => every(fault, |victim| kill::effect_seen(victim, seen, began)),
        FaultKind::Pause => every(fault, |victim| pause::effect_seen(victim, seen, began)),
        FaultKind::Isolate { .. } => every(fault, |victim| isolate::effect_seen(&fault.name, victim, seen, began)),
        FaultKind::Partition => partition::effect_seen(fault, seen, began),
    }
}

/// It is seen that the fault is over: a new incarnation runs, the frozen one is thawed, the part runs and serves again, the rules are gone.
#[must_use]
pub fn undone_seen(fault: &Fault, seen: &Observation) -> bool {
    let Some(undone) = fault.life.undone else {
        return false;
    };
    match fault.kind {
        FaultKind::Kill => every(fault, |victim| kill::undone_seen(victim, seen, undone)),
        FaultKind::Pause => every(fault, |victim| pause::undone_seen(victim, seen, undone)),
        FaultKind::Isolate { .. } => every(fault, |victim| isolate::undone_seen(&fault.name, victim, seen, undone)),
        FaultKind::Partition => partition::undone_seen(fault, seen, undone),
    }
}

fn every(fault: &Fault, test: impl Fn(&Victim) -> bool) -> bool {
    !fault.victims.is_empty() && fault.victims.iter().all(test)
}

/// The part answers for itself.
pub(super) fn serves(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    let fast = &seen.fast;
    match victim.class {
        TargetClass::MesosMaster => {
            after_that(&fast.mesos, after).and_then(|view| view.masters.get(&victim.name)?.as_ref().ok()).is_some()
        }
        TargetClass::ZooKeeper => after_that(&fast.zookeeper, after)
            .and_then(|view| view.servers.get(&victim.name)?.as_ref().ok())
            .is_some_and(|server| server.mode == "leader" || server.mode == "follower"),
        TargetClass::MesosAgent => follows(&victim.name, seen, after),
        // Its engine answers, and its agent, which starts after everything else there, follows a master.
        TargetClass::Host => {
            let engine = fast.containers.get(&victim.name).and_then(|probe| after_that(probe, after));
            engine.is_some() && follows(&victim.name, seen, after)
        }
        TargetClass::Framework => {
            machine(&victim.name, seen, after).is_some_and(|view| view.processes.contains_key("framework"))
        }
        TargetClass::Node => true,
    }
}

/// The agent of this host answers, and knows a leading master.
fn follows(host: &str, seen: &Observation, after: Millis) -> bool {
    let agent = after_that(&seen.fast.mesos, after).and_then(|view| view.agents.get(host));
    matches!(agent, Some(Ok(Some(_))))
}

/// A node's container. None: no evidence. Some(None): the engine of its host doesn't know it.
pub(super) fn node_container<'a>(
    victim: &Victim,
    seen: &'a Observation,
    after: Millis,
) -> Option<Option<&'a ContainerView>> {
    let all = after_that(seen.fast.containers.get(victim.host.as_ref()?)?, after)?;
    Some(all.iter().find(|container| container.id == victim.container))
}

/// None: no evidence. Some(None): the engine doesn't know this container.
pub(super) fn part<'a>(victim: &Victim, seen: &'a Observation, after: Millis) -> Option<Option<&'a PartView>> {
    let parts = after_that(&seen.fast.parts, after)?;
    let part = parts.get(&victim.name);
    Some(part.filter(|part| part.id == victim.container))
}

/// Processes and cuts of a machine, if it was looked at.
pub(super) fn machine<'a>(name: &str, seen: &'a Observation, after: Millis) -> Option<&'a MachineView> {
    after_that(seen.fast.machines.get(name)?, after)
}

pub(super) fn after_that<T>(probe: &Probe<T>, after: Millis) -> Option<&T> {
    (probe.begin >= after).then_some(probe.result.as_ref().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use stormbed::outpost::cut::chain;
    use stormbed::outpost::parts::ProcessView;
    use stormbed::outpost::protocol::ContainerState;

    use super::*;
    use crate::fault::life::Stage;
    use crate::fault::{Peers, Role, Target, fixture};
    use crate::invariant::fixture::{BEGIN, Cluster, host_of};

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
        cluster.machine(host).processes.insert(kill::AGENT.into(), process);
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
        cluster.machine("host-1").processes.insert(kill::AGENT.into(), ProcessView { pid: 50, started_ticks: 10 });
        assert!(undone_seen(&fault, &cluster.seen));
        let mesos = cluster.seen.fast.mesos.result.as_mut().expect("seen");
        mesos.agents.insert("host-1".into(), Ok(None));
        assert!(!undone_seen(&fault, &cluster.seen), "it follows nobody yet");
    }

    #[test]
    fn a_machine_is_cut_off_when_packets_were_dropped_and_back_without_the_rules() {
        let mut cluster = Cluster::steady();
        let host = part(TargetClass::Host, "host-2", &cluster);
        let chain = chain(&super::super::work::held("t/s1", &host));
        let mut fault = on(FaultKind::Isolate { from: Peers::Everyone }, vec![host]);
        assert!(!effect_seen(&fault, &cluster.seen));
        cluster.machine("host-2").cuts.insert(chain.clone(), 0);
        assert!(!effect_seen(&fault, &cluster.seen), "rules that nothing has met prove nothing");
        cluster.machine("host-2").cuts.insert(chain.clone(), 3);
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen), "the rules are still there");
        cluster.machine("host-2").cuts.clear();
        assert!(undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_partition_needs_its_rules_on_every_host() {
        let mut cluster = Cluster::steady();
        let mut fault = on(FaultKind::Partition, vec![slot_0()]);
        let chain = chain("t/s1");
        for (host, packets) in [("host-1", 0), ("host-2", 4)] {
            cluster.machine(host).cuts.insert(chain.clone(), packets);
        }
        assert!(!effect_seen(&fault, &cluster.seen), "host-3 still lets everything pass");
        cluster.machine("host-3").cuts.insert(chain.clone(), 0);
        assert!(effect_seen(&fault, &cluster.seen));
        undone(&mut fault);
        assert!(!undone_seen(&fault, &cluster.seen));
        for host in ["host-1", "host-2", "host-3"] {
            cluster.machine(host).cuts.clear();
        }
        assert!(undone_seen(&fault, &cluster.seen));
    }
}
