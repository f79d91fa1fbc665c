//! A small Mesos and a small etcd around the core, driven by random events: what must hold whatever happens.
//!
//! Two schedulers share one durable state: the elected one, and sometimes one that was elected before and doesn't know yet that
//! it isn't any more. Hosts lose their agent, or are cut off as a whole; their data outlives both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::{CLUSTER, settings};
use crate::clock::Millis;
use crate::config::{Bootstrap, Incarnation, Slot};
use crate::framework::core::messages::{Action, Event, Launch, Offer, Update};
use crate::framework::core::state::{Stage, State, parse_task_id, task_id};
use crate::framework::core::{Core, TICK_MS};
use crate::mesos::types::TaskState;

const NODES: u32 = 5;
const MAJORITY: usize = 3;
const HOSTS: usize = 3;

/// Something that befalls the world.
#[derive(Debug, Clone)]
enum Op {
    Tick,
    /// Much time passes at once.
    Pause,
    /// The leader's oldest unwritten state becomes durable.
    Write,
    /// The leader hears of it.
    Persisted,
    Offers,
    Rescind,
    Deliver(usize),
    Kill(usize),
    /// The master gives a host's agent up; `true`: the host is cut off altogether.
    Unreachable(usize, bool),
    Return(usize),
    Replace(usize),
    Disconnect,
    Subscribe,
    MasterFailover,
    /// The leader dies; another one is elected.
    Restart,
    /// The leader freezes, and another one is elected.
    TakeOver,
    /// What the frozen one does when it wakes up and doesn't know yet.
    Former(Waking),
    Probe,
    Census,
    /// A node that has no valid data joins etcd, if there is a quorum.
    Join(usize),
}

#[derive(Debug, Clone)]
enum Waking {
    Tick,
    Write,
    Persisted,
    Subscribe,
    End,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let waking = prop_oneof![
        1 => Just(Waking::Tick),
        1 => Just(Waking::Write),
        3 => Just(Waking::Persisted),
        1 => Just(Waking::Subscribe),
        1 => Just(Waking::End),
    ];
    let op = prop_oneof![
        12 => Just(Op::Tick),
        1 => Just(Op::Pause),
        8 => Just(Op::Write),
        8 => Just(Op::Persisted),
        6 => Just(Op::Offers),
        1 => Just(Op::Rescind),
        12 => any::<usize>().prop_map(Op::Deliver),
        2 => any::<usize>().prop_map(Op::Kill),
        2 => (0..HOSTS, any::<bool>()).prop_map(|(host, cut)| Op::Unreachable(host, cut)),
        2 => (0..HOSTS).prop_map(Op::Return),
        1 => (0..HOSTS).prop_map(Op::Replace),
        1 => Just(Op::Disconnect),
        4 => Just(Op::Subscribe),
        1 => Just(Op::MasterFailover),
        1 => Just(Op::Restart),
        1 => Just(Op::TakeOver),
        3 => waking.prop_map(Op::Former),
        4 => Just(Op::Probe),
        4 => Just(Op::Census),
        2 => any::<usize>().prop_map(Op::Join),
    ];
    prop::collection::vec(op, 0..400)
}

/// A task as it really is.
#[derive(Debug)]
struct Real {
    slot: Slot,
    host: usize,
    agent: String,
    alive: bool,
    generation: u64,
    /// Last state the master heard of.
    told: TaskState,
    /// Updates that the agent still has to bring home, oldest first.
    updates: VecDeque<(String, TaskState)>,
}

#[derive(Debug, Clone)]
struct Host {
    agent: String,
    /// Registered with the leading master.
    here: bool,
    /// The master counts it as unreachable.
    unreachable: bool,
    /// Its nodes don't reach the others.
    cut: bool,
}

/// One scheduler process.
struct Scheduler {
    core: Core,
    newest: State,
    /// Number of its newest state, and of the newest that is durable.
    sequence: u64,
    durable: u64,
    writes: VecDeque<(u64, State)>,
    persisted: VecDeque<u64>,
    /// Updates by the master itself: each is delivered as a turn of its own, in order.
    mail: VecDeque<Update>,
    /// Acknowledgements that may leave once this state is durable.
    owed: BTreeMap<String, u64>,
    probe: Option<u64>,
    census: bool,
}

impl Scheduler {
    fn new(state: &State) -> Self {
        Self {
            core: Core::new(settings(), state.clone()),
            newest: state.clone(),
            sequence: 0,
            durable: 0,
            writes: VecDeque::new(),
            persisted: VecDeque::new(),
            mail: VecDeque::new(),
            owed: BTreeMap::new(),
            probe: None,
            census: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Leader,
    Former,
}

struct World {
    now: Millis,
    leader: Scheduler,
    former: Option<Scheduler>,
    /// Whose subscription the master knows.
    subscriber: Option<Who>,
    durable: State,
    suppressed: bool,
    hosts: Vec<Host>,
    offers: BTreeMap<String, usize>,
    refused: BTreeSet<usize>,
    tasks: BTreeMap<String, Real>,
    /// On which host each slot's etcd member has its data, since the cluster has formed.
    members: BTreeMap<Slot, usize>,
    /// Living tasks that a scheduler has given up for others.
    given_up: BTreeSet<String>,
    counter: u64,
    withdrawn: BTreeSet<(Slot, Incarnation)>,
}

impl World {
    fn new() -> Self {
        let host = |k| Host { agent: format!("S{k}"), here: true, unreachable: false, cut: false };
        let state = State::new(NODES);
        Self {
            now: Millis(0),
            leader: Scheduler::new(&state),
            former: None,
            subscriber: None,
            durable: state,
            suppressed: false,
            hosts: (0..HOSTS).map(host).collect(),
            offers: BTreeMap::new(),
            refused: BTreeSet::new(),
            tasks: BTreeMap::new(),
            members: BTreeMap::new(),
            given_up: BTreeSet::new(),
            counter: 0,
            withdrawn: BTreeSet::new(),
        }
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{}", self.counter)
    }

    fn scheduler(&mut self, who: Who) -> Option<&mut Scheduler> {
        match who {
            Who::Leader => Some(&mut self.leader),
            Who::Former => self.former.as_mut(),
        }
    }

    fn tell(&mut self, who: Who, event: Event) {
        let now = self.now;
        let uuid = match &event {
            Event::Update(update) => update.uuid.clone(),
            _ => None,
        };
        let Some(scheduler) = self.scheduler(who) else { return };
        let actions = scheduler.core.on(now, event);
        for action in &actions {
            if let Action::Persist { sequence, .. } = action {
                scheduler.sequence = *sequence;
            }
        }
        if let Some(uuid) = uuid {
            // Delivered twice, it may be acknowledged for the first time that it was heard.
            scheduler.owed.entry(uuid).or_insert(scheduler.sequence);
        }
        let state = scheduler.core.state().clone();
        let before = std::mem::replace(&mut scheduler.newest, state.clone());
        // What the former one thinks never becomes durable.
        if who == Who::Leader {
            self.compare(&before, &state);
        }
        for action in actions {
            self.act(who, action);
        }
    }

    /// Tells whoever is subscribed.
    fn tell_subscriber(&mut self, event: Event) {
        if let Some(who) = self.subscriber {
            self.tell(who, event);
        }
    }

    /// From one state of a scheduler to its next.
    fn compare(&mut self, before: &State, after: &State) {
        if let Bootstrap::Formed { .. } = before.bootstrap {
            assert_eq!(after.bootstrap, before.bootstrap, "formed is for good");
        }
        for (slot, record) in &after.slots {
            let former = &before.slots[slot];
            assert!(record.incarnation >= former.incarnation, "incarnations only grow");
            let Some(task) = &former.task else { continue };
            let id = task_id(CLUSTER, *slot, task.incarnation);
            let replaced = record.task.as_ref().is_none_or(|t| t.incarnation != task.incarnation);
            let Some(real) = self.tasks.get(&id).filter(|real| replaced && real.alive) else { continue };
            let host = &self.hosts[real.host];
            assert!(host.unreachable && host.agent == real.agent, "{id} is given up and can be reached: {host:?}");
            if !after.is_forming() {
                assert!(!self.is_voter(real), "{id} is given up and serves");
                assert!(self.voters().count() >= MAJORITY, "{id} is given up while etcd has no quorum");
            }
            self.given_up.insert(id);
        }
    }

    fn act(&mut self, who: Who, action: Action) {
        let subscribed = self.subscriber == Some(who);
        let Some(scheduler) = self.scheduler(who) else { return };
        match action {
            Action::Persist { sequence, state } => scheduler.writes.push_back((sequence, state)),
            Action::Withdraw { slot, incarnation } => {
                let id = task_id(CLUSTER, slot, incarnation);
                assert!(self.tasks.get(&id).is_none_or(|task| !task.alive), "{id} lives and is withdrawn");
                self.withdrawn.insert((slot, incarnation));
            }
            Action::Probe { generation } => {
                assert!(scheduler.probe.replace(generation).is_none(), "one probe at a time");
            }
            Action::Census => assert!(!std::mem::replace(&mut scheduler.census, true), "one census at a time"),
            // Refused, because its stream isn't the current one: whoever said it ends.
            _ if who == Who::Former && !subscribed => self.former = None,
            _ if !subscribed => panic!("{action:?} without a subscription"),
            Action::Launch { offer, tasks } => self.launch(&offer, tasks),
            Action::Decline { offer, refuse_s } => {
                let host = self.offers.remove(&offer);
                if refuse_s > 0.0 {
                    self.refused.extend(host);
                }
            }
            Action::Revive => {
                self.suppressed = false;
                self.refused.clear();
            }
            Action::Suppress => self.suppressed = true,
            Action::Kill { task_id, .. } => self.kill(&task_id),
            Action::Acknowledge { task_id, uuid, .. } => {
                let owed = scheduler.owed[&uuid];
                assert!(owed <= scheduler.durable, "{uuid} is acknowledged before state {owed} is durable");
                let task = self.tasks.get_mut(&task_id).unwrap();
                if task.updates.front().is_some_and(|(id, _)| *id == uuid) {
                    task.updates.pop_front();
                }
            }
            Action::Reconcile(tasks) => self.reconcile(tasks),
        }
    }

    fn launch(&mut self, offer: &Offer, tasks: Vec<Launch>) {
        assert!(self.durable.framework_id.is_some(), "the id is written first");
        let valid = self.offers.remove(&offer.id);
        for launch in tasks {
            let slot = launch.slot;
            let id = task_id(CLUSTER, slot, launch.incarnation);
            let record = &self.durable.slots[&slot];
            let written = record.task.as_ref().expect("the launch is written first");
            assert_eq!(written.incarnation, launch.incarnation);
            assert_eq!(record.home.as_ref(), Some(&offer.hostname));
            assert_eq!(self.durable.bootstrap, launch.bootstrap);
            assert!(!self.tasks.contains_key(&id), "{id}: task ids are used once");
            let twins: Vec<_> = self.tasks.iter().filter(|(_, t)| t.slot == slot && t.alive).collect();
            assert!(twins.iter().all(|(id, _)| self.given_up.contains(*id)), "{id} is launched beside {twins:?}");
            let host = match valid {
                Some(host) if self.hosts[host].here => host,
                _ => {
                    self.queue(id, None, TaskState::Dropped);
                    continue;
                }
            };
            // Two containers of one slot on one host would have one address: the second doesn't start.
            let alive = twins.iter().all(|(_, twin)| twin.host != host);
            if !self.durable.is_forming() && !launch.data_lost {
                assert_eq!(self.members[&slot], host, "{id} starts where its data isn't, and isn't told");
            }
            let states = if alive { vec![TaskState::Starting, TaskState::Running] } else { vec![TaskState::Failed] };
            let updates = states.into_iter().map(|state| (self.fresh("u"), state)).collect();
            let (agent, generation) = (offer.agent.clone(), self.durable.generation());
            let told = TaskState::Staging;
            self.tasks.insert(id, Real { slot, host, agent, alive, generation, told, updates });
        }
    }

    /// An update by the master itself: at once or never.
    fn queue(&mut self, task_id: String, agent: Option<String>, state: TaskState) {
        if let Some(scheduler) = self.subscriber.and_then(|who| self.scheduler(who)) {
            scheduler.mail.push_back(Update { task_id, state, agent, uuid: None });
        }
    }

    fn drain(&mut self) {
        while let Some(who) = self.subscriber
            && let Some(update) = self.scheduler(who).and_then(|scheduler| scheduler.mail.pop_front())
        {
            self.tell(who, Event::Update(update));
        }
    }

    fn kill(&mut self, id: &str) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if self.hosts[task.host].here && self.hosts[task.host].agent == task.agent {
            self.die(id, TaskState::Killed);
        }
    }

    fn die(&mut self, id: &str, state: TaskState) {
        let uuid = self.fresh("u");
        let task = self.tasks.get_mut(id).unwrap();
        if std::mem::replace(&mut task.alive, false) {
            task.updates.push_back((uuid, state));
        }
    }

    fn reconcile(&mut self, tasks: Vec<(String, String)>) {
        let explicit = !tasks.is_empty();
        let all = || self.tasks.iter().map(|(id, t)| (id.clone(), t.agent.clone()));
        let asked: Vec<_> = if explicit { tasks } else { all().collect() };
        for (id, agent) in asked {
            let host = self.hosts.iter().find(|host| host.agent == agent);
            let answer = match (self.tasks.get(&id), host) {
                (_, Some(host)) if host.unreachable => Some(TaskState::Unreachable),
                (_, Some(host)) if !host.here => None,
                (Some(task), Some(_)) => Some(task.told),
                (None, Some(_)) => Some(TaskState::Gone),
                (_, None) => Some(TaskState::Unknown),
            };
            if let Some(state) = answer.filter(|state| explicit || *state != TaskState::Unknown) {
                self.queue(id, Some(agent), state);
            }
        }
    }

    fn deliver(&mut self, pick: usize) {
        let hosts = &self.hosts;
        let ready: Vec<String> = self
            .tasks
            .iter()
            .filter(|(_, task)| {
                let host = &hosts[task.host];
                !task.updates.is_empty() && host.here && host.agent == task.agent
            })
            .map(|(id, _)| id.clone())
            .collect();
        if self.subscriber.is_none() || ready.is_empty() {
            return;
        }
        let id = ready[pick % ready.len()].clone();
        let task = self.tasks.get_mut(&id).unwrap();
        let (uuid, state) = task.updates[0].clone();
        task.told = state;
        let agent = Some(task.agent.clone());
        let uuid = Some(uuid);
        self.tell_subscriber(Event::Update(Update { task_id: id, state, agent, uuid }));
    }

    fn offer(&mut self) {
        if self.subscriber.is_none() || self.suppressed {
            return;
        }
        let mut offers = Vec::new();
        for k in 0..HOSTS {
            let host = self.hosts[k].clone();
            if !host.here || self.refused.contains(&k) || self.offers.values().any(|h| *h == k) {
                continue;
            }
            let used = self.tasks.values().filter(|t| t.host == k && t.agent == host.agent && !t.told.is_terminal());
            let free = 3.0 - used.count() as f64;
            let id = self.fresh("O");
            self.offers.insert(id.clone(), k);
            offers.push(Offer {
                id,
                agent: host.agent,
                hostname: format!("host-{k}"),
                cpus: 0.5 * free,
                mem_mb: 256.0 * free,
            });
        }
        self.tell_subscriber(Event::Offers(offers));
    }

    fn lose_offers(&mut self, host: Option<usize>) {
        let lost: Vec<String> =
            self.offers.iter().filter(|(_, h)| host.is_none_or(|host| host == **h)).map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.offers.remove(&id);
            self.tell_subscriber(Event::Rescind(id));
        }
    }

    fn tasks_on(&self, host: usize) -> Vec<String> {
        let here = self.tasks.iter().filter(|(_, t)| t.host == host && t.agent == self.hosts[host].agent);
        here.map(|(id, _)| id.clone()).collect()
    }

    /// The master's end of a subscription, or its own.
    fn forget_subscription(&mut self) -> Option<Who> {
        self.offers.clear();
        let who = self.subscriber.take()?;
        if let Some(scheduler) = self.scheduler(who) {
            scheduler.mail.clear();
        }
        Some(who)
    }

    fn disconnect(&mut self) {
        if let Some(who) = self.forget_subscription() {
            self.tell(who, Event::Disconnected);
        }
    }

    fn subscribe(&mut self, who: Who) {
        // The last subscriber wins; the other one's stream ends with `Framework failed over`, and it with it.
        match self.forget_subscription() {
            Some(Who::Leader) => self.leader = Scheduler::new(&self.durable),
            // It may still be asleep.
            Some(Who::Former) | None => {}
        }
        self.subscriber = Some(who);
        self.suppressed = false;
        self.refused.clear();
        self.tell(who, Event::Subscribed { framework_id: "f-0000".into() });
    }

    fn give_agent_up(&mut self, host: usize) {
        self.hosts[host].here = false;
        self.hosts[host].unreachable = true;
        for id in self.tasks_on(host) {
            let (agent, told) = (self.tasks[&id].agent.clone(), self.tasks[&id].told);
            if !told.is_terminal() {
                self.queue(id, Some(agent), TaskState::Unreachable);
            }
        }
        self.lose_offers(Some(host));
        let agent = self.hosts[host].agent.clone();
        self.tell_subscriber(Event::AgentLost(agent));
    }

    fn return_agent(&mut self, host: usize) {
        self.hosts[host].here = true;
        self.hosts[host].cut = false;
        if std::mem::replace(&mut self.hosts[host].unreachable, false) {
            for id in self.tasks_on(host) {
                let task = &self.tasks[&id];
                self.queue(id, Some(task.agent.clone()), task.told);
            }
        }
    }

    fn is_voter(&self, task: &Real) -> bool {
        task.alive && !self.hosts[task.host].cut && self.members.get(&task.slot) == Some(&task.host)
    }

    /// Living nodes whose data is their member's, and that reach each other.
    fn voters(&self) -> impl Iterator<Item = (&String, &Real)> {
        self.tasks.iter().filter(|(_, task)| self.is_voter(task))
    }

    fn take_census(&self) -> Option<BTreeMap<Slot, Incarnation>> {
        let registered: BTreeMap<_, _> = self.voters().filter_map(|(id, _)| parse_task_id(CLUSTER, id)).collect();
        (registered.len() >= MAJORITY).then_some(registered)
    }

    /// A node without valid data takes its slot's place in etcd; a former incarnation that is within reach is fenced.
    fn join(&mut self, pick: usize) {
        if self.durable.is_forming() || self.voters().count() < MAJORITY {
            return;
        }
        let empty = self.tasks.iter().filter(|(_, task)| {
            let host = &self.hosts[task.host];
            task.alive && !host.cut && self.members.get(&task.slot) != Some(&task.host)
        });
        let empty: Vec<String> = empty.map(|(id, _)| id.clone()).collect();
        if empty.is_empty() {
            return;
        }
        let id = &empty[pick % empty.len()];
        let (slot, incarnation) = parse_task_id(CLUSTER, id).unwrap();
        let newer = self.tasks.keys().filter_map(|other| parse_task_id(CLUSTER, other));
        if newer.into_iter().any(|(s, i)| s == slot && i > incarnation) {
            return self.die(&id.clone(), TaskState::Finished);
        }
        let host = self.tasks[id].host;
        self.members.insert(slot, host);
        let twins = self.tasks.iter().filter(|(twin, task)| *twin != id && task.slot == slot && task.alive);
        let near: Vec<String> = twins.filter(|(_, t)| !self.hosts[t.host].cut).map(|(twin, _)| twin.clone()).collect();
        for twin in near {
            self.die(&twin, TaskState::Finished);
        }
    }

    fn write(&mut self) {
        if let Some((sequence, state)) = self.leader.writes.pop_front() {
            self.durable = state;
            self.leader.durable = sequence;
            self.leader.persisted.push_back(sequence);
        }
    }

    fn persisted(&mut self, who: Who) {
        if let Some(sequence) = self.scheduler(who).and_then(|scheduler| scheduler.persisted.pop_front()) {
            self.tell(who, Event::Persisted(sequence));
        }
    }

    fn wake(&mut self, waking: Waking) {
        let Some(former) = &mut self.former else { return };
        match waking {
            Waking::Tick => self.tell(Who::Former, Event::Tick),
            // Its candidate node is gone.
            Waking::Write if !former.writes.is_empty() => self.end_former(),
            Waking::Persisted => self.persisted(Who::Former),
            Waking::Subscribe if self.subscriber != Some(Who::Former) => {
                self.tell(Who::Former, Event::Disconnected);
                self.subscribe(Who::Former);
            }
            Waking::End => self.end_former(),
            Waking::Write | Waking::Subscribe => {}
        }
    }

    fn end_former(&mut self) {
        self.former = None;
        if self.subscriber == Some(Who::Former) {
            self.forget_subscription();
        }
    }

    fn probe(&mut self) {
        if let Some(generation) = self.leader.probe.take() {
            let up = self.tasks.values().filter(|t| t.alive && !self.hosts[t.host].cut && t.generation == generation);
            let founders: BTreeMap<Slot, usize> = up.map(|t| (t.slot, t.host)).collect();
            let healthy = founders.len() == NODES as usize;
            if healthy && self.durable.is_forming() {
                self.members = founders;
            }
            self.tell(Who::Leader, Event::Probed { generation, healthy });
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Tick | Op::Pause => {
                let pause = if matches!(op, Op::Tick) { TICK_MS } else { 10_000 };
                self.now = self.now + Duration::from_millis(pause);
                self.tell(Who::Leader, Event::Tick);
            }
            Op::Write => self.write(),
            Op::Persisted => self.persisted(Who::Leader),
            Op::Offers => self.offer(),
            Op::Rescind => self.lose_offers(None),
            Op::Deliver(pick) => self.deliver(pick),
            Op::Kill(pick) => {
                let alive: Vec<_> = self.tasks.iter().filter(|(_, t)| t.alive).collect();
                if !alive.is_empty() {
                    let id = alive[pick % alive.len()].0.clone();
                    self.die(&id, TaskState::Failed);
                }
            }
            Op::Unreachable(host, cut) if self.hosts[host].here => {
                self.hosts[host].cut = cut;
                self.give_agent_up(host);
            }
            Op::Return(host) => self.return_agent(host),
            Op::Replace(host) => {
                for id in self.tasks_on(host) {
                    self.tasks.get_mut(&id).unwrap().alive = false;
                }
                self.lose_offers(Some(host));
                let agent = self.fresh("R");
                self.hosts[host] = Host { agent, here: true, unreachable: false, cut: false };
            }
            Op::Disconnect => self.disconnect(),
            Op::Subscribe if self.subscriber != Some(Who::Leader) => self.subscribe(Who::Leader),
            Op::MasterFailover => {
                self.disconnect();
                self.hosts.iter_mut().for_each(|host| host.here = false);
            }
            Op::Restart => {
                if self.subscriber == Some(Who::Leader) {
                    self.forget_subscription();
                }
                self.leader = Scheduler::new(&self.durable);
            }
            Op::TakeOver => {
                self.end_former();
                self.former = Some(std::mem::replace(&mut self.leader, Scheduler::new(&self.durable)));
                self.subscriber = self.subscriber.map(|_| Who::Former);
            }
            Op::Former(waking) => self.wake(waking),
            Op::Probe => self.probe(),
            Op::Census => {
                if std::mem::take(&mut self.leader.census) {
                    self.tell(Who::Leader, Event::Census(self.take_census()));
                }
            }
            Op::Join(pick) => self.join(pick),
            Op::Unreachable(..) | Op::Subscribe => {}
        }
        self.drain();
    }

    /// Goes on without further events for so many ticks.
    fn go_on(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.step(Op::Subscribe);
            self.step(Op::Tick);
            self.step(Op::Offers);
            for _ in 0..10 {
                self.step(Op::Write);
                self.step(Op::Persisted);
                self.step(Op::Deliver(0));
            }
            for op in [Op::Probe, Op::Census, Op::Join(0)] {
                self.step(op);
            }
            if self.now.0.is_multiple_of(1_000) {
                self.refused.clear();
            }
        }
    }

    /// Everything works for five minutes.
    fn calm(&mut self) {
        self.step(Op::Former(Waking::End));
        for host in 0..HOSTS {
            self.step(Op::Return(host));
        }
        self.go_on(1_200);
    }

    /// Every slot runs, alone, is formed, and has valid data; every update is acknowledged.
    fn assert_healed(&self) {
        let state = self.leader.core.state();
        assert!(!state.is_forming(), "not formed: {state:?}");
        for (slot, record) in &state.slots {
            let task = record.task.as_ref();
            assert!(task.is_some_and(|t| t.stage == Stage::Running), "slot {slot}: {record:?}");
            assert!(!record.data_lost, "slot {slot}: {record:?}");
        }
        let alive: Vec<_> = self.tasks.iter().filter(|(_, t)| t.alive).collect();
        assert_eq!(alive.len(), NODES as usize, "{alive:?}");
        for (id, task) in alive {
            let (slot, incarnation) = parse_task_id(CLUSTER, id).unwrap();
            let current = state.slots[&slot].task.as_ref().map(|t| t.incarnation);
            assert_eq!(current, Some(incarnation));
            assert!(self.is_voter(task), "{id}: its data is on host {:?}", self.members.get(&slot));
            assert!(!self.withdrawn.contains(&(slot, incarnation)));
        }
        for (id, task) in &self.tasks {
            let sends = self.hosts[task.host].agent == task.agent;
            assert!(!sends || task.updates.is_empty(), "{id}: {task:?}");
        }
    }
}

/// Enough for a cluster to form, or for slots to move.
const SOON: u32 = 60;

fn formed() -> World {
    let mut world = World::new();
    world.go_on(SOON);
    world.assert_healed();
    world
}

#[test]
fn the_slots_of_a_lost_host_move_and_its_return_ends_their_twins() {
    let mut world = formed();
    let lost: Vec<String> = world.tasks_on(0);
    assert_eq!(lost.len(), 2);
    world.step(Op::Unreachable(0, true));
    world.go_on(SOON);
    assert!(world.members.values().all(|host| *host != 0), "{:?}", world.members);
    assert_eq!(world.voters().count(), NODES as usize);
    assert!(lost.iter().all(|id| world.tasks[id].alive && world.given_up.contains(id)));
    world.step(Op::Return(0));
    world.go_on(SOON);
    assert!(lost.iter().all(|id| !world.tasks[id].alive));
    world.assert_healed();
}

#[test]
fn nothing_moves_while_only_the_agent_is_lost_or_too_many_hosts_are() {
    let mut world = formed();
    let members = world.members.clone();
    world.step(Op::Unreachable(0, false));
    world.go_on(SOON * 5);
    assert_eq!((&world.members, world.tasks.len()), (&members, NODES as usize));
    world.step(Op::Return(0));
    world.go_on(SOON);
    for host in [0, 1] {
        world.step(Op::Unreachable(host, true));
    }
    world.go_on(SOON * 5);
    assert_eq!(world.tasks.len(), NODES as usize);
    world.calm();
    assert_eq!((&world.members, world.tasks.len()), (&members, NODES as usize));
    world.assert_healed();
}

proptest! {
    /// The rules are asserted at every step by the world itself; in the end calm heals everything.
    #[test]
    fn whatever_happens_the_rules_hold_and_calm_heals(is_formed in any::<bool>(), ops in ops()) {
        let mut world = if is_formed { formed() } else { World::new() };
        for op in ops {
            world.step(op);
        }
        world.calm();
        world.assert_healed();
    }
}
