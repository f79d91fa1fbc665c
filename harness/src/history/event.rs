//! Expected events: differences between the truth before an injection and the truth after it.

use std::collections::BTreeSet;

use stormbed::clock::Millis;
use stormbed::config::Slot;

use super::tick::Tick;
use crate::fault::{Fault, Role, TargetClass, Victim};
use crate::invariant::truth::Truth;
use crate::scenario::event::Event;

/// When this event was first seen after the injection (end of the tick). What is seen from `until` on, when something else was
/// broken, proves nothing about this fault.
pub(super) fn seen(ticks: &[Tick], fault: &Fault, event: Event, until: Option<Millis>) -> Option<Millis> {
    let began = fault.began()?;
    let at = ticks.partition_point(|tick| tick.end <= began);
    let (before, after) = ticks.split_at(at);
    let changed = change(before, fault.victim.as_ref()?, event)?;
    let in_time = |tick: &&Tick| until.is_none_or(|until| tick.end <= until);
    let mut after = after.iter().filter(|tick| tick.begin >= began).take_while(in_time);
    after.find(|tick| changed(&tick.truth)).map(|tick| tick.end)
}

type Changed<'a> = Box<dyn Fn(&Truth) -> bool + 'a>;

/// The test for an event; none if what was there before wasn't seen.
fn change<'a>(before: &'a [Tick], victim: &'a Victim, event: Event) -> Option<Changed<'a>> {
    let latest = || before.iter().rev().map(|tick| &tick.truth);
    Some(match event {
        Event::EtcdLeaderChanged => {
            let former = latest().find_map(|truth| truth.etcd_leader.as_ref())?.slot;
            Box::new(move |now| now.etcd_leader.as_ref().is_some_and(|leader| leader.slot != former))
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
            Box::new(move |now| {
                let nodes = now.running.get(&slot);
                nodes.is_some_and(|nodes| nodes.iter().any(|node| node.incarnation > incarnation))
            })
        }
        Event::SlotLeft => {
            let (slot, _) = victim.node?;
            Box::new(move |now| !now.members.contains(&slot) && !now.unsure.contains(&slot) && now.is_forgotten(slot))
        }
        Event::MesosMasterChanged => {
            let former = &latest().find_map(|truth| truth.mesos_leader.as_ref())?.name;
            Box::new(move |now| now.mesos_leader.as_ref().is_some_and(|leader| leader.name != *former))
        }
        Event::ZooKeeperLeaderChanged => {
            let former = &latest().find_map(|truth| truth.zookeeper_leader.as_ref())?.name;
            Box::new(move |now| now.zookeeper_leader.as_ref().is_some_and(|leader| leader.name != *former))
        }
    })
}

/// The victim did not hold the role that the target names when it was hit: what was seen around the injection says so.
pub(super) fn missed_role(ticks: &[Tick], fault: &Fault) -> Option<String> {
    let (victim, began) = (fault.victim.as_ref()?, fault.began()?);
    let hit = fault.life.injected.unwrap_or(began);
    let must_lead = match fault.target.role {
        Role::Leader => true,
        Role::Follower => false,
        Role::Any | Role::Slot(_) => return None,
    };
    let at = ticks.partition_point(|tick| tick.end <= began);
    let before = ticks[..at].iter().rev().find(|tick| leads(&tick.truth, victim).is_some());
    // Until the act was acknowledged ticks may show the world before it, or its own consequence: that another one leads. That
    // the victim leads is never a consequence of its being hit.
    let during = ticks[at..].iter().take_while(|tick| !must_lead && tick.end <= hit);
    let wrong = before
        .into_iter()
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

/// Whether the victim leads; none if nobody was seen to lead.
fn leads(truth: &Truth, victim: &Victim) -> Option<bool> {
    match victim.class {
        TargetClass::Node => {
            let slot = victim.node?.0;
            truth.etcd_leader.as_ref().map(|leader| leader.slot == slot)
        }
        TargetClass::MesosMaster => truth.mesos_leader.as_ref().map(|leader| leader.name == victim.name),
        TargetClass::ZooKeeper => truth.zookeeper_leader.as_ref().map(|leader| leader.name == victim.name),
    }
}
