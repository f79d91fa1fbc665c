//! Plans: drawn from a seed, the same for the same seed, and nothing shared between faults.

use proptest::prelude::*;

use super::*;
use crate::fault::{Role, TargetClass};

fn act(kind: FaultKind, class: TargetClass) -> super::super::FaultAct {
    let role = Role::Any;
    super::super::FaultAct { kind, target: Target::new(class, role), for_ms: None }
}

fn stormy(for_ms: u64, every: (u64, u64), weights: [u32; 2], seed: Option<u64>) -> Scenario {
    let acts = [act(FaultKind::Kill, TargetClass::Node), act(FaultKind::Pause, TargetClass::ZooKeeper)];
    let faults = acts.into_iter().zip(weights).map(|(act, weight)| StormFault { act, weight });
    let storm = Storm {
        for_ms: Some(for_ms),
        count: None,
        at_most: None,
        allow_quorum_loss: false,
        every_min_ms: every.0,
        every_max_ms: every.1,
        seed,
        faults: faults.collect(),
    };
    Scenario {
        name: "stormy".into(),
        about: String::new(),
        cluster: Cluster::default(),
        abort_if: vec![],
        invariants: vec![],
        steps: vec![Step {
            with_previous: false,
            wait_ms: 0,
            resolve_within_ms: RESOLVE_WITHIN_MS,
            when: None,
            repeat: 1,
            every_ms: None,
            act: Act::Storm(storm),
            expect: vec![],
            meanwhile: vec![],
            recovered: vec![],
        }],
    }
}

fn drawn(plan: &Plan) -> &[Draw] {
    match &plan.steps[0].act {
        PlannedAct::Storm { draws, .. } => draws,
        other => panic!("expected a storm, found {other:?}"),
    }
}

#[test]
fn a_plan_survives_its_file_and_lists_its_faults() {
    let plan = Plan::draw(&stormy(60_000, (2_000, 8_000), [3, 1], None), 7);
    let text = serde_json::to_string(&plan).expect("plain data");
    assert_eq!(serde_json::from_str::<Plan>(&text).expect("it was just written"), plan);
    let faults = plan.faults();
    assert_eq!(faults.len(), drawn(&plan).len());
    assert_eq!(faults[0].id, "s1.1");
    assert_eq!(plan.step_of("s1.1").map(|step| step.id.as_str()), Some("s1"));
}

#[test]
fn a_fault_that_is_taken_out_of_a_plan_moves_no_other() {
    let whole = Plan::draw(&stormy(60_000, (2_000, 8_000), [3, 1], None), 7);
    let mut text: serde_json::Value = serde_json::to_value(&whole).expect("plain data");
    let list = text["steps"][0]["act"]["draws"].as_array_mut().expect("a storm's draws are an explicit list");
    list.remove(2);
    let less: Plan = serde_json::from_value(text).expect("still a plan");
    let others: Vec<&Draw> = drawn(&whole).iter().filter(|draw| draw.id != "s1.3").collect();
    assert_eq!(drawn(&less).iter().collect::<Vec<_>>(), others, "ids, times, kinds and targets stay");
    assert_eq!(less.seed, whole.seed, "a victim is chosen by seed and id alone");
}

#[test]
fn a_group_reaches_from_its_first_step_to_the_last_that_comes_with_it() {
    let plan = Plan::draw(&stormy(60_000, (2_000, 8_000), [3, 1], None), 7);
    let step = |id: &str, with_previous| PlannedStep { id: id.into(), with_previous, ..plan.steps[0].clone() };
    let steps = vec![step("s1", false), step("s2", false), step("s3", true), step("s4", true), step("s5", false)];
    let plan = Plan { steps, ..plan };
    let group = |fault| plan.group_of(fault).iter().map(|step| step.id.as_str()).collect::<Vec<_>>();
    assert_eq!(group("s1"), ["s1"]);
    for fault in ["s2", "s3", "s4.7"] {
        assert_eq!(group(fault), ["s2", "s3", "s4"]);
    }
    assert_eq!(group("s5"), ["s5"]);
    assert_eq!(group("s9"), Vec::<&str>::new());
}

fn step_of(act: Act) -> Step {
    Step { act, ..stormy(1, (1, 1), [1, 1], None).steps.remove(0) }
}

#[test]
fn rounds_and_faults_that_are_made_together_are_steps_of_their_own() {
    let kill = |class| step_of(Act::Fault(act(FaultKind::Kill, class)));
    let together = Act::Together(vec![kill(TargetClass::Node), kill(TargetClass::MesosMaster)]);
    let step = Step { repeat: 2, every_ms: Some(9_000), wait_ms: 7, ..step_of(together) };
    let scenario = Scenario { steps: vec![kill(TargetClass::Host), step], ..stormy(1, (1, 1), [1, 1], None) };
    let plan = Plan::draw(&scenario, 1);
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["s1", "s2-1a", "s2-1b", "s2-2a", "s2-2b"]);
    let together: Vec<bool> = plan.steps.iter().map(|step| step.together && step.with_previous).collect();
    assert_eq!(together, [false, false, true, false, true]);
    let after: Vec<Option<&After>> = plan.steps.iter().map(|step| step.after.as_ref()).collect();
    let first = After { step: "s2-1a".into(), ms: 9_000 };
    assert_eq!(after, [None, None, None, Some(&first), None]);
    assert_eq!(plan.steps.iter().map(|step| step.wait_ms).collect::<Vec<_>>(), [0, 7, 0, 7, 0]);
    assert_eq!(plan.group_of("s2-2b").iter().map(|step| step.id.as_str()).collect::<Vec<_>>(), ["s2-2a", "s2-2b"]);
}

#[test]
fn a_random_phase_is_drawn_for_each_step_and_within_its_interval() {
    let fault = step_of(Act::Fault(act(FaultKind::Kill, TargetClass::Node)));
    let step = Step { when: Some(When::RandomPhase), repeat: 20, ..fault };
    let scenario = Scenario { steps: vec![step], ..stormy(1, (1, 1), [1, 1], None) };
    let waits: Vec<u64> = Plan::draw(&scenario, 3).steps.iter().map(|step| step.wait_ms).collect();
    assert!(waits.iter().all(|ms| *ms < 5_000) && waits.iter().max() > waits.iter().min(), "{waits:?}");
    assert_eq!(waits, Plan::draw(&scenario, 3).steps.iter().map(|step| step.wait_ms).collect::<Vec<_>>());
}

#[test]
fn a_storm_may_be_bounded_by_number() {
    let mut scenario = stormy(60_000, (2_000, 8_000), [3, 1], None);
    let Act::Storm(storm) = &mut scenario.steps[0].act else { panic!("it is a storm") };
    (storm.for_ms, storm.count) = (None, Some(12));
    let plan = Plan::draw(&scenario, 1);
    assert_eq!(drawn(&plan).len(), 12);
    let PlannedAct::Storm { for_ms, .. } = plan.steps[0].act else { panic!("it is a storm") };
    assert_eq!(for_ms, drawn(&plan)[11].at_ms);
}

#[test]
fn what_is_healed_by_the_system_is_not_held() {
    let node = Target::new(TargetClass::Node, Role::Any);
    assert_eq!(Hold::of(FaultKind::Kill, node, None), Hold::Nothing);
    assert_eq!(Hold::of(FaultKind::Pause, node, None), Hold::UntilConverged);
    assert_eq!(Hold::of(FaultKind::Pause, node, Some(5)), Hold::For { ms: 5 });
}

proptest! {
    #[test]
    fn draws_keep_to_the_storm(seed: u64, own: Option<u64>, low in 1u64..5_000, more in 0u64..5_000, for_ms in 1u64..90_000, a in 1u32..9) {
        let scenario = stormy(for_ms, (low, low + more), [a, 1], own);
        let plan = Plan::draw(&scenario, seed);
        prop_assert_eq!(&plan, &Plan::draw(&scenario, seed), "the same seed gives the same plan");
        let mut last = 0;
        for draw in drawn(&plan) {
            let pause = draw.at_ms - last;
            prop_assert!((low..=low + more).contains(&pause) && draw.at_ms <= for_ms);
            prop_assert_ne!(draw.hold, Hold::UntilConverged);
            last = draw.at_ms;
        }
        prop_assert!(for_ms - last.min(for_ms) <= low + more, "the storm blows to its end");
        if own.is_some() {
            prop_assert_eq!(&plan.steps, &Plan::draw(&scenario, !seed).steps, "a storm's own seed wins");
        }
    }

    #[test]
    fn weights_are_shares(seed: u64) {
        let plan = Plan::draw(&stormy(4_000_000, (1_000, 1_000), [3, 1], None), seed);
        let kills = drawn(&plan).iter().filter(|draw| draw.kind == FaultKind::Kill).count();
        prop_assert!((2_800..3_200).contains(&kills), "{kills} of 4000");
    }
}
