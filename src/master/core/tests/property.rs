//! What holds whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One thing that may happen; numbers choose among what is there.
#[derive(Debug, Clone)]
enum Step {
    Subscribe { again: bool },
    Close { framework: usize },
    Register { agent: usize, with_id: bool },
    Cut { agent: usize },
    Launch { offer: usize, cpus_milli: u32 },
    Decline { offer: usize, seconds: f64 },
    Update { task: usize, state: usize },
    Acknowledge { update: usize },
    Kill { task: usize },
    Revive,
    Teardown { framework: usize },
    Pass { ms: u64, alive: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<bool>().prop_map(|again| Step::Subscribe { again }),
        1 => (0usize..4).prop_map(|framework| Step::Close { framework }),
        2 => (0usize..3, any::<bool>()).prop_map(|(agent, with_id)| Step::Register { agent, with_id }),
        1 => (0usize..3).prop_map(|agent| Step::Cut { agent }),
        6 => (0usize..6, 1u32..2500).prop_map(|(offer, cpus_milli)| Step::Launch { offer, cpus_milli }),
        2 => (0usize..6, prop_oneof![Just(0.0), 1.0..20.0]).prop_map(|(offer, seconds)| Step::Decline { offer, seconds }),
        6 => (0usize..8, 0usize..5).prop_map(|(task, state)| Step::Update { task, state }),
        4 => (0usize..8).prop_map(|update| Step::Acknowledge { update }),
        1 => (0usize..8).prop_map(|task| Step::Kill { task }),
        1 => Just(Step::Revive),
        1 => (0usize..4).prop_map(|framework| Step::Teardown { framework }),
        4 => (prop_oneof![Just(100u64), 500u64..4000], prop::bool::weighted(0.8)).prop_map(|(ms, alive)| Step::Pass { ms, alive }),
    ]
}

/// What the outside knows.
#[derive(Default)]
struct Outside {
    /// Framework id → its current stream.
    connected: BTreeMap<FrameworkId, String>,
    /// Agent number → its id and its current stream.
    agents: BTreeMap<usize, (AgentId, Option<String>)>,
    launched: BTreeMap<TaskId, FrameworkId>,
    updated: BTreeSet<TaskId>,
    pending: Vec<(FrameworkId, AgentId, TaskId, String)>,
    count: u64,
}

impl Outside {
    /// Reads everything that was said since the last time; checks what can be checked on the way.
    fn listen(&mut self, world: &mut World) {
        for action in std::mem::take(&mut world.said) {
            match action {
                Action::ToScheduler(stream, event) => self.hear(&stream, *event),
                Action::CloseScheduler(stream) => self.connected.retain(|_, s| *s != stream),
                Action::CloseAgent(stream) => {
                    for (_, current) in self.agents.values_mut() {
                        current.take_if(|current| *current == stream);
                    }
                }
                Action::ToAgent(stream, message) => {
                    if let ToAgent::Registered { agent_id, .. } = *message {
                        let agent = self.agents.values_mut().find(|(_, s)| s.as_ref() == Some(&stream));
                        agent.expect("only current streams are written to").0 = agent_id;
                    }
                }
                Action::SaveRegistry(_) => {}
            }
        }
    }

    fn hear(&mut self, stream: &str, event: wire::Event) {
        if let wire::Event::Subscribed(body) = &event {
            self.connected.insert(body.framework_id.clone(), stream.to_owned());
        }
        let wire::Event::Update(status) = event else {
            return;
        };
        let current = self.connected.iter().find(|(_, s)| *s == stream);
        let (framework, _) = current.expect("updates go to current subscriptions only");
        let owner = self.launched.get(&status.task_id);
        assert_eq!(owner, Some(framework), "an update for somebody else's task");
        self.updated.insert(status.task_id.clone());
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent_id) {
            self.pending.push((framework.clone(), agent, status.task_id, uuid));
        }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn apply(&mut self, world: &mut World, step: Step) {
        match step {
            Step::Subscribe { again: true } => {
                let known = world.master.frameworks.keys().next().cloned();
                let id = known.unwrap_or_else(|| "earlier-0000".into());
                world.subscribe(again(id.as_str()));
            }
            Step::Subscribe { again: false } => {
                world.subscribe(info());
            }
            Step::Close { framework } => {
                let stream = self.connected.values().nth(framework).cloned();
                if let Some(stream) = stream {
                    self.connected.retain(|_, s| *s != stream);
                    world.on(Event::SchedulerClosed { stream });
                }
            }
            Step::Register { agent, with_id } => self.register(world, agent, with_id),
            Step::Cut { agent } => {
                let stream = self.agents.get_mut(&agent).and_then(|(_, stream)| stream.take());
                if let Some(stream) = stream {
                    world.on(Event::AgentClosed { stream });
                }
            }
            Step::Launch { offer, cpus_milli } => self.launch(world, offer, cpus_milli),
            Step::Decline { offer, seconds } => {
                if let Some((id, framework)) = nth_offer(world, offer, &self.connected) {
                    let filters = Some(Filters { refuse_seconds: Some(seconds) });
                    world.call(Call::decline(framework, vec![id], filters));
                }
            }
            Step::Update { task, state } => self.update(world, task, state),
            Step::Acknowledge { update } if update < self.pending.len() => {
                let (framework, agent, task, uuid) = self.pending.swap_remove(update);
                if self.connected.contains_key(&framework) {
                    world.call(Call::acknowledge(framework, agent, task, uuid));
                }
            }
            Step::Acknowledge { .. } => {}
            Step::Kill { task } => {
                let chosen = self.launched.iter().nth(task).map(|(t, f)| (t.clone(), f.clone()));
                if let Some((task, framework)) = chosen.filter(|(_, f)| self.connected.contains_key(f)) {
                    world.call(Call::kill(framework, task, None, None));
                }
            }
            Step::Revive => {
                for framework in self.connected.keys().cloned().collect::<Vec<_>>() {
                    world.call(Call::revive(framework));
                }
            }
            Step::Teardown { framework } => {
                if let Some(framework) = self.connected.keys().nth(framework).cloned() {
                    world.call(Call::teardown(framework));
                }
            }
            Step::Pass { ms, alive } => {
                let alive = if alive { self.agents.values().filter_map(|(_, s)| s.clone()).collect() } else { vec![] };
                let alive: Vec<&str> = alive.iter().map(String::as_str).collect();
                world.pass_alive(ms, &alive);
            }
        }
    }

    /// An agent comes with all the live tasks that the master has there.
    fn register(&mut self, world: &mut World, agent: usize, with_id: bool) {
        let id = self.agents.get(&agent).map(|(id, _)| id.clone()).filter(|_| with_id);
        let mut tasks = Vec::new();
        for (framework_id, framework) in &world.master.frameworks {
            for task in framework.tasks.values().chain(framework.unreachable.values()) {
                if Some(&task.info.agent_id) == id.as_ref() {
                    let state = if task.state.is_terminal() { task.state } else { TaskState::Running };
                    tasks.push(AgentTask { framework_id: framework_id.clone(), ..reported(task.info.clone(), state) });
                }
            }
        }
        let stream = world.register(id.as_ref().map(AgentId::as_str), 5051 + u16::try_from(agent).unwrap(), tasks);
        let id = world.master.agent_of(&stream).cloned().unwrap();
        self.agents.insert(agent, (id, Some(stream)));
    }

    fn launch(&mut self, world: &mut World, offer: usize, cpus_milli: u32) {
        let Some((id, framework)) = nth_offer(world, offer, &self.connected) else {
            return;
        };
        let agent = world.master.offers[&id].agent_id.clone();
        let task_id = format!("t{}", self.next());
        self.launched.insert(task_id.as_str().into(), framework.clone());
        let resources = format!("cpus:{};mem:32", f64::from(cpus_milli) / 1000.0);
        let tasks = vec![task(&task_id, agent.as_str(), &resources)];
        world.call(Call::launch(framework, vec![id], tasks, None));
    }

    fn update(&mut self, world: &mut World, task: usize, state: usize) {
        let states =
            [TaskState::Starting, TaskState::Running, TaskState::Finished, TaskState::Failed, TaskState::Killing];
        let all = world.master.frameworks.iter();
        let all = all.flat_map(|(id, f)| f.tasks.values().map(move |t| (id.clone(), t.info.clone())));
        let Some((framework_id, info)) = all.collect::<Vec<_>>().get(task).cloned() else {
            return;
        };
        let stream = self.agents.values().find(|(id, _)| *id == info.agent_id).and_then(|(_, s)| s.clone());
        let Some(stream) = stream else { return };
        let mut status = TaskStatus::new(info.task_id, states[state]);
        status.uuid = Some(format!("u{}", self.next()));
        status.agent_id = Some(info.agent_id);
        let message = FromAgent::StatusUpdate { framework_id, status: Box::new(status), latest_state: states[state] };
        world.on(Event::FromAgent { stream, message });
    }

    fn check(&self, world: &World) {
        let master = &world.master;
        for (id, agent) in &master.agents {
            let mut sum = master.used(|_, task| task.info.agent_id == *id);
            assert!(agent.total.contains(&sum), "{id} is used beyond what it has");
            sum.add(&master.offered(|offered| offered.agent_id == *id));
            assert!(agent.total.contains(&sum), "{id} is offered beyond what is free");
            if agent.stream.is_some() {
                sum.add(&master.free(id));
                assert_eq!(sum, agent.total, "used + offered + free is the total of {id}");
            }
        }
        for (id, offered) in &master.offers {
            assert!(self.connected.contains_key(&offered.framework_id), "{id} is nobody's");
            let agent = &master.agents[&offered.agent_id];
            assert!(agent.stream.is_some(), "{id} is of an agent that is cut off");
        }
        for (task, owner) in &self.launched {
            let Some(framework) = master.frameworks.get(owner) else {
                continue;
            };
            let known = framework.tasks.contains_key(task)
                || framework.unreachable.contains_key(task)
                || framework.completed.iter().any(|t| t.info.task_id == *task);
            assert!(known || self.updated.contains(task), "{task} vanished without a word");
        }
        for stream in self.connected.values() {
            let owners = master.frameworks.values().filter(|f| f.stream.as_ref() == Some(stream));
            assert_eq!(owners.count(), 1, "a stream belongs to one framework");
        }
    }
}

fn nth_offer(world: &World, n: usize, connected: &BTreeMap<FrameworkId, String>) -> Option<(OfferId, FrameworkId)> {
    let offers = world.master.offers.iter();
    let mut offers = offers.filter(|(_, o)| connected.contains_key(&o.framework_id));
    offers.nth(n).map(|(id, offered)| (id.clone(), offered.framework_id.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn resources_are_conserved_and_words_are_kept(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        let mut outside = Outside::default();
        outside.apply(&mut world, Step::Register { agent: 0, with_id: false });
        for step in steps {
            outside.listen(&mut world);
            outside.apply(&mut world, step);
            outside.listen(&mut world);
            outside.check(&world);
        }
    }

    /// The core knows no clock and no chance: the same events give the same actions.
    #[test]
    fn the_same_events_give_the_same_actions(steps in prop::collection::vec(step(), 1..30)) {
        let run = || {
            let (mut world, mut outside, mut said) = (World::new(), Outside::default(), Vec::new());
            for step in &steps {
                outside.apply(&mut world, step.clone());
                said.push(format!("{:?}", world.said));
                outside.listen(&mut world);
            }
            said
        };
        prop_assert_eq!(run(), run());
    }
}
