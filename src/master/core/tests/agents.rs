//! Agents are cut off, come back, and end; masters fail over.

use super::*;

#[test]
fn a_cut_connection_costs_the_offers_and_nothing_else() {
    let (mut world, scheduler, agent) = World::running(info());
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O1 m-S0 1.9"]);
    world.on(Event::AgentClosed { stream: agent });
    assert_eq!(world.heard(&scheduler), ["RESCIND m-O1"]);
    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O2 m-S0 1.9"]);
}

#[test]
fn without_checkpoint_a_cut_connection_costs_the_tasks() {
    let (mut world, scheduler, agent) = World::running(FrameworkInfo { checkpoint: false, ..info() });
    world.on(Event::AgentClosed { stream: agent });
    // LOST even with PARTITION_AWARE, as recorded.
    assert_eq!(world.heard(&scheduler), ["TASK_LOST t AGENT_DISCONNECTED"]);
    world.reconcile(&[]);
    assert!(world.heard(&scheduler).is_empty());
}

#[test]
fn missed_pings_make_an_agent_unreachable_and_it_may_return() {
    let (mut world, scheduler, agent) = World::running(info());
    world.pass_alive(1_100, &[&agent]);
    world.heard(&scheduler);
    world.said.clear();
    world.pass(3_100);
    assert_eq!(world.heard(&scheduler), ["TASK_UNREACHABLE t AGENT_REMOVED", "RESCIND m-O1", "FAILURE m-S0"]);
    assert_eq!(world.told(&agent).last().unwrap(), "end");
    world.reconcile(&[("t", Some("m-S0")), ("t", None)]);
    let answers = ["TASK_UNREACHABLE t RECONCILIATION", "TASK_UNKNOWN t RECONCILIATION"];
    assert_eq!(world.heard(&scheduler), answers);
    // Its updates count for nothing until it has registered again.
    world.update(&agent, "t", TaskState::Finished, "u2");
    assert!(world.heard(&scheduler).is_empty());

    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    let back = world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert_eq!(world.heard(&scheduler), ["TASK_RUNNING t AGENT_REREGISTERED", "OFFERS m-O2 m-S0 1.9"]);
    assert_eq!(world.told(&back), ["registered m-S0 []", "framework"]);
}

#[test]
fn the_id_of_an_unreachable_task_is_taken() {
    let (mut world, scheduler, _) = World::running(info());
    world.pass(3_100);
    world.register(None, 5052, vec![]);
    world.heard(&scheduler);
    let offer = world.master.offers.keys().next().cloned().unwrap();
    world.launch(offer.as_str(), vec![task("t", "m-S1", "cpus:0.1")]);
    assert_eq!(world.heard(&scheduler), ["TASK_ERROR t TASK_INVALID"]);
}

#[test]
fn tasks_that_the_agent_never_got_are_asked_for() {
    let (mut world, _, agent) = World::running(info());
    world.pass_alive(1_100, &[&agent]);
    world.launch("m-O1", vec![task("lost-on-the-way", "m-S0", "cpus:0.1")]);
    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    let back = world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert_eq!(world.told(&back)[0], "registered m-S0 [lost-on-the-way]");
    assert_eq!(world.told(&agent).last().unwrap(), "end");
}

#[test]
fn a_framework_that_ended_meanwhile_is_shut_down_on_return() {
    let (mut world, _, _) = World::running(info());
    world.pass(3_100);
    world.call(Call::teardown("m-0000".into()));
    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    let back = world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert_eq!(world.told(&back), ["registered m-S0 []", "shutdown m-0000"]);
    assert!(world.master.frameworks.is_empty());
}

#[test]
fn an_agent_that_is_gone_never_comes_back() {
    let (mut world, scheduler, agent) = World::running(info());
    world.on(Event::MarkAgentGone("m-S0".into()));
    assert_eq!(world.told(&agent), ["shutdown", "end"]);
    assert_eq!(world.heard(&scheduler), ["TASK_GONE_BY_OPERATOR t AGENT_REMOVED_BY_OPERATOR", "FAILURE m-S0"]);
    let back = world.register(Some("m-S0"), 5051, vec![]);
    assert_eq!(world.told(&back), ["shutdown", "end"]);
    world.reconcile(&[("t", Some("m-S0"))]);
    assert_eq!(world.heard(&scheduler), ["TASK_GONE_BY_OPERATOR t RECONCILIATION"]);
}

#[test]
fn who_unregisters_or_is_displaced_loses_its_tasks() {
    let (mut world, scheduler, agent) = World::running(info());
    world.on(Event::FromAgent { stream: agent, message: FromAgent::Unregister });
    assert_eq!(world.heard(&scheduler), ["TASK_LOST t AGENT_REMOVED", "FAILURE m-S0"]);

    let (mut world, scheduler, agent) = World::running(info());
    let other = world.register(None, 5051, vec![]);
    let heard = world.heard(&scheduler);
    assert_eq!(heard[..2], ["TASK_LOST t AGENT_REMOVED", "FAILURE m-S0"]);
    assert_eq!(world.told(&agent), ["end"]);
    assert_eq!(world.told(&other)[0], "registered m-S1 []");
}

#[test]
fn a_new_leader_learns_of_frameworks_and_tasks_from_agents() {
    let registry = admitted("o-S0");
    let mut world = World::with(settings(), registry);
    let refused = world.master.admit(&"m-0000".into(), None).unwrap_err();
    assert_eq!(refused.status, 400);
    let info = task("t", "o-S0", "cpus:0.5;mem:32");
    let agent = world.register(Some("o-S0"), 5051, vec![reported(info, TaskState::Running)]);
    // Known from agents only: recovered, 403, and its failover timeout doesn't run.
    world.pass_alive(100_000, &[&agent]);
    let refused = world.master.admit(&"m-0000".into(), None).unwrap_err();
    assert_eq!(refused.status, 403);
    let recovered = &world.master.frameworks[&FrameworkId::from("m-0000")];
    assert_eq!((recovered.recovered, recovered.registered_s), (true, 0.0));

    let scheduler = world.subscribe(again("m-0000"));
    assert_eq!(world.heard(&scheduler), ["SUBSCRIBED m-0000", "HEARTBEAT", "OFFERS m-O0 o-S0 1.5"]);
    world.reconcile(&[]);
    assert_eq!(world.heard(&scheduler), ["TASK_RUNNING t RECONCILIATION"]);
    world.call(Call::acknowledge("m-0000".into(), "o-S0".into(), "t".into(), "u".into()));
    assert_eq!(world.told(&agent).last().unwrap(), "ack t u");
}

/// Takes the registries that are to be made durable.
fn registries(world: &mut World) -> Vec<Registry> {
    let (saves, rest) = std::mem::take(&mut world.said).into_iter().partition(|a| matches!(a, Action::SaveRegistry(_)));
    world.said = rest;
    let saves: Vec<Action> = saves;
    let registry = |action| match action {
        Action::SaveRegistry(registry) => Some(registry),
        _ => None,
    };
    saves.into_iter().filter_map(registry).collect()
}

#[test]
fn nobody_hears_of_what_is_not_durable_and_everything_else_goes_on() {
    let (mut world, scheduler, _) = World::running(info());
    world.slow_registry = true;
    world.pass(3_100);
    let saves = registries(&mut world);
    assert_eq!(saves.len(), 1, "one write at a time");
    assert!(saves[0].unreachable.contains_key("m-S0") && saves[0].admitted.is_empty());
    assert!(!world.heard(&scheduler).iter().any(|event| event.starts_with("TASK_UNREACHABLE")));
    world.reconcile(&[("t", Some("m-S0"))]);
    assert_eq!(world.heard(&scheduler), ["TASK_RUNNING t RECONCILIATION"]);

    // Decided meanwhile: a new agent, whose connection breaks, and the return of the lost one. One write for both.
    let other = world.register(None, 5052, vec![]);
    world.on(Event::AgentClosed { stream: other.clone() });
    let info = task("t", "m-S0", "cpus:0.1;mem:32");
    let back = world.register(Some("m-S0"), 5051, vec![reported(info, TaskState::Running)]);
    assert!(registries(&mut world).is_empty() && world.told(&back).is_empty());
    assert_eq!(world.master.registry_changes(), (4, 1));

    world.on(Event::RegistrySaved);
    assert_eq!(world.heard(&scheduler), ["TASK_UNREACHABLE t AGENT_REMOVED", "RESCIND m-O1", "FAILURE m-S0"]);
    let saves = registries(&mut world);
    assert_eq!(saves[0].admitted.keys().collect::<Vec<_>>(), ["m-S0", "m-S1"]);
    world.on(Event::RegistrySaved);
    assert_eq!(world.heard(&scheduler), ["TASK_RUNNING t AGENT_REREGISTERED", "OFFERS m-O2 m-S0 1.9"]);
    assert_eq!(world.told(&back), ["registered m-S0 []", "framework"]);
    assert_eq!(world.master.agents[&AgentId::from("m-S1")].stream, None);
    assert_eq!(world.master.registry_changes(), (4, 4));
}

#[test]
fn an_agent_that_is_declared_gone_while_it_returns_does_not_return() {
    let mut world = World::with(settings(), admitted("o-S0"));
    world.slow_registry = true;
    world.on(Event::MarkAgentGone("o-S0".into()));
    let back = world.register(Some("o-S0"), 5051, vec![]);
    world.on(Event::RegistrySaved);
    assert_eq!(world.told(&back), ["shutdown", "end"]);
    assert!(world.master.agents.is_empty() && world.master.recovered.is_empty());
}
