//! Asks what invariants of the user's own want to know, again and again.
//!
//! A command runs in the container of whoever holds its role at that moment, found as a fault finds its target. It is an outpost
//! that runs it: the host's for its nodes, a machine's own for everything else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use regex::Regex;
use stormbed::outpost::protocol::{Call, ContainerState, Ran, Reply};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::deep::DeepTier;
use super::fast::bounded;
use super::observation::{Asked, Observation, Probe, Shape};
use super::observer::Seen;
use super::world::World;
use crate::fault::{TargetClass, Victim};
use crate::invariant::own::{Answer, Exec, Http, Own, Question};
use crate::target::{Scene, resolve};

/// The beginning of a body that reports show.
const START_CHARS: usize = 80;
/// What an outpost gets beyond a command's own time: it looks up the container before, and answers after.
const OUTPOST_MORE: Duration = Duration::from_millis(500);

/// Asks for all of them until the set is dropped; the newest answers are among the deep tier's results. The seed chooses among
/// those who hold a role.
#[must_use]
pub fn ask(all: &[Own], world: &World, deep: &Arc<DeepTier>, seed: u64) -> JoinSet<()> {
    deep.forget_own();
    let mut tasks = JoinSet::new();
    for own in all.iter().cloned() {
        let asker = Asker::new(own, world.clone(), deep.clone(), seed);
        tasks.spawn(asker.run());
    }
    tasks
}

struct Asker {
    own: Own,
    world: World,
    deep: Arc<DeepTier>,
    seed: u64,
    /// What the right answer has. What was read from a file is a pattern; a plan that somebody wrote by hand may have none, and then
    /// nothing matches.
    pattern: Option<Result<Regex, regex::Error>>,
}

impl Asker {
    fn new(own: Own, world: World, deep: Arc<DeepTier>, seed: u64) -> Self {
        let pattern = match &own.question {
            Question::Http(http) => &http.body,
            Question::Exec(exec) => &exec.output,
        };
        let pattern = pattern.as_deref().map(Regex::new);
        Self { own, world, deep, seed, pattern }
    }

    async fn run(self) {
        let mut rhythm = tokio::time::interval(Duration::from_millis(self.own.every_ms));
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rhythm.tick().await;
            let probe = match &self.own.question {
                Question::Http(http) => self.get(http).await,
                Question::Exec(exec) => self.command(exec).await,
            };
            self.deep.keep_own(self.own.name, probe);
        }
    }

    fn within(&self) -> Duration {
        Duration::from_millis(self.own.within_ms)
    }

    fn answer(&self, code: i32, text: &str, by: Option<String>) -> Answer {
        let matches = self.pattern.as_ref().is_none_or(|p| p.as_ref().is_ok_and(|regex| regex.is_match(text)));
        Answer { code, matches, start: text.chars().take(START_CHARS).collect(), by }
    }

    /// That nobody answers is an answer: whoever asks is this process itself.
    async fn get(&self, http: &Http) -> Probe<Result<Answer, String>> {
        let get = self.world.jupyter.get(&http.url, self.within());
        let Probe { begin, end, result } = bounded(self.world.clock, self.within(), get).await;
        let answer = |(status, text): (u16, String)| self.answer(i32::from(status), &text, None);
        Probe { begin, end, result: Ok(result.map(answer)) }
    }

    async fn command(&self, exec: &Exec) -> Probe<Result<Answer, String>> {
        let clock = self.world.clock;
        let begin = clock.now();
        let seen = self.deep.seen();
        let result = match seen.as_deref() {
            None => Err("nothing was seen yet".to_owned()),
            Some(seen) => match self.holders(exec, seen) {
                Ok(holders) => self.commands(exec, holders).await,
                Err(Nobody::Seen(why)) => Ok(Err(why)),
                Err(Nobody::Unseen(why)) => Err(why),
            },
        };
        Probe { begin, end: clock.now(), result }
    }

    fn holders(&self, exec: &Exec, seen: &Seen) -> Result<Vec<Victim>, Nobody> {
        // Whoever a fault has hit still holds its role, if it does.
        let hit = BTreeSet::new();
        let (observation, shape) = (&seen.observation, &*self.world.shape);
        let scene = Scene { seen: observation, truth: &seen.truth, shape, hit: &hit, previous_host: None };
        resolve(&exec.on, &scene, self.seed, self.own.name.as_str()).ok_or_else(|| {
            match unseen(exec.on.class, observation, shape) {
                Some(why) => Nobody::Unseen(format!("who is {} could not be seen: {why}", exec.on)),
                None => Nobody::Seen(format!("nobody is {} now", exec.on)),
            }
        })
    }

    /// On all of them at the same time. The first wrong answer tells; if there is none, the first one.
    async fn commands(&self, exec: &Exec, holders: Vec<Victim>) -> Asked<Answer> {
        let mut answers: Vec<Asked<Answer>> = join_all(holders.iter().map(|holder| self.on(exec, holder))).await;
        let wrong = |answer: &Asked<Answer>| match answer {
            Ok(Ok(answer)) => answer.code != i32::from(exec.exit) || !answer.matches,
            Ok(Err(_)) => true,
            Err(_) => false,
        };
        let at = answers.iter().position(wrong).or_else(|| answers.iter().position(Result::is_err)).unwrap_or(0);
        answers.swap_remove(at)
    }

    async fn on(&self, exec: &Exec, holder: &Victim) -> Asked<Answer> {
        // Only nodes live in a machine's own engine.
        let container = holder.host.is_some().then(|| holder.container.clone());
        let call = Call::Run { container, words: exec.command.clone(), within_ms: self.own.within_ms };
        let outpost = self.world.outposts.get(holder.machine());
        let probe = self.world.ask(outpost, call, self.within() + OUTPOST_MORE, ran).await;
        let answer = |ran: Ran| {
            let said =
                if ran.output.is_empty() && ran.code != i32::from(exec.exit) { &ran.errors } else { &ran.output };
            let answer = self.answer(ran.code, &ran.output, Some(holder.name.clone()));
            Answer { start: said.trim_end().chars().take(START_CHARS).collect(), ..answer }
        };
        probe.result.map(|ran| ran.map(answer).map_err(|why| format!("{}: {why}", holder.name)))
    }
}

/// Why a command has nowhere to run.
enum Nobody {
    /// Nobody holds the role.
    Seen(String),
    /// Whether somebody does could not be seen.
    Unseen(String),
}

fn ran(reply: Reply) -> Option<Ran> {
    match reply {
        Reply::Ran(ran) => Some(ran),
        _ => None,
    }
}

/// What could not be looked at, of that which tells who holds roles of this kind: then nobody may be there, and may not.
fn unseen(class: TargetClass, seen: &Observation, shape: &Shape) -> Option<String> {
    let fast = &seen.fast;
    let parts = fast.parts.result.as_ref().err();
    let etcd = fast.etcd_before.result.as_ref().err().or(fast.etcd_after.result.as_ref().err());
    let zookeeper = fast.zookeeper.result.as_ref().err();
    let mesos = fast.mesos.result.as_ref().err().or(zookeeper);
    let why = match class {
        TargetClass::MesosMaster | TargetClass::Framework => parts.or(mesos),
        TargetClass::ZooKeeper => parts.or(zookeeper),
        TargetClass::Proxy => parts,
        _ => parts.or(etcd),
    };
    why.cloned().or_else(|| unseen_host(class, seen, shape))
}

/// A host that runs, and whose outpost says nothing of what runs on it. (On one that doesn't run, nothing does.)
fn unseen_host(class: TargetClass, seen: &Observation, shape: &Shape) -> Option<String> {
    let runs = |host: &&String| {
        let parts = seen.fast.parts.result.as_ref();
        parts.is_ok_and(|parts| parts.get(*host).is_some_and(|part| part.state == ContainerState::Running))
    };
    let nodes = |host: &String| seen.fast.containers.get(host).and_then(|probe| probe.result.as_ref().err().cloned());
    let programs = |host: &String| seen.fast.machines.get(host).and_then(|probe| probe.result.as_ref().err().cloned());
    let mut hosts = shape.hosts.iter().filter(runs);
    match class {
        TargetClass::Node => hosts.find_map(nodes),
        class if class.is_of_node() => hosts.find_map(|host| nodes(host).or_else(|| programs(host))),
        TargetClass::Proxy => programs(&shape.edge),
        class if class.is_by_host() && class != TargetClass::Host => hosts.find_map(programs),
        _ => None,
    }
}

#[cfg(test)]
#[path = "own_tests.rs"]
mod tests;
