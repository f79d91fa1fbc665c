//! Scenario files that can run, and messages for those that can't.

use miette::{GraphicalReportHandler, GraphicalTheme};
use stormbed::outpost::cut::Way;
use stormbed::outpost::link::Link;

use super::event::Event;
use super::read::read;
use super::{Act, Condition, RecoveryClock, Scenario, Step};
use crate::fault::whats::WHATS;
use crate::fault::words::FAULTS;
use crate::fault::{FaultKind, PeerSet, Peers, Role, TargetClass};
use crate::invariant::Name;
use crate::topology::TopologyConfig;

/// The message as a user without colours sees it.
fn refused(text: &str) -> String {
    let mistakes = read("bad.toml", text, &TopologyConfig::default()).expect_err("it must be refused");
    let mut message = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::none())
        .with_width(120)
        .render_report(&mut message, &mistakes)
        .expect("writing to a string never fails");
    message
}

const GOOD: &str = r#"
name  = "leader-and-master"
about = "The etcd leader dies while the leading Mesos master is frozen."

[cluster]
nodes  = 5
prefix = "storm"

[[step]]
fault  = "pause"
target = { mesos-master = "leader" }
for    = "15s"
recovered = { mesos = "14s", rejoin = { all = "20s" } }

[[step]]
with      = "previous"
wait      = "1s"
fault     = "kill"
target    = { node = "leader" }
expect    = ["etcd-leader-changed", "jupyter-moved", "slot-replaced"]
recovered = { jupyter = "8s", all = "30s" }

[[step]]
storm = { for = "60s", every = "2s..8s", seed = 42, faults = [
  { fault = "kill", target = { node = "any" }, weight = 3 },
  { fault = "pause", target = { zookeeper = "leader" }, for = "8s" },
  { fault = "kill", target = { node = 4 } } ] }

[[step]]
watch = "30s"
"#;

#[test]
fn every_key_is_read() {
    let scenario = read("good.toml", GOOD, &TopologyConfig::default()).expect("it is good").scenario;
    assert_eq!((scenario.cluster.nodes, scenario.cluster.prefix.as_deref()), (Some(5), Some("storm")));
    let [pause, kill, storm, watch] = scenario.steps.as_slice() else {
        panic!("expected four steps, found {:?}", scenario.steps);
    };
    let Act::Fault(act) = &pause.act else { panic!("{pause:?}") };
    assert_eq!(
        (act.kind, act.target.class, act.target.role, act.for_ms),
        (FaultKind::Pause, TargetClass::MesosMaster, Role::Leader, Some(15_000))
    );
    let bounds: Vec<_> = pause.recovered.iter().map(|b| (b.invariant, b.clock, b.within_ms)).collect();
    assert_eq!(bounds, [(Some(Name::Mesos), RecoveryClock::Failover, 14_000), (None, RecoveryClock::Rejoin, 20_000)]);
    assert!(kill.with_previous && kill.wait_ms == 1_000);
    assert_eq!(kill.expect, [Event::EtcdLeaderChanged, Event::JupyterMoved, Event::SlotReplaced]);
    let Act::Storm(storm) = &storm.act else { panic!("{storm:?}") };
    assert_eq!((storm.every_min_ms, storm.every_max_ms, storm.seed), (2_000, 8_000, Some(42)));
    assert_eq!(storm.faults.iter().map(|f| f.weight).collect::<Vec<_>>(), [3, 1, 1]);
    assert_eq!(storm.faults[2].act.target.role, Role::Slot(4));
    assert_eq!(watch.act, Act::Watch { for_ms: 30_000 });
}

/// A scenario of one step.
fn step(text: &str) -> super::Step {
    let text = format!("name = \"x\"\n[[step]]\n{text}");
    let scenario = read("step.toml", &text, &TopologyConfig::default()).expect("it is good").scenario;
    scenario.steps.into_iter().next().expect("it has one step")
}

#[test]
fn every_target_and_fault_has_its_words() {
    let aim = |fault: &str, target: &str| {
        let step = step(&format!("fault = \"{fault}\"\ntarget = {{ {target} }}"));
        let Act::Fault(act) = step.act else { panic!("{step:?}") };
        (act.target.class, act.target.role)
    };
    use TargetClass::{Framework, Host, MesosAgent, Node, ZooKeeper};
    assert_eq!(aim("kill", "zookeeper = \"majority\""), (ZooKeeper, Role::Majority));
    assert_eq!(aim("kill", "mesos-agent = \"of-leader\""), (MesosAgent, Role::OfLeader));
    assert_eq!(aim("kill", "mesos-agent = 2"), (MesosAgent, Role::Number(2)));
    assert_eq!(aim("pause", "framework = \"active\""), (Framework, Role::Leader));
    assert_eq!(aim("pause", "framework = \"standby\""), (Framework, Role::Follower));
    assert_eq!(aim("isolate", "host = \"not-of-leader\""), (Host, Role::NotOfLeader));
    assert_eq!(aim("kill", "host = 3"), (Host, Role::Number(3)));
    assert_eq!(aim("partition", "node = \"minority-with-leader\""), (Node, Role::MinorityWithLeader));
}

#[test]
fn from_and_meanwhile_are_read() {
    let step = step(
        r#"fault = "isolate"
from = "zookeeper"
target = { mesos-master = "leader" }
for = "20s"
expect = ["mesos-master-changed", "mesos-master-exited"]
meanwhile = { jupyter = "holds", mesos = "degraded" }
"#,
    );
    let Act::Fault(act) = &step.act else { panic!("{step:?}") };
    assert_eq!(act.kind, FaultKind::isolate(Peers::ZooKeeper));
    let meanwhile: Vec<_> = step.meanwhile.iter().map(|m| (m.invariant, m.state)).collect();
    assert_eq!(meanwhile, [(Name::Jupyter, Condition::Holds), (Name::Mesos, Condition::Degraded)]);
}

#[test]
fn one_way_and_several_peers_are_read_in_steps_in_together_and_in_storms() {
    let keys = r#"fault = "isolate", from = ["masters", "zookeeper"], way = "out", target = { mesos-agent = "any" }"#;
    let way = Way::Out;
    let expected = FaultKind::Isolate { from: [Peers::Masters, Peers::ZooKeeper].into_iter().collect(), way };
    let kind_of = |act: &Act| match act {
        Act::Fault(act) => act.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(kind_of(&step(&keys.replace(", f", "\nf").replace(", w", "\nw").replace(", t", "\nt")).act), expected);
    let together = step(&format!("together = [ {{ {keys} }}, {{ fault = \"kill\", target = {{ node = 1 }} }} ]"));
    let Act::Together(steps) = &together.act else { panic!("{together:?}") };
    assert_eq!(kind_of(&steps[0].act), expected);
    let storm = step(&format!("storm = {{ for = \"60s\", every = \"5s\", faults = [ {{ {keys} }} ] }}"));
    let Act::Storm(storm) = &storm.act else { panic!("{storm:?}") };
    assert_eq!(storm.faults[0].act.kind, expected);
    let plain = step("fault = \"isolate\"\ntarget = { host = 1 }");
    assert_eq!(kind_of(&plain.act), FaultKind::isolate(Peers::Everyone), "everyone, both ways");
}

#[test]
fn losses_and_slow_links_are_read_with_all_that_they_are_told() {
    let kind = |keys: &str| {
        let step = step(&format!("target = {{ mesos-master = \"any\" }}\n{keys}"));
        let Act::Fault(act) = step.act else { panic!("{step:?}") };
        (act.kind, act.kind.to_string())
    };
    let from = [Peers::ZooKeeper, Peers::Hosts].into_iter().collect();
    let loss = kind("fault = \"loss\"\nshare = \"30%\"\nfrom = [\"hosts\", \"zookeeper\"]\nway = \"in\"");
    let expected = FaultKind::Loss { from, way: Way::In, percent: 30 };
    assert_eq!(loss, (expected, "loss of 30% from zookeeper and hosts (in)".to_owned()));
    let slow = kind("fault = \"slow-link\"\ndelay = \"100ms\"\njitter = \"20ms\"\nrate = \"8mbit\"");
    let link = Link { delay_ms: 100, jitter_ms: 20, rate_kbit: 8_000 };
    let expected = FaultKind::SlowLink { from: PeerSet::EVERYONE, link };
    assert_eq!(slow, (expected, "slow-link by 100 ms±20 ms, at 8000 kbit/s".to_owned()));
    let (rate, shown) = kind("fault = \"slow-link\"\nrate = \"512kbit\"");
    assert_eq!(shown, "slow-link at 512 kbit/s");
    for kind in [loss.0, slow.0, rate] {
        let text = serde_json::to_string(&kind).expect("plain data");
        assert_eq!(serde_json::from_str::<FaultKind>(&text).expect("it was just written"), kind, "{text}");
    }
}

#[test]
fn what_cannot_be_done_to_a_target_is_refused() {
    insta::assert_snapshot!(refused(
        r#"name = "x"
[[step]]
fault = "stop"
target = { node-agent = "any" }
[[step]]
fault = "partition"
target = { host = "of-leadr" }
[[step]]
fault = "partition"
target = { zookeeper = "majority" }
[[step]]
fault = "kill"
from = "zookeeper"
target = { host = 12 }
[[step]]
fault = "isolate"
from = "zookeepers"
target = { mesos-master = "leader" }
[[step]]
fault = "kill"
target = { node = "leader" }
meanwhile = { jupyter = "holds" }
[[step]]
fault = "kill"
target = { mesos-agent = 1 }
for = "5s"
expect = ["agent-unreachable"]
meanwhile = { jupyter = "hold", hosts = "holds" }
"#
    ));
}

/// Every scenario of a shipped folder, with its file's name.
fn shipped(folder: &str) -> Vec<(String, Scenario)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder is in the repository");
    let files = entries.map(|entry| entry.expect("a readable folder").path()).filter(|path| path.is_file());
    let scenario = |path: std::path::PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let checked = read(&path.to_string_lossy(), &text, &TopologyConfig::default());
        let scenario = checked.unwrap_or_else(|mistakes| panic!("{:?}", mistakes.mistakes)).scenario;
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), scenario)
    };
    files.map(scenario).collect()
}

#[test]
fn shipped_scenarios_are_good_and_expect_something() {
    let all = [shipped("."), shipped("acceptance")].concat();
    for (name, scenario) in &all {
        assert_eq!(scenario.name, *name, "a scenario is named like its file");
        assert!(!scenario.about.is_empty(), "{name} says what it shows");
    }
    for (name, scenario) in shipped(".") {
        let mut faults = scenario.steps.iter().filter(|step| matches!(step.act, Act::Fault(_)));
        assert!(faults.all(|step| !step.expect.is_empty()), "{name}: every fault expects an event");
    }
    for name in ["steady", "storm"] {
        assert!(all.iter().any(|(found, _)| found == name), "{name} is missing");
    }
}

#[test]
fn the_acceptance_suite_makes_every_fault_on_every_kind_of_part() {
    let steps: Vec<Step> = shipped("acceptance").into_iter().flat_map(|(_, scenario)| scenario.steps).collect();
    for row in FAULTS {
        for class in row.on {
            let made = steps.iter().any(|step| {
                matches!(&step.act, Act::Fault(act) if act.kind.row().word == row.word && act.target.class == *class)
            });
            assert!(made, "no step of scenarios/acceptance does {} to a {class}", row.word);
        }
    }
    for row in WHATS {
        let kind = |step: &Step| if let Act::Fault(act) = &step.act { act.kind.what() } else { None };
        let made = steps.iter().any(|step| kind(step).is_some_and(|what| what.word == row.word));
        assert!(made, "no step of scenarios/acceptance has what = \"{}\"", row.word);
    }
}

#[test]
fn unknown_names_show_their_place_and_the_nearest_name() {
    insta::assert_snapshot!(refused(
        r#"name = "x"
colour = "red"
[cluster]
nodes = 5
[[step]]
fault = "puase"
target = { mesos-master = "follower" }
[[step]]
fault = "kill"
taget = { node = "leader" }
target = { nod = "leader" }
expect = ["jupiter-moved"]
recovered = { jupiter = "5s" }
"#
    ));
}

#[test]
fn times_need_known_units() {
    insta::assert_snapshot!(refused(
        r#"name = "x"
[[step]]
fault = "pause"
target = { node = "leader" }
for = "15sec"
wait = 3
[[step]]
storm = { for = "60", every = "8s..2s", faults = [] }
"#
    ));
}

#[test]
fn an_empty_list_of_steps_is_refused() {
    insta::assert_snapshot!(refused("name = \"x\"\nstep = []\n"));
    insta::assert_snapshot!(refused("about = \"nothing\"\n"));
}

#[test]
fn what_cannot_come_true_is_refused() {
    insta::assert_snapshot!(refused(
        r#"name = "x"
[cluster]
nodes = 5
[[step]]
with = "previous"
fault = "kill"
target = { node = "any" }
for = "5s"
expect = ["etcd-leader-changed"]
recovered = { rejoin = { all = "5s" } }
[[step]]
fault = "pause"
target = { mesos-master = "leader" }
for = "5s"
expect = ["mesos-master-changed", "slot-replaced"]
[[step]]
fault = "kill"
target = { node = 5 }
[[step]]
fault = "kill"
watch = "5s"
"#
    ));
}

#[test]
fn a_bound_or_a_storm_that_ends_before_it_could_fail_is_refused() {
    insta::assert_snapshot!(refused(
        r#"name = "x"
[[step]]
fault = "pause"
target = { mesos-master = "leader" }
for = "15s"
recovered = { mesos = "15s", rejoin = { mesos = "40s" } }
[[step]]
fault = "kill"
target = { zookeeper = "leader" }
recovered = { all = "30s" }
[[step]]
storm = { for = "7s", every = "2s..8s", faults = [ { fault = "kill", target = { node = "any" } } ] }
"#
    ));
}

#[test]
fn what_is_not_toml_is_refused() {
    insta::assert_snapshot!(refused("name = \"x\"\n[[step]\nfault = kill\n"));
}
