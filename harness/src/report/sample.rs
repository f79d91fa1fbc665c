//! A report for tests of what is made from it.

use std::collections::BTreeMap;

use stormbed::clock::Millis;

use super::*;
use crate::fault::{Role, TargetClass};

fn fault(id: &str, stage: Stage) -> FaultReport {
    FaultReport {
        id: id.into(),
        kind: FaultKind::Kill,
        target: Target::new(TargetClass::Node, Role::Leader),
        victims: vec![],
        stage,
        began: Some(Millis(20_000)),
        undo_began: None,
        effect_seen: stage > Stage::Injected,
        expected: vec![ExpectedSeen { event: Event::JupyterMoved, seen_at: Some(Millis(23_100)) }],
        ops_ok: BTreeMap::from([("etcd".to_owned(), OpsOk { before: 20, after: 31 })]),
    }
}

fn recovery(fault: &str, invariant: Name, seconds: Option<f64>) -> Recovery {
    Recovery {
        fault: fault.into(),
        invariant,
        tier: Tier::Fast,
        clock: RecoveryClock::Failover,
        outcome: seconds.map_or(Outcome::NeverBroken, |_| Outcome::Recovered),
        seconds,
        lower_seconds: seconds.map(|seconds| seconds - 0.25),
    }
}

fn scenario(name: &str, verdict: Verdict) -> ScenarioReport {
    ScenarioReport {
        name: name.into(),
        about: "What it shows.".into(),
        verdict,
        why: vec![],
        seed: 1,
        began: Millis(10_000),
        took_ms: 52_340,
        faults: vec![fault("s1", Stage::UndoneSeen)],
        recoveries: vec![
            recovery("s1", Name::Hosts, Some(2.6)),
            recovery("s1", Name::Jupyter, Some(3.1)),
            recovery("s1", Name::Etcd, Some(14.2)),
            recovery("s1", Name::ZooKeeper, None),
        ],
        broken: vec![],
        coverage: vec![],
        unprovoked_leader_changes: 0,
        missing: vec![],
        storm: None,
        judge: JudgeReport::default(),
    }
}

/// A pass, a storm that proves nothing, and a failure.
pub fn report() -> Report {
    let mut storm = scenario("storm", Verdict::Invalid);
    storm.faults = vec![fault("s1.1", Stage::Seen), fault("s1.2", Stage::Seen), fault("s1.3", Stage::Skipped)];
    storm.recoveries = vec![recovery("s1.1", Name::Hosts, Some(2.0)), recovery("s1.2", Name::Hosts, Some(4.0))];
    storm.why = vec![Finding {
        verdict: Verdict::Invalid,
        at: None,
        why: "the storm had an effect in 2 of 3 draws; expected at least 70 %".into(),
    }];
    let mut failed = scenario("node-loss", Verdict::Fail);
    failed.why = (1..=4u64)
        .map(|number| Finding {
            verdict: Verdict::Fail,
            at: Some(Millis(number * 1_000)),
            why: format!("hosts <{number}> & more"),
        })
        .collect();
    let scenarios = vec![scenario("leader-loss", Verdict::Pass), storm, failed];
    Report {
        schema: SCHEMA,
        run: "20261120-1".into(),
        verdict: Report::verdict_of(&scenarios),
        interrupted: false,
        started_unix_ms: 0,
        took_ms: 180_002,
        machine: Machine::default(),
        parts: BTreeMap::from([("etcd".to_owned(), "3.4.23".to_owned())]),
        scenarios,
    }
}
