//! A view as people read it: one screen.

use stormbed::outpost::protocol::ContainerState;

use super::{Health, Machine, SlotState, View};
use crate::invariant::Judgement;
use crate::report::table::columns;

/// The screen, with a line end after every line.
#[must_use]
pub fn screen(view: &View, prefix: &str) -> String {
    let mut rows = vec![words(&["machine", "state", "role", "address"])];
    for (name, machine) in &view.machines {
        let address = machine.address.map(|address| address.to_string()).unwrap_or_default();
        rows.push(vec![name.clone(), state(machine).to_owned(), machine.role.clone(), address]);
    }
    let machines = columns(&rows);
    let mut rows = vec![words(&["slot", "name", "state", "host", "address", "incarnation"])];
    for line in &view.slots {
        let name = line.name.clone().unwrap_or_else(|| format!("{prefix}-s{}", line.slot));
        let jupyter = if view.leaders.jupyter.contains(&line.slot) { ", jupyter" } else { "" };
        rows.push(vec![
            line.slot.to_string(),
            name,
            format!("{}{jupyter}", slot_state(line.state)),
            line.host.clone().unwrap_or_default(),
            line.address.to_string(),
            line.incarnation.map(|incarnation| incarnation.to_string()).unwrap_or_default(),
        ]);
    }
    let slots = columns(&rows);
    format!("{machines}\n{slots}\n{}{}", health(view), faults(view))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn state(machine: &Machine) -> &'static str {
    match machine.state {
        Some(ContainerState::Running) => "running",
        Some(ContainerState::Paused) => "paused",
        Some(ContainerState::Created) => "created",
        Some(ContainerState::Restarting) => "restarting",
        Some(ContainerState::Exited) => "exited",
        Some(ContainerState::Dead) => "dead",
        None => "unseen",
    }
}

fn slot_state(state: SlotState) -> &'static str {
    match state {
        SlotState::Leader => "etcd leader",
        SlotState::Follower => "follower",
        SlotState::Joining => "joining",
        SlotState::Down => "down",
    }
}

fn health(view: &View) -> String {
    let (mut holding, mut untold, mut broken) = (Vec::new(), String::new(), String::new());
    for Health { invariant, judgement } in &view.health {
        match judgement {
            Judgement::Holds => holding.push(invariant.as_str()),
            Judgement::Unknown(why) => untold += &format!("can't be told: {invariant}: {why}\n"),
            Judgement::Broken(why) => broken += &format!("doesn't hold: {invariant}: {why}\n"),
        }
    }
    let holds = if holding.is_empty() { String::new() } else { format!("holds: {}\n", holding.join(" ")) };
    holds + &untold + &broken
}

fn faults(view: &View) -> String {
    let mut text = String::new();
    for fault in &view.faults {
        let seconds = fault.for_ms / 1_000;
        let on = fault.victims.join(" + ");
        text += &format!("held: {} {} {} on {on}, for {seconds} s\n", fault.id, fault.fault, fault.target);
    }
    text
}

/// A view for tests.
#[cfg(test)]
pub(super) fn sample() -> View {
    use super::{Held, Leaders, SlotLine};
    use crate::invariant::Name;
    use std::collections::BTreeMap;

    let machine = |last: u8, state, role: &str| Machine {
        address: Some(std::net::Ipv4Addr::new(198, 18, 0, last)),
        state: Some(state),
        role: role.into(),
    };
    let slot = |slot: u32, name: Option<&str>, state| SlotLine {
        slot,
        name: name.map(str::to_owned),
        address: format!("198.19.0.{}", 10 + slot).parse().expect("an address"),
        host: (state != SlotState::Down).then(|| "host-1".into()),
        incarnation: (state != SlotState::Down).then_some(3),
        state,
    };
    let health = |invariant, judgement| Health { invariant, judgement };
    View {
        leaders: Leaders { etcd: Some(1), jupyter: vec![1], mesos: Some("master-1".into()), ..Leaders::default() },
        machines: BTreeMap::from([
            ("host-1".into(), machine(41, ContainerState::Running, "")),
            ("master-1".into(), machine(21, ContainerState::Running, "leader")),
            ("zk-1".into(), machine(11, ContainerState::Paused, "")),
        ]),
        slots: vec![
            slot(0, Some("storm-1"), SlotState::Follower),
            slot(1, Some("storm-0"), SlotState::Leader),
            slot(2, None, SlotState::Joining),
            slot(3, None, SlotState::Down),
        ],
        health: vec![
            health(Name::Etcd, Judgement::Broken("slot 3 has no member".into())),
            health(Name::Jupyter, Judgement::Holds),
            health(Name::Ssh, Judgement::Unknown("one look doesn't tell".into())),
        ],
        faults: vec![Held {
            id: "s1".into(),
            fault: "pause".into(),
            target: "zookeeper leader".into(),
            victims: vec!["zk-1".into()],
            for_ms: 4_200,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_reads() {
        insta::assert_snapshot!(screen(&sample(), "storm"));
    }

    #[test]
    fn a_view_survives_its_file() {
        let text = serde_json::to_string(&sample()).expect("plain data");
        assert_eq!(serde_json::from_str::<View>(&text).expect("it was just written"), sample());
        let health = "{\"invariant\":\"ssh\",\"holds\":null,\"why\":\"one look doesn't tell\"}";
        assert!(text.contains(health), "programs read it so: {text}");
    }
}
