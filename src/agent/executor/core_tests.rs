//! Tests of the executor's core: the courses that the recordings of real Mesos show, and properties over any other.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

struct Bench {
    executor: Executor,
    now_ms: u64,
}

fn settings(recovery: Option<Duration>) -> Settings {
    Settings { container: "c1".into(), grace: Duration::from_secs(5), recovery }
}

const RECOVERY: Option<Duration> = Some(Duration::from_secs(900));

impl Bench {
    fn connected(recovery: Option<Duration>) -> Self {
        let mut bench = Self { executor: Executor::new(settings(recovery), Millis(0)), now_ms: 0 };
        let subscribe = FromExecutor::Subscribe { container: "c1".into() };
        assert_eq!(bench.on(Event::Connected), [Action::Send(subscribe)]);
        bench
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        self.executor.on(Millis(self.now_ms), 2.5, event)
    }

    fn after(&mut self, ms: u64) -> Vec<Action> {
        self.now_ms += ms;
        self.on(Event::Tick)
    }

    fn launch(&mut self, changes: Value) -> Vec<Action> {
        let mut task = json!({"name": "t", "task_id": {"value": "t"}, "agent_id": {"value": "S0"}, "command": {"value": "x"},
            "container": {"type": "DOCKER", "docker": {"image": "i", "network": "USER"}, "network_infos": [{"name": "calico"}]}});
        for (key, value) in changes.as_object().expect("an object") {
            task[key] = value.clone();
        }
        let task = serde_json::from_value(task).expect("a task");
        self.on(Event::Agent(ToExecutor::Launch { task, tells_killing: true }))
    }

    fn running(changes: Value) -> Self {
        let mut bench = Self::connected(RECOVERY);
        bench.launch(changes);
        bench.on(started());
        bench
    }

    fn kill(&mut self, grace_s: Option<i64>) -> Vec<Action> {
        let policy = grace_s.map(|seconds| {
            let grace = json!({"grace_period": {"nanoseconds": seconds * 1_000_000_000}});
            serde_json::from_value(grace).expect("a policy")
        });
        self.on(Event::Agent(ToExecutor::Kill { policy }))
    }

    fn acknowledge(&mut self, number: u64) -> Vec<Action> {
        self.on(Event::Agent(ToExecutor::Acknowledged { number }))
    }
}

fn started() -> Event {
    Event::Container(Progress::Started { inspect: "W10=".into(), address: Some("198.19.0.10".into()) })
}

fn exited(code: i64) -> Event {
    Event::Container(Progress::Exited(code))
}

fn said(actions: &[Action]) -> Vec<(u64, TaskStatus)> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(FromExecutor::Update { number, status }) => Some((*number, (**status).clone())),
            _ => None,
        })
        .collect()
}

fn states(actions: &[Action]) -> Vec<TaskState> {
    said(actions).into_iter().map(|(_, status)| status.state).collect()
}

fn last(actions: &[Action]) -> TaskStatus {
    said(actions).pop().expect("an update").1
}

#[test]
fn a_task_lives_as_recorded() {
    let mut bench = Bench::connected(RECOVERY);
    let launched = bench.launch(json!({}));
    assert_eq!(states(&launched), [TaskState::Starting]);
    assert!(matches!(launched[1], Action::Run(_)), "STARTING is said before anything is done");
    let running = last(&bench.on(started()));
    assert_eq!((running.data.as_deref(), running.timestamp), (Some("W10="), Some(2.5)));
    let network = &running.container_status.expect("there").network_infos[0];
    assert_eq!(network.name.as_deref(), Some("calico"));
    assert_eq!(network.ip_addresses[0].ip_address.as_deref(), Some("198.19.0.10"));
    let failed = last(&bench.on(exited(3)));
    assert_eq!((failed.state, failed.message.as_deref()), (TaskState::Failed, Some("Container exited with status 3")));
    assert_eq!(bench.acknowledge(2), [], "the end isn't kept yet");
    assert_eq!(bench.acknowledge(3), [Action::Exit(Ok(()))]);
}

#[test]
fn a_second_kill_takes_effect_and_is_told_once() {
    let mut bench = Bench::running(json!({"kill_policy": {"grace_period": {"nanoseconds": 20_000_000_000u64}}}));
    let killing = bench.kill(None);
    assert_eq!(states(&killing), [TaskState::Killing]);
    assert_eq!(killing[1], Action::Stop(Duration::from_secs(20)));
    assert_eq!(bench.kill(Some(1)), [Action::Stop(Duration::from_secs(1))]);
    assert_eq!(bench.kill(Some(0)), [Action::Stop(Duration::ZERO)]);
    assert_eq!(states(&bench.on(exited(137))), [TaskState::Killed]);
    assert_eq!(Bench::running(json!({})).kill(None)[1], Action::Stop(Duration::from_secs(5)));
}

#[test]
fn an_early_kill_waits_for_the_container() {
    let mut bench = Bench::connected(RECOVERY);
    bench.launch(json!({}));
    assert_eq!(bench.kill(Some(2)), []);
    let actions = bench.on(started());
    assert_eq!(states(&actions), [TaskState::Running, TaskState::Killing]);
    assert_eq!(actions.last(), Some(&Action::Stop(Duration::from_secs(2))));
}

#[test]
fn options_that_do_not_fit_fail_at_once_and_the_engines_refusal_after_five_seconds() {
    let mut bench = Bench::connected(RECOVERY);
    bench.launch(json!({}));
    let failed = last(&bench.on(Event::Container(Progress::Refused("No network info found in container info".into()))));
    let message = "Failed to create docker run options: No network info found in container info";
    assert_eq!((failed.state, failed.message.as_deref()), (TaskState::Failed, Some(message)));

    let mut bench = Bench::connected(RECOVERY);
    bench.launch(json!({}));
    assert_eq!(bench.on(Event::Container(Progress::CannotRun)), []);
    assert_eq!(bench.after(4_999), []);
    assert_eq!(bench.executor.deadline(), Some(Millis(5_000)));
    let failed = last(&bench.after(1));
    assert_eq!(failed.message.as_deref(), Some("Container exited with status 125"));
}

#[test]
fn a_task_that_takes_too_long_fails_with_its_own_reason() {
    let mut bench = Bench::running(json!({"max_completion_time": {"nanoseconds": 2_000_000_000u64}}));
    assert_eq!(bench.after(1_999), []);
    assert_eq!(bench.after(1), [Action::Stop(Duration::from_secs(5))], "without KILLING");
    let failed = last(&bench.on(exited(0)));
    assert_eq!(
        (failed.state, failed.reason.as_deref()),
        (TaskState::Failed, Some(reason::MAX_COMPLETION_TIME_REACHED))
    );
}

#[test]
fn a_general_check_ends_the_executor_once_running_is_told() {
    let mut bench = Bench::running(json!({"check": {"type": "COMMAND"}}));
    assert_eq!(bench.acknowledge(1), []);
    let ends = bench.acknowledge(2);
    assert!(matches!(ends[..], [Action::Exit(Err(_))]), "{ends:?}");
}

#[test]
fn a_restarted_agent_hears_what_it_does_not_keep() {
    let mut bench = Bench::running(json!({}));
    bench.acknowledge(1);
    assert_eq!(bench.on(Event::AgentLost), []);
    bench.on(exited(0));
    let again = bench.on(Event::Connected);
    assert_eq!(states(&again), [TaskState::Running, TaskState::Finished]);
    assert_eq!(said(&again)[0].0, 2);
    assert_eq!(bench.acknowledge(3), [Action::Exit(Ok(()))]);
}

#[test]
fn without_checkpoints_the_task_ends_with_the_agent() {
    let mut bench = Bench::connected(None);
    bench.launch(json!({}));
    bench.on(started());
    let stop = Action::Stop(Duration::from_secs(4));
    assert!(bench.on(Event::AgentLost).contains(&stop));
    assert_eq!(bench.on(Event::AgentLost), [], "still away");
    assert!(bench.on(exited(0)).contains(&Action::Exit(Ok(()))));
    assert_eq!(Bench::connected(None).on(Event::AgentLost), [Action::Exit(Ok(()))], "there is no task yet");
}

#[test]
fn patience_with_an_agent_has_an_end() {
    let mut bench = Bench::running(json!({}));
    bench.on(Event::AgentLost);
    bench.now_ms += 1_000;
    bench.on(Event::AgentLost);
    assert_eq!(bench.executor.deadline(), Some(Millis(900_000)), "counted from the loss");
    assert_eq!(bench.after(898_999), []);
    assert!(bench.after(1).contains(&Action::Stop(Duration::from_secs(4))));
    assert!(bench.on(exited(0)).contains(&Action::Exit(Ok(()))));
}

fn event() -> impl Strategy<Value = Option<Event>> {
    prop_oneof![
        Just(None),
        Just(Some(Event::Tick)),
        Just(Some(Event::Connected)),
        Just(Some(Event::AgentLost)),
        Just(Some(Event::Agent(ToExecutor::Kill { policy: None }))),
        Just(Some(Event::Agent(ToExecutor::Shutdown))),
        (1u64..6).prop_map(|number| Some(Event::Agent(ToExecutor::Acknowledged { number }))),
        Just(Some(Event::Container(Progress::CannotRun))),
        Just(Some(Event::Container(Progress::Refused("x".into())))),
        Just(Some(started())),
        (0i64..3).prop_map(|code| Some(exited(code))),
    ]
}

proptest! {
    /// Whatever happens when: updates are numbered without a gap and said in order, one ends the task, and the executor ends well only
    /// when everything is kept or nobody is left to hear it.
    #[test]
    fn every_update_is_said_until_it_is_kept(
        events in prop::collection::vec((0u64..4_000, event()), 0..60),
        recovery in prop_oneof![Just(None), Just(RECOVERY)],
    ) {
        let mut bench = Bench::connected(recovery);
        let (mut kept, mut history, mut connected): (u64, Vec<TaskState>, bool) = (0, Vec::new(), true);
        for (ms, event) in events {
            bench.now_ms += ms;
            connected = match event { Some(Event::Connected) => true, Some(Event::AgentLost) => false, _ => connected };
            let actions = match event {
                None => bench.launch(json!({"max_completion_time": {"nanoseconds": 30_000_000_000u64}})),
                Some(Event::Agent(ToExecutor::Acknowledged { number })) => {
                    // An agent keeps what it was told.
                    kept = kept.max(number.min(history.len() as u64));
                    bench.acknowledge(kept)
                }
                Some(event) => bench.on(event),
            };
            let mut again = kept + 1;
            for (number, status) in said(&actions) {
                if number as usize == history.len() + 1 {
                    prop_assert!(!history.last().is_some_and(|state| state.is_terminal()), "said after its end");
                    history.push(status.state);
                } else {
                    prop_assert_eq!(number, again, "said again in order, from the first that isn't kept");
                }
                again = number + 1;
            }
            if let Some(Action::Exit(well)) = actions.iter().find(|action| matches!(action, Action::Exit(_))) {
                prop_assert_eq!(*well, Ok(()));
                prop_assert!(history.is_empty() || history.last().is_some_and(|state| state.is_terminal()));
                prop_assert!(kept as usize == history.len() || !connected);
                break;
            }
        }
    }
}
