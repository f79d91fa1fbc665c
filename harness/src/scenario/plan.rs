//! Plans: scenarios with everything drawn. A plan is what runs, and `plan.json` replays it.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::physics::is_held;
use super::{Act, Bound, Cluster, Meanwhile, Scenario, Step, Storm, StormFault};
use crate::fault::{Fault, FaultKind, Target};

/// A held fault without `for` is undone when the failover has converged, but at the latest after this time: a failover
/// that takes longer has failed, and what is down must come back to see the rest.
pub const HOLD_MAX_MS: u64 = 30_000;
/// A storm's faults without `for` are held this long: beyond every failover that needs no session to expire.
pub const STORM_HOLD_MS: u64 = 8_000;
/// A live role is waited for at most this long: longer than any election in the topology (a master's takes a session of 10 s).
pub const RESOLVE_WITHIN_MS: u64 = 15_000;

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The scenario's name.
    pub scenario: String,
    /// What it shows.
    pub about: String,
    /// The cluster it asks for.
    pub cluster: Cluster,
    /// The seed of every draw.
    pub seed: u64,
    /// In order.
    pub steps: Vec<PlannedStep>,
    /// Faults that hit these victims, by name, instead of whoever fits their target: those of a recorded run. An empty list
    /// stands for a fault that hit nobody.
    #[serde(default, skip_serializing_if = "Pins::is_empty")]
    pub pins: Pins,
}

/// Names of victims, by fault.
pub type Pins = BTreeMap<String, Vec<String>>;

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// `s1`, `s2`, …; a fault of the step has the same id, a storm's draws `s3.1`, `s3.2`, ….
    pub id: String,
    /// It begins while the previous step's fault is held; both are undone after this step has converged.
    pub with_previous: bool,
    /// Time to let pass before the act.
    pub wait_ms: u64,
    /// What is done.
    pub act: PlannedAct,
    /// What must be seen to happen.
    pub expect: Vec<Event>,
    /// What must be seen of invariants while the fault is held.
    pub meanwhile: Vec<Meanwhile>,
    /// Bounds on recovery.
    pub recovered: Vec<Bound>,
}

/// What a step of a plan does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum PlannedAct {
    /// One fault.
    Fault {
        /// What.
        kind: FaultKind,
        /// Aim.
        target: Target,
        /// How long.
        hold: Hold,
    },
    /// Drawn faults.
    Storm {
        /// The storm lasts this long; it ends when its last hold is over.
        for_ms: u64,
        /// In order of `at_ms`.
        draws: Vec<Draw>,
    },
    /// Nothing: watch for this long.
    Watch {
        /// Time.
        for_ms: u64,
    },
}

/// How long a fault is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "hold", rename_all = "kebab-case")]
pub enum Hold {
    /// Nothing is held and nothing is undone: the system heals it.
    Nothing,
    /// For this long after the injection.
    For {
        /// Time.
        ms: u64,
    },
    /// Until the failover has converged, at most [`HOLD_MAX_MS`].
    UntilConverged,
}

impl Hold {
    /// The hold of a fault with or without `for`.
    #[must_use]
    pub fn of(kind: FaultKind, target: Target, for_ms: Option<u64>) -> Self {
        match for_ms {
            _ if !is_held(kind, target.class) => Hold::Nothing,
            Some(ms) => Hold::For { ms },
            None => Hold::UntilConverged,
        }
    }
}

/// One fault of a storm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// `<step>.<number>`.
    pub id: String,
    /// Time from the storm's begin.
    pub at_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// Aim.
    pub target: Target,
    /// How long; never [`Hold::UntilConverged`] in a storm.
    pub hold: Hold,
}

impl Plan {
    /// Draws everything that the scenario leaves open. The same scenario and seed give the same plan; a storm's own seed wins.
    #[must_use]
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        let steps = scenario.steps.iter().zip(1u64..).map(|(step, number)| planned(step, number, seed)).collect();
        Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            cluster: scenario.cluster.clone(),
            seed,
            steps,
            pins: Pins::new(),
        }
    }

    /// The faults that this plan makes, all still to come: a step's in its place, a storm's in the order of its draws.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.steps
            .iter()
            .flat_map(|step| match &step.act {
                PlannedAct::Fault { kind, target, .. } => {
                    vec![Fault::planned(&self.scenario, &step.id, *kind, *target)]
                }
                PlannedAct::Storm { draws, .. } => {
                    let fault = |draw: &Draw| Fault::planned(&self.scenario, &draw.id, draw.kind, draw.target);
                    draws.iter().map(fault).collect()
                }
                PlannedAct::Watch { .. } => vec![],
            })
            .collect()
    }

    /// The group of the step that makes this fault: a step and those that come `with = "previous"`. Its faults are held together.
    #[must_use]
    pub fn group_of(&self, fault: &str) -> &[PlannedStep] {
        let is_it = |step: &PlannedStep| self.step_of(fault).is_some_and(|its| its.id == step.id);
        let Some(at) = self.steps.iter().position(is_it) else {
            return &[];
        };
        let first = self.steps[..=at].iter().rposition(|step| !step.with_previous).unwrap_or(0);
        let later = self.steps[at + 1..].iter().take_while(|step| step.with_previous).count();
        &self.steps[first..=at + later]
    }

    /// The step that makes this fault.
    #[must_use]
    pub fn step_of(&self, fault: &str) -> Option<&PlannedStep> {
        let step = fault.split('.').next().unwrap_or(fault);
        self.steps.iter().find(|planned| planned.id == step)
    }
}

fn planned(step: &Step, number: u64, seed: u64) -> PlannedStep {
    let id = format!("s{number}");
    let act = match &step.act {
        Act::Fault(act) => {
            PlannedAct::Fault { kind: act.kind, target: act.target, hold: Hold::of(act.kind, act.target, act.for_ms) }
        }
        // Each storm draws from a stream of its own, so that a step more doesn't change the storms after it.
        Act::Storm(storm) => PlannedAct::Storm {
            for_ms: storm.for_ms,
            draws: draws(storm, &id, storm.seed.unwrap_or(seed.wrapping_add(number))),
        },
        Act::Watch { for_ms } => PlannedAct::Watch { for_ms: *for_ms },
    };
    PlannedStep {
        id,
        with_previous: step.with_previous,
        wait_ms: step.wait_ms,
        act,
        expect: step.expect.clone(),
        meanwhile: step.meanwhile.clone(),
        recovered: step.recovered.clone(),
    }
}

/// `ChaCha` is the same on every machine and in every version of its crate's line: a seed in a report stays good.
fn draws(storm: &Storm, step: &str, seed: u64) -> Vec<Draw> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let total: u32 = storm.faults.iter().map(|fault| fault.weight).sum();
    let mut drawn = vec![];
    let mut at_ms = 0;
    if total == 0 {
        return drawn;
    }
    loop {
        at_ms += rng.random_range(storm.every_min_ms.max(1)..=storm.every_max_ms.max(1));
        if at_ms > storm.for_ms {
            return drawn;
        }
        let act = &weighted(&storm.faults, rng.random_range(0..total)).act;
        let hold = match Hold::of(act.kind, act.target, act.for_ms) {
            Hold::UntilConverged => Hold::For { ms: STORM_HOLD_MS },
            hold => hold,
        };
        drawn.push(Draw { id: format!("{step}.{}", drawn.len() + 1), at_ms, kind: act.kind, target: act.target, hold });
    }
}

fn weighted(faults: &[StormFault], mut ticket: u32) -> &StormFault {
    for fault in faults {
        if ticket < fault.weight {
            return fault;
        }
        ticket -= fault.weight;
    }
    faults.last().expect("a ticket is drawn only when there are weights")
}

#[cfg(test)]
mod tests {
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
        let storm = Storm { for_ms, every_min_ms: every.0, every_max_ms: every.1, seed, faults: faults.collect() };
        Scenario {
            name: "stormy".into(),
            about: String::new(),
            cluster: Cluster::default(),
            steps: vec![Step {
                with_previous: false,
                wait_ms: 0,
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
}
