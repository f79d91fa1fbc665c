//! Steps on an ensemble of three ZooKeeper servers that only an engine knows of.

use std::collections::BTreeMap;
use std::time::Duration;

use stormbed::clock::Millis;
use stormbed::outpost::protocol::ContainerState;

use super::fixture::on_session;
use super::playing::nowhere;
use super::session::{Session, Stop};
use super::storm::Rules;
use crate::fault::life::Stage;
use crate::fault::{FaultKind, Pick, Role, Target, TargetClass};
use crate::invariant::{Judged, Judgement, Name, Part};
use crate::observe::fake::FakeMachines;
use crate::observe::observation::Shape;
use crate::scenario::plan::{After, Draw, Hold, Plan, PlannedAct, PlannedStep};
use crate::scenario::{AbortIf, When};

fn pause(id: &str, target: Target) -> PlannedStep {
    let hold = Hold::For { ms: 60_000 };
    PlannedStep::new(id, PlannedAct::Fault { kind: FaultKind::Pause, target, hold })
}

fn any() -> Target {
    Target::new(TargetClass::ZooKeeper, Role::Any)
}

fn plan(steps: Vec<PlannedStep>) -> Plan {
    Plan { scenario: "x".into(), seed: 1, steps, ..Plan::default() }
}

/// Runs a test's body on a session of this plan.
async fn on(plan: Plan, body: impl AsyncFnOnce(&mut Session<'_>)) {
    let names = ["zk-1", "zk-2", "zk-3"];
    let shape = Shape { zookeepers: names.map(str::to_owned).to_vec(), ..nowhere() };
    // As long as an engine takes.
    let machines =
        FakeMachines::of(&names.map(|name| (name, ContainerState::Running))).slow(Duration::from_millis(300));
    on_session(&plan, shape, machines, async |session| {
        body(session).await;
        session.release().await;
    })
    .await;
}

fn stages(session: &Session<'_>) -> Vec<Stage> {
    session.faults.iter().map(|fault| fault.life.stage).collect()
}

#[tokio::test]
async fn faults_that_are_made_together_begin_at_once_and_hit_different_parts() {
    let steps = vec![pause("s1a", any()), PlannedStep { together: true, ..pause("s1b", any()) }];
    on(plan(steps.clone()), async |session| {
        session.strike(&steps).await.expect("they are made");
        assert_eq!(stages(session), [Stage::Seen, Stage::Seen]);
        let begun: Vec<Millis> = session.faults.iter().filter_map(|fault| fault.began()).collect();
        assert!(begun[1].since(begun[0]) < Duration::from_millis(100), "{begun:?}");
        let injected: Vec<Millis> = session.faults.iter().filter_map(|fault| fault.life.injected).collect();
        assert!(injected[1].since(injected[0]) < Duration::from_millis(200), "one waited for the other: {injected:?}");
        assert_ne!(session.faults[0].victims, session.faults[1].victims);
    })
    .await;
}

#[tokio::test]
async fn several_of_a_role_are_hit_by_count_and_by_share() {
    let two = Target { pick: Some(Pick::Count(2)), ..any() };
    let share = Target { pick: Some(Pick::Percent(30)), ..any() };
    let steps = vec![pause("s1", two), pause("s2", share), pause("s3", any())];
    on(plan(steps.clone()), async |session| {
        session.strike(&steps[..1]).await.expect("it is made");
        assert_eq!(session.faults[0].victims.len(), 2);
        session.strike(&steps[1..2]).await.expect("it is made");
        assert_eq!(session.faults[1].victims.len(), 1, "30 % of the one that is left, rounded up");
        let late = PlannedStep { resolve_within_ms: 300, ..steps[2].clone() };
        session.strike(std::slice::from_ref(&late)).await.expect("nothing is left");
        assert_eq!(stages(session), [Stage::Seen, Stage::Seen, Stage::Skipped]);
    })
    .await;
}

#[tokio::test]
async fn a_moment_is_waited_for_and_what_does_not_come_hits_nobody() {
    let when = |id: &str, when| PlannedStep { when: Some(when), resolve_within_ms: 400, ..pause(id, any()) };
    let steps = vec![when("s1", When::DuringHeal), when("s2", When::DuringElection), when("s3", When::DuringElection)];
    on(plan(steps.clone()), async |session| {
        session.strike(&steps[..1]).await.expect("nothing heals here");
        // Nobody leads, and nobody was seen to lead before.
        session.strike(&steps[1..2]).await.expect("whose election?");
        assert_eq!(stages(session), [Stage::Skipped, Stage::Skipped, Stage::Planned]);
        let before = session.fresh_tick().await.expect("ticks come");
        session.led.insert(TargetClass::ZooKeeper, before);
        session.strike(&steps[2..]).await.expect("it is made");
        assert_eq!(stages(session)[2], Stage::Seen);
    })
    .await;
}

#[tokio::test]
async fn a_round_begins_as_long_after_the_one_before_as_it_says() {
    let after = After { step: "s1-1".into(), ms: 700 };
    let steps = vec![pause("s1-1", any()), PlannedStep { after: Some(after), ..pause("s1-2", any()) }];
    on(plan(steps.clone()), async |session| {
        session.wait_for_turn(&steps[0]).await.expect("at once");
        let begun = session.begun["s1-1"];
        session.wait_for_turn(&steps[1]).await.expect("then");
        assert!(session.now().since(begun) >= Duration::from_millis(700));
    })
    .await;
}

#[tokio::test]
async fn the_sweep_before_a_round_comes_after_its_waits() {
    let after = After { step: "s1-1".into(), ms: 700 };
    let watch = |id: &str| PlannedStep::new(id, PlannedAct::Watch { for_ms: 1 });
    let steps = vec![watch("s1-1"), PlannedStep { after: Some(after), wait_ms: 400, ..watch("s1-2") }];
    on(plan(steps), async |session| {
        session.steps().await.expect("nothing is broken");
        let (begin, _) = session.swept.expect("nothing was seen well, so that each round sweeps");
        let waited = begin.since(session.begun["s1-2"]);
        assert!(waited >= Duration::from_millis(400), "the sweep is {waited:?} after the round's begin");
    })
    .await;
}

#[tokio::test]
async fn a_storm_keeps_to_its_rules() {
    let hold = Hold::For { ms: 60_000 };
    let draw = |id: &str| Draw { id: id.into(), at_ms: 1, kind: FaultKind::Pause, target: any(), hold };
    let draws = vec![draw("s1.1"), draw("s1.2")];
    let storm = PlannedAct::Storm { for_ms: 9, at_most: Some(1), allow_quorum_loss: true, draws: draws.clone() };
    on(plan(vec![PlannedStep::new("s1", storm)]), async |session| {
        let seen = session.fresh_tick().await.expect("ticks come");
        let rules = Rules { at_most: Some(1), allow_quorum_loss: true };
        let victims = session.chosen(&draws[0], rules, &session.scene(0, &seen)).expect("nothing is in force");
        let strict = Rules { at_most: None, allow_quorum_loss: false };
        // Nobody was seen to answer, so nobody can be spared.
        let refused = session.chosen(&draws[0], strict, &session.scene(0, &seen)).expect_err("no quorum would be left");
        assert!(refused.contains("quorum"), "{refused}");
        session.inject(0, victims, hold).await.expect("it is made");
        assert!(session.faults[0].took_quorum, "and it is known that it took the quorum");
        let refused = session.chosen(&draws[1], rules, &session.scene(1, &seen)).expect_err("one at a time");
        assert!(refused.contains("1 faults are in force"), "{refused}");
        let two = Rules { at_most: Some(2), ..rules };
        session.chosen(&draws[1], two, &session.scene(1, &seen)).expect("two are allowed");
    })
    .await;
}

#[tokio::test]
async fn an_invariant_that_is_broken_for_too_long_ends_the_scenario() {
    let limit = AbortIf { invariant: Name::Network, longer_than_ms: 2_000 };
    let plan = Plan { abort_if: vec![limit], ..plan(vec![pause("s1", any())]) };
    on(plan, async |session| {
        let seen = session.fresh_tick().await.expect("ticks come");
        session.begun.insert("s1".into(), session.now());
        let broken = |session: &mut Session<'_>, at: u64| {
            let mut look = seen.observation.clone();
            (look.begin, look.end) = (Millis(at), Millis(at + 100));
            let part =
                Part { judgement: Judgement::Broken("no route".into()), from: Some(look.begin), to: Some(look.end) };
            let judged = Judged { fast: Some(part), ..Judged::default() };
            session.history.tick(&look, &seen.truth, &BTreeMap::from([(Name::Network, judged)]), &[]);
        };
        let now = session.now().0;
        broken(session, now);
        broken(session, now + 1_500);
        assert_eq!(session.abort_if(), Ok(()));
        broken(session, now + 2_500);
        let aborted = session.abort_if();
        assert!(
            matches!(&aborted, Err(Stop::Aborted(why)) if why.contains("network") && why.contains("no route")),
            "{aborted:?}"
        );
        assert_eq!(session.abort_if(), Ok(()), "it is said once; the end is still to be judged");
    })
    .await;
}
