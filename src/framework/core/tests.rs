//! The rules, one by one. What must hold in any order of events is in `world`.

mod world;

use std::time::Duration;

use super::messages::{Action, Event, Launch, Offer, Update};
use super::state::{Stage, State, Task};
use super::{Core, Settings};
use crate::clock::Millis;
use crate::config::{Bootstrap, Slot};
use crate::mesos::types::TaskState;

const CLUSTER: &str = "c1";

fn settings() -> Settings {
    Settings {
        cluster: CLUSTER.into(),
        cpus: 0.5,
        mem_mb: 256.0,
        home_patience: Duration::from_secs(30),
        reconcile_interval: Duration::from_secs(60),
    }
}

/// A core, a clock that is set by hand, and a ZooKeeper that writes when told.
struct Bench {
    now: Millis,
    core: Core,
    unwritten: u64,
}

impl Bench {
    /// Three slots that run at home `host-<k>` on agent `S<k>` in incarnation 1, subscribed.
    fn running(bootstrap: Bootstrap) -> Self {
        let mut state = State::new(3);
        state.framework_id = Some("f".into());
        state.bootstrap = bootstrap;
        let generation = state.generation();
        for (slot, record) in &mut state.slots {
            record.home = Some(format!("host-{slot}"));
            record.incarnation = 1;
            record.task = Some(Task { incarnation: 1, agent: format!("S{slot}"), generation, stage: Stage::Running });
        }
        let mut bench = Self::from(state);
        bench.subscribe();
        bench
    }

    fn from(state: State) -> Self {
        Self { now: Millis(0), core: Core::new(settings(), state), unwritten: 0 }
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let actions = self.core.on(self.now, event);
        for action in &actions {
            if let Action::Persist { sequence, .. } = action {
                self.unwritten = *sequence;
            }
        }
        actions
    }

    fn written(&mut self) -> Vec<Action> {
        self.on(Event::Persisted(self.unwritten))
    }

    fn subscribe(&mut self) -> Vec<Action> {
        self.on(Event::Subscribed { framework_id: "f".into() })
    }

    fn update(&mut self, task_id: &str, state: TaskState) -> Vec<Action> {
        let agent = format!("S{}", task_id.split('.').nth(1).unwrap_or_default());
        self.on(Event::Update(Update { task_id: task_id.into(), state, agent: Some(agent), uuid: Some("u".into()) }))
    }

    fn offer(&mut self, id: &str, host: u32, nodes: f64) -> Vec<Action> {
        self.offer_by(id, host, &format!("S{host}"), nodes)
    }

    fn offer_by(&mut self, id: &str, host: u32, agent: &str, nodes: f64) -> Vec<Action> {
        self.on(Event::Offers(vec![Offer {
            id: id.into(),
            agent: agent.into(),
            hostname: format!("host-{host}"),
            cpus: 0.5 * nodes,
            mem_mb: 256.0 * nodes,
        }]))
    }

    fn stage(&self, slot: Slot) -> Option<Stage> {
        self.core.state().slots[&slot].task.as_ref().map(|t| t.stage)
    }
}

/// What is launched: slot, incarnation, how etcd may start.
fn launched(actions: &[Action]) -> Vec<(Slot, u64, Bootstrap)> {
    let tasks = |action: &Action| match action {
        Action::Launch { tasks, .. } => tasks.clone(),
        _ => Vec::new(),
    };
    let one = |l: Launch| (l.slot, l.incarnation, l.bootstrap);
    actions.iter().flat_map(tasks).map(one).collect()
}

fn killed(actions: &[Action]) -> Vec<&str> {
    let mut ids = Vec::new();
    for action in actions {
        if let Action::Kill { task_id, .. } = action {
            ids.push(task_id.as_str());
        }
    }
    ids
}

fn declined(actions: &[Action]) -> Option<f64> {
    actions.iter().find_map(|action| match action {
        Action::Decline { refuse_s, .. } => Some(*refuse_s),
        _ => None,
    })
}

const FORMING: Bootstrap = Bootstrap::Forming { generation: 1 };
const FORMED: Bootstrap = Bootstrap::Formed { generation: 1 };

fn is_persist(action: &Action) -> bool {
    matches!(action, Action::Persist { .. })
}

#[test]
fn the_framework_id_is_written_before_anything_else_leaves() {
    let mut bench = Bench::from(State::new(1));
    let actions = bench.subscribe();
    assert!(actions.iter().all(is_persist), "{actions:?}");
    assert_eq!(bench.written(), [Action::Reconcile(vec![])]);
}

#[test]
fn a_new_cluster_is_spread_and_launched_when_written() {
    let mut bench = Bench::from(State::new(5));
    bench.subscribe();
    bench.written();
    for host in 0..3 {
        assert!(bench.offer(&format!("O{host}"), host, 4.0).is_empty());
    }
    bench.now = Millis(1_000);
    let planned = bench.on(Event::Tick);
    assert!(launched(&planned).is_empty(), "nothing before it is written");
    let homes: Vec<_> = bench.core.state().slots.values().map(|slot| slot.home.clone().unwrap()).collect();
    assert_eq!(homes, ["host-0", "host-1", "host-2", "host-0", "host-1"]);
    let mut slots = launched(&bench.written());
    slots.sort_by_key(|(slot, _, _)| *slot);
    let expected: Vec<_> = (0..5).map(|slot| (slot, 1, FORMING)).collect();
    assert_eq!(slots, expected);
}

#[test]
fn after_every_subscription_all_living_tasks_are_asked_for() {
    let mut bench = Bench::running(FORMED);
    bench.on(Event::Disconnected);
    let actions = bench.subscribe();
    let task = |slot| (format!("c1.{slot}.1"), format!("S{slot}"));
    let explicit = Action::Reconcile((0..3).map(task).collect());
    assert!(actions.contains(&Action::Reconcile(vec![])) && actions.contains(&explicit));
    bench.update("c1.0.1", TaskState::Running);
    bench.now = Millis(1_000);
    let again = bench.on(Event::Tick);
    assert_eq!(again, [Action::Reconcile((1..3).map(task).collect())]);
}

#[test]
fn a_lost_task_is_withdrawn_and_replaced_at_home_in_the_next_incarnation() {
    let mut bench = Bench::running(FORMED);
    let actions = bench.update("c1.1.1", TaskState::Failed);
    assert!(actions.contains(&Action::Revive), "{actions:?}");
    assert!(actions.iter().all(|a| is_persist(a) || *a == Action::Revive));
    let written = bench.written();
    let (slot, incarnation) = (1, 1);
    assert!(written.contains(&Action::Withdraw { slot, incarnation }));
    let acknowledged = |a: &Action| matches!(a, Action::Acknowledge { task_id, .. } if task_id == "c1.1.1");
    assert!(written.iter().any(acknowledged), "{written:?}");
    assert!(declined(&bench.offer("elsewhere", 2, 1.0)).is_some_and(|s| s > 60.0));
    bench.offer("home", 1, 1.0);
    assert_eq!(launched(&bench.written()), [(1, 2, FORMED)]);
}

#[test]
fn a_small_offer_from_home_is_refused_for_a_moment_only() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    assert_eq!(declined(&bench.offer("home", 1, 0.5)), Some(1.0));
}

#[test]
fn offers_are_suppressed_while_nothing_is_wanted() {
    let mut bench = Bench::running(FORMED);
    assert_eq!(bench.core.revived, None);
    bench.on(Event::Disconnected);
    assert!(bench.subscribe().contains(&Action::Suppress));
    bench.update("c1.1.1", TaskState::Failed);
    bench.now = Millis(5_000);
    assert!(bench.on(Event::Tick).contains(&Action::Revive), "asked again");
}

#[test]
fn a_launch_whose_offer_is_rescinded_does_not_leave_and_its_incarnation_stays_used() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    bench.offer("O1", 1, 1.0);
    bench.on(Event::Rescind("O1".into()));
    assert_eq!(launched(&bench.written()), []);
    bench.offer("O2", 1, 1.0);
    assert_eq!(launched(&bench.written()), [(1, 3, FORMED)]);
}

#[test]
fn a_launch_does_not_leave_after_a_disconnection() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    bench.offer("O1", 1, 1.0);
    bench.on(Event::Disconnected);
    let written = bench.written();
    assert!(matches!(written[..], [Action::Withdraw { .. }]), "{written:?}");
    assert_eq!(bench.stage(1), None);
}

#[test]
fn an_unreachable_task_is_waited_for() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Unreachable);
    bench.written();
    let asks = bench.offer("O1", 1, 1.0);
    let asked = ("c1.1.1".to_owned(), "S1".to_owned());
    let asks = asks.iter().any(|a| matches!(a, Action::Reconcile(tasks) if tasks.contains(&asked)));
    assert!(asks);
    bench.update("c1.1.1", TaskState::Running);
    assert_eq!(bench.stage(1), Some(Stage::Running));
    assert_eq!(launched(&bench.written()), []);
}

#[test]
fn another_agent_at_home_ends_what_was_unreachable() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Unknown);
    bench.offer_by("O1", 1, "S9", 1.0);
    assert_eq!(launched(&bench.written()), [(1, 2, FORMED)]);
}

/// Slot 1's agent is given up; the others' tasks and agents are well. Two hosts make offers.
fn lose_host_1(bench: &mut Bench) {
    for slot in [0, 2] {
        bench.update(&format!("c1.{slot}.1"), TaskState::Running);
    }
    bench.on(Event::AgentLost("S1".into()));
    bench.update("c1.1.1", TaskState::Unreachable);
    bench.written();
    for host in [0, 2] {
        bench.offer(&format!("O{host}"), host, 2.0);
    }
    bench.now = bench.now + Duration::from_secs(1);
}

fn census(slots: &[Slot]) -> Event {
    Event::Census(Some(slots.iter().map(|slot| (*slot, 1)).collect()))
}

/// Slots that are launched without their data, and where.
fn moved(actions: &[Action]) -> Vec<(Slot, &str)> {
    let mut moved = Vec::new();
    for action in actions {
        if let Action::Launch { offer, tasks } = action {
            moved.extend(tasks.iter().filter(|t| t.data_lost).map(|t| (t.slot, offer.hostname.as_str())));
        }
    }
    moved
}

#[test]
fn a_slot_of_a_lost_host_moves_when_a_majority_goes_on_without_it() {
    let mut bench = Bench::running(FORMED);
    lose_host_1(&mut bench);
    assert!(bench.on(Event::Tick).contains(&Action::Census));
    for refused in [Event::Census(None), census(&[0]), census(&[0, 1, 2])] {
        bench.on(refused.clone());
        assert_eq!(bench.stage(1), Some(Stage::Unreachable), "{refused:?}");
    }
    bench.on(Event::Census(Some([(0, 1), (2, 9)].into())));
    assert_eq!(bench.stage(1), Some(Stage::Unreachable), "another incarnation of slot 2 is no voter of ours");
    bench.on(census(&[0, 2]));
    let written = bench.written();
    assert_eq!(moved(&written), [(1, "host-0")]);
    assert!(!written.iter().any(|a| matches!(a, Action::Withdraw { .. })), "nobody knows that it ended");
}

#[test]
fn a_moved_slot_stays_and_its_twin_is_killed() {
    let mut bench = Bench::running(FORMED);
    lose_host_1(&mut bench);
    bench.on(census(&[0, 2]));
    bench.written();
    assert_eq!(killed(&bench.update("c1.1.1", TaskState::Running)), ["c1.1.1"]);
    let agent = Some("S0".to_owned());
    let running = Update { task_id: "c1.1.2".into(), state: TaskState::Running, agent, uuid: Some("u".into()) };
    bench.on(Event::Update(running.clone()));
    assert!(bench.core.state().slots[&1].data_lost, "a learner isn't a voter yet");
    bench.on(Event::Census(Some([(0, 1), (1, 2), (2, 1)].into())));
    assert!(!bench.core.state().slots[&1].data_lost);
    bench.on(Event::Update(Update { state: TaskState::Failed, ..running }));
    assert!(declined(&bench.offer("O5", 1, 3.0)).is_some(), "the former home is no home");
    bench.offer("O6", 0, 1.0);
    assert_eq!(launched(&bench.written()), [(1, 3, FORMED)]);
}

#[test]
fn what_comes_back_before_it_moved_is_kept() {
    let mut bench = Bench::running(FORMED);
    lose_host_1(&mut bench);
    bench.update("c1.1.1", TaskState::Running);
    bench.on(census(&[0, 2]));
    assert_eq!(bench.stage(1), Some(Stage::Running));
    assert!(launched(&bench.written()).is_empty());
}

#[test]
fn a_new_leader_asks_before_it_believes_that_a_home_is_lost() {
    let mut bench = Bench::running(FORMED);
    lose_host_1(&mut bench);
    bench.on(Event::Disconnected);
    bench.subscribe();
    for host in [0, 2] {
        bench.offer(&format!("P{host}"), host, 2.0);
    }
    bench.now = bench.now + Duration::from_secs(2);
    bench.on(census(&[0, 2]));
    assert_eq!(bench.stage(1), Some(Stage::Unreachable), "the master hasn't answered");
    bench.update("c1.1.1", TaskState::Unreachable);
    bench.on(census(&[0, 2]));
    assert_eq!(moved(&bench.written()), [(1, "host-0")]);
}

#[test]
fn a_slot_of_a_host_that_died_with_the_master_moves_when_the_next_one_has_waited_long_enough_in_vain() {
    for home_offers in [false, true] {
        let mut bench = Bench::running(FORMED);
        bench.on(Event::Disconnected);
        bench.now = bench.now + Duration::from_secs(60);
        bench.subscribe();
        for slot in [0, 2] {
            bench.update(&format!("c1.{slot}.1"), TaskState::Running);
        }
        bench.now = bench.now + Duration::from_millis(29_999);
        assert!(!bench.on(Event::Tick).contains(&Action::Census), "the agent may come back");
        bench.now = bench.now + Duration::from_millis(1);
        let asks = bench.on(Event::Tick);
        assert!(asks.contains(&Action::Census) && asks.contains(&Action::Revive), "{asks:?}");
        for host in 0..3 {
            if host != 1 || home_offers {
                bench.offer(&format!("O{host}"), host, 2.0);
            }
        }
        bench.now = bench.now + Duration::from_secs(1);
        bench.on(census(&[0, 1, 2]));
        assert_eq!(bench.stage(1), Some(Stage::Running), "its node serves");
        bench.on(census(&[0, 2]));
        let expected = if home_offers { vec![] } else { vec![(1, "host-0")] };
        assert_eq!(moved(&bench.written()), expected);
    }
}

#[test]
fn a_slot_without_a_task_waits_for_its_home_only_so_long() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    bench.written();
    bench.now = Millis(29_999);
    assert!(declined(&bench.offer("O0", 0, 2.0)).is_some());
    bench.now = Millis(30_000);
    bench.offer("O1", 0, 2.0);
    assert!(bench.on(Event::Tick).contains(&Action::Census));
    bench.now = Millis(31_000);
    bench.on(census(&[0, 2]));
    assert_eq!(moved(&bench.written()), [(1, "host-0")]);
}

#[test]
fn an_offer_from_home_starts_the_wait_again() {
    let mut bench = Bench::running(FORMED);
    for slot in [0, 2] {
        bench.update(&format!("c1.{slot}.1"), TaskState::Running);
    }
    for _ in 0..2 {
        // Twice in a row, so that the next launch is not due at once.
        let incarnation = bench.core.state().slots[&1].incarnation;
        bench.update(&format!("c1.1.{incarnation}"), TaskState::Failed);
        bench.offer(&format!("home{incarnation}"), 1, 1.0);
        bench.written();
    }
    bench.now = Millis(20_000);
    bench.on(Event::Rescind("home2".into()));
    bench.now = Millis(40_000);
    bench.offer("O0", 0, 2.0);
    assert!(!bench.on(Event::Tick).contains(&Action::Census), "the wait began with the last offer's end");
}

#[test]
fn an_agent_that_is_gone_for_good_is_not_waited_for() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::GoneByOperator);
    bench.written();
    bench.offer("O2", 2, 2.0);
    bench.now = Millis(1_000);
    bench.on(census(&[0, 2]));
    assert_eq!(moved(&bench.written()), [(1, "host-2")]);
}

#[test]
fn a_forming_cluster_founds_anew_without_the_lost_host() {
    let mut bench = Bench::running(FORMING);
    lose_host_1(&mut bench);
    assert_eq!(bench.core.state().bootstrap, Bootstrap::Forming { generation: 2 });
    assert_eq!(bench.core.state().slots[&1].home, None);
    for slot in [0, 2] {
        bench.update(&format!("c1.{slot}.1"), TaskState::Killed);
    }
    bench.written();
    for host in [0, 2] {
        bench.offer(&format!("P{host}"), host, 1.0);
    }
    bench.now = bench.now + Duration::from_secs(30);
    bench.on(Event::Tick);
    let written = bench.written();
    let next = Bootstrap::Forming { generation: 2 };
    assert!(launched(&written).contains(&(1, 2, next)), "{written:?}");
    assert!(moved(&written).is_empty(), "nothing was lost");
}

#[test]
fn a_lost_agents_tasks_are_asked_for() {
    let mut bench = Bench::running(FORMED);
    for slot in 0..3 {
        bench.update(&format!("c1.{slot}.1"), TaskState::Running);
    }
    let asks = bench.on(Event::AgentLost("S2".into()));
    assert_eq!(asks, [Action::Reconcile(vec![("c1.2.1".into(), "S2".into())])]);
}

#[test]
fn a_loss_while_forming_abandons_the_generation() {
    let mut bench = Bench::running(FORMING);
    bench.update("c1.1.1", TaskState::Failed);
    let next = Bootstrap::Forming { generation: 2 };
    assert_eq!(bench.core.state().bootstrap, next);
    assert_eq!(killed(&bench.written()), ["c1.0.1", "c1.2.1"]);
    bench.offer("O1", 1, 1.0);
    assert_eq!(launched(&bench.written()), [(1, 2, next.clone())]);
    bench.update("c1.0.1", TaskState::Killed);
    assert_eq!(bench.core.state().bootstrap, next, "the old generation's end is no loss");
    // A kill that was lost is made up for.
    bench.update("c1.2.1", TaskState::Running);
    assert_eq!(killed(&bench.written()), ["c1.2.1"]);
}

#[test]
fn a_task_that_never_started_abandons_nothing() {
    let mut bench = Bench::running(FORMING);
    bench.update("c1.1.1", TaskState::Dropped);
    assert_eq!(bench.core.state().bootstrap, FORMING);
}

#[test]
fn formed_is_when_all_run_and_the_probe_of_this_generation_says_so() {
    let mut bench = Bench::running(FORMING);
    assert_eq!(bench.on(Event::Tick), [Action::Probe { generation: 1 }]);
    assert_eq!(bench.on(Event::Tick), [], "one probe at a time");
    let probed = |generation, healthy| Event::Probed { generation, healthy };
    for (generation, healthy) in [(1, false), (2, true)] {
        bench.on(probed(generation, healthy));
        assert_eq!(bench.core.state().bootstrap, FORMING);
    }
    bench.on(probed(1, true));
    assert_eq!(bench.core.state().bootstrap, FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    assert_eq!(bench.core.state().bootstrap, FORMED, "for good");
}

#[test]
fn strangers_and_former_incarnations_are_killed() {
    let mut bench = Bench::running(FORMED);
    for id in ["c2.0.1", "c1.7.1", "c1.1.0"] {
        assert_eq!(killed(&bench.update(id, TaskState::Running)), [id]);
        assert!(killed(&bench.update(id, TaskState::Killed)).is_empty());
    }
}

#[test]
fn a_later_incarnation_is_adopted_where_the_slot_is_free_and_killed_elsewhere() {
    let mut bench = Bench::running(FORMED);
    bench.update("c1.1.1", TaskState::Failed);
    bench.update("c1.1.4", TaskState::Running);
    assert_eq!(bench.stage(1), Some(Stage::Running));
    bench.update("c1.2.4", TaskState::Running);
    assert_eq!(killed(&bench.written()), ["c1.2.4"]);
    bench.update("c1.2.1", TaskState::Failed);
    bench.offer("O1", 2, 1.0);
    assert_eq!(launched(&bench.written()), [(2, 5, FORMED)]);
}

#[test]
fn losses_in_a_row_are_replaced_ever_more_slowly_until_one_lasts() {
    let mut bench = Bench::running(FORMED);
    let mut pauses_ms = Vec::new();
    for incarnation in 1..5 {
        let id = format!("c1.1.{incarnation}");
        bench.update(&id, TaskState::Running);
        bench.update(&id, TaskState::Failed);
        bench.offer(&format!("O{incarnation}"), 1, 1.0);
        let lost = bench.now;
        while launched(&bench.written()).is_empty() {
            bench.now = bench.now + Duration::from_millis(250);
            bench.on(Event::Tick);
        }
        pauses_ms.push(bench.now.since(lost).as_millis());
    }
    assert_eq!(pauses_ms, [0, 250, 500, 1_000]);
    bench.update("c1.1.5", TaskState::Running);
    bench.now = bench.now + Duration::from_secs(10);
    bench.update("c1.1.5", TaskState::Failed);
    bench.offer("O5", 1, 1.0);
    assert_eq!(launched(&bench.written()), [(1, 6, FORMED)]);
}
