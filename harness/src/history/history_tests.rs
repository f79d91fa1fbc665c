//! Whole scenarios on a cluster made of plain data: a follower dies and comes back, and then one thing after another goes wrong.

use std::collections::BTreeMap;

use stormbed::clock::Millis;
use stormbed::outpost::protocol::{ContainerState, GlusterView};

use super::ledger::{KindOutcome, LedgerOutcome, Op, OpOutcome};
use super::volume::VolumeOutcome;
use super::*;
use crate::fault::fixture::node;
use crate::fault::life::Stage;
use crate::fault::{FaultKind, Role, Target, TargetClass};
use crate::invariant::fixture::{Cluster, Roles, hosts_file};
use crate::invariant::truth::TruthTracker;
use crate::invariant::{Held, Look, judge_all};
use crate::observe::cpu::CpuView;
use crate::report::{ScenarioReport, Verdict};
use crate::scenario::plan::{Hold, PlannedAct, PlannedStep};
use crate::scenario::{Bound, Cluster as Asked};

const KILL: u64 = 20_000;
/// The others' tables are right again.
const TABLES: u64 = 21_500;
const BACK: u64 = 30_000;
const END_OF_RUN: u64 = 75_000;

fn target(role: Role) -> Target {
    Target::new(TargetClass::Node, role)
}

fn killed() -> Fault {
    let mut fault = Fault::planned("node-loss", "s1", FaultKind::Kill, target(Role::Follower));
    fault.victims = vec![node(3, 1, "host-1", "c3")];
    fault.life.begin(Millis(KILL)).expect("legal");
    let back = BACK - KILL + 100;
    for (stage, at) in [(Stage::Injected, 20), (Stage::Seen, 300), (Stage::Undone, 300), (Stage::UndoneSeen, back)] {
        fault.life.step(stage, Millis(KILL + at)).expect("legal");
    }
    fault
}

/// Slot 3 runs as its second incarnation.
fn returned(mut cluster: Cluster) -> Cluster {
    let view = cluster.container(3);
    view.id = "c3b".into();
    view.incarnation = 2;
    cluster.state().frameworks[0].tasks[3].id = "storm.3.2".into();
    for login in cluster.seen.deep.logins.iter_mut().filter(|l| l.from == 3) {
        login.container = "c3b".into();
    }
    cluster
}

/// The cluster at this time: slot 3 is away between KILL and BACK.
fn cluster(now: u64) -> Cluster {
    let mut without = Roles::default();
    without.present.remove(&3);
    let mut cluster = match now {
        KILL..BACK => Cluster::of(&without),
        _ => Cluster::steady(),
    };
    if (KILL..TABLES).contains(&now) {
        for slot in [0, 1, 2, 4] {
            cluster.container(slot).hosts_file = Ok(hosts_file());
        }
    }
    if now >= BACK {
        cluster = returned(cluster);
    }
    cluster.at(now)
}

fn plan(bounds: &[(Option<Name>, u64)], expect: &[Event]) -> Plan {
    Plan {
        scenario: "node-loss".into(),
        about: "a test".into(),
        cluster: Asked::default(),
        seed: 1,
        steps: vec![PlannedStep {
            expect: expect.to_vec(),
            recovered: bounds
                .iter()
                .map(|(invariant, within_ms)| Bound {
                    invariant: *invariant,
                    clock: RecoveryClock::Failover,
                    within_ms: *within_ms,
                })
                .collect(),
            ..PlannedStep::new(
                "s1",
                PlannedAct::Fault { kind: FaultKind::Kill, target: target(Role::Follower), hold: Hold::Nothing },
            )
        }],
        ..Plan::default()
    }
}

fn ledger() -> LedgerOutcome {
    let ops: Vec<Op> = (0..50)
        .map(|n| Op {
            item: format!("k{n}"),
            through: None,
            begin: Millis(n * 1_000),
            end: Millis(n * 1_000 + 50),
            outcome: OpOutcome::Acknowledged,
        })
        .collect();
    let found = Some(ops.iter().map(|op| op.item.clone()).collect());
    BTreeMap::from([("etcd".to_owned(), KindOutcome { ops, found, ..KindOutcome::default() })])
}

fn volume() -> VolumeOutcome {
    let state = Ok(GlusterView { heal_pending: 0, split_brain: 0, bricks_online: 3, bricks: 3 });
    VolumeOutcome { state, bricks: (1..=3).map(|k| (format!("host-{k}"), Ok(BTreeMap::new()))).collect() }
}

/// A run: how the cluster looks at each time, which faults there were, what is known at the end.
struct Run {
    look: Box<dyn Fn(u64) -> Cluster>,
    faults: Vec<Fault>,
    plan: Plan,
    ledger: LedgerOutcome,
    volume: Option<VolumeOutcome>,
    errors: Vec<String>,
    interrupted: bool,
    aborted: Option<String>,
}

impl Run {
    fn good() -> Self {
        Self {
            look: Box::new(cluster),
            faults: vec![killed()],
            plan: plan(&[(Some(Name::Hosts), 5_000), (None, 30_000)], &[Event::SlotLeft, Event::SlotReplaced]),
            ledger: ledger(),
            volume: Some(volume()),
            errors: vec![],
            interrupted: false,
            aborted: None,
        }
    }

    fn looking(look: impl Fn(u64) -> Cluster + 'static) -> Self {
        Self { look: Box::new(look), ..Self::good() }
    }

    fn history(&self, until: u64) -> History {
        let shape = Cluster::steady().shape;
        let mut tracker = TruthTracker::new(shape.clone());
        tracker.see(&cluster(1_000).seen);
        let mut history = History::begin(shape, Millis(10_000));
        for now in (10_000..until).step_by(250) {
            let cluster = (self.look)(now);
            let truth = tracker.see(&cluster.seen);
            let faults: Vec<Fault> =
                self.faults.iter().filter(|f| f.began().is_some_and(|b| b <= Millis(now))).cloned().collect();
            let held = Held::of(&faults);
            let judged = judge_all(&Look { seen: &cluster.seen, truth: &truth, shape: &cluster.shape, held: &held });
            history.tick(&cluster.seen, &truth, &judged, &faults);
        }
        history
    }

    fn report(&self) -> ScenarioReport {
        self.history(END_OF_RUN).outcome(&Ending {
            plan: &self.plan,
            faults: &self.faults,
            ledger: &self.ledger,
            volume: self.volume.as_ref(),
            witnesses: &[],
            ended: Millis(END_OF_RUN),
            harness_errors: self.errors.clone(),
            interrupted: self.interrupted,
            aborted: self.aborted.as_deref(),
        })
    }

    fn verdict(&self, verdict: Verdict, words: &[&str]) {
        let report = self.report();
        assert_eq!(report.verdict, verdict, "{:#?}", report.why);
        let tells = |why: &str| words.iter().all(|word| why.contains(word));
        let found = report.why.iter().filter(|f| f.verdict == verdict).any(|f| tells(&f.why));
        assert!(found, "{words:?} are missing in: {:#?}", report.why);
    }
}

#[test]
fn a_follower_that_dies_and_comes_back_in_time_is_a_pass() {
    let report = Run::good().report();
    assert_eq!((report.verdict, &report.why), (Verdict::Pass, &vec![]));
    let times: BTreeMap<_, _> = report.recoveries.iter().map(|r| ((r.invariant, r.tier), r)).collect();
    let of = |name, tier| {
        let r = times[&(name, tier)];
        (r.outcome, r.lower_seconds, r.seconds)
    };
    // Last wrong at 21.25 s, first right at 21.5 .. 21.6 s.
    assert_eq!(of(Name::Hosts, Tier::Fast), (Outcome::Recovered, Some(1.25), Some(1.6)));
    assert_eq!(of(Name::Etcd, Tier::Fast), (Outcome::Recovered, Some(9.75), Some(10.1)));
    assert_eq!(of(Name::Mesos, Tier::Fast), (Outcome::Recovered, Some(9.75), Some(10.1)));
    assert_eq!(of(Name::ZooKeeper, Tier::Fast), (Outcome::NeverBroken, None, None));
    assert_eq!(of(Name::Jupyter, Tier::Fast), (Outcome::NeverBroken, None, None));
    let fault = &report.faults[0];
    // The others' tables forget it later than its container ends.
    assert_eq!(fault.expected[0].seen_at, Some(Millis(TABLES + 100)));
    assert_eq!(fault.expected[1].seen_at, Some(Millis(30_100)));
    assert!(fault.effect_seen && fault.ops_ok["etcd"].before > 0 && fault.ops_ok["etcd"].after > 0);
    assert!(report.broken.iter().all(|b| b.excused_by.as_deref() == Some("s1")), "{:?}", report.broken);
    assert!(report.coverage.iter().all(|c| c.percent > 99.9), "{:?}", report.coverage);
}

#[test]
fn convergence_is_told_on_the_way() {
    let run = Run::good();
    let fault = killed();
    let at = |until| run.history(until).converged(&fault, RecoveryClock::Failover);
    assert!(
        matches!(at(KILL + 2_000), Convergence::Waiting(lacking) if lacking.iter().any(|(name, _)| *name == Name::Etcd))
    );
    assert!(matches!(at(BACK + 1_000), Convergence::Waiting(_)), "not for long enough yet");
    assert_eq!(at(BACK + 4_000), Convergence::Converged(Millis(BACK + 100)));
    assert_eq!(run.history(TABLES).event_seen(&fault, Event::SlotLeft), None, "the others still name it");
    assert!(run.history(TABLES + 500).event_seen(&fault, Event::SlotLeft).is_some());
    assert_eq!(run.history(KILL + 500).event_seen(&fault, Event::SlotReplaced), None);
    assert!(run.history(KILL).all_held_ms() > 9_000);
    assert_eq!(run.history(KILL + 500).all_held_ms(), 0);
}

#[test]
fn a_missed_bound_is_a_fail_and_a_starved_judge_makes_it_invalid() {
    let mut run = Run::good();
    run.plan = plan(&[(Some(Name::Hosts), 1_000)], &[]);
    run.verdict(Verdict::Fail, &["hosts", "must hold 1s", "took 1.6 s", "slot 3 is no member"]);
    let mut run = Run::looking(|now| {
        let mut cluster = cluster(now);
        cluster.seen.runner.late_ms = if now == 21_000 { 900 } else { 3 };
        cluster
    });
    run.plan = plan(&[(Some(Name::Hosts), 1_000)], &[]);
    run.verdict(Verdict::Invalid, &["hosts", "starved"]);
}

#[test]
fn a_bound_missed_on_a_machine_without_cpu_is_invalid_and_a_breach_of_safety_stays_a_fail() {
    let starved = |others_us: i64, breach: bool| {
        let mut run = Run::looking(move |now| {
            let mut cluster = cluster(now);
            let cpu = CpuView { ran_us: 3_000, waited_us: 9_000, turns: 3, had_us: 500_000, others_us };
            cluster.seen.runner.cpu = Some(cpu);
            // The judge's own chain of probes is as slow as everything else.
            cluster.seen.end = Millis(cluster.seen.end.0 + 400);
            if breach && (KILL..KILL + 8_000).contains(&now) {
                cluster.container(0).listening.push(8888);
            }
            cluster
        });
        run.plan = plan(&[(Some(Name::Hosts), 1_000)], &[]);
        run
    };
    starved(300_000, false).verdict(Verdict::Invalid, &["hosts", "the machine was starved"]);
    starved(10_000, false).verdict(Verdict::Fail, &["hosts", "must hold 1s"]);
    starved(300_000, true).verdict(Verdict::Fail, &["safety, jupyter"]);
}

/// The good run with a second fault 1 s after the first, and a bound on etcd, which is back after 10 s.
fn hit_twice(with_previous: bool, within_ms: u64) -> Run {
    let mut run = Run::good();
    run.plan = plan(&[(Some(Name::Etcd), within_ms)], &[]);
    let second = PlannedStep { id: "s2".into(), with_previous, recovered: vec![], ..run.plan.steps[0].clone() };
    run.plan.steps.push(second);
    let mut second = killed();
    second.id = "s2".into();
    second.life.inject_begin = Some(Millis(KILL + 1_000));
    run.faults.push(second);
    run
}

#[test]
fn a_fault_of_the_same_group_does_not_cut_a_bound() {
    hit_twice(true, 5_000).verdict(Verdict::Fail, &["etcd", "must hold 5s after fault s1", "it took 10.1 s"]);
    assert_eq!(hit_twice(true, 12_000).report().verdict, Verdict::Pass);
}

#[test]
fn a_bound_that_could_not_be_judged_is_invalid() {
    hit_twice(false, 5_000).verdict(Verdict::Invalid, &["etcd", "after fault s1", "before that could be judged"]);
    let mut stopped = hit_twice(false, 5_000);
    stopped.errors.push("an outpost did not start".into());
    assert!(stopped.report().why.iter().all(|finding| finding.verdict != Verdict::Invalid));
}

#[test]
fn a_slot_has_left_when_the_others_forget_it_even_if_it_votes_again_by_then() {
    let left = |forgotten: std::ops::Range<u64>| {
        let run = Run::looking(move |now| {
            let mut cluster = if now < KILL { Cluster::steady() } else { returned(Cluster::steady()) };
            let mut without = Roles::default();
            without.present.remove(&3);
            for slot in [0, 1, 2, 4].into_iter().filter(|_| forgotten.contains(&now)) {
                cluster.container(slot).hosts_file = Ok(crate::invariant::fixture::hosts_file_of(&without));
            }
            cluster.at(now)
        });
        run.history(BACK).event_seen(&killed(), Event::SlotLeft)
    };
    assert_eq!(left(KILL + 1_000..KILL + 1_500), Some(Millis(KILL + 1_100)));
    assert_eq!(left(0..0), None);
    assert_eq!(left(0..KILL + 5_000), None, "they had forgotten it before");
}

#[test]
fn an_event_that_comes_only_after_the_next_groups_fault_is_not_credited() {
    let at = |with_previous| {
        let mut run = hit_twice(with_previous, 30_000);
        run.plan.steps[0].expect = vec![Event::SlotReplaced];
        run.report().faults[0].expected[0].seen_at
    };
    assert_eq!(at(true), Some(Millis(BACK + 100)));
    assert_eq!(at(false), None);
}

#[test]
fn a_leader_that_lost_its_role_to_the_fault_did_not_miss_it() {
    let mut fault = killed();
    fault.target.role = Role::Leader;
    fault.victims = vec![node(2, 1, "host-3", "c2")];
    // The engine took its time to acknowledge, and another one leads before it has.
    fault.life.injected = Some(Millis(KILL + 3_000));
    let moved_at = |moved: u64| {
        let mut run = Run::looking(move |now| {
            let roles = Roles { leader: 4, term: 8, ..Roles::default() };
            if now >= moved { Cluster::of(&roles).at(now) } else { Cluster::steady().at(now) }
        });
        run.faults = vec![fault.clone()];
        let report = run.report();
        report.why.iter().any(|finding| finding.why.contains("missed-role"))
    };
    assert!(!moved_at(KILL + 1_500));
    assert!(moved_at(KILL - 500));
}

#[test]
fn breaks_that_come_again_and_again_are_a_fail() {
    let flapping = |every: u64| {
        Run::looking(move |now| {
            let mut cluster = cluster(now);
            if now < 60_000 && now % every < 750 {
                cluster.seen.fast.status.result = Err("connection refused".into());
            }
            cluster
        })
    };
    flapping(3_000).verdict(Verdict::Fail, &["jupyter was broken again and again", "connection refused"]);
    assert_eq!(flapping(20_000).report().verdict, Verdict::Pass, "a blip now and then");
}

#[test]
fn excused_time_does_not_make_up_for_missing_evidence() {
    // The kill excuses etcd for 30 of 65 s; a second in eight without evidence is over 5 % of the rest, and less of the whole.
    let run = Run::looking(|now| {
        let mut cluster = cluster(now);
        if (52_000..62_000).contains(&now) && now % 4_000 < 1_000 {
            cluster.seen.fast.etcd_after.result = Err("no answer".into());
        }
        cluster
    });
    run.verdict(Verdict::Invalid, &["evidence for etcd", "covers 9"]);
}

#[test]
fn one_tick_without_evidence_is_no_share_of_a_short_time() {
    // Nothing excuses ZooKeeper: of these 10 s a second is 10 %, and less than the gap that is allowed.
    let mut run = Run::looking(|now| {
        let mut cluster = Cluster::steady().at(now);
        if (12_000..12_750).contains(&now) {
            cluster.seen.fast.zookeeper.result = Err("no answer".into());
        }
        cluster
    });
    run.faults.clear();
    let covered = |until| super::coverage::coverage(&run.history(until).ticks, &[]);
    assert!(covered(20_000).iter().all(|cover| cover.percent >= 95.0), "{:?}", covered(20_000));
}

#[test]
fn a_tick_that_cannot_tell_neither_ends_nor_prolongs_a_breach() {
    let twice = |blind: std::ops::Range<u64>, to: u64| {
        Run::looking(move |now| {
            let mut cluster = cluster(now);
            if (12_000..to).contains(&now) {
                cluster.container(0).listening.push(8888);
            }
            if blind.contains(&now) {
                cluster.seen.fast.containers.get_mut("host-1").expect("a host").result = Err("no answer".into());
            }
            cluster
        })
    };
    let breach = |run: Run| run.report().why.iter().any(|finding| finding.why.starts_with("safety, jupyter"));
    assert!(breach(twice(14_000..14_500, 19_000)), "seen for 6.5 s in two parts");
    assert!(!breach(twice(13_000..18_000, 19_000)), "seen for 2 s only");
    assert!(!breach(twice(0..1, 16_000)), "shorter than what is tolerated");
}

#[test]
fn safety_that_was_broken_while_the_cluster_was_waited_for_stays_broken() {
    let mut waiting = Run::looking(|now| {
        let mut cluster = cluster(now);
        cluster.container(0).listening.push(8888);
        cluster
    });
    waiting.faults.clear();
    let mut steady = waiting.history(19_000).begin_anew(Millis(19_000));
    let cluster = Cluster::steady().at(19_000);
    steady.ticks.extend(Run::good().history(12_000).ticks);
    assert_eq!(steady.began, Millis(19_000));
    let report = steady.outcome(&Ending {
        plan: &waiting.plan,
        faults: &[],
        ledger: &waiting.ledger,
        witnesses: &[],
        volume: None,
        ended: cluster.seen.end,
        harness_errors: vec![],
        interrupted: true,
        aborted: None,
    });
    assert_eq!(report.verdict, Verdict::Fail, "{:?}", report.why);
    let unsettled = Run::looking(|_| Cluster::steady().at(1)).history(11_000).begin_anew(Millis(19_000));
    assert_eq!(unsettled.earlier, vec![], "what else was broken meanwhile isn't judged");
}

#[test]
fn a_storm_without_faults_is_invalid() {
    let mut calm = Run::good();
    calm.faults.clear();
    calm.plan.steps[0].act =
        PlannedAct::Storm { for_ms: 1_000, at_most: None, allow_quorum_loss: false, draws: vec![] };
    calm.look = Box::new(|now| Cluster::steady().at(now));
    calm.verdict(Verdict::Invalid, &["drew no fault"]);
}

#[test]
fn what_no_fault_excuses_is_a_fail_beyond_its_grace() {
    let broken = |from: u64, to: u64| {
        Run::looking(move |now| {
            let mut cluster = cluster(now);
            if (from..to).contains(&now) {
                cluster.seen.fast.status.result = Err("connection refused".into());
            }
            cluster
        })
    };
    broken(22_000, 25_000).verdict(Verdict::Fail, &["jupyter was broken for 2.9 s", "connection refused"]);
    assert_eq!(broken(22_000, 23_500).report().verdict, Verdict::Pass, "a blip");
}

#[test]
fn a_slot_that_does_not_come_back_is_a_fail() {
    let run = Run::looking(|now| {
        let mut away = Roles::default();
        away.present.remove(&3);
        if now >= KILL { Cluster::of(&away).at(now) } else { cluster(now) }
    });
    let report = run.report();
    assert_eq!(report.verdict, Verdict::Fail);
    for words in ["at the end not everything holds: 4 of 5", "etcd was broken", "should cause 'slot-replaced'"] {
        assert!(report.why.iter().any(|f| f.why.contains(words)), "'{words}' is missing in {:#?}", report.why);
    }
}

#[test]
fn safety_is_never_excused() {
    let twice = |to: u64| {
        Run::looking(move |now| {
            let mut cluster = cluster(now);
            if (KILL..to).contains(&now) {
                cluster.container(0).listening.push(8888);
            }
            cluster
        })
    };
    twice(KILL + 8_000).verdict(Verdict::Fail, &["safety, jupyter", "{0, 2}"]);
    let mut lost = Run::good();
    if let Some(kind) = lost.ledger.get_mut("etcd") {
        kind.found = Some(vec![]);
    }
    lost.verdict(Verdict::Fail, &["ledger, etcd", "50 item(s)"]);
    let mut unhealed = Run::good();
    unhealed.volume =
        unhealed.volume.map(|v| VolumeOutcome { state: v.state.map(|s| GlusterView { heal_pending: 1, ..s }), ..v });
    unhealed.verdict(Verdict::Fail, &["the volume", "wait for heal"]);
    unhealed.errors.push("an outpost did not start".into());
    unhealed.verdict(Verdict::Fail, &["the volume", "wait for heal"]);
    let mut unseen = Run::good();
    unseen.volume = None;
    unseen.verdict(Verdict::Invalid, &["the volume", "nobody looked"]);
}

#[test]
fn a_pass_means_that_something_happened() {
    let mut unseen = Run::good();
    unseen.faults[0].life.seen = None;
    unseen.verdict(Verdict::Invalid, &["effect was never seen"]);
    let mut lasting = Run::good();
    lasting.faults[0].life.stage = Stage::Undone;
    lasting.verdict(Verdict::Invalid, &["fault s1", "over was never seen"]);
    let mut eventless = Run::good();
    eventless.plan = plan(&[], &[Event::EtcdLeaderChanged]);
    eventless.verdict(Verdict::Invalid, &["etcd-leader-changed", "never came"]);
    let mut skipped = Run::good();
    skipped.faults = vec![Fault::planned("node-loss", "s1", FaultKind::Kill, target(Role::Follower))];
    skipped.look = Box::new(|now| Cluster::steady().at(now));
    skipped.verdict(Verdict::Invalid, &["s1", "not reached"]);
    let mut missed = Run::good();
    missed.faults[0].target.role = Role::Leader;
    missed.verdict(Verdict::Invalid, &["missed-role", "storm-s3 did not hold"]);
    let mut idle = Run::good();
    if let Some(kind) = idle.ledger.get_mut("etcd") {
        kind.ops.truncate(15);
        kind.found = Some(kind.ops.iter().map(|op| op.item.clone()).collect());
    }
    idle.verdict(Verdict::Invalid, &["'etcd' succeeded 15 times before and 0 times after"]);
}

#[test]
fn missing_evidence_is_invalid_unless_a_fault_excuses_it() {
    let blind = |from: u64, to: u64| {
        Run::looking(move |now| {
            let mut cluster = cluster(now);
            if (from..to).contains(&now) {
                cluster.seen.fast.zookeeper.result = Err("outpost gone".into());
            }
            cluster
        })
    };
    blind(12_000, 15_000).verdict(Verdict::Invalid, &["evidence for", "gap of 3"]);
    assert_eq!(blind(12_000, 13_000).report().verdict, Verdict::Pass);
    let unread = Run::looking(|now| {
        let mut cluster = cluster(now);
        if (KILL..KILL + 4_000).contains(&now) {
            cluster.container(0).hosts_file = Err("timed out".into());
        }
        cluster
    });
    assert_eq!(unread.report().verdict, Verdict::Pass, "the fault excuses it");
    let stale = Run::looking(|now| {
        let mut cluster = cluster(now);
        if now >= 45_000
            && let Some(probe) = &mut cluster.seen.deep.kernel
        {
            (probe.begin, probe.end) = (Millis(45_000), Millis(45_100));
        }
        cluster
    });
    stale.verdict(Verdict::Invalid, &["evidence for jupyter (Deep)"]);
}

#[test]
fn precedence_and_interruption() {
    let mut broken = Run::good();
    broken.faults[0].life.seen = None;
    broken.errors.push("an outpost did not start".into());
    broken.verdict(Verdict::Broken, &["an outpost did not start"]);
    let mut aborted = Run::good();
    aborted.aborted = Some("jupyter was broken for 20 s".into());
    aborted.verdict(Verdict::Invalid, &["ended early: jupyter was broken"]);
    let mut interrupted = Run::good();
    interrupted.faults[0].life.seen = None;
    interrupted.interrupted = true;
    interrupted.verdict(Verdict::Interrupted, &["ended by the user"]);
    if let Some(kind) = broken.ledger.get_mut("etcd") {
        kind.found = Some(vec![]);
    }
    broken.verdict(Verdict::Fail, &["ledger"]);
}

#[test]
fn the_next_fault_cuts_a_recovery_short() {
    let mut run = Run::good();
    let mut second = killed();
    second.id = "s2".into();
    second.life.inject_begin = Some(Millis(KILL + 5_000));
    run.faults.push(second);
    let recoveries = run.report().recoveries;
    let of = |fault: &str, name| {
        let found = recoveries.iter().find(|r| r.fault == fault && r.invariant == name).expect("it is there");
        (found.outcome, found.seconds)
    };
    assert_eq!(of("s1", Name::Etcd), (Outcome::CutShort, None));
    assert_eq!(of("s1", Name::Hosts), (Outcome::Recovered, Some(1.6)));
    assert_eq!(of("s2", Name::Etcd), (Outcome::Recovered, Some(5.1)));
}

#[test]
fn an_unprovoked_move_is_counted_and_gets_some_time() {
    // Past the excuses of the kill, which end at 50 s.
    let moved = |right_at: u64| {
        Run::looking(move |now| {
            if now < 52_000 {
                return cluster(now);
            }
            let roles = Roles { leader: 4, term: 8, ..Roles::default() };
            let mut cluster = returned(Cluster::of(&roles));
            if now < right_at {
                for slot in 0..5 {
                    cluster.container(slot).hosts_file = Ok(hosts_file());
                }
            }
            cluster.at(now)
        })
    };
    let report = moved(55_000).report();
    assert_eq!((report.verdict, report.unprovoked_leader_changes), (Verdict::Pass, 1), "{:#?}", report.why);
    moved(62_000).verdict(Verdict::Fail, &["hosts was broken for 9."]);
}

#[test]
fn a_frozen_container_is_held_and_its_rejoin_has_a_clock() {
    let mut fault = killed();
    fault.kind = FaultKind::Pause;
    fault.life.undone = None;
    fault.life.stage = Stage::Seen;
    fault.life.begin_undo(Millis(BACK)).expect("legal");
    fault.life.step(Stage::Undone, Millis(BACK + 50)).expect("legal");
    let mut run = Run::looking(|now| {
        let mut cluster = match now {
            KILL..BACK => {
                let mut cluster = Cluster::steady();
                cluster.container(3).state = ContainerState::Paused;
                cluster.etcd_fails(3, "timed out");
                cluster
            }
            _ => Cluster::steady(),
        };
        let mut without = Roles::default();
        without.present.remove(&3);
        if (TABLES..BACK + 1_000).contains(&now) {
            for slot in [0, 1, 2, 4] {
                cluster.container(slot).hosts_file = Ok(crate::invariant::fixture::hosts_file_of(&without));
            }
        }
        cluster.at(now)
    });
    run.faults = vec![fault];
    run.plan = plan(&[], &[Event::SlotLeft]);
    let report = run.report();
    let of = |clock, name| {
        let mut found = report.recoveries.iter().filter(|r| r.clock == clock && r.invariant == name);
        found.next().map(|r| (r.outcome, r.seconds)).expect("it is there")
    };
    assert_eq!(of(RecoveryClock::Failover, Name::Hosts), (Outcome::Recovered, Some(1.6)));
    assert_eq!(of(RecoveryClock::Rejoin, Name::Hosts), (Outcome::Recovered, Some(1.1)));
    assert_eq!(of(RecoveryClock::Failover, Name::ZooKeeper), (Outcome::NeverBroken, None));
}
