//! Frameworks come, come again, and end.

use super::*;

#[test]
fn a_subscription_begins_with_subscribed_and_heartbeat() {
    let mut world = World::new();
    let stream = world.subscribe(info());
    assert_eq!(world.heard(&stream), ["SUBSCRIBED m-0000", "HEARTBEAT"]);
    world.pass(14_900);
    assert!(world.heard(&stream).is_empty());
    world.pass(200);
    assert_eq!(world.heard(&stream), ["HEARTBEAT"]);
    let second = world.subscribe(info());
    assert_eq!(world.heard(&second)[0], "SUBSCRIBED m-0001");
}

#[test]
fn the_last_subscriber_wins_and_the_older_stream_ends() {
    let mut world = World::new();
    world.register(None, 5051, vec![]);
    let first = world.subscribe(info());
    assert_eq!(world.heard(&first).last().unwrap(), "OFFERS m-O0 m-S0 2");
    let second = world.subscribe(again("m-0000"));
    assert_eq!(world.heard(&first), ["ERROR Framework failed over", "end"]);
    // The offers move without a RESCIND, at the next batch.
    assert_eq!(world.heard(&second), ["SUBSCRIBED m-0000", "HEARTBEAT"]);
    world.pass(1_000);
    assert_eq!(world.heard(&second), ["OFFERS m-O1 m-S0 2"]);
    let refused = world.master.admit(&"m-0000".into(), Some(&first)).unwrap_err();
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("didn't match the stream ID currently associated"));
    // The end of the older stream, heard late, doesn't disconnect the framework.
    world.on(Event::SchedulerClosed { stream: first });
    assert_eq!(world.master.admit(&"m-0000".into(), Some(&second)), Ok(()));
}

#[test]
fn a_framework_outlives_its_scheduler_for_its_failover_timeout() {
    let (mut world, scheduler, agent) = World::running(info());
    world.on(Event::SchedulerClosed { stream: scheduler });
    world.pass_alive(59_900, &[&agent]);
    let refused = world.master.admit(&"m-0000".into(), None).unwrap_err();
    assert_eq!((refused.status, refused.body.as_str()), (403, "Framework is not subscribed"));
    let back = world.subscribe(again("m-0000"));
    world.pass_alive(60_000, &[&agent]);
    assert_eq!(world.heard(&back)[0], "SUBSCRIBED m-0000");

    world.on(Event::SchedulerClosed { stream: back });
    world.pass_alive(60_100, &[&agent]);
    assert!(world.told(&agent).contains(&"shutdown m-0000".to_owned()));
    let refused = world.master.admit(&"m-0000".into(), None).unwrap_err();
    assert_eq!((refused.status, refused.body.as_str()), (400, "Framework cannot be found"));
    let late = world.subscribe(again("m-0000"));
    assert_eq!(world.heard(&late), ["ERROR Framework has been removed", "end"]);
    let ended = &world.master.completed[0].completed[0];
    assert_eq!(ended.state, TaskState::Killed);
}

#[test]
fn without_a_failover_timeout_the_end_of_the_stream_is_the_end() {
    let (mut world, scheduler, agent) = World::running(FrameworkInfo { failover_timeout: 0.0, ..info() });
    world.on(Event::SchedulerClosed { stream: scheduler });
    assert_eq!(world.told(&agent), ["shutdown m-0000"]);
}

#[test]
fn teardown_ends_the_stream_and_the_id() {
    let (mut world, scheduler, agent) = World::running(info());
    world.call(Call::teardown("m-0000".into()));
    assert_eq!(world.heard(&scheduler), ["end"]);
    assert_eq!(world.told(&agent), ["shutdown m-0000"]);
    let late = world.subscribe(again("m-0000"));
    assert_eq!(world.heard(&late), ["ERROR Framework has been removed", "end"]);
}

#[test]
fn an_unknown_id_is_taken_and_a_bad_one_refused() {
    let mut world = World::new();
    let stream = world.subscribe(again("from-another-master-0007"));
    assert_eq!(world.heard(&stream)[0], "SUBSCRIBED from-another-master-0007");
    let stream = world.subscribe(again("a/b"));
    assert_eq!(world.heard(&stream), ["ERROR 'a/b' contains invalid characters", "end"]);
}

/// The words of the recordings `subscribe-bad-roles` and `subscribe-bad-timeout-and-suppressed`.
#[test]
fn refusals_come_inside_of_the_stream() {
    let roles =
        |roles: &[&str]| FrameworkInfo { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..info() };
    let invalid = |why: &str| format!("ERROR 'FrameworkInfo.roles' contains invalid role: {why}");
    for (info, error) in [
        (roles(&[""]), invalid("Role names cannot be the empty string")),
        (roles(&["/a"]), invalid("Role '/a' cannot start with a slash")),
        (roles(&["a/"]), invalid("Role 'a/' cannot end with a slash")),
        (roles(&["a//b"]), invalid("Role 'a//b' cannot contain two adjacent slashes")),
        (roles(&["a/../b"]), invalid("Role 'a/../b' cannot include '..' as a component")),
        (roles(&["a/*"]), invalid("Role 'a/*' cannot include '*' as a component")),
        (roles(&["a/-b"]), invalid("Role component '-b' is invalid because it starts with a dash")),
        (
            FrameworkInfo { role: Some("x".into()), ..info() },
            "ERROR 'FrameworkInfo.role' must not be set when the framework is MULTI_ROLE capable".into(),
        ),
        (
            FrameworkInfo { failover_timeout: 1e300, ..info() },
            "ERROR The framework failover_timeout (1e+300) is invalid".into(),
        ),
    ] {
        let mut world = World::new();
        let stream = world.subscribe(info);
        assert_eq!(world.heard(&stream), [error, "end".into()]);
        assert!(world.master.frameworks.is_empty());
    }
}

/// The words of the recording `subscribe-flags-refusals`.
#[test]
fn a_masters_flags_refuse_users_and_roles() {
    let flags = Settings { roles: Some(vec!["demo".into(), "prod".into()]), root_submissions: false, ..settings() };
    let framework = |user: &str, roles: &[&str]| FrameworkInfo {
        user: user.into(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        ..info()
    };
    for (info, error) in [
        (framework("root", &["demo"]), "User 'root' is not allowed to run frameworks without --root_submissions set"),
        (framework("daemon", &["demo", "dev"]), "Roles { dev } are not present in the master's --roles"),
        (framework("daemon", &["demo/sub"]), "Roles { demo/sub } are not present in the master's --roles"),
    ] {
        let mut world = World::with(flags.clone(), Registry::default());
        let stream = world.subscribe(info);
        assert_eq!(world.heard(&stream), [format!("ERROR {error}"), "end".into()]);
    }
    let mut world = World::with(flags, Registry::default());
    world.subscribe(framework("daemon", &["*", "prod"]));
    assert_eq!(world.master.frameworks.len(), 1);
}

#[test]
fn what_may_change_changes_and_the_principal_must_not() {
    let mut world = World::new();
    world.subscribe(FrameworkInfo { principal: Some("p".into()), ..info() });
    let changed = FrameworkInfo {
        user: "other".into(),
        name: "renamed".into(),
        checkpoint: false,
        failover_timeout: 7.0,
        principal: Some("p".into()),
        ..again("m-0000")
    };
    world.subscribe(changed);
    let known = &world.master.frameworks[&FrameworkId::from("m-0000")].info;
    assert_eq!((known.user.as_str(), known.checkpoint), ("root", true));
    assert_eq!((known.name.as_str(), known.failover_timeout), ("renamed", 7.0));
    let stream = world.subscribe(again("m-0000"));
    let refused = "ERROR Changing framework's principal is not allowed.";
    assert_eq!(world.heard(&stream), [refused, "end"]);
}

/// As in the recordings `failover-in-time` and `failover-fencing`.
#[test]
fn who_was_away_is_offered_something_at_once_and_what_was_refused_is_refused_only_while_connected() {
    let mut world = World::new();
    let agent = world.register(None, 5051, vec![]);
    let first = world.subscribe(info());
    let refused = Some(Filters { refuse_seconds: Some(1000.0) });
    world.call(Call::decline("m-0000".into(), vec!["m-O0".into()], refused));
    let second = world.subscribe(again("m-0000"));
    world.pass_alive(3_000, &[&agent]);
    assert_eq!(world.heard(&second), ["SUBSCRIBED m-0000", "HEARTBEAT"]);
    world.on(Event::SchedulerClosed { stream: first });
    world.on(Event::SchedulerClosed { stream: second });
    let third = world.subscribe(again("m-0000"));
    assert_eq!(world.heard(&third), ["SUBSCRIBED m-0000", "HEARTBEAT", "OFFERS m-O1 m-S0 2"]);
}

#[test]
fn update_framework_says_what_it_cannot_change() {
    let mut world = World::new();
    world.register(None, 5051, vec![]);
    let stream = world.subscribe(FrameworkInfo { roles: vec!["demo".into(), "zz".into()], ..info() });
    let id = FrameworkId::from("m-0000");
    let update = |framework_info| Subscribe { framework_info, suppressed_roles: vec![] };
    let admit = |world: &World, info| world.master.admit_update(&id, &update(info)).map_err(|refusal| refusal.body);
    let user = FrameworkInfo { user: "other".into(), ..again("m-0000") };
    let why = "'FrameworkInfo' update is not valid: Updating 'FrameworkInfo.user' is unsupported; attempted to update \
               from 'root' to 'other'";
    assert_eq!(admit(&world, user), Err(why.to_owned()));
    assert!(admit(&world, FrameworkInfo { checkpoint: false, ..again("m-0000") }).is_err());
    assert!(admit(&world, FrameworkInfo { principal: Some("p".into()), ..again("m-0000") }).is_err());
    assert!(admit(&world, FrameworkInfo { roles: vec!["/".into()], ..again("m-0000") }).is_err());
    let fewer = FrameworkInfo { roles: vec!["zz".into()], name: "renamed".into(), ..again("m-0000") };
    assert_eq!(admit(&world, fewer.clone()), Ok(()));
    world.heard(&stream);
    let mut call = Call::bare(Some(id.clone()), CallType::UpdateFramework);
    call.update_framework = Some(update(fewer));
    world.call(call);
    assert_eq!(world.heard(&stream), ["RESCIND m-O0"]);
    assert_eq!(world.master.frameworks[&id].info.name, "renamed");
}
