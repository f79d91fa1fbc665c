//! A small Mesos around the core, driven by random events: what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::{CLUSTER, settings};
use crate::clock::Millis;
use crate::config::{Bootstrap, Slot};
use crate::framework::core::messages::{Action, Event, Launch, Offer, Update};
use crate::framework::core::state::{Stage, State, parse_task_id, task_id};
use crate::framework::core::{Core, TICK_MS};
use crate::mesos::types::TaskState;

const NODES: u32 = 5;
const HOSTS: usize = 3;

/// Something that befalls the world.
#[derive(Debug, Clone)]
enum Op {
    Tick,
    Persist,
    Offers,
    Rescind,
    Deliver(usize),
    Kill(usize),
    Unreachable(usize),
    Return(usize),
    Replace(usize),
    Disconnect,
    Subscribe,
    MasterFailover,
    Restart,
    Probe,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => Just(Op::Tick),
        8 => Just(Op::Persist),
        6 => Just(Op::Offers),
        1 => Just(Op::Rescind),
        12 => any::<usize>().prop_map(Op::Deliver),
        2 => any::<usize>().prop_map(Op::Kill),
        1 => (0..HOSTS).prop_map(Op::Unreachable),
        2 => (0..HOSTS).prop_map(Op::Return),
        1 => (0..HOSTS).prop_map(Op::Replace),
        1 => Just(Op::Disconnect),
        3 => Just(Op::Subscribe),
        1 => Just(Op::MasterFailover),
        1 => Just(Op::Restart),
        3 => Just(Op::Probe),
    ];
    prop::collection::vec(op, 0..300)
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
    /// The master waits for it, or counts it as unreachable.
    unreachable: bool,
}

struct World {
    now: Millis,
    core: Core,
    durable: State,
    newest: State,
    writes: VecDeque<(u64, State)>,
    subscribed: bool,
    suppressed: bool,
    hosts: Vec<Host>,
    offers: BTreeMap<String, usize>,
    refused: BTreeSet<usize>,
    tasks: BTreeMap<String, Real>,
    probe: Option<u64>,
    counter: u64,
    withdrawn: BTreeSet<(Slot, u64)>,
}

impl World {
    fn new() -> Self {
        let host = |k| Host { agent: format!("S{k}"), here: true, unreachable: false };
        let state = State::new(NODES);
        Self {
            now: Millis(0),
            core: Core::new(settings(), state.clone()),
            durable: state.clone(),
            newest: state,
            writes: VecDeque::new(),
            subscribed: false,
            suppressed: false,
            hosts: (0..HOSTS).map(host).collect(),
            offers: BTreeMap::new(),
            refused: BTreeSet::new(),
            tasks: BTreeMap::new(),
            probe: None,
            counter: 0,
            withdrawn: BTreeSet::new(),
        }
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.counter += 1;
        format!("{prefix}{}", self.counter)
    }

    fn tell(&mut self, event: Event) {
        for action in self.core.on(self.now, event) {
            self.act(action);
        }
        let state = self.core.state();
        if let Bootstrap::Formed { generation } = self.newest.bootstrap {
            assert_eq!(state.bootstrap, Bootstrap::Formed { generation }, "formed is for good");
        }
        for (slot, record) in &state.slots {
            assert!(record.incarnation >= self.newest.slots[slot].incarnation, "incarnations only grow");
        }
        self.newest = state.clone();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Persist { sequence, state } => self.writes.push_back((sequence, state)),
            Action::Withdraw { slot, incarnation } => {
                let id = task_id(CLUSTER, slot, incarnation);
                assert!(self.tasks.get(&id).is_none_or(|task| !task.alive), "{id} lives and is withdrawn");
                self.withdrawn.insert((slot, incarnation));
            }
            Action::Probe { generation } => {
                assert!(self.probe.is_none(), "one probe at a time");
                self.probe = Some(generation);
            }
            _ if !self.subscribed => panic!("{action:?} without a subscription"),
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
            let id = task_id(CLUSTER, launch.slot, launch.incarnation);
            let record = &self.durable.slots[&launch.slot];
            let written = record.task.as_ref().expect("the launch is written first");
            assert_eq!(written.incarnation, launch.incarnation);
            assert_eq!(record.home.as_ref(), Some(&offer.hostname));
            assert_eq!(self.durable.bootstrap, launch.bootstrap);
            assert!(!self.tasks.contains_key(&id), "{id}: task ids are used once");
            let living = self.tasks.values().find(|task| task.slot == launch.slot && task.alive);
            assert!(living.is_none(), "{id} is launched beside {living:?}");
            let host = match valid {
                Some(host) if self.hosts[host].here => host,
                _ => {
                    self.queue(id, None, TaskState::Dropped);
                    continue;
                }
            };
            let updates = [TaskState::Starting, TaskState::Running].map(|s| (self.fresh("u"), s));
            let task = Real {
                slot: launch.slot,
                host,
                agent: offer.agent.clone(),
                alive: true,
                generation: self.durable.generation(),
                told: TaskState::Staging,
                updates: updates.into(),
            };
            self.tasks.insert(id, task);
        }
    }

    /// An update by the master itself: at once or never. (Recursion is fine: the core has finished its turn's state.)
    fn queue(&mut self, task_id: String, agent: Option<String>, state: TaskState) {
        if self.subscribed {
            self.later(Update { task_id, state, agent, uuid: None });
        }
    }

    fn later(&mut self, update: Update) {
        // Delivered as a turn of its own by `drain`, in order.
        MAIL.with_borrow_mut(|mail| mail.push_back(update));
    }

    fn drain(&mut self) {
        while let Some(update) = MAIL.with_borrow_mut(VecDeque::pop_front) {
            if self.subscribed {
                self.tell(Event::Update(update));
            }
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
        if !self.subscribed || ready.is_empty() {
            return;
        }
        let id = ready[pick % ready.len()].clone();
        let task = self.tasks.get_mut(&id).unwrap();
        let (uuid, state) = task.updates[0].clone();
        task.told = state;
        let agent = Some(task.agent.clone());
        let uuid = Some(uuid);
        self.tell(Event::Update(Update { task_id: id, state, agent, uuid }));
    }

    fn offer(&mut self) {
        if !self.subscribed || self.suppressed {
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
        self.tell(Event::Offers(offers));
    }

    fn lose_offers(&mut self, host: Option<usize>) {
        let lost: Vec<String> =
            self.offers.iter().filter(|(_, h)| host.is_none_or(|host| host == **h)).map(|(id, _)| id.clone()).collect();
        for id in lost {
            self.offers.remove(&id);
            if self.subscribed {
                self.tell(Event::Rescind(id));
            }
        }
    }

    fn tasks_on(&self, host: usize) -> Vec<String> {
        let here = self.tasks.iter().filter(|(_, t)| t.host == host && t.agent == self.hosts[host].agent);
        here.map(|(id, _)| id.clone()).collect()
    }

    fn disconnect(&mut self) {
        if std::mem::replace(&mut self.subscribed, false) {
            self.offers.clear();
            MAIL.with_borrow_mut(VecDeque::clear);
            self.tell(Event::Disconnected);
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Tick => {
                self.now = self.now + Duration::from_millis(TICK_MS);
                self.tell(Event::Tick);
            }
            Op::Persist => {
                if let Some((sequence, state)) = self.writes.pop_front() {
                    self.durable = state;
                    self.tell(Event::Persisted(sequence));
                }
            }
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
            Op::Unreachable(host) if self.hosts[host].here => {
                self.hosts[host].here = false;
                self.hosts[host].unreachable = true;
                for id in self.tasks_on(host) {
                    let (agent, told) = (self.tasks[&id].agent.clone(), self.tasks[&id].told);
                    if !told.is_terminal() {
                        self.queue(id, Some(agent), TaskState::Unreachable);
                    }
                }
                self.lose_offers(Some(host));
                if self.subscribed {
                    let agent = self.hosts[host].agent.clone();
                    self.tell(Event::AgentLost(agent));
                }
            }
            Op::Return(host) => {
                self.hosts[host].here = true;
                if std::mem::replace(&mut self.hosts[host].unreachable, false) {
                    for id in self.tasks_on(host) {
                        let task = &self.tasks[&id];
                        self.queue(id, Some(task.agent.clone()), task.told);
                    }
                }
            }
            Op::Replace(host) => {
                for id in self.tasks_on(host) {
                    self.tasks.get_mut(&id).unwrap().alive = false;
                }
                self.lose_offers(Some(host));
                let agent = self.fresh("R");
                let (here, unreachable) = (true, false);
                self.hosts[host] = Host { agent, here, unreachable };
            }
            Op::Disconnect => self.disconnect(),
            Op::Subscribe if !self.subscribed => {
                self.subscribed = true;
                self.suppressed = false;
                self.refused.clear();
                let framework_id = "f-0000".into();
                self.tell(Event::Subscribed { framework_id });
            }
            Op::MasterFailover => {
                self.disconnect();
                self.hosts.iter_mut().for_each(|host| host.here = false);
            }
            Op::Restart => {
                self.subscribed = false;
                self.offers.clear();
                MAIL.with_borrow_mut(VecDeque::clear);
                self.probe = None;
                self.writes.clear();
                self.newest = self.durable.clone();
                self.core = Core::new(settings(), self.durable.clone());
            }
            Op::Probe => {
                if let Some(generation) = self.probe.take() {
                    let up = self.tasks.values().filter(|t| t.alive && t.generation == generation);
                    let healthy = up.count() == NODES as usize;
                    self.tell(Event::Probed { generation, healthy });
                }
            }
            Op::Unreachable(_) | Op::Subscribe => {}
        }
        self.drain();
    }

    /// Everything works for five minutes.
    fn calm(&mut self) {
        for host in 0..HOSTS {
            self.step(Op::Return(host));
        }
        for _ in 0..1_200 {
            self.step(Op::Subscribe);
            self.step(Op::Tick);
            self.step(Op::Offers);
            for _ in 0..10 {
                self.step(Op::Persist);
                self.step(Op::Deliver(0));
            }
            self.step(Op::Probe);
            if self.now.0.is_multiple_of(1_000) {
                self.refused.clear();
            }
        }
    }
}

thread_local! {
    static MAIL: std::cell::RefCell<VecDeque<Update>> = const { std::cell::RefCell::new(VecDeque::new()) };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// The rules are asserted at every step by the world itself; at the end, in calm, every slot runs, alone, and is formed.
    #[test]
    fn whatever_happens_the_rules_hold_and_calm_heals(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.step(op);
        }
        world.calm();
        let state = world.core.state();
        prop_assert!(!state.is_forming(), "not formed: {state:?}");
        for (slot, record) in &state.slots {
            let task = record.task.as_ref();
            prop_assert!(task.is_some_and(|t| t.stage == Stage::Running), "slot {slot}: {record:?}");
        }
        let alive: Vec<_> = world.tasks.iter().filter(|(_, t)| t.alive).map(|(id, _)| id).collect();
        prop_assert_eq!(alive.len(), NODES as usize, "{:?}", alive);
        for id in alive {
            let (slot, incarnation) = parse_task_id(CLUSTER, id).unwrap();
            let current = state.slots[&slot].task.as_ref().map(|t| t.incarnation);
            prop_assert_eq!(current, Some(incarnation));
            prop_assert!(!world.withdrawn.contains(&(slot, incarnation)));
        }
    }
}
