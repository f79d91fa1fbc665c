//! A session on machines that answer as a test tells them to.

use stormbed::outpost::protocol::ContainerState;

use super::super::fixture;
use super::*;
use crate::fault::{FaultKind, Role, Target, TargetClass};
use crate::observe::fake::FakeMachines;
use crate::runner::playing::nowhere;
use crate::scenario::Cluster;
use crate::scenario::plan::{Hold, PlannedAct, PlannedStep};

/// One ZooKeeper server; the engine refuses so many acts before it brings it back.
fn zookeeper(refusals: usize) -> FakeMachines {
    FakeMachines::of(&[("zk-1", ContainerState::Running)]).refusing(refusals)
}

fn pausing() -> Plan {
    let target = Target::new(TargetClass::ZooKeeper, Role::Any);
    let act = PlannedAct::Fault { kind: FaultKind::Pause, target, hold: Hold::For { ms: 100 } };
    let step = PlannedStep::new("s1", act);
    let cluster = Cluster::default();
    Plan { scenario: "x".into(), about: String::new(), cluster, seed: 1, steps: vec![step], ..Plan::default() }
}

fn victims() -> Vec<Victim> {
    vec![crate::fault::fixture::part(TargetClass::ZooKeeper, "zk-1", "id-zk-1")]
}

/// Runs a test's body on a session of its own.
async fn on_session(machines: FakeMachines, body: impl AsyncFnOnce(&mut Session<'_>)) {
    fixture::on_session(&pausing(), nowhere(), machines, body).await;
}

#[tokio::test]
async fn an_undo_that_fails_is_tried_again_while_the_fault_stays_in_force() {
    on_session(zookeeper(1), async |session| {
        session.inject(0, victims(), Hold::For { ms: 100 }).await.expect("it is made");
        session.undo(&[0]).await.expect("there is time for another try");
        assert!(session.faults[0].life.in_force());
        let undone = |session: &Session<'_>| !session.faults[0].life.in_force();
        assert_eq!(session.until(Duration::from_secs(5), undone).await, Ok(true));
        assert_eq!(session.errors, Vec::<String>::new());
    })
    .await;
}

#[tokio::test]
async fn a_fault_that_cannot_be_undone_is_an_error_of_the_harness() {
    on_session(zookeeper(usize::MAX), async |session| {
        session.inject(0, victims(), Hold::For { ms: 100 }).await.expect("it is made");
        session.undo_within = Duration::ZERO;
        session.release().await;
        assert!(session.faults[0].life.in_force());
        assert!(
            session.errors.iter().any(|e| e.contains("can't be undone: zk-1: the engine says no")),
            "{:?}",
            session.errors
        );
    })
    .await;
}

#[tokio::test]
async fn a_fresh_tick_did_not_wait_in_the_queue() {
    on_session(zookeeper(0), async |session| {
        // Two ticks come meanwhile, or one on a busy machine, and nobody takes them.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let now = session.now();
        let seen = session.fresh_tick().await.expect("ticks come");
        assert!(seen.observation.begin >= now, "{} lies before {now}", seen.observation.begin);
        assert!(seen.observation.tick >= 1);
    })
    .await;
}
