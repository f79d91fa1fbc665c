//! Statuses, acknowledgements, reconciliation, kills.

use super::*;

#[test]
fn an_update_is_forwarded_and_its_acknowledgement_reaches_the_agent() {
    let (mut world, scheduler, agent) = World::running(info());
    world.update(&agent, "t", TaskState::Finished, "u2");
    assert_eq!(world.heard(&scheduler), ["TASK_FINISHED t - u2"]);
    world.acknowledge("t", "other");
    assert_eq!(world.told(&agent), ["ack t other"]);
    assert_eq!(world.master.frameworks[&FrameworkId::from("m-0000")].tasks.len(), 1);
    world.acknowledge("t", "u2");
    assert_eq!(world.told(&agent), ["ack t u2"]);
    let framework = &world.master.frameworks[&FrameworkId::from("m-0000")];
    assert_eq!((framework.tasks.len(), framework.completed.len()), (0, 1));
    // An agent that isn't there gets nothing.
    world.call(Call::acknowledge("m-0000".into(), "m-S7".into(), "t".into(), "u2".into()));
    assert!(world.told(&agent).is_empty());
}

#[test]
fn the_latest_state_frees_the_resources_before_its_own_update_comes() {
    let (mut world, scheduler, agent) = World::running(info());
    let mut status = TaskStatus::new("t".into(), TaskState::Running);
    status.uuid = Some("u9".into());
    let message = FromAgent::StatusUpdate {
        framework_id: "m-0000".into(),
        status: Box::new(status),
        latest_state: TaskState::Failed,
    };
    world.on(Event::FromAgent { stream: agent.clone(), message });
    world.pass_alive(1_100, &[&agent]);
    let heard = world.heard(&scheduler);
    assert_eq!(heard[0], "TASK_RUNNING t - u9");
    let offered = world.master.offered(|_| true).scalar("cpus");
    assert_eq!(offered, 2.0, "{heard:?}");
    // The unacknowledged end still occupies the id.
    let offer = world.master.offers.keys().next().cloned().unwrap();
    world.launch(offer.as_str(), vec![task("t", "m-S0", "cpus:0.1")]);
    assert_eq!(world.heard(&scheduler), ["TASK_ERROR t TASK_INVALID"]);
}

#[test]
fn nothing_is_forwarded_while_the_scheduler_is_away() {
    let (mut world, scheduler, agent) = World::running(info());
    world.on(Event::SchedulerClosed { stream: scheduler.clone() });
    world.update(&agent, "t", TaskState::Finished, "u2");
    assert!(world.heard(&scheduler).is_empty());
    world.told(&agent);
    let back = world.subscribe(again("m-0000"));
    // The agent hears of the subscription and sends its pending updates again.
    assert_eq!(world.told(&agent), ["framework"]);
    world.update(&agent, "t", TaskState::Finished, "u2");
    assert!(world.heard(&back).contains(&"TASK_FINISHED t - u2".to_owned()));
}

/// The recording `reconcile-table`.
#[test]
fn reconciliation_follows_the_table() {
    let (mut world, scheduler, agent) = World::running(info());
    world.reconcile(&[("t", Some("m-S0")), ("t", None), ("t", Some("nobody"))]);
    assert_eq!(world.heard(&scheduler), ["TASK_RUNNING t RECONCILIATION"; 3]);
    world.reconcile(&[("never", Some("m-S0")), ("never", None), ("never", Some("nobody"))]);
    let answers = ["TASK_GONE", "TASK_UNKNOWN", "TASK_UNKNOWN"].map(|s| format!("{s} never RECONCILIATION"));
    assert_eq!(world.heard(&scheduler), answers);
    world.update(&agent, "t", TaskState::Finished, "u2");
    world.heard(&scheduler);
    world.reconcile(&[]);
    assert_eq!(world.heard(&scheduler), ["TASK_FINISHED t RECONCILIATION"]);
    world.acknowledge("t", "u2");
    world.reconcile(&[]);
    assert!(world.heard(&scheduler).is_empty());
}

#[test]
fn unawares_hear_lost_instead() {
    let capabilities = vec![Capability { kind: FrameworkCapability::MultiRole }];
    let (mut world, scheduler, _) = World::running(FrameworkInfo { capabilities, ..info() });
    world.reconcile(&[("never", Some("m-S0")), ("never", None)]);
    assert_eq!(world.heard(&scheduler), ["TASK_LOST never RECONCILIATION"; 2]);
    world.pass(3_100);
    let heard = world.heard(&scheduler);
    assert!(heard.contains(&"TASK_LOST t AGENT_REMOVED".to_owned()), "{heard:?}");
}

#[test]
fn reconciliation_is_silent_while_agents_are_still_to_come_back() {
    let mut registry = admitted("o-S0");
    registry.unreachable.insert("o-S1".into(), 5);
    registry.gone.insert("o-S2".into(), 6);
    let mut world = World::with(settings(), registry);
    let scheduler = world.subscribe(info());
    world.heard(&scheduler);
    world.reconcile(&[("t", Some("o-S0")), ("t", None), ("t", Some("o-S1")), ("t", Some("o-S2"))]);
    let answers = ["TASK_UNREACHABLE t RECONCILIATION", "TASK_GONE_BY_OPERATOR t RECONCILIATION"];
    assert_eq!(world.heard(&scheduler), answers);
    // A KILL of an unknown task is the same question.
    world.call(Call::kill("m-0000".into(), "t".into(), None, None));
    assert!(world.heard(&scheduler).is_empty());
    world.pass(600_000);
    let heard: Vec<_> = world.heard(&scheduler).into_iter().filter(|e| e != "HEARTBEAT").collect();
    assert_eq!(heard, ["FAILURE o-S0"]);
    world.reconcile(&[("t", Some("o-S0"))]);
    assert_eq!(world.heard(&scheduler), ["TASK_UNREACHABLE t RECONCILIATION"]);
}

#[test]
fn a_kill_reaches_the_agent_now_or_when_it_is_back() {
    let (mut world, scheduler, agent) = World::running(info());
    let kill = |agent: Option<&str>| Call::kill("m-0000".into(), "t".into(), agent.map(AgentId::from), None);
    world.call(kill(Some("m-S7")));
    assert!(world.told(&agent).is_empty() && world.heard(&scheduler).is_empty());
    world.call(kill(None));
    world.call(kill(Some("m-S0")));
    assert_eq!(world.told(&agent), ["kill t", "kill t"]);
    world.on(Event::AgentClosed { stream: agent });
    world.call(kill(None));
    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    let back = world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert_eq!(world.told(&back), ["registered m-S0 []", "framework", "kill t"]);
}

/// As in the recording `docker-shutdown-message-calls`.
#[test]
fn the_executor_of_a_task_ends_with_it() {
    let (mut world, _, agent) = World::running(info());
    let mut shutdown = |executor: &str| {
        let mut call = Call::bare(Some("m-0000".into()), CallType::Shutdown);
        call.shutdown = Some(Shutdown { executor_id: executor.into(), agent_id: "m-S0".into() });
        world.call(call);
        world.told(&agent)
    };
    assert!(shutdown("nobody").is_empty());
    assert_eq!(shutdown("t"), ["kill t"]);
}
