//! Expected events: differences between the truth before an injection and the truth after it.

use std::collections::BTreeSet;

use stormbed::clock::Millis;
use stormbed::config::{Incarnation, Slot};

use super::tick::Tick;
use crate::fault::{Fault, Victim};
use crate::invariant::truth::Truth;
use crate::scenario::event::Event;

/// When this event was first seen after the injection (end of the tick). What is seen from `until` on, when something else was
/// broken, proves nothing about this fault.
pub(super) fn seen(ticks: &[Tick], fault: &Fault, event: Event, until: Option<Millis>) -> Option<Millis> {
    let began = fault.began()?;
    let at = ticks.partition_point(|tick| tick.end <= began);
    let (before, after) = ticks.split_at(at);
    let changed = change(before, fault, event)?;
    let in_time = |tick: &&Tick| until.is_none_or(|until| tick.end <= until);
    let mut after = after.iter().filter(|tick| tick.begin >= began).take_while(in_time);
    after.find(|tick| changed(&tick.truth)).map(|tick| tick.end)
}

type Changed<'a> = Box<dyn Fn(&Truth) -> bool + 'a>;

/// The test for an event; none if what was there before wasn't seen.
fn change<'a>(before: &'a [Tick], fault: &'a Fault, event: Event) -> Option<Changed<'a>> {
    let latest = || before.iter().rev().map(|tick| &tick.truth);
    let victim = fault.victims.first()?;
    Some(match event {
        Event::EtcdLeaderChanged => {
            let former = latest().find_map(|truth| truth.etcd_leader.as_ref())?;
            Box::new(move |now| {
                now.etcd_leader.as_ref().is_some_and(|now| now.slot != former.slot && now.term > former.term)
            })
        }
        Event::EtcdLeaderDemoted => {
            let former = latest().find_map(|truth| truth.etcd_leader.as_ref())?;
            Box::new(move |now| {
                let itself = now.raft.get(&former.slot);
                itself.is_some_and(|it| it.term > former.term && it.leader != 0 && it.leader != it.member)
            })
        }
        Event::JupyterMoved => {
            let former: &BTreeSet<Slot> =
                latest().map(|truth| &truth.serving_jupyter).find(|serving| !serving.is_empty())?;
            Box::new(move |now| {
                now.jupyter_answers && !now.serving_jupyter.is_empty() && now.serving_jupyter.is_disjoint(former)
            })
        }
        Event::SlotReplaced => {
            let (slot, incarnation) = victim.node?;
            Box::new(move |now| runs_higher(now, slot, incarnation, None))
        }
        Event::SlotLeft => {
            let (slot, _) = victim.node?;
            // That the victim is down is the fault's effect; that the others have noticed is its consequence. By then its next
            // incarnation may already vote.
            latest().next().filter(|truth| !truth.is_forgotten(slot))?;
            Box::new(move |now| now.is_forgotten(slot))
        }
        Event::MemberReplaced => member_replaced(before, victim)?,
        Event::SlotMoved => moved(latest().next()?, victim)?,
        Event::MesosMasterChanged => {
            let former = &latest().find_map(|truth| truth.mesos_leader.as_ref())?.name;
            Box::new(move |now| now.mesos_leader.as_ref().is_some_and(|leader| leader.name != *former))
        }
        Event::MesosMasterExited => exited(before, &latest().find_map(|truth| truth.mesos_leader.as_ref())?.name)?,
        Event::FrameworkChanged => {
            let former = latest().find_map(|truth| truth.active_framework.as_ref())?;
            Box::new(move |now| now.active_framework.as_ref().is_some_and(|active| active != former))
        }
        Event::FrameworkExited => exited(before, latest().find_map(|truth| truth.active_framework.as_ref())?)?,
        Event::MesosAgentRecovered => {
            let process = latest().find_map(|truth| *truth.processes.get(&victim.name)?)?;
            let id = &latest().find_map(|truth| truth.agents.as_ref()?.get(&victim.name))?.id;
            Box::new(move |now| {
                let runs = now.processes.get(&victim.name).is_some_and(|now| now.is_some_and(|now| now != process));
                let agent = now.agents.as_ref().and_then(|agents| agents.get(&victim.name));
                runs && agent.is_some_and(|agent| agent.active && agent.id == *id)
            })
        }
        Event::AgentUnreachable => {
            latest().find_map(|truth| truth.agents.as_ref())?.get(&victim.name)?;
            Box::new(move |now| now.agents.as_ref().is_some_and(|agents| !agents.contains_key(&victim.name)))
        }
        Event::ZooKeeperLeaderChanged => {
            let former = &latest().find_map(|truth| truth.zookeeper_leader.as_ref())?.name;
            Box::new(move |now| now.zookeeper_leader.as_ref().is_some_and(|leader| leader.name != *former))
        }
        Event::ZooKeeperQuorumLost => {
            latest().find(|truth| truth.zookeeper_quorum == Some(true))?;
            Box::new(|now| now.zookeeper_quorum == Some(false))
        }
    })
}

/// Another member than before votes for the victim's slot; none if none was seen before.
fn member_replaced<'a>(before: &'a [Tick], victim: &Victim) -> Option<Changed<'a>> {
    let (slot, _) = victim.node?;
    let former = before.iter().rev().find_map(|tick| tick.truth.raft.get(&slot))?.member;
    Some(Box::new(move |now| {
        let member = now.raft.get(&slot);
        member.is_some_and(|it| it.member != former && it.member != 0 && it.leader != 0 && !it.learner)
    }))
}

/// Another process than before, or none, is seen on this machine; none if it wasn't seen before.
fn exited<'a>(before: &[Tick], machine: &'a String) -> Option<Changed<'a>> {
    let process = before.iter().rev().find_map(|tick| *tick.truth.processes.get(machine)?)?;
    Some(Box::new(move |now| now.processes.get(machine).is_some_and(|now| *now != Some(process))))
}

/// Every slot of the victim's host runs elsewhere; none if nothing ran there.
fn moved<'a>(before: &'a Truth, victim: &'a Victim) -> Option<Changed<'a>> {
    let nodes = before.running.iter().filter_map(|(slot, nodes)| Some((*slot, nodes.first()?)));
    let there: Vec<(Slot, Incarnation)> =
        nodes.filter(|(_, node)| node.host == victim.name).map(|(slot, node)| (slot, node.incarnation)).collect();
    let elsewhere = move |now: &Truth| {
        there.iter().all(|(slot, incarnation)| runs_higher(now, *slot, *incarnation, Some(&victim.name)))
    };
    before.running.values().flatten().any(|node| node.host == victim.name).then(|| Box::new(elsewhere) as Changed)
}

/// A higher incarnation of the slot runs, not on this host.
fn runs_higher(now: &Truth, slot: Slot, incarnation: Incarnation, not_on: Option<&String>) -> bool {
    let mut nodes = now.running.get(&slot).into_iter().flatten();
    nodes.any(|node| node.incarnation > incarnation && Some(&node.host) != not_on)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stormbed::outpost::processes::ProcessView;

    use super::*;
    use crate::fault::{FaultKind, Role, Target, TargetClass, fixture};
    use crate::invariant::truth::{EtcdLeader, MesosLeader, RaftView, RegisteredAgent, RunningNode};

    const BEGAN: u64 = 1_000;

    fn on(class: TargetClass, name: &str) -> Fault {
        let mut fault = Fault::planned("t", "s1", FaultKind::Kill, Target::new(class, Role::Any));
        fault.victims = vec![fixture::part(class, name, "c")];
        fault.life.begin(Millis(BEGAN)).expect("legal");
        fault
    }

    /// Whether the event is seen when the truth goes from this to that.
    fn comes(fault: &Fault, event: Event, before: &Truth, after: &Truth) -> bool {
        let ticks = [
            Tick::showing(BEGAN - 500, before.clone()),
            Tick::showing(BEGAN - 50, after.clone()),
            Tick::showing(BEGAN + 250, after.clone()),
        ];
        let seen = seen(&ticks, fault, event, None);
        assert!(seen.is_none_or(|at| at == Millis(BEGAN + 350)), "only a tick that began after the act counts");
        seen.is_some()
    }

    fn running(slots: &[(Slot, Incarnation, &str)]) -> Truth {
        let mut truth = Truth::default();
        for (slot, incarnation, host) in slots {
            truth.running.entry(*slot).or_default().push(RunningNode {
                incarnation: *incarnation,
                container: format!("c{slot}.{incarnation}"),
                host: (*host).into(),
            });
        }
        truth
    }

    #[test]
    fn slots_have_moved_when_all_of_them_run_elsewhere() {
        let fault = on(TargetClass::Host, "host-1");
        let before = running(&[(0, 1, "host-1"), (1, 1, "host-2"), (3, 4, "host-1")]);
        let moved = |after: &[(Slot, Incarnation, &str)]| comes(&fault, Event::SlotMoved, &before, &running(after));
        assert!(moved(&[(0, 2, "host-2"), (1, 1, "host-2"), (3, 5, "host-3")]));
        assert!(!moved(&[(0, 2, "host-2"), (1, 1, "host-2")]), "slot 3 runs nowhere");
        assert!(!moved(&[(0, 2, "host-2"), (3, 5, "host-1")]), "slot 3 is where it was");
        assert!(!moved(&[(0, 1, "host-2"), (3, 5, "host-3")]), "that is the incarnation that was lost");
        let empty = running(&[(1, 1, "host-2")]);
        assert!(!comes(&fault, Event::SlotMoved, &empty, &empty), "nothing ran there");
    }

    #[test]
    fn a_master_has_exited_when_another_process_or_none_is_seen_there() {
        let fault = on(TargetClass::MesosMaster, "master-1");
        let view = |process: Option<Option<u64>>| Truth {
            mesos_leader: Some(MesosLeader { name: "master-1".into(), znode: None }),
            processes: process
                .map(|p| ("master-1".to_owned(), p.map(|started_ticks| ProcessView { pid: 7, started_ticks })))
                .into_iter()
                .collect(),
            ..Truth::default()
        };
        let exited = |after| comes(&fault, Event::MesosMasterExited, &view(Some(Some(1))), &view(after));
        assert!(exited(Some(None)) && exited(Some(Some(2))));
        assert!(!exited(Some(Some(1))), "the same process runs");
        assert!(!exited(None), "nobody looked");
        assert!(!comes(&fault, Event::MesosMasterExited, &view(None), &view(Some(Some(2)))), "nobody looked before");
    }

    #[test]
    fn a_scheduler_has_changed_when_another_one_is_active() {
        let fault = on(TargetClass::Framework, "framework-1");
        let active = |name: Option<&str>| Truth { active_framework: name.map(Into::into), ..Truth::default() };
        let changed = |after| comes(&fault, Event::FrameworkChanged, &active(Some("framework-1")), &active(after));
        assert!(changed(Some("framework-2")));
        assert!(!changed(Some("framework-1")) && !changed(None));
    }

    #[test]
    fn an_agent_has_recovered_when_another_process_is_active_under_the_same_id() {
        let fault = on(TargetClass::MesosAgent, "host-1");
        let listed = |id: &str, active| ("host-1".to_owned(), RegisteredAgent { id: id.into(), active });
        let view = |id: Option<&str>, started_ticks: u64| Truth {
            agents: Some(id.map(|id| listed(id, true)).into_iter().collect()),
            processes: BTreeMap::from([("host-1".to_owned(), Some(ProcessView { pid: 7, started_ticks }))]),
            ..Truth::default()
        };
        let before = view(Some("a1"), 1);
        let recovered = |after| comes(&fault, Event::MesosAgentRecovered, &before, &after);
        assert!(recovered(view(Some("a1"), 2)));
        assert!(!recovered(view(Some("a1"), 1)), "the same process runs");
        assert!(!recovered(view(Some("a9"), 2)), "it is another agent now");
        assert!(!recovered(view(None, 2)), "it isn't registered");
        let mut disconnected = view(None, 2);
        disconnected.agents = Some(BTreeMap::from([listed("a1", false)]));
        assert!(!recovered(disconnected.clone()), "it isn't connected");
        let given_up = |after| comes(&fault, Event::AgentUnreachable, &before, &after);
        assert!(given_up(view(None, 1)));
        assert!(!given_up(disconnected), "it has lost its connection, and still has its pings");
        assert!(!given_up(view(Some("a1"), 2)) && !given_up(Truth::default()));
    }

    #[test]
    fn an_old_leader_is_demoted_when_it_names_another_in_a_higher_term() {
        let fault = on(TargetClass::Node, "storm-s2");
        let before = Truth { etcd_leader: Some(EtcdLeader { slot: 2, member: 0xa2, term: 7 }), ..Truth::default() };
        let names = |leader, term| {
            let view = RaftView { member: 0xa2, leader, term, index: 50, learner: false };
            let after = Truth { raft: BTreeMap::from([(2, view)]), ..Truth::default() };
            comes(&fault, Event::EtcdLeaderDemoted, &before, &after)
        };
        assert!(names(0xa0, 8));
        assert!(!names(0xa2, 8), "it leads again");
        assert!(!names(0, 8), "it knows no leader");
        assert!(!names(0xa0, 7), "in its own term nobody else leads");
    }

    #[test]
    fn a_member_is_replaced_when_another_one_votes_in_its_place() {
        let mut fault = on(TargetClass::Node, "storm-s2");
        fault.victims = vec![fixture::node(2, 1, "host-1", "c")];
        let view = |member, learner, leader| {
            let view = RaftView { member, leader, term: 7, index: 50, learner };
            Truth { raft: BTreeMap::from([(2, view)]), ..Truth::default() }
        };
        let before = view(0xa2, false, 0xa0);
        let replaced = |after| comes(&fault, Event::MemberReplaced, &before, &after);
        assert!(replaced(view(0xb2, false, 0xa0)));
        assert!(!replaced(view(0xa2, false, 0xa0)), "it is the one that was there");
        assert!(!replaced(view(0xb2, true, 0xa0)), "it has no vote yet");
        assert!(!replaced(view(0xb2, false, 0)), "it knows no leader");
        assert!(!replaced(Truth::default()));
    }

    #[test]
    fn zookeeper_has_lost_its_quorum_only_when_that_was_seen() {
        let fault = on(TargetClass::ZooKeeper, "zk-1");
        let quorum = |zookeeper_quorum| Truth { zookeeper_quorum, ..Truth::default() };
        let lost = |before, after| comes(&fault, Event::ZooKeeperQuorumLost, &quorum(before), &quorum(after));
        assert!(lost(Some(true), Some(false)));
        assert!(!lost(Some(true), None) && !lost(Some(true), Some(true)) && !lost(Some(false), Some(false)));
    }
}
