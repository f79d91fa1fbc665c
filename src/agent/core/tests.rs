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
        grace: Duration::from_secs(5),
    }
}

impl Bench {
    fn new(checkpoint: Checkpoint) -> Self {
        let agent = Agent::restore(settings(), checkpoint.clone()).expect("the same agent");
        let (fresh, now_ms) = (Counter(1_000 * u64::from(checkpoint.agent.is_some())), 0);
        Self { agent, fresh, now_ms, saved: checkpoint }
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
        self.master(json!({"type": "REGISTERED", "agent_id": {"value": "S0"}, "master_id": "m", "master_hostname": "m1", "ping_timeout_ms": 10_000}))
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

    fn container(&mut self, task: &str, progress: Progress) -> Vec<Action> {
        self.on(Event::Container(key(task), progress))
    }

    fn ack(&mut self, task: &str, actions: &[Action]) -> Vec<Action> {
        let sent = updates(actions);
        let uuid = sent.last().and_then(|s| s.uuid.clone()).expect("an update to acknowledge");
        self.master(
            json!({"type": "ACK_UPDATE", "framework_id": {"value": "F"}, "task_id": {"value": task}, "uuid": uuid}),
        )
    }

    fn running(&mut self, task: &str) {
        self.run(task);
        let starting = self.container(task, Progress::Prepared);
        let nothing = self.container(task, started());
        assert_eq!(nothing, [], "RUNNING waits for the acknowledgement of STARTING");
        let running = self.ack(task, &starting);
        assert_eq!(states(&running), [TaskState::Running]);
        assert_eq!(self.ack(task, &running), []);
    }
}

fn key(task: &str) -> TaskRef {
    TaskRef { framework_id: "F".into(), task_id: TaskId::new(task) }
}

fn started() -> Progress {
    Progress::Started { inspect: "W10=".into(), address: Some("198.19.0.10".into()) }
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
    let starting = bench.container("t", Progress::Prepared);
    let status = serde_json::to_value(&updates(&starting)[0]).expect("JSON");
    assert_eq!(
        status,
        json!({"task_id": {"value": "t"}, "state": "TASK_STARTING", "source": "SOURCE_EXECUTOR", "agent_id": {"value": "S0"},
            "executor_id": {"value": "t"}, "timestamp": 1.5, "uuid": "u2",
            "container_status": {"container_id": {"value": "c1"},
                "network_infos": [{"ip_addresses": [{"protocol": "IPv4", "ip_address": "198.18.0.31"}]}]}})
    );
    bench.container("t", started());
    let running = bench.ack("t", &starting);
    let status = &updates(&running)[0];
    assert_eq!(status.data.as_deref(), Some("W10="));
    let network = &status.container_status.as_ref().expect("there").network_infos[0];
    assert_eq!(network.name.as_deref(), Some("calico"));
    assert_eq!(network.ip_addresses[0].ip_address.as_deref(), Some("198.19.0.10"));
    bench.ack("t", &running);
    let failed = bench.container("t", Progress::Exited(3));
    let status = &updates(&failed)[0];
    assert_eq!(status.state, TaskState::Failed);
    assert_eq!(status.message.as_deref(), Some("Container exited with status 3"));
    assert_eq!(bench.agent.tasks().count(), 1, "kept until the end is acknowledged");
    bench.ack("t", &failed);
    assert_eq!(bench.agent.tasks().count(), 0);
    assert_eq!((bench.saved.tasks.len(), bench.saved.frameworks.len()), (0, 0));
}

#[test]
fn a_kill_is_told_once_and_uses_the_tasks_grace_or_its_own() {
    let mut bench = Bench::registered();
    bench.running("t");
    let killing = bench.kill("t");
    assert!(killing.contains(&Action::Stop(key("t"), Duration::from_secs(2))));
    assert_eq!(states(&killing), [TaskState::Killing]);
    let again = bench.master(json!({"type": "KILL_TASK", "framework_id": {"value": "F"}, "task_id": {"value": "t"},
        "kill_policy": {"grace_period": {"nanoseconds": 0}}}));
    assert_eq!(again, [Action::Stop(key("t"), Duration::ZERO)]);
    bench.container("t", Progress::Exited(0));
    let killed = bench.ack("t", &killing);
    assert_eq!(states(&killed), [TaskState::Killed]);
    assert_eq!(updates(&killed)[0].message.as_deref(), Some("Container exited with status 0"));
}

#[test]
fn a_kill_during_the_launch_never_lets_it_run() {
    let mut bench = Bench::registered();
    bench.run("early");
    let killed = bench.kill("early");
    assert_eq!(updates(&killed)[0].reason.as_deref(), Some(reason::TASK_KILLED_DURING_LAUNCH));
    assert_eq!(bench.container("early", Progress::Prepared), []);
    bench.run("late");
    let starting = bench.container("late", Progress::Prepared);
    assert_eq!(bench.kill("late"), []);
    let stop = bench.container("late", started());
    assert_eq!(stop, [Action::Stop(key("late"), Duration::from_secs(2))]);
    let killing = bench.ack("late", &starting);
    assert_eq!(states(&killing), [TaskState::Killing], "and no RUNNING");
}

#[test]
fn what_cannot_be_launched_fails_with_its_reason() {
    let mut bench = Bench::registered();
    bench.run("a");
    let failed = bench.container("a", Progress::Unavailable("no such image".into()));
    let status = &updates(&failed)[0];
    assert_eq!(status.message.as_deref(), Some("Failed to launch container: no such image"));
    assert_eq!(status.reason.as_deref(), Some(reason::CONTAINER_LAUNCH_FAILED));
    assert_eq!(status.container_status, None);
    bench.run("b");
    let starting = bench.container("b", Progress::Prepared);
    bench.container("b", Progress::Refused("No network info found in container info".into()));
    let failed = bench.ack("b", &starting);
    assert_eq!(
        updates(&failed)[0].message.as_deref(),
        Some("Failed to create docker run options: No network info found in container info")
    );
}

#[test]
fn an_update_is_sent_again_until_acknowledged_and_at_once_on_a_new_master() {
    let mut bench = Bench::registered();
    bench.run("t");
    bench.container("t", Progress::Prepared);
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
    assert_eq!(actions, [Action::Stop(key("t"), Duration::from_secs(2))]);
    assert_eq!(bench.container("t", Progress::Exited(137)), []);
    assert_eq!(bench.agent.tasks().count(), 0);
}

#[test]
fn a_shut_down_agent_ends_with_its_last_container_and_forgets_its_id() {
    let mut bench = Bench::registered();
    bench.running("t");
    bench.master(json!({"type": "SHUTDOWN", "message": "gone"}));
    assert_eq!(bench.saved.agent, None);
    assert_eq!(bench.container("t", Progress::Exited(0)), [Action::Exit]);
}

#[test]
fn a_restarted_agent_finds_its_tasks_again() {
    let mut before = Bench::registered();
    before.running("runs");
    before.running("removed");
    before.run("unlaunched");
    let text = serde_json::to_string(&before.saved).expect("JSON");
    let mut bench = Bench::new(serde_json::from_str(&text).expect("its own"));
    let containers = BTreeMap::from([("c1".to_owned(), true), ("stranger".to_owned(), true)]);
    let actions = bench.on(Event::Recovered(containers));
    assert_eq!(actions, [Action::Watch(key("runs")), Action::RemoveOrphan("stranger".into())]);
    let said = bench.register();
    let by_task: BTreeMap<_, _> = updates(&said).into_iter().map(|s| (s.task_id.value.clone(), s.state)).collect();
    assert_eq!(
        by_task,
        BTreeMap::from([("removed".into(), TaskState::Gone), ("unlaunched".into(), TaskState::Dropped)])
    );
    let failed = bench.container("runs", Progress::Exited(5));
    assert_eq!(states(&failed), [TaskState::Failed]);
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
    Container(u8, Progress),
    AckLast(u8),
    Lose,
    Wait(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let progress = prop_oneof![
        Just(Progress::Prepared),
        Just(started()),
        Just(Progress::Unavailable("x".into())),
        Just(Progress::Refused("x".into())),
        (0i64..3).prop_map(Progress::Exited),
    ];
    prop_oneof![
        2 => (0u8..3).prop_map(Step::Run),
        1 => (0u8..3).prop_map(Step::Kill),
        5 => (0u8..3, progress).prop_map(|(t, p)| Step::Container(t, p)),
        5 => (0u8..3).prop_map(Step::AckLast),
        1 => Just(Step::Lose),
        2 => (0u64..20_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Whatever happens when: a task's updates are told in order without a step back, nothing follows its end, and a restart loses none
    /// that was told but not acknowledged.
    #[test]
    fn updates_never_go_back(steps in prop::collection::vec(step(), 0..120)) {
        let mut bench = Bench::registered();
        let mut told: BTreeMap<String, Vec<(TaskState, String)>> = BTreeMap::new();
        let (mut epoch, mut launched) = (0, 0u32);
        let mut names: BTreeMap<u8, String> = BTreeMap::new();
        for step in steps {
            let name = |names: &BTreeMap<u8, String>, t: u8| names.get(&t).cloned().unwrap_or_default();
            let actions = match step {
                Step::Run(t) => {
                    // Task ids are never used again.
                    launched += 1;
                    names.insert(t, format!("t{launched}"));
                    bench.run(&format!("t{launched}"))
                }
                // Each kill of an unknown task is answered anew, as in Mesos.
                Step::Kill(t) if bench.agent.task(&key(&name(&names, t))).is_none() => continue,
                Step::Kill(t) => bench.kill(&name(&names, t)),
                Step::Container(t, progress) => bench.container(&name(&names, t), progress),
                Step::AckLast(t) => match told.get(&name(&names, t)).and_then(|all| all.last()).cloned() {
                    Some((_, uuid)) => bench.master(json!({"type": "ACK_UPDATE", "framework_id": {"value": "F"},
                        "task_id": {"value": name(&names, t)}, "uuid": uuid})),
                    None => Vec::new(),
                },
                Step::Lose => {
                    bench.on(Event::Leader(None));
                    bench.register()
                }
                Step::Wait(ms) => {
                    bench.now_ms += ms;
                    bench.on(Event::Tick)
                }
                Step::Restart => {
                    epoch += 1;
                    bench = Bench::new(bench.saved.clone());
                    bench.fresh = Counter(1_000_000 * epoch);
                    bench.on(Event::Recovered(BTreeMap::new()));
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
