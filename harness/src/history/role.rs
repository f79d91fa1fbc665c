//! Whether the victims held the role that the target names when they were hit.

use super::tick::Tick;
use crate::fault::{Fault, Role, TargetClass, Victim};
use crate::invariant::truth::Truth;

/// The first victim that did not hold its role, or was not seen to: what was seen around the injection says so.
pub(super) fn missed_role(ticks: &[Tick], fault: &Fault) -> Option<String> {
    let (must_lead, bound) = match fault.target.role {
        // One of them leads: it comes first, and the others are whoever they are.
        Role::Leader | Role::MinorityWithLeader | Role::OfLeader => (true, fault.victims.get(..1)?),
        Role::Follower | Role::NotOfLeader => (false, fault.victims.as_slice()),
        Role::Any | Role::All | Role::Minority | Role::Majority | Role::Slot(_) | Role::Number(_) => return None,
    };
    bound.iter().find_map(|victim| missed_by(ticks, fault, victim, must_lead))
}

fn missed_by(ticks: &[Tick], fault: &Fault, victim: &Victim, must_lead: bool) -> Option<String> {
    let began = fault.began()?;
    let hit = fault.life.injected.unwrap_or(began);
    let at = ticks.partition_point(|tick| tick.end <= began);
    let Some(before) = ticks[..at].iter().rev().find(|tick| leads(&tick.truth, victim).is_some()) else {
        return Some(format!(
            "nobody was seen to lead before {} was hit, and the target was {}",
            victim.name, fault.target
        ));
    };
    // Until the act was acknowledged ticks may show the world before it, or its own consequence: that another one leads. That
    // the victim leads is never a consequence of its being hit.
    let during = ticks[at..].iter().take_while(|tick| !must_lead && tick.end <= hit);
    let wrong = std::iter::once(before)
        .chain(during)
        .find(|tick| leads(&tick.truth, victim).is_some_and(|leads| leads != must_lead))?;
    Some(format!(
        "{} {} the leader's role when it was hit (seen at {}), but the target was {}",
        victim.name,
        if must_lead { "did not hold" } else { "held" },
        wrong.end,
        fault.target
    ))
}

/// Whether the victim leads (a host or its agent: whether the etcd leader runs there); none if nobody was seen to lead.
fn leads(truth: &Truth, victim: &Victim) -> Option<bool> {
    let etcd = truth.etcd_leader.as_ref();
    match victim.class {
        TargetClass::MesosMaster => truth.mesos_leader.as_ref().map(|leader| leader.name == victim.name),
        TargetClass::ZooKeeper => truth.zookeeper_leader.as_ref().map(|leader| leader.name == victim.name),
        TargetClass::Framework => truth.active_framework.as_ref().map(|active| *active == victim.name),
        class if class.is_of_node() => {
            let slot = victim.node?.0;
            etcd.map(|leader| leader.slot == slot)
        }
        class if class.is_by_host() => {
            etcd.and_then(|leader| truth.host_of(leader.slot)).map(|host| *host == victim.name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stormbed::clock::Millis;

    use super::*;
    use crate::fault::{FaultKind, Target, fixture};
    use crate::invariant::truth::{EtcdLeader, MesosLeader, RunningNode, ZooKeeperLeader};

    const BEGAN: u64 = 1_000;

    /// The first of everything leads: slot 0 on host-1, master-1, zk-1, framework-1.
    fn first_leads() -> Truth {
        let node = RunningNode { incarnation: 1, container: "c".into(), host: "host-1".into() };
        Truth {
            running: BTreeMap::from([(0, vec![node])]),
            etcd_leader: Some(EtcdLeader { slot: 0, member: 0xa0, term: 7 }),
            mesos_leader: Some(MesosLeader { name: "master-1".into(), znode: None }),
            zookeeper_leader: Some(ZooKeeperLeader { name: "zk-1".into(), epoch: 3 }),
            active_framework: Some("framework-1".into()),
            ..Truth::default()
        }
    }

    /// The first or second of this class.
    fn victim(class: TargetClass, number: u32) -> Victim {
        let name = match class {
            TargetClass::Node => return fixture::node(number - 1, 1, "host-1", "c"),
            TargetClass::MesosMaster => "master",
            TargetClass::ZooKeeper => "zk",
            TargetClass::Framework => "framework",
            _ => "host",
        };
        fixture::part(class, &format!("{name}-{number}"), "c")
    }

    fn missed(class: TargetClass, role: Role, victims: &[u32], truth: &Truth) -> Option<String> {
        let mut fault = Fault::planned("t", "s1", FaultKind::Kill, Target::new(class, role));
        fault.victims = victims.iter().map(|number| victim(class, *number)).collect();
        fault.life.begin(Millis(BEGAN)).expect("legal");
        missed_role(&[Tick::showing(BEGAN - 200, truth.clone()), Tick::showing(BEGAN + 100, Truth::default())], &fault)
    }

    #[test]
    fn every_role_is_confirmed_for_every_kind_of_part() {
        use TargetClass::{Framework, Host, MesosAgent, MesosMaster, Node, ZooKeeper};
        let roles = |class| match class {
            Host | MesosAgent => (Role::OfLeader, Role::NotOfLeader),
            _ => (Role::Leader, Role::Follower),
        };
        for class in [Node, MesosMaster, MesosAgent, ZooKeeper, Framework, Host] {
            let (leading, following) = roles(class);
            let missed = |role, number| missed(class, role, &[number], &first_leads()).is_some();
            assert!(!missed(leading, 1) && missed(leading, 2), "{class:?}");
            assert!(missed(following, 1) && !missed(following, 2), "{class:?}");
            assert!(!missed(Role::Any, 1) && !missed(Role::Any, 2), "{class:?}");
        }
    }

    #[test]
    fn every_one_of_several_followers_must_follow_and_one_of_a_minority_must_lead() {
        let truth = first_leads();
        let followers = |victims: &[u32]| missed(TargetClass::Node, Role::Follower, victims, &truth);
        assert_eq!(followers(&[2, 3]), None);
        assert!(followers(&[2, 1]).is_some_and(|why| why.contains("storm-s0 held")));
        let minority = |victims: &[u32]| missed(TargetClass::Node, Role::MinorityWithLeader, victims, &truth);
        assert_eq!(minority(&[1, 3]), None);
        assert!(minority(&[3, 2]).is_some());
    }

    #[test]
    fn a_role_that_nobody_was_seen_to_hold_is_missed() {
        let missed = missed(TargetClass::ZooKeeper, Role::Follower, &[2], &Truth::default());
        assert!(missed.is_some_and(|why| why.contains("nobody was seen to lead")));
    }
}
