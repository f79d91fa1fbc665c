//! Whether a fault's effect, or its end, shows in an observation. Pure; only probes that began after the act count.

use stormbed::clock::Millis;
use stormbed::outpost::protocol::{ContainerState, ContainerView};

use super::{Fault, FaultKind, TargetClass, Victim};
use crate::observe::observation::{Observation, PartView, Probe};

/// The victim is seen to be dead (kill) or frozen (pause).
#[must_use]
pub fn effect_seen(fault: &Fault, seen: &Observation) -> bool {
    let (Some(victim), Some(began)) = (&fault.victim, fault.life.inject_begin) else {
        return false;
    };
    let state = match &victim.host {
        Some(host) => match host_containers(host, seen, began) {
            Some(all) => all.iter().find(|c| c.id == victim.container).map(|c| c.state),
            None => return false,
        },
        None => match part(victim, seen, began) {
            Some(part) => part.map(|part| part.state),
            None => return false,
        },
    };
    match fault.kind {
        FaultKind::Kill => {
            matches!(state, None | Some(ContainerState::Exited | ContainerState::Dead))
        }
        FaultKind::Pause => state == Some(ContainerState::Paused),
    }
}

/// It is seen that the fault is over: a new incarnation runs, the frozen one is thawed, the part runs and serves again.
#[must_use]
pub fn undone_seen(fault: &Fault, seen: &Observation) -> bool {
    let (Some(victim), Some(undone)) = (&fault.victim, fault.life.undone) else {
        return false;
    };
    match (&victim.host, fault.kind) {
        (Some(_), FaultKind::Kill) => replaced(victim, seen, undone),
        (Some(host), FaultKind::Pause) => {
            let all = host_containers(host, seen, undone);
            all.is_some_and(|all| {
                // A victim that is gone altogether is frozen no more.
                let frozen = |c: &ContainerView| c.id == victim.container && c.state == ContainerState::Paused;
                !all.iter().any(frozen)
            })
        }
        (None, _) => {
            let runs = part(victim, seen, undone).flatten().is_some_and(|part| part.state == ContainerState::Running);
            runs && serves(victim, seen, undone)
        }
    }
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

/// The part answers for itself.
fn serves(victim: &Victim, seen: &Observation, after: Millis) -> bool {
    match victim.class {
        TargetClass::MesosMaster => {
            after_that(&seen.fast.mesos, after).and_then(|view| view.masters.get(&victim.name)?.as_ref().ok()).is_some()
        }
        TargetClass::ZooKeeper => after_that(&seen.fast.zookeeper, after)
            .and_then(|view| view.servers.get(&victim.name)?.as_ref().ok())
            .is_some_and(|server| server.mode == "leader" || server.mode == "follower"),
        TargetClass::Node => true,
    }
}

fn host_containers<'a>(host: &str, seen: &'a Observation, after: Millis) -> Option<&'a Vec<ContainerView>> {
    after_that(seen.fast.containers.get(host)?, after)
}

/// None: no evidence. Some(None): the engine doesn't know this container.
fn part<'a>(victim: &Victim, seen: &'a Observation, after: Millis) -> Option<Option<&'a PartView>> {
    let parts = after_that(&seen.fast.parts, after)?;
    let part = parts.get(&victim.name);
    Some(part.filter(|part| part.id == victim.container))
}

fn after_that<T>(probe: &Probe<T>, after: Millis) -> Option<&T> {
    (probe.begin >= after).then_some(probe.result.as_ref().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::life::Stage;
    use crate::fault::{Role, Target};
    use crate::invariant::fixture::{BEGIN, Cluster};

    /// A fault on slot 0 whose act began just before the observation.
    fn on_node(kind: FaultKind, cluster: &Cluster) -> Fault {
        let (host, container) = cluster
            .seen
            .fast
            .containers
            .iter()
            .find_map(|(host, probe)| {
                let all = probe.result.as_ref().ok()?;
                Some((host.clone(), all.iter().find(|c| c.slot == 0)?.clone()))
            })
            .expect("slot 0 runs somewhere");
        let class = TargetClass::Node;
        let role = Role::Slot(0);
        let mut fault = Fault::planned("s1", kind, Target { class, role });
        fault.victim = Some(Victim {
            class,
            name: container.hostname.clone(),
            host: Some(host),
            container: container.id.clone(),
            node: Some((0, container.incarnation)),
            member: None,
            term: None,
            led: false,
        });
        fault.life.begin(Millis(BEGIN - 1));
        fault
    }

    fn change(cluster: &mut Cluster, with: impl Fn(&mut ContainerView)) {
        let probes = cluster.seen.fast.containers.values_mut();
        let all = probes.filter_map(|p| p.result.as_mut().ok()).flatten();
        all.filter(|c| c.slot == 0).for_each(with);
    }

    #[test]
    fn a_dead_container_shows_a_kill_and_a_new_incarnation_its_end() {
        let mut cluster = Cluster::steady();
        let mut fault = on_node(FaultKind::Kill, &cluster);
        assert!(!effect_seen(&fault, &cluster.seen));
        change(&mut cluster, |c| c.state = ContainerState::Exited);
        assert!(effect_seen(&fault, &cluster.seen));
        fault.life.step(Stage::Undone, Millis(BEGIN - 1)).expect("legal");
        assert!(!undone_seen(&fault, &cluster.seen));
        change(&mut cluster, |c| {
            c.state = ContainerState::Running;
            c.incarnation += 1;
            c.id = "another".into();
        });
        assert!(effect_seen(&fault, &cluster.seen));
        assert!(undone_seen(&fault, &cluster.seen));
    }

    #[test]
    fn probes_that_began_before_the_act_show_nothing() {
        let mut cluster = Cluster::steady();
        let mut fault = on_node(FaultKind::Pause, &cluster);
        change(&mut cluster, |c| c.state = ContainerState::Paused);
        assert!(effect_seen(&fault, &cluster.seen));
        fault.life.inject_begin = Some(Millis(BEGIN + 1));
        assert!(!effect_seen(&fault, &cluster.seen));
    }

    #[test]
    fn a_part_is_back_when_it_runs_and_serves() {
        let mut cluster = Cluster::steady();
        let parts = cluster.seen.fast.parts.result.as_ref().expect("seen");
        let container = parts.get("master-1").expect("it exists").id.clone();
        let class = TargetClass::MesosMaster;
        let role = Role::Leader;
        let mut fault = Fault::planned("s1", FaultKind::Kill, Target { class, role });
        fault.victim = Some(Victim {
            class,
            name: "master-1".into(),
            host: None,
            container,
            node: None,
            member: None,
            term: None,
            led: true,
        });
        fault.life.begin(Millis(1));
        fault.life.step(Stage::Undone, Millis(2)).expect("legal");
        assert!(undone_seen(&fault, &cluster.seen));
        let mesos = cluster.seen.fast.mesos.result.as_mut().expect("seen");
        mesos.masters.insert("master-1".into(), Err("refused".into()));
        assert!(!undone_seen(&fault, &cluster.seen));
    }
}
