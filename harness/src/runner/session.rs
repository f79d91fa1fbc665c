//! One scenario under way: it takes every tick, feeds the history, moves the faults through their lives, and ends holds that
//! are over. Everything that waits does so by taking ticks, so nothing of the evidence is lost meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use stormbed::clock::Millis;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::folder::RunFolder;
use super::interrupt::Interrupt;
use crate::fault::effect::{effect_seen, lapsed, undone_seen};
use crate::fault::inject;
use crate::fault::journal::Journal;
use crate::fault::life::{Life, Stage};
use crate::fault::words::CLASSES;
use crate::fault::{Fault, TargetClass, Victim};
use crate::history::History;
use crate::history::ledger::LedgerOutcome;
use crate::history::volume::VolumeOutcome;
use crate::history::witness::Witness;
use crate::invariant::own::{Question, judge};
use crate::invariant::{Held, Look, judge_all};
use crate::observe::observation::{Observation, Shape};
use crate::observe::observer::{Observer, Seen};
use crate::observe::own;
use crate::observe::world::World;
use crate::progress::Progress;
use crate::scenario::plan::Plan;
use crate::status::live::Teller;
use crate::target::{Scene, is_led};

/// Ticks come twice a second at least and take 3 s at most: after this long the observer itself is broken.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A sweep takes 3 s at most on a healthy cluster; its parts have bounds of their own, which add up to this.
const SWEEP_MAX: Duration = Duration::from_secs(20);
/// An undo that isn't acknowledged is tried again for this long: a stream to an outpost that broke is opened anew within 11 s,
/// and one act of an engine on a full machine takes 10 s.
const UNDO_WITHIN: Duration = Duration::from_secs(30);
/// Rest between sweeps while something still doesn't hold: the probes must not be the load.
const SWEEP_REST_MS: u64 = 2_000;

/// Why a scenario ends before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// The user ended it.
    Interrupted,
    /// The harness failed.
    Broken(String),
    /// The scenario's own `abort-if` says so.
    Aborted(String),
}

/// What all scenarios of a run share.
pub(super) struct Shared<'a> {
    pub(super) world: &'a World,
    pub(super) observer: &'a mut Observer,
    pub(super) folder: &'a mut RunFolder,
    pub(super) journal: &'a mut Journal,
    pub(super) progress: &'a Progress,
    pub(super) teller: &'a mut Teller,
    pub(super) interrupt: &'a Interrupt,
}

/// One scenario under way.
pub(super) struct Session<'a> {
    pub(super) shared: Shared<'a>,
    pub(super) plan: &'a Plan,
    /// Name of this play, unique in the run.
    pub(super) place: String,
    pub(super) history: History,
    /// All faults of the plan, in its order.
    pub(super) faults: Vec<Fault>,
    /// The newest tick.
    pub(super) seen: Option<Arc<Seen>>,
    /// Asks for invariants of the user's own.
    _own: JoinSet<()>,
    /// The newest tick in which somebody led, by kind of part.
    pub(super) led: BTreeMap<TargetClass, Arc<Seen>>,
    /// When steps began.
    pub(super) begun: BTreeMap<String, Millis>,
    /// Why the scenario ends early.
    pub(super) aborted: Option<String>,
    /// Containers hit and not seen well since.
    pub(super) hit: BTreeSet<String>,
    /// When holds end, by index of the fault.
    pub(super) due: BTreeMap<usize, Millis>,
    /// When the first try of an undo began, by index of a fault whose undo isn't acknowledged yet.
    pub(super) undoing: BTreeMap<usize, Millis>,
    /// [`UNDO_WITHIN`]; tests have less time.
    pub(super) undo_within: Duration,
    /// The ledger's account and the volume's state, once they are known.
    pub(super) ledger: LedgerOutcome,
    pub(super) volume: Option<VolumeOutcome>,
    /// Failures of the harness.
    pub(super) errors: Vec<String>,
    /// What was written through etcd leaders that a fault had cut off.
    pub(super) witnesses: Vec<Witness>,
    pub(super) sweep: Option<(Millis, JoinHandle<()>)>,
    /// Begin and end of the last whole sweep.
    pub(super) swept: Option<(Millis, Millis)>,
    /// Where it is, for people.
    pub(super) phase: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(shared: Shared<'a>, plan: &'a Plan, place: String) -> Self {
        let now = shared.world.clock.now();
        let shape = (*shared.world.shape).clone();
        shared.world.watch(watched(plan, &shape));
        shared.world.avoid(cut_off(plan, &shape));
        Self {
            history: History::begin(shape, now).with_own(&plan.invariants),
            _own: own::ask(&plan.invariants, shared.world, &shared.observer.deep(), plan.seed),
            faults: named(plan.faults(), &place),
            shared,
            plan,
            place,
            seen: None,
            led: BTreeMap::new(),
            begun: BTreeMap::new(),
            aborted: None,
            hit: BTreeSet::new(),
            due: BTreeMap::new(),
            undoing: BTreeMap::new(),
            undo_within: UNDO_WITHIN,
            ledger: LedgerOutcome::new(),
            volume: None,
            errors: Vec::new(),
            witnesses: Vec::new(),
            sweep: None,
            swept: None,
            phase: String::new(),
        }
    }

    pub(super) fn now(&self) -> Millis {
        self.shared.world.clock.now()
    }

    /// A new history from here on: what was before isn't judged, except for safety.
    pub(super) fn judge_from_here(&mut self) {
        self.history = self.history.begin_anew(self.now());
    }

    /// Takes the next tick, with all that follows from it.
    pub(super) async fn tick(&mut self) -> Result<Arc<Seen>, Stop> {
        let next = timeout(SILENCE_MAX, self.shared.observer.next());
        let seen = tokio::select! {
            biased;
            () = self.shared.interrupt.cancelled() => return Err(Stop::Interrupted),
            seen = next => seen,
        };
        let seen = seen
            .map_err(|_| format!("no tick for {} s", SILENCE_MAX.as_secs()))
            .and_then(|seen| seen.ok_or_else(|| "the observer has ended".to_owned()))
            .map_err(Stop::Broken)?;
        self.judge(&seen);
        let before = self.seen.replace(seen.clone());
        self.tell_raft(before.as_deref(), &seen);
        let led = CLASSES.iter().map(|row| row.class).filter(|class| is_led(*class, &seen.truth));
        self.led.extend(led.map(|class| (class, seen.clone())));
        self.advance_lives(&seen);
        self.collect_sweep().await;
        self.end_holds().await?;
        self.show(&seen);
        self.abort_if()?;
        Ok(seen)
    }

    /// Stops when an invariant is broken for longer than the scenario puts up with; once, because what follows is the end.
    pub(super) fn abort_if(&mut self) -> Result<(), Stop> {
        if self.aborted.is_some() || self.begun.is_empty() {
            return Ok(());
        }
        for limit in &self.plan.abort_if {
            let longest = Duration::from_millis(limit.longer_than_ms);
            if let Some((time, why)) = self.history.broken_since(limit.invariant).filter(|(time, _)| *time > longest) {
                let why = format!("{} was broken for {:.1} s (abort-if): {why}", limit.invariant, time.as_secs_f64());
                self.aborted = Some(why.clone());
                return Err(Stop::Aborted(why));
            }
        }
        Ok(())
    }

    /// Takes ticks until one began after now: whoever acts on roles must not take them from a tick that waited in the queue.
    pub(super) async fn fresh_tick(&mut self) -> Result<Arc<Seen>, Stop> {
        let now = self.now();
        loop {
            let seen = self.tick().await?;
            if seen.observation.begin >= now {
                return Ok(seen);
            }
        }
    }

    /// Asks the machines whether they can do what the plan wants.
    pub(super) async fn available(&mut self) -> Result<(), Stop> {
        let kinds: BTreeSet<_> = self.faults.iter().map(|fault| (fault.kind, fault.target.class)).collect();
        for (kind, class) in kinds {
            inject::available(self.shared.world, kind, class).await.map_err(Stop::Broken)?;
        }
        Ok(())
    }

    fn judge(&mut self, seen: &Seen) {
        let observation = &seen.observation;
        let faults: Vec<Fault> = self.faults.iter().map(|fault| as_of(fault, observation.begin)).collect();
        let held = Held::of(&faults);
        let shape = &self.shared.world.shape;
        let mut judged = judge_all(&Look { seen: observation, truth: &seen.truth, shape, held: &held });
        let answers = &observation.deep.own;
        let own = self.plan.invariants.iter().map(|own| (own.name, judge(own, answers.get(&own.name))));
        judged.extend(own);
        self.history.tick(observation, &seen.truth, &judged, &faults);
        self.shared.folder.observation(observation);
    }

    /// Effects seen, and ends of effects.
    fn advance_lives(&mut self, seen: &Seen) {
        for index in 0..self.faults.len() {
            let fault = &self.faults[index];
            match fault.life.stage {
                Stage::Injected if effect_seen(fault, &seen.observation) => self.effect_is_seen(index),
                Stage::Undone if undone_seen(fault, &seen.observation) => {
                    for victim in &fault.victims {
                        self.hit.remove(&victim.container);
                    }
                    self.step(index, Stage::UndoneSeen, "seen to be over");
                }
                Stage::Seen if self.lapsed(index, &seen.observation) => {
                    let fault = &self.faults[index];
                    let what = format!("fault {} ({} {})", fault.id, fault.kind, fault.target);
                    let why = format!("{what} was undone before its time, and not by this run: was the runner silent?");
                    if !self.errors.contains(&why) {
                        self.errors.push(why);
                    }
                }
                _ => {}
            }
        }
    }

    /// A held fault is over all the same, and no later fault explains it: a machine that was killed comes back without rules.
    fn lapsed(&self, index: usize, seen: &Observation) -> bool {
        let fault = &self.faults[index];
        let machines = |other: &Fault| matches!(other.target.class, TargetClass::Host | TargetClass::Topology);
        let later = |other: &Fault| machines(other) && other.began() > fault.began();
        lapsed(fault, seen) && !self.faults.iter().any(later)
    }

    /// Moves a fault on in its life; an illegal step is a mistake of the harness and is reported as one.
    pub(super) fn step(&mut self, index: usize, to: Stage, text: &str) {
        let now = self.now();
        let fault = &mut self.faults[index];
        match fault.life.step(to, now) {
            Ok(()) => self.tell_fault(index, text),
            Err(illegal) => {
                let error = format!("fault {}: {illegal}", fault.id);
                self.errors.push(error);
            }
        }
    }

    /// Ends holds whose time is over.
    async fn end_holds(&mut self) -> Result<(), Stop> {
        let now = self.now();
        let over: Vec<usize> = self.due.iter().filter(|(_, due)| **due <= now).map(|(index, _)| *index).collect();
        self.undo(&over).await
    }

    /// Ends what is under way.
    pub(super) async fn release(&mut self) {
        self.undo_all().await;
        if let Some((_, sweep)) = self.sweep.take() {
            sweep.abort();
        }
    }

    /// Starts a sweep unless one is under way or has just been.
    pub(super) fn want_sweep(&mut self) {
        let now = self.now();
        let rested = self.swept.is_none_or(|(_, end)| now.0 >= end.0 + SWEEP_REST_MS);
        if self.sweep.is_none() && rested {
            self.start_sweep();
        }
    }

    fn start_sweep(&mut self) {
        let deep = self.shared.observer.deep();
        let sweep = tokio::spawn(async move { deep.sweep().await });
        self.sweep = Some((self.now(), sweep));
    }

    async fn collect_sweep(&mut self) {
        let over = |(_, sweep): &mut (Millis, JoinHandle<()>)| sweep.is_finished();
        if let Some((begin, sweep)) = self.sweep.take_if(over) {
            if let Err(error) = sweep.await {
                self.errors.push(format!("a sweep failed: {error}"));
            }
            self.swept = Some((begin, self.now()));
        }
    }

    /// A whole sweep that begins now.
    pub(super) async fn sweep(&mut self) -> Result<(), Stop> {
        let asked = self.now();
        if let Some((_, sweep)) = self.sweep.take() {
            sweep.abort();
        }
        self.start_sweep();
        let done = |session: &Self| session.swept.is_some_and(|(begin, _)| begin >= asked);
        if !self.until(SWEEP_MAX, done).await? {
            self.say("the sweep is still not over");
        }
        Ok(())
    }

    /// Takes ticks until the condition holds, or the bound is over. Returns whether it holds.
    pub(super) async fn until(
        &mut self,
        bound: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Stop> {
        let end = self.now() + bound;
        loop {
            if condition(self) {
                return Ok(true);
            }
            if self.now() >= end {
                return Ok(false);
            }
            self.tick().await?;
        }
    }

    /// Takes ticks for this long.
    pub(super) async fn pass(&mut self, time: Duration) -> Result<(), Stop> {
        self.until(time, |_| false).await.map(|_| ())
    }

    /// The scene for a fault's choice.
    pub(super) fn scene<'s>(&'s self, index: usize, seen: &'s Seen) -> Scene<'s> {
        let before = self.faults[..index].iter().rev().flat_map(|fault| fault.victims.first());
        let previous_host = before.filter_map(Victim::on_host).next();
        let shape = &self.shared.world.shape;
        Scene { seen: &seen.observation, truth: &seen.truth, shape, hit: &self.hit, previous_host }
    }
}

/// The faults with names that are unique in the run: a scenario may be played many times.
fn named(mut faults: Vec<Fault>, place: &str) -> Vec<Fault> {
    for fault in &mut faults {
        fault.name = format!("{place}/{}", fault.id);
    }
    faults
}

/// Machines on which the plan breaks something that shows only in their processes or rules.
fn watched(plan: &Plan, shape: &Shape) -> BTreeSet<String> {
    let of = |class: TargetClass| match class {
        // Who leads Mesos shows in the masters' processes.
        TargetClass::MesosMaster => shape.masters.keys().cloned().collect(),
        TargetClass::ZooKeeper => [shape.zookeepers.clone(), shape.masters.keys().cloned().collect()].concat(),
        TargetClass::Framework => shape.frameworks.clone(),
        TargetClass::Proxy => vec![shape.edge.clone()],
        TargetClass::Topology => shape.machines.keys().cloned().collect(),
        // Hosts, and what runs on them.
        _ => shape.hosts.clone(),
    };
    let broken = plan.faults().into_iter().map(|fault| fault.target.class);
    // Who holds a program's role shows in the processes, too.
    let asked = plan.invariants.iter().filter_map(|own| match &own.question {
        Question::Exec(exec) => Some(exec.on.class).filter(|class| class.is_program()),
        Question::Http(_) => None,
    });
    broken.chain(asked).flat_map(of).collect::<BTreeSet<String>>()
}

/// Machines that the plan cuts off, which then can't answer for others: the edge, with the proxy.
fn cut_off(plan: &Plan, shape: &Shape) -> BTreeSet<String> {
    let cuts = |fault: &Fault| fault.target.class == TargetClass::Proxy && fault.kind.is_of_network();
    plan.faults().iter().any(cuts).then(|| shape.edge.clone()).into_iter().collect()
}

/// The fault as it stood at this moment.
fn as_of(fault: &Fault, at: Millis) -> Fault {
    let mut then = fault.clone();
    let by = |moment: Option<Millis>| moment.filter(|moment| *moment <= at);
    let life = &fault.life;
    if life.inject_begin.is_some_and(|begin| begin > at) {
        then.life = Life::default();
        return then;
    }
    then.life = Life {
        stage: life.stage,
        inject_begin: life.inject_begin,
        injected: by(life.injected),
        seen: by(life.seen),
        undo_begin: by(life.undo_begin),
        undone: by(life.undone),
        undone_seen: by(life.undone_seen),
    };
    then.life.stage = match &then.life {
        l if life.stage == Stage::Skipped || l.inject_begin.is_none() => life.stage,
        l if l.undone_seen.is_some() => Stage::UndoneSeen,
        l if l.undone.is_some() => Stage::Undone,
        l if l.seen.is_some() => Stage::Seen,
        l if l.injected.is_some() => Stage::Injected,
        _ => Stage::Planned,
    };
    then
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod session_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{FaultKind, Role, Target};

    #[test]
    fn a_fault_is_shown_to_a_tick_as_it_stood_when_the_tick_began() {
        let target = Target::new(TargetClass::ZooKeeper, Role::Leader);
        let mut fault = Fault::planned("t", "s1", FaultKind::Pause, target);
        fault.life.begin(Millis(10)).expect("legal");
        fault.life.step(Stage::Injected, Millis(20)).expect("legal");
        fault.life.step(Stage::Seen, Millis(30)).expect("legal");
        fault.life.begin_undo(Millis(40)).expect("legal");
        fault.life.step(Stage::Undone, Millis(50)).expect("legal");
        let stage = |at| as_of(&fault, Millis(at)).life.stage;
        assert_eq!(stage(5), Stage::Planned);
        assert!(!as_of(&fault, Millis(5)).life.in_force());
        assert_eq!(stage(15), Stage::Planned);
        assert!(as_of(&fault, Millis(15)).life.in_force());
        assert_eq!(stage(25), Stage::Injected);
        assert_eq!(stage(45), Stage::Seen);
        assert_eq!(as_of(&fault, Millis(60)), fault);
    }
}
