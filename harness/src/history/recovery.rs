//! How an invariant came back: the two clocks.
//!
//! ```text
//!        start (the harness begins the act)
//!          │   not holding        holding, max(2 s, 8 ticks)
//! ───H──H──┼─H──B──B──B──B──┼──H──H──H──H──H──H──H──H───►
//!          │             └lower└first holding tick: `seconds`
//! ```
//! A first tick that holds right after the start proves nothing: the fault may not have been noticed yet. So the first holding
//! tick must show that the fault was noticed (ground truth changed, or a tick that didn't hold was seen), or lie past the
//! detection bound. All its probes began after the start.

use std::time::Duration;

use stormbed::clock::Millis;

use super::tick::{Key, Tick};
use crate::fault::{Fault, FaultKind, TargetClass};
use crate::invariant::excuse::excused;
use crate::report::{Outcome, Recovery};
use crate::scenario::RecoveryClock;

/// An invariant that is back holds for at least this long …
pub const HOLD_MS: u64 = 2_000;
/// … and in at least this many ticks.
pub const HOLD_TICKS: usize = 8;
/// After an undo, whatever comes back is noticed within this time: a supervisor's restart takes 1 s.
const UNDO_DETECT_MS: u64 = 3_000;

/// By when a fault on this kind of part is noticed at the latest: a lease that a new leader re-armed (2 × 5 s); a session and
/// an election; ZooKeeper's syncLimit and an election.
fn detection_ms(fault: &Fault, clock: RecoveryClock) -> u64 {
    if clock == RecoveryClock::Rejoin {
        return UNDO_DETECT_MS;
    }
    match fault.target.class {
        // A node looks at what it keeps ten times a second, and hears of its registration at once.
        TargetClass::Node if matches!(fault.kind, FaultKind::Tamper { .. }) && !fault.kind.loses_data() => 1_000,
        TargetClass::Node | TargetClass::Etcd | TargetClass::NodeAgent => 10_000,
        TargetClass::MesosMaster | TargetClass::Framework => 11_000,
        TargetClass::ZooKeeper => 4_000,
        // A dead agent's connection ends at once; a silent one misses ten pings.
        TargetClass::MesosAgent => 2_000,
        TargetClass::Host | TargetClass::Topology => 12_000,
        // BGP's hold time; GlusterFS's ping-timeout, twice at worst.
        TargetClass::Bird | TargetClass::Brick => 10_000,
        // Whoever asks them notices at once.
        TargetClass::Sshd | TargetClass::Jupyter | TargetClass::NetworkDriver | TargetClass::Proxy => 2_000,
    }
}

/// The time in which a clock of a fault runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub start: Millis,
    /// The next fault, or the undo, if it came.
    pub cut: Option<Millis>,
}

impl Window {
    /// The window of this clock; none if it never started. A begin of one of `faults` cuts it.
    pub fn of<'a>(fault: &Fault, clock: RecoveryClock, faults: impl IntoIterator<Item = &'a Fault>) -> Option<Self> {
        let start = match clock {
            RecoveryClock::Failover => fault.life.inject_begin?,
            RecoveryClock::Rejoin => undo_begin(fault)?,
        };
        let next = faults
            .into_iter()
            .filter(|other| other.id != fault.id)
            .filter_map(Fault::began)
            .filter(|began| *began > start)
            .min();
        let undo = undo_begin(fault).filter(|_| clock == RecoveryClock::Failover);
        Some(Self { start, cut: [next, undo].into_iter().flatten().min() })
    }
}

/// When the testbed began to undo; none if there is nothing to undo.
fn undo_begin(fault: &Fault) -> Option<Millis> {
    crate::scenario::physics::is_held(fault.kind, fault.target.class).then_some(fault.life.undo_begin).flatten()
}

/// The recovery of one invariant's tier on one clock.
pub(super) fn recovery(ticks: &[Tick], fault: &Fault, clock: RecoveryClock, window: Window, key: Key) -> Recovery {
    let mut recovery = Recovery {
        fault: fault.id.clone(),
        invariant: key.0,
        tier: key.1,
        clock,
        outcome: Outcome::NotRecovered,
        seconds: None,
        lower_seconds: None,
    };
    let within = in_window(ticks, window);
    let Some(first) = first_holding(within, fault, clock, window, key) else {
        if window.cut.is_some() {
            recovery.outcome = Outcome::CutShort;
        }
        return recovery;
    };
    let Some(last) = within[..first].iter().rfind(|tick| !tick.holds(key)) else {
        recovery.outcome = Outcome::NeverBroken;
        return recovery;
    };
    let seconds = |at: Millis| at.since(window.start).as_secs_f64();
    recovery.outcome = Outcome::Recovered;
    recovery.seconds = Some(seconds(within[first].end));
    recovery.lower_seconds = Some(seconds(last.begin));
    recovery
}

/// Ticks that saw something of the window.
pub(super) fn in_window(ticks: &[Tick], window: Window) -> &[Tick] {
    let from = ticks.partition_point(|tick| tick.end <= window.start);
    let to = window.cut.map_or(ticks.len(), |cut| ticks.partition_point(|tick| tick.end <= cut));
    &ticks[from..to.max(from)]
}

/// The tick from which on the invariant holds for long enough.
fn first_holding(within: &[Tick], fault: &Fault, clock: RecoveryClock, window: Window, key: Key) -> Option<usize> {
    let detected_by = window.start + Duration::from_millis(detection_ms(fault, clock));
    // What this fault can't break needn't be waited for.
    let name = within.first().map_or(key.0, |tick| tick.built_in(key.0));
    let untouched = !excused(fault).contains(&name);
    let mut noticed = untouched;
    let mut run: Option<usize> = None;
    for (index, tick) in within.iter().enumerate() {
        let begun_after = tick.parts.get(&key).is_some_and(|part| part.from.is_some_and(|from| from >= window.start));
        if !tick.holds(key) {
            noticed = true;
            run = None;
            continue;
        }
        noticed |= shows(tick, fault, clock, window);
        if run.is_none() && begun_after && (noticed || tick.begin >= detected_by) {
            run = Some(index);
        }
        if let Some(start) = run
            && index + 1 - start >= HOLD_TICKS
            && tick.end.since(within[start].end) >= Duration::from_millis(HOLD_MS)
        {
            return run;
        }
    }
    None
}

/// Ground truth shows that the fault was noticed: another role holder, or other members.
fn shows(tick: &Tick, fault: &Fault, clock: RecoveryClock, window: Window) -> bool {
    let Some(led) = fault.victims.iter().find(|victim| victim.led).or(fault.victims.first()) else {
        return false;
    };
    let truth = &tick.truth;
    match (fault.target.class, clock) {
        (TargetClass::Node | TargetClass::Host | TargetClass::Etcd | TargetClass::Topology, _) => {
            truth.since >= window.start
        }
        (TargetClass::MesosMaster, RecoveryClock::Failover) => {
            led.led && truth.mesos_leader.as_ref().is_some_and(|leader| leader.name != led.name)
        }
        (TargetClass::ZooKeeper, RecoveryClock::Failover) => {
            led.led && truth.zookeeper_leader.as_ref().is_some_and(|leader| leader.name != led.name)
        }
        (TargetClass::Framework, RecoveryClock::Failover) => {
            led.led && truth.active_framework.as_ref().is_some_and(|active| *active != led.name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::fault::{FaultKind, Role, Target};
    use crate::invariant::truth::Truth;
    use crate::invariant::{Judgement, Name, Part, Tier};

    const KEY: Key = (Name::Hosts, Tier::Fast);
    const EVERY: u64 = 250;
    const START: u64 = 5_100;

    fn tick(index: usize, judgement: Judgement) -> Tick {
        let begin = Millis(u64::try_from(index).expect("few") * EVERY);
        let end = Millis(begin.0 + 100);
        let part = Part { judgement, from: Some(begin), to: Some(end) };
        Tick {
            begin,
            end,
            late_ms: 0,
            cpu_pressure: None,
            cpu: None,
            parts: BTreeMap::from([(KEY, part)]),
            breaches: BTreeMap::new(),
            blind: BTreeSet::new(),
            truth: Truth::default(),
            held: false,
            alike: BTreeMap::new(),
        }
    }

    fn ticks(text: &str) -> Vec<Tick> {
        let judgement = |c| match c {
            'B' => Judgement::Broken("b".into()),
            'U' => Judgement::Unknown("u".into()),
            _ => Judgement::Holds,
        };
        text.chars().map(judgement).enumerate().map(|(index, j)| tick(index, j)).collect()
    }

    fn recovered(ticks: &[Tick], cut: Option<u64>) -> Recovery {
        let target = Target::new(TargetClass::Node, Role::Any);
        let mut fault = Fault::planned("t", "s1", FaultKind::Kill, target);
        fault.life.begin(Millis(START)).expect("legal");
        let window = Window { start: Millis(START), cut: cut.map(Millis) };
        recovery(ticks, &fault, RecoveryClock::Failover, window, KEY)
    }

    /// 21 ticks until the start (the last one straddles it), then these.
    fn after(text: &str) -> Recovery {
        recovered(&ticks(&format!("{}{text}", "H".repeat(21))), None)
    }

    #[test]
    fn the_interval_lies_between_the_last_wrong_and_the_first_right_tick() {
        let found = after("HHBBBHHHHHHHHHHHH");
        // Ticks 23..25 are broken: the last begins at 6.25 s; tick 26 ends at 6.6 s.
        assert_eq!((found.outcome, found.lower_seconds, found.seconds), (Outcome::Recovered, Some(1.15), Some(1.5)));
    }

    #[test]
    fn holding_before_it_was_noticed_is_no_recovery() {
        assert_eq!(after("HHHHHHHHHHHHHHH").outcome, Outcome::NotRecovered, "the detection bound isn't over");
        assert_eq!(after(&"H".repeat(60)).outcome, Outcome::NeverBroken);
    }

    #[test]
    fn a_short_calm_is_no_recovery() {
        let found = after(&format!("BBHHHHHHB{}", "H".repeat(20)));
        assert_eq!(found.lower_seconds, Some(2.15));
        assert_eq!(after("BBBBHHHHH").outcome, Outcome::NotRecovered);
    }

    #[test]
    fn missing_evidence_is_not_holding() {
        let found = after(&format!("BBUU{}", "H".repeat(20)));
        assert_eq!(found.lower_seconds, Some(0.9));
    }

    #[test]
    fn the_next_fault_ends_the_clock() {
        let all = ticks(&format!("{}BBBBBBBB{}", "H".repeat(21), "H".repeat(30)));
        assert_eq!(recovered(&all, Some(8_000)).outcome, Outcome::CutShort);
        assert_eq!(recovered(&all, Some(12_000)).outcome, Outcome::Recovered);
    }

    proptest! {
        #[test]
        fn times_are_intervals_that_fit_the_ticks(text in "[HBU]{0,40}H{0,70}", cut in proptest::option::of(5_200u64..20_000)) {
            let all = ticks(&format!("{}{text}", "H".repeat(20)));
            let found = recovered(&all, cut);
            let is = |outcome| found.outcome == outcome;
            prop_assert_eq!(found.seconds.is_some(), is(Outcome::Recovered));
            prop_assert_eq!(found.lower_seconds.is_some(), is(Outcome::Recovered));
            let seen: Vec<&Tick> = all.iter().filter(|t| t.end.0 > START && cut.is_none_or(|cut| t.end.0 <= cut)).collect();
            if let (Some(lower), Some(upper)) = (found.lower_seconds, found.seconds) {
                prop_assert!(lower < upper);
                // From the first holding tick on it holds for 2 s and 8 ticks; at the lower end it didn't.
                let start = START as f64 / 1e3;
                let held = seen.iter().filter(|t| t.end.0 as f64 / 1e3 >= start + upper - 1e-6);
                let run: Vec<_> = held.take(HOLD_TICKS + 1).collect();
                prop_assert!(run.len() > HOLD_TICKS && run.iter().all(|t| t.holds(KEY)));
                prop_assert!(seen.iter().any(|t| !t.holds(KEY) && (t.begin.since(Millis(START)).as_secs_f64() - lower).abs() < 1e-6));
            }
            if is(Outcome::NeverBroken) {
                prop_assert!(seen.iter().take(HOLD_TICKS).all(|t| t.holds(KEY)));
            }
            if is(Outcome::CutShort) {
                prop_assert!(cut.is_some());
            }
        }
    }
}
