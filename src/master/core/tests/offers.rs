//! Offers, filters, and what becomes of an ACCEPT.

use super::*;

fn decline(offer: &str, seconds: Option<f64>) -> Call {
    let filters = seconds.map(|seconds| Filters { refuse_seconds: Some(seconds) });
    Call::decline("m-0000".into(), vec![offer.into()], filters)
}

fn subscribed() -> (World, String, String) {
    let mut world = World::new();
    let agent = world.register(None, 5051, vec![]);
    let scheduler = world.subscribe(info());
    assert_eq!(world.heard(&scheduler).last().unwrap(), "OFFERS m-O0 m-S0 2");
    (world, scheduler, agent)
}

#[test]
fn a_refusal_holds_five_seconds_unless_it_says_otherwise() {
    let (mut world, scheduler, agent) = subscribed();
    for (offer, (seconds, wait_ms)) in
        [(None, 5_000), (Some(-1.0), 5_000), (Some(0.0), 0), (Some(9.0), 9_000)].into_iter().enumerate()
    {
        world.call(decline(&format!("m-O{offer}"), seconds));
        world.pass_alive(wait_ms - wait_ms.min(100), &[&agent]);
        assert!(world.heard(&scheduler).iter().all(|event| event == "HEARTBEAT"));
        world.pass_alive(1_100, &[&agent]);
        let next = format!("OFFERS m-O{} m-S0 2", offer + 1);
        assert!(world.heard(&scheduler).contains(&next), "{seconds:?}");
    }
}

#[test]
fn revive_clears_filters_and_suppress_stops_offers() {
    let (mut world, scheduler, agent) = subscribed();
    world.call(decline("m-O0", Some(1000.0)));
    world.pass_alive(10_000, &[&agent]);
    assert!(world.heard(&scheduler).is_empty());
    let mut foreign = Call::revive("m-0000".into());
    foreign.revive = Some(Roles { roles: vec!["demo".into(), "foreign".into()] });
    world.call(foreign);
    assert!(world.heard(&scheduler).is_empty());
    world.call(Call::revive("m-0000".into()));
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O1 m-S0 2"]);

    world.call(Call::suppress("m-0000".into()));
    world.call(decline("m-O1", Some(0.0)));
    world.pass_alive(3_000, &[&agent]);
    assert!(world.heard(&scheduler).is_empty());
    world.call(Call::revive("m-0000".into()));
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O2 m-S0 2"]);
}

#[test]
fn a_filter_lets_a_bigger_set_pass() {
    let (mut world, scheduler, agent) = subscribed();
    world.launch("m-O0", vec![task("t", "m-S0", "cpus:0.5;mem:32")]);
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O1 m-S0 1.5"]);
    world.call(decline("m-O1", Some(1000.0)));
    world.update(&agent, "t", TaskState::Finished, "u");
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(world.heard(&scheduler), ["TASK_FINISHED t - u", "OFFERS m-O2 m-S0 2"]);
}

#[test]
fn offers_time_out_when_told_so() {
    let timeout = Some(Duration::from_secs(2));
    let mut world = World::with(Settings { offer_timeout: timeout, ..settings() }, Registry::default());
    let agent = world.register(None, 5051, vec![]);
    let scheduler = world.subscribe(info());
    world.pass_alive(2_000, &[&agent]);
    assert!(world.heard(&scheduler).contains(&"RESCIND m-O0".to_owned()));
    world.launch("m-O0", vec![task("t", "m-S0", "cpus:1")]);
    assert!(world.heard(&scheduler).contains(&"TASK_DROPPED t INVALID_OFFERS".to_owned()));
}

#[test]
fn a_list_with_an_invalid_offer_is_used_up_as_a_whole() {
    let (mut world, scheduler, agent) = subscribed();
    let tasks = || vec![task("t", "m-S0", "cpus:0.1")];
    for offers in [vec!["nonsense"], vec![], vec!["m-O0", "m-O0"]] {
        let offers = offers.into_iter().map(OfferId::from).collect();
        world.call(Call::launch("m-0000".into(), offers, tasks(), None));
        assert_eq!(world.heard(&scheduler), ["TASK_DROPPED t INVALID_OFFERS"]);
    }
    // No filter: the valid one of the list is offered again at the next round.
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O1 m-S0 2"]);
    assert!(world.told(&agent).iter().all(|message| !message.starts_with("run")));
}

#[test]
fn tasks_are_judged_one_by_one() {
    let (mut world, scheduler, agent) = subscribed();
    let with = |id: &str, members| task_with(id, "m-S0", members);
    let tasks = vec![
        task("a/b", "m-S0", "cpus:0.1"),
        with("no-resources", json!({"resources": []})),
        with("no-command", json!({"command": null})),
        with("both", json!({"executor": {}})),
        with("grace", json!({"kill_policy": {"grace_period": {"nanoseconds": -1}}})),
        with("no-docker", json!({"container": {"type": "DOCKER"}})),
        with(
            "name",
            json!({"container": {"type": "DOCKER",
            "docker": {"image": "i", "parameters": [{"key": "name", "value": "x"}]}}}),
        ),
        with("env", json!({"command": {"environment": {"variables": [{"name": "A"}]}}})),
        with("check", json!({"health_check": {"type": "HTTP"}})),
        task("elsewhere", "m-S9", "cpus:0.1"),
        task("too-much", "m-S0", "cpus:2.1"),
        task("fine", "m-S0", "cpus:1.5"),
        task("fine", "m-S0", "cpus:0.1"),
        task("rest", "m-S0", "cpus:0.6"),
    ];
    world.launch("m-O0", tasks);
    let refused = [
        "a/b",
        "no-resources",
        "no-command",
        "both",
        "grace",
        "no-docker",
        "name",
        "env",
        "check",
        "elsewhere",
        "too-much",
        "fine",
        "rest",
    ];
    let refused = refused.map(|id| format!("TASK_ERROR {id} TASK_INVALID"));
    assert_eq!(world.heard(&scheduler), refused);
    assert_eq!(world.told(&agent)[1..], ["framework".to_owned(), "run fine".into()][..]);
}

/// As in the recording `tasks-bad-resource-poisons-accept`.
#[test]
fn an_ill_formed_resource_spoils_all_tasks() {
    let (mut world, scheduler, agent) = subscribed();
    let bad = |resource: Value| json!({ "resources": [resource] });
    let cases = [
        (
            json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": -1}, "allocation_info": {"role": "demo"}}),
            "Resource 'cpus(allocated: demo):-1' is invalid: Invalid scalar resource: value <= 0",
        ),
        // As it came: the offer's allocation isn't filled in yet.
        (json!({"name": "cpus", "type": "SCALAR"}), "Resource 'cpus:0' is invalid: Invalid scalar resource"),
        (
            json!({"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 5, "end": 1}]}}),
            "Resource 'ports:[5-1]' is invalid: Invalid ranges resource: begin > end",
        ),
        (
            json!({"name": "", "type": "SCALAR", "scalar": {"value": 1}}),
            "Resource ':1' is invalid: Empty resource name",
        ),
        (
            json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.0001}}),
            "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0",
        ),
    ];
    for (offer, (resource, message)) in cases.into_iter().enumerate() {
        let tasks = vec![task("good", "m-S0", "cpus:0.1"), task_with("bad", "m-S0", bad(resource))];
        world.launch(&format!("m-O{offer}"), tasks);
        assert_eq!(messages(&world), [message, message]);
        assert_eq!(world.heard(&scheduler), ["TASK_ERROR good TASK_INVALID", "TASK_ERROR bad TASK_INVALID"]);
        world.pass_alive(1_100, &[&agent]);
        world.heard(&scheduler);
    }
}

/// The messages of the statuses that were said and not yet heard.
fn messages(world: &World) -> Vec<String> {
    let said = world.said.iter().filter_map(|action| match action {
        Action::ToScheduler(_, event) => match &**event {
            wire::Event::Update(status) => status.message.clone(),
            wire::Event::UpdateOperationStatus(status) => status.message.clone(),
            _ => None,
        },
        _ => None,
    });
    said.collect()
}

/// As in the recording `docker-launch-group`.
#[test]
fn what_is_left_out_is_refused_in_words() {
    let (mut world, scheduler, agent) = subscribed();
    let mut ask = |offer: u32, operations: Value| {
        let accept = json!({"framework_id": {"value": "m-0000"}, "type": "ACCEPT", "accept": {
            "offer_ids": [{"value": format!("m-O{offer}")}],
            "operations": operations, "filters": {"refuse_seconds": 0}}});
        world.call(serde_json::from_value(accept).unwrap());
        let said = messages(&world);
        let heard = world.heard(&scheduler);
        world.pass_alive(1_100, &[&agent]);
        world.heard(&scheduler);
        (said, heard)
    };
    let tasks = || [task("g1", "m-S0", "cpus:0.1"), task_with("g2", "m-S0", json!({"container": null}))];
    let group = json!([{"type": "LAUNCH_GROUP", "launch_group": {"executor": {}, "task_group": {"tasks": tasks()}}}]);
    let (said, heard) = ask(0, group);
    assert_eq!(said, ["Task 'g1' is invalid: Docker ContainerInfo is not supported on the task"; 2]);
    assert_eq!(heard, ["TASK_ERROR g1 TASK_GROUP_INVALID", "TASK_ERROR g2 TASK_GROUP_INVALID"]);

    let with_id = json!([{"type": "LAUNCH", "id": {"value": "op1"}, "launch": {"task_infos": tasks()[..1]}}]);
    let (said, heard) = ask(1, with_id);
    assert_eq!(said, ["The `id` field cannot be set on LAUNCH operations"]);
    assert_eq!(heard, ["TASK_ERROR g1 TASK_INVALID"]);

    let cpus = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.1}, "role": "demo",
        "allocation_info": {"role": "demo"}});
    let reserve = json!([{"type": "RESERVE", "id": {"value": "op2"}, "reserve": {"resources": [cpus]}}]);
    let (said, heard) = ask(2, reserve);
    let why = "Resource cpus(allocated: demo)(reservations: [(STATIC,demo)]):0.1 is not dynamically reserved; \
               on agent m-S0 at slave(1)@127.0.0.1:5051 (h1)";
    assert_eq!(said, [why]);
    assert_eq!(heard, ["OPERATION_ERROR op2"]);

    // Without an id nobody hears of it, and what stands beside it goes on.
    let both = json!([{"type": "RESERVE", "reserve": {"resources": []}}, {"type": "NOVELTY"},
        {"type": "LAUNCH", "launch": {"task_infos": tasks()[..1]}}]);
    let (said, heard) = ask(3, both);
    assert_eq!((said.len(), heard.len()), (0, 0));
    assert!(world.told(&agent).contains(&"run g1".to_owned()));
}

/// As in the recordings `offers-decline-long-then-revive` and `failover-changed-info`.
#[test]
fn roles_and_frameworks_take_turns() {
    let mut world = World::new();
    let agent = world.register(None, 5051, vec![]);
    let two = FrameworkInfo { roles: vec!["demo".into(), "second".into()], ..info() };
    let scheduler = world.subscribe(two);
    let role = |world: &World| world.master.offers.values().next().map(|offered| offered.role.clone());
    world.heard(&scheduler);
    let mut roles = Vec::new();
    for offer in 0..4 {
        roles.push(role(&world).unwrap());
        world.call(decline(&format!("m-O{offer}"), Some(0.0)));
        world.pass_alive(1_100, &[&agent]);
    }
    assert_eq!(roles, ["demo", "second", "demo", "second"]);
    // A role that nobody was in begins anew, and so comes first.
    world.subscribe(FrameworkInfo { roles: vec!["demo".into(), "zz".into()], ..again("m-0000") });
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(role(&world).as_deref(), Some("zz"));
    // So does every role once its last framework is gone.
    world.call(Call::bare(Some("m-0000".into()), CallType::Teardown));
    world.subscribe(FrameworkInfo { roles: vec!["demo".into(), "zz".into()], ..info() });
    world.pass_alive(1_100, &[&agent]);
    assert_eq!(role(&world).as_deref(), Some("demo"));
}

/// Two frameworks of one role don't count twice against another role's one.
#[test]
fn shares_are_fair_between_roles_first() {
    let mut world = World::new();
    world.subscribe(info());
    world.subscribe(info());
    world.subscribe(FrameworkInfo { roles: vec!["other".into()], ..info() });
    let agent = world.register(None, 5051, vec![]);
    world.launch("m-O0", vec![task("t", "m-S0", "cpus:0.5;mem:32")]);
    world.pass_alive(1_100, &[&agent]);
    let offered: Vec<_> = world.master.offers.values().map(|offered| offered.role.clone()).collect();
    assert_eq!(offered, ["other"]);
}

#[test]
fn two_offers_of_one_agent_go_together_of_two_agents_not() {
    let (mut world, scheduler, agent) = subscribed();
    world.launch("m-O0", vec![task("t", "m-S0", "cpus:1.5;mem:32")]);
    world.pass_alive(1_100, &[&agent]);
    world.update(&agent, "t", TaskState::Finished, "u");
    world.pass_alive(1_100, &[&agent]);
    let offers = ["OFFERS m-O1 m-S0 0.5", "TASK_FINISHED t - u", "OFFERS m-O2 m-S0 1.5"];
    assert_eq!(world.heard(&scheduler), offers);
    let both = vec!["m-O1".into(), "m-O2".into()];
    world.call(Call::launch("m-0000".into(), both, vec![task("big", "m-S0", "cpus:2")], None));
    assert!(world.told(&agent).contains(&"run big".to_owned()));

    world.register(None, 5052, vec![]);
    assert_eq!(world.heard(&scheduler), ["OFFERS m-O3 m-S1 2"]);
    world.pass_alive(6_000, &[&agent]);
    let left = world.master.offers.keys().next_back().cloned().unwrap();
    let across = vec!["m-O3".into(), left];
    world.call(Call::launch("m-0000".into(), across, vec![task("x", "m-S1", "cpus:1")], None));
    assert!(world.heard(&scheduler).contains(&"TASK_DROPPED x INVALID_OFFERS".to_owned()));
}

#[test]
fn the_format_of_offers_follows_the_capabilities() {
    let mut world = World::new();
    world.register(None, 5051, vec![]);
    let plain = FrameworkInfo { roles: vec![], capabilities: vec![], ..info() };
    world.subscribe(plain);
    let offers = world.said.iter().find_map(|action| match action {
        Action::ToScheduler(_, event) => match &**event {
            wire::Event::Offers(offers) => Some(offers.clone()),
            _ => None,
        },
        _ => None,
    });
    let offer = &offers.unwrap()[0];
    assert_eq!(offer.allocation_info, None);
    assert!(offer.resources.iter().all(|r| r.allocation_info.is_none() && r.role.as_deref() == Some("*")));
}

#[test]
fn the_smaller_share_is_served_first() {
    let mut world = World::new();
    let rich = world.subscribe(info());
    let agent = world.register(None, 5051, vec![]);
    world.launch("m-O0", vec![task("t", "m-S0", "cpus:1")]);
    let poor = world.subscribe(info());
    world.heard(&rich);
    world.pass_alive(6_000, &[&agent]);
    assert!(world.heard(&poor).iter().any(|event| event.starts_with("OFFERS")));
    assert!(!world.heard(&rich).iter().any(|event| event.starts_with("OFFERS")));
}
