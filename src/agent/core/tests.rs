//! Tests of the agent's core: a task's life as recorded, acknowledgements, registration, recovery; properties over any course.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mesos::types::TaskId;

#[derive(Default)]
struct Counter(u64);

impl Fresh for Counter {
    fn container(&mut self) -> String {
        self.0 += 1;
        format!("c{}", self.0)
    }
    fn update(&mut self) -> String {
        self.0 += 1;
        format!("u{}", self.0)
    }
    fn fraction(&mut self) -> f64 {
        0.5
    }
    fn wall_s(&self) -> f64 {
        1.5
    }
}

struct Bench {
    agent: Agent,
    fresh: Counter,
    now_ms: u64,
    saved: Checkpoint,
}

fn settings() -> Settings {
    Settings {
        agent: RegisterAgent {
            id: None,
            hostname: "host-1".into(),
            ip: std::net::Ipv4Addr::new(198, 18, 0, 31),
            port: 5051,
            resources: Vec::new(),
            attributes: Vec::new(),
            version: "1.12.0".into(),
        },
        fixed_master: false,
        backoff: Duration::from_secs(1),
        retry: Duration::from_secs(10),
        registration: Duration::from_secs(60),
        reregistration: Duration::from_secs(2),
        docker: true,
        kill_orphans: true,
    }
}

impl Bench {
    fn new(checkpoint: Checkpoint) -> Self {
        let agent = Agent::restore(settings(), checkpoint.clone()).expect("the same agent");
        let (fresh, now_ms) = (Counter(1_000 * u64::from(checkpoint.agent.is_some())), 0);
        let mut bench = Self { agent, fresh, now_ms, saved: checkpoint };
        bench.on(Event::Begin);
        bench
    }

    fn registered() -> Self {
        let mut bench = Self::new(Checkpoint::default());
        bench.register();
        bench
    }

    fn on(&mut self, event: Event) -> Vec<Action> {
        let actions = self.agent.on(Millis(self.now_ms), event, &mut self.fresh);
        if actions.contains(&Action::Persist) {
            assert_eq!(actions[0], Action::Persist, "written before anything is said or done");
            self.saved = self.agent.checkpoint();
        }
        actions.into_iter().filter(|a| *a != Action::Persist).collect()
    }

    fn register(&mut self) -> Vec<Action> {
        self.on(Event::Leader(Some("m1:5050".into())));
        self.now_ms += 1_000;
        let actions = self.on(Event::Tick);
        assert!(matches!(actions[..], [Action::Connect { .. }]), "{actions:?}");
        self.welcome()
    }

    fn welcome(&mut self) -> Vec<Action> {
        self.master(json!({"type": "REGISTERED", "agent_id": {"value": "S0"}, "master_id": "m", "master_hostname": "m1", "ping_timeout_ms": 10_000}))
    }

    /// Registers, and is told to end.
    fn shut_down(&mut self) -> Vec<Action> {
        self.on(Event::Leader(Some("m1:5050".into())));
        self.now_ms += 1_000;
        self.on(Event::Tick);
        self.master(json!({"type": "SHUTDOWN", "message": "gone"}))
    }

    fn master(&mut self, message: serde_json::Value) -> Vec<Action> {
        let message = serde_json::from_value(message).expect("a message of the protocol");
        self.on(Event::FromMaster { attempt: self.agent.attempt, message: Box::new(message) })
    }

    fn run(&mut self, task: &str) -> Vec<Action> {
        self.master(json!({"type": "RUN_TASK",
            "framework": {"user": "root", "name": "f", "id": {"value": "F"}, "checkpoint": true,
                "capabilities": [{"type": "PARTITION_AWARE"}, {"type": "TASK_KILLING_STATE"}]},
            "task": {"name": task, "task_id": {"value": task}, "agent_id": {"value": "S0"}, "resources": [],
                "kill_policy": {"grace_period": {"nanoseconds": 2_000_000_000u64}},
                "container": {"type": "DOCKER", "docker": {"image": "i", "network": "USER"}, "network_infos": [{"name": "calico"}]}}}))
    }

    fn kill(&mut self, task: &str) -> Vec<Action> {
        self.master(json!({"type": "KILL_TASK", "framework_id": {"value": "F"}, "task_id": {"value": task}}))
    }

    fn prepared(&mut self, task: &str) -> Vec<Action> {
        self.on(Event::Prepared(key(task), Ok(())))
    }

    fn container(&self, task: &str) -> String {
        self.agent.task(&key(task)).map(|(task, _)| task.container.clone()).unwrap_or_default()
    }

    fn subscribe(&mut self, task: &str) -> Vec<Action> {
        let container = self.container(task);
        self.on(Event::Executor(container.clone(), FromExecutor::Subscribe { container }))
    }

    /// The executor's update with this number; its acknowledgement is checked and left out.
    fn say(&mut self, task: &str, number: u64, status: TaskStatus) -> Vec<Action> {
        let container = self.container(task);
        let kept = Action::Tell(container.clone(), ToExecutor::Acknowledged { number });
        let actions = self.on(Event::Executor(container, FromExecutor::Update { number, status: Box::new(status) }));
        assert!(actions.contains(&kept), "{actions:?}");
        actions.into_iter().filter(|action| *action != kept).collect()
    }

    /// A task whose executor has it and has said nothing.
    fn launched(&mut self, task: &str) {
        self.run(task);
        assert_eq!(self.prepared(task), [Action::StartExecutor(key(task))]);
        let launch = self.subscribe(task);
        assert!(matches!(launch[..], [Action::Tell(_, ToExecutor::Launch { tells_killing: true, .. })]), "{launch:?}");
    }

    fn ack(&mut self, task: &str, actions: &[Action]) -> Vec<Action> {
        let sent = updates(actions);
        let uuid = sent.last().and_then(|s| s.uuid.clone()).expect("an update to acknowledge");
        self.master(
            json!({"type": "ACK_UPDATE", "framework_id": {"value": "F"}, "task_id": {"value": task}, "uuid": uuid}),
        )
    }

    fn running(&mut self, task: &str) {
        self.launched(task);
        let starting = self.say(task, 1, status(task, TaskState::Starting));
        let nothing = self.say(task, 2, status(task, TaskState::Running));
        assert_eq!(nothing, [], "RUNNING waits for the acknowledgement of STARTING");
        let running = self.ack(task, &starting);
        assert_eq!(states(&running), [TaskState::Running]);
        assert_eq!(self.ack(task, &running), []);
    }
}

fn key(task: &str) -> TaskRef {
    TaskRef { framework_id: "F".into(), task_id: TaskId::new(task) }
}

/// As an executor says it.
fn status(task: &str, state: TaskState) -> TaskStatus {
    TaskStatus { source: Some(StatusSource::Executor), timestamp: Some(2.5), ..TaskStatus::new(task.into(), state) }
}

fn tell(container: &str, message: ToExecutor) -> Action {
    Action::Tell(container.to_owned(), message)
}

fn updates(actions: &[Action]) -> Vec<TaskStatus> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Send(FromAgent::StatusUpdate { status, .. }) => Some((**status).clone()),
            _ => None,
        })
        .collect()
}

fn states(actions: &[Action]) -> Vec<TaskState> {
    updates(actions).iter().map(|status| status.state).collect()
}

#[test]
fn a_task_lives_as_recorded() {
    let mut bench = Bench::registered();
    assert_eq!(bench.run("t"), [Action::Prepare(key("t"))]);
    assert_eq!(bench.run("t"), [], "a second copy of the message changes nothing");
    bench.prepared("t");
    bench.subscribe("t");
    let starting = bench.say("t", 1, status("t", TaskState::Starting));
    let told = serde_json::to_value(&updates(&starting)[0]).expect("JSON");
    assert_eq!(
        told,
        json!({"task_id": {"value": "t"}, "state": "TASK_STARTING", "source": "SOURCE_EXECUTOR", "agent_id": {"value": "S0"},
            "executor_id": {"value": "t"}, "timestamp": 2.5, "uuid": "u2",
            "container_status": {"container_id": {"value": "c1"},
                "network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": "198.18.0.31"}]}]}})
    );
    let own = json!({"network_infos": [{"name": "calico", "ip_addresses": [{"ip_address": "198.19.0.10"}]}]});
    let container_status = Some(serde_json::from_value(own).expect("a container's status"));
    bench.say("t", 2, TaskStatus { container_status, ..status("t", TaskState::Running) });
    let running = bench.ack("t", &starting);
    let told = updates(&running).remove(0);
    let network = &told.container_status.expect("there").network_infos[0];
    assert_eq!(network.ip_addresses[0].ip_address.as_deref(), Some("198.19.0.10"));
    bench.ack("t", &running);
    let failed = bench.say("t", 3, status("t", TaskState::Failed));
    assert_eq!(states(&failed), [TaskState::Failed]);
    let later = Action::RemoveLater("c1".into());
    assert_eq!(bench.on(Event::ExecutorGone("c1".into())), [later], "after its end that is as it should be");
    assert_eq!(bench.agent.tasks().count(), 1, "kept until the end is acknowledged");
    bench.ack("t", &failed);
    assert_eq!(bench.agent.tasks().count(), 0);
    assert_eq!((bench.saved.tasks.len(), bench.saved.frameworks.len()), (0, 0));
}

#[test]
fn an_update_that_is_said_again_is_kept_once() {
    let mut bench = Bench::registered();
    bench.launched("t");
    let starting = bench.say("t", 1, status("t", TaskState::Starting));
    assert_eq!(bench.say("t", 1, status("t", TaskState::Starting)), []);
    assert_eq!(bench.ack("t", &starting), []);
    assert_eq!(bench.say("t", 1, status("t", TaskState::Starting)), []);
}

#[test]
fn kills_go_to_the_executor_and_are_repeated_when_it_comes_back() {
    let mut bench = Bench::registered();
    bench.running("t");
    assert_eq!(bench.kill("t"), [tell("c1", ToExecutor::Kill { policy: None })]);
    let again = bench.master(json!({"type": "KILL_TASK", "framework_id": {"value": "F"}, "task_id": {"value": "t"},
        "kill_policy": {"grace_period": {"nanoseconds": 0}}, "draining": true}));
    assert!(matches!(again[..], [Action::Tell(_, ToExecutor::Kill { policy: Some(_) })]), "{again:?}");
    assert_eq!(bench.subscribe("t"), again);
    let killing = bench.say("t", 3, status("t", TaskState::Killing));
    assert_eq!(updates(&killing)[0].reason.as_deref(), Some(reason::AGENT_DRAINING));
}

#[test]
fn a_kill_during_the_launch_never_lets_it_run() {
    let mut bench = Bench::registered();
    bench.run("early");
    let killed = bench.kill("early");
    assert_eq!(updates(&killed)[0].reason.as_deref(), Some(reason::TASK_KILLED_DURING_LAUNCH));
    assert_eq!(bench.prepared("early"), []);
    bench.run("late");
    bench.prepared("late");
    assert_eq!(states(&bench.kill("late")), [TaskState::Killed]);
    let container = bench.container("late");
    assert_eq!(bench.subscribe("late"), [tell(&container, ToExecutor::Shutdown)]);
}

#[test]
fn what_cannot_be_launched_fails_with_its_reason() {
    let mut bench = Bench::registered();
    bench.run("a");
    let failed = bench.on(Event::Prepared(key("a"), Err("no such image".into())));
    let status = &updates(&failed)[0];
    assert_eq!(status.message.as_deref(), Some("Failed to launch container: no such image"));
    assert_eq!(status.reason.as_deref(), Some(reason::CONTAINER_LAUNCH_FAILED));
    assert_eq!(status.container_status, None);
    bench.agent.settings.docker = false;
    let failed = bench.run("b");
    let status = &updates(&failed)[0];
    assert_eq!(status.message.as_deref(), Some("Abnormal executor termination: unknown container"));
    assert_eq!((status.state, status.source), (TaskState::Failed, Some(StatusSource::Agent)));
}

#[test]
fn an_executor_that_dies_takes_its_task_along_and_leaves_an_orphan() {
    let mut bench = Bench::registered();
    bench.running("t");
    let failed = bench.on(Event::ExecutorGone("c1".into()));
    let status = &updates(&failed)[0];
    assert_eq!((status.state, status.message.as_deref()), (TaskState::Failed, Some("Container terminated")));
    assert_eq!(status.reason.as_deref(), Some(reason::EXECUTOR_TERMINATED));
    assert!(failed.contains(&Action::Remove("c1".into())));
    bench.agent.settings.kill_orphans = false;
    bench.running("u");
    let container = bench.container("u");
    let failed = bench.on(Event::ExecutorGone(container.clone()));
    assert!(!failed.contains(&Action::Remove(container)), "{failed:?}");
}

#[test]
fn an_update_is_sent_again_until_acknowledged_and_at_once_on_a_new_master() {
    let mut bench = Bench::registered();
    bench.launched("t");
    bench.say("t", 1, status("t", TaskState::Starting));
    bench.now_ms += 5_000;
    bench.master(json!({"type": "PING"}));
    bench.now_ms += 5_000;
    assert_eq!(states(&bench.on(Event::Tick)), [TaskState::Starting]);
    assert_eq!(bench.on(Event::Leader(Some("m2:5050".into()))), [Action::Disconnect]);
    bench.now_ms += 500;
    let actions = bench.on(Event::Tick);
    let [Action::Connect { register, leader, .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(leader, "m2:5050");
    assert_eq!(register.agent_info.id, Some("S0".into()));
    assert_eq!(register.tasks[0].status_update_state, Some(TaskState::Starting));
    assert_eq!(register.frameworks.len(), 1);
    let registered = bench.master(json!({"type": "REGISTERED", "agent_id": {"value": "S0"}, "master_id": "m", "master_hostname": "m2", "ping_timeout_ms": 10_000}));
    assert_eq!(states(&registered), [TaskState::Starting]);
}

#[test]
fn silence_of_the_master_is_a_loss_and_retries_slow_down() {
    let mut bench = Bench::registered();
    bench.now_ms += 9_999;
    assert_eq!(bench.on(Event::Tick), []);
    bench.now_ms += 1;
    assert_eq!(bench.on(Event::Tick), [Action::Disconnect]);
    let mut waits_ms = Vec::new();
    for _ in 0..8 {
        let due = bench.agent.deadline().expect("a next attempt");
        waits_ms.push(due.0 - bench.now_ms);
        bench.now_ms = due.0;
        let actions = bench.on(Event::Tick);
        let [Action::Connect { attempt, .. }] = actions[..] else { panic!("{actions:?}") };
        assert_eq!(bench.on(Event::Lost { attempt: attempt - 1 }), [], "of an older attempt");
        assert_eq!(bench.on(Event::Lost { attempt }), [Action::Disconnect]);
    }
    assert_eq!(waits_ms, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
}

#[test]
fn unknown_tasks_are_answered() {
    let mut bench = Bench::registered();
    let answer = bench.kill("ghost");
    assert_eq!(updates(&answer)[0].message.as_deref(), Some("Cannot find executor"));
    assert_eq!(states(&answer), [TaskState::Lost], "this framework's capabilities aren't known here");
    let framework =
        json!({"user": "", "name": "f", "id": {"value": "F"}, "capabilities": [{"type": "PARTITION_AWARE"}]});
    let answer = bench.master(json!({"type": "REGISTERED", "agent_id": {"value": "S0"}, "master_id": "m", "master_hostname": "m1", "ping_timeout_ms": 10_000,
        "reconcile": [{"framework_id": {"value": "F"}, "task_id": {"value": "t9"}}], "reconcile_frameworks": [framework]}));
    let dropped: Vec<_> = updates(&answer).into_iter().filter(|s| s.task_id.value == "t9").collect();
    assert_eq!(dropped[0].state, TaskState::Dropped);
    assert_eq!(dropped[0].reason.as_deref(), Some(reason::RECONCILIATION));
}

#[test]
fn a_removed_frameworks_tasks_die_in_silence() {
    let mut bench = Bench::registered();
    bench.running("t");
    let actions = bench.master(json!({"type": "SHUTDOWN_FRAMEWORK", "framework_id": {"value": "F"}}));
    assert_eq!(actions, [tell("c1", ToExecutor::Shutdown)]);
    assert_eq!(bench.say("t", 3, status("t", TaskState::Killing)), []);
    assert_eq!(bench.say("t", 4, status("t", TaskState::Killed)), []);
    assert_eq!(bench.agent.tasks().count(), 0);
    assert_eq!(bench.on(Event::ExecutorGone("c1".into())), [Action::RemoveLater("c1".into())]);
}

#[test]
fn an_agent_that_is_gone_ends_with_its_last_task_and_keeps_its_id() {
    let mut bench = Bench::registered();
    bench.running("t");
    let actions = bench.master(json!({"type": "SHUTDOWN", "message": "gone"}));
    assert_eq!(actions, [tell("c1", ToExecutor::Shutdown)]);
    assert_eq!(bench.say("t", 3, status("t", TaskState::Killed)), [Action::Exit]);
    let mut again = Bench::new(bench.saved);
    let told = again.shut_down();
    assert_eq!(told, [Action::Exit], "and so it does at every later start");
}

#[test]
fn an_agent_that_leaves_says_so_and_comes_back_as_another() {
    let mut bench = Bench::registered();
    bench.running("t");
    let actions = bench.on(Event::Unregister);
    assert_eq!(actions, [Action::Send(FromAgent::Unregister), tell("c1", ToExecutor::Shutdown)]);
    assert_eq!(bench.say("t", 3, status("t", TaskState::Killed)), [], "the master ends the connection");
    assert_eq!(bench.saved.agent, None);
    let attempt = bench.agent.attempt;
    assert_eq!(bench.on(Event::Lost { attempt }), [Action::Disconnect, Action::Exit]);
}

#[test]
fn a_restarted_agent_waits_for_its_executors_before_it_registers() {
    let mut before = Bench::registered();
    before.running("runs");
    before.running("dead");
    before.run("unlaunched");
    let text = serde_json::to_string(&before.saved).expect("JSON");
    let mut bench = Bench::new(serde_json::from_str(&text).expect("its own"));
    let containers = BTreeMap::from([("c1".to_owned(), true), ("stranger".to_owned(), true)]);
    assert_eq!(bench.on(Event::Containers(containers)), [Action::Remove("stranger".into())]);
    assert_eq!(bench.subscribe("runs"), [], "it goes on");
    bench.on(Event::Leader(Some("m1:5050".into())));
    bench.now_ms += 1_999;
    assert_eq!(bench.on(Event::Tick), [], "another one is missing");
    bench.now_ms += 1;
    let dead = bench.container("dead");
    assert_eq!(bench.on(Event::Tick), [Action::Remove(dead)], "its executor is dead: its container is an orphan");
    let actions = bench.on(Event::Tick);
    assert!(matches!(actions[..], [Action::Connect { .. }]), "{actions:?}");
    let said = bench.welcome();
    let by_task: BTreeMap<_, _> = updates(&said).into_iter().map(|s| (s.task_id.value.clone(), s)).collect();
    assert_eq!(by_task.len(), 2);
    assert_eq!(by_task["unlaunched"].state, TaskState::Dropped);
    assert_eq!(by_task["dead"].state, TaskState::Failed);
    let unknown = Some("Abnormal executor termination: unknown container");
    assert_eq!(by_task["dead"].message.as_deref(), unknown);
    assert_eq!(states(&bench.say("runs", 3, status("runs", TaskState::Failed))), [TaskState::Failed]);
}

#[test]
fn another_agents_checkpoint_is_refused() {
    let bench = Bench::registered();
    let mut other = settings();
    other.agent.hostname = "host-2".into();
    let refused = Agent::restore(other, bench.saved).expect_err("not this agent");
    assert!(refused.contains("host-2"), "{refused}");
}

#[derive(Debug, Clone)]
enum Step {
    Run(u8),
    Kill(u8),
    Prepared(u8, bool),
    Subscribe(u8),
    /// The executor says what comes next.
    Say(u8),
    /// It says everything again, from the first update on.
    Repeat(u8),
    Die(u8),
    AckLast(u8),
    Lose,
    Wait(u64),
    /// The agent is restarted; the executors come back or don't.
    Restart(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0u8..3).prop_map(Step::Run),
        1 => (0u8..3).prop_map(Step::Kill),
        3 => (0u8..3, prop::bool::weighted(0.9)).prop_map(|(t, well)| Step::Prepared(t, well)),
        3 => (0u8..3).prop_map(Step::Subscribe),
        6 => (0u8..3).prop_map(Step::Say),
        2 => (0u8..3).prop_map(Step::Repeat),
        1 => (0u8..3).prop_map(Step::Die),
        6 => (0u8..3).prop_map(Step::AckLast),
        1 => Just(Step::Lose),
        2 => (0u64..20_000).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

const SAYS: [TaskState; 4] = [TaskState::Starting, TaskState::Running, TaskState::Killing, TaskState::Killed];

/// An executor in the property: has its task, and how much it has said.
#[derive(Default)]
struct Said(BTreeMap<String, u64>);

impl Said {
    fn up_to(&self, bench: &mut Bench, task: &str) -> Vec<Action> {
        let Some(count) = self.0.get(task).copied() else { return Vec::new() };
        let says = SAYS.iter().zip(1..).take(count as usize);
        says.flat_map(|(state, number)| bench.say(task, number, status(task, *state))).collect()
    }
}

proptest! {
    /// Whatever happens when: a task's updates are told in order without a step back, nothing follows its end, and a restart loses none
    /// that an executor has said or that wasn't acknowledged.
    #[test]
    fn updates_never_go_back(steps in prop::collection::vec(step(), 0..120)) {
        let mut bench = Bench::registered();
        let mut told: BTreeMap<String, Vec<(TaskState, String)>> = BTreeMap::new();
        let (mut epoch, mut launched) = (0, 0u32);
        let mut names: BTreeMap<u8, String> = BTreeMap::new();
        let mut said = Said::default();
        for step in steps {
            let name = |t: u8| names.get(&t).cloned().unwrap_or_default();
            let actions = match step {
                Step::Run(t) => {
                    // Task ids are never used again.
                    launched += 1;
                    names.insert(t, format!("t{launched}"));
                    bench.run(&format!("t{launched}"))
                }
                // Each kill of an unknown task is answered anew, as in Mesos.
                Step::Kill(t) if bench.agent.task(&key(&name(t))).is_none() => continue,
                Step::Kill(t) => bench.kill(&name(t)),
                Step::Prepared(t, well) => {
                    let found = if well { Ok(()) } else { Err("x".to_owned()) };
                    bench.on(Event::Prepared(key(&name(t)), found))
                }
                Step::Subscribe(t) => {
                    let actions = bench.subscribe(&name(t));
                    if actions.iter().any(|a| matches!(a, Action::Tell(_, ToExecutor::Launch { .. }))) {
                        prop_assert!(said.0.insert(name(t), 0).is_none(), "launched twice");
                    }
                    actions
                }
                Step::Say(t) => {
                    if let Some(count) = said.0.get_mut(&name(t)) {
                        *count = (*count + 1).min(4);
                    }
                    said.up_to(&mut bench, &name(t))
                }
                Step::Repeat(t) => said.up_to(&mut bench, &name(t)),
                Step::Die(t) => {
                    let container = bench.container(&name(t));
                    bench.on(Event::ExecutorGone(container))
                }
                Step::AckLast(t) => match told.get(&name(t)).and_then(|all| all.last()).cloned() {
                    Some((_, uuid)) => bench.master(json!({"type": "ACK_UPDATE", "framework_id": {"value": "F"},
                        "task_id": {"value": name(t)}, "uuid": uuid})),
                    None => Vec::new(),
                },
                Step::Lose => {
                    bench.on(Event::Leader(None));
                    bench.on(Event::Leader(Some("m1:5050".into())));
                    bench.now_ms += 1_000;
                    bench.on(Event::Tick);
                    bench.welcome()
                }
                Step::Wait(ms) => {
                    bench.now_ms += ms;
                    bench.on(Event::Tick)
                }
                Step::Restart(back) => {
                    epoch += 1;
                    bench = Bench::new(bench.saved.clone());
                    bench.fresh = Counter(1_000_000 * epoch);
                    let tasks: Vec<String> = said.0.keys().cloned().collect();
                    for task in tasks.iter().filter(|_| back) {
                        bench.subscribe(task);
                    }
                    bench.now_ms += 2_000;
                    bench.on(Event::Tick);
                    bench.register()
                }
            };
            for status in updates(&actions) {
                let uuid = status.uuid.expect("an agent's update has one");
                let history = told.entry(status.task_id.value).or_default();
                if history.last().is_some_and(|(_, last)| *last == uuid) {
                    continue;
                }
                prop_assert!(!history.iter().any(|(_, old)| *old == uuid), "an old update came again");
                prop_assert!(!history.last().is_some_and(|(s, _)| s.is_terminal()), "told after its end");
                history.push((status.state, uuid));
            }
        }
    }
}

#[test]
fn an_executor_that_does_not_subscribe_in_time_fails_its_task_and_is_told_to_end_when_it_comes() {
    for image_is_here in [false, true] {
        let mut bench = Bench::registered();
        bench.run("t");
        if image_is_here {
            bench.prepared("t");
        }
        bench.now_ms += 59_999;
        assert_eq!(bench.master(json!({"type": "PING"})), [Action::Send(FromAgent::Pong)]);
        bench.now_ms += 1;
        let failed = bench.on(Event::Tick);
        assert_eq!(states(&failed), [TaskState::Failed]);
        assert_eq!(updates(&failed)[0].reason.as_deref(), Some(reason::EXECUTOR_REGISTRATION_TIMEOUT));
        assert_eq!(bench.prepared("t"), [], "too late");
        assert_eq!(bench.subscribe("t"), [tell(&bench.container("t"), ToExecutor::Shutdown)]);
    }
    let mut bench = Bench::registered();
    bench.launched("t");
    bench.now_ms += 60_000;
    assert_eq!(bench.master(json!({"type": "PING"})), [Action::Send(FromAgent::Pong)], "it came in time");
}
