//! Agents come, come again, are cut off, can't be reached, and end.

use std::collections::BTreeSet;

use super::model::{Agent, Framework, Task};
use super::registrar::Change;
use super::{Action, Master};
use crate::agent::protocol::{AgentTask, Register, TaskRef, ToAgent};
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    AgentId, Event, Failure, FrameworkId, FrameworkInfo, TaskId, TaskState, TaskStatus, TimeInfo, reason,
};

impl Master {
    /// An agent asks for its place. It has it once the registry says so.
    pub(super) fn register_agent(&mut self, now: Millis, stream: String, register: Register) {
        let id = register.agent_info.id.clone().unwrap_or_else(|| {
            self.agent_count += 1;
            AgentId::new(format!("{}-S{}", self.info.id, self.agent_count - 1))
        });
        self.count(if register.agent_info.id.is_some() { "slave_reregistrations" } else { "slave_registrations" });
        // Another agent at the same address has lost its state, and with it its tasks.
        let coming = self.registrar.coming();
        let coming = coming.filter(|(_, other)| {
            other.agent_info.ip == register.agent_info.ip && other.agent_info.port == register.agent_info.port
        });
        let here = self.agents.iter().filter(|(_, agent)| agent.is_at(&register)).map(|(other, _)| other);
        let displaced: BTreeSet<_> =
            coming.map(|(other, _)| other).chain(here).filter(|o| **o != id).cloned().collect();
        for other in displaced {
            self.decide(now, Change::Remove(other, "a new agent registered at the same address"));
        }
        self.decide(now, Change::Admit { stream, closed: false, id, register: Box::new(register) });
    }

    /// The registry says that this agent is gone: it is told to end.
    pub(super) fn agent_refused(&mut self, stream: String) {
        let message = "Agent has been marked gone".to_owned();
        self.actions.push(Action::ToAgent(stream.clone(), Box::new(ToAgent::Shutdown { message })));
        self.actions.push(Action::CloseAgent(stream));
    }

    /// The agent has its place in the registry.
    pub(super) fn agent_admitted(
        &mut self,
        now: Millis,
        id: &AgentId,
        stream: String,
        register: Register,
        was_unreachable: bool,
    ) {
        let Register { mut agent_info, tasks, frameworks } = register;
        self.recovered.remove(id);
        let again = agent_info.id.replace(id.clone()).is_some();
        let wall_s = self.wall_s(now);
        let agent = Agent {
            total: Resources::of(&agent_info.resources).unwrap_or_default(),
            info: agent_info,
            stream: Some(stream),
            registered_s: self.agents.get(id).map_or(wall_s, |known| known.registered_s),
            reregistered_s: again.then_some(wall_s),
            next_ping: now,
            ponged: true,
            missed_pings: 0,
        };
        if let Some(older) = self.agents.insert(id.clone(), agent).and_then(|old| old.stream) {
            self.actions.push(Action::CloseAgent(older));
            self.rescind(|offered| offered.agent_id == *id);
        }
        self.welcome(id, &tasks);
        self.take_tasks(now, id, tasks, frameworks, was_unreachable);
        self.brief(id);
        self.allocate_now = true;
    }

    /// The first message: with the tasks that the agent should have and didn't name.
    fn welcome(&mut self, id: &AgentId, named: &[AgentTask]) {
        let named: BTreeSet<(&FrameworkId, &TaskId)> =
            named.iter().map(|task| (&task.framework_id, &task.info.task_id)).collect();
        let (mut reconcile, mut reconcile_frameworks) = (Vec::new(), Vec::new());
        for (framework_id, framework) in &self.frameworks {
            let before = reconcile.len();
            let here = framework.tasks.values().filter(|task| task.info.agent_id == *id);
            let missing = here.filter(|task| !named.contains(&(framework_id, &task.info.task_id)));
            reconcile.extend(
                missing.map(|task| TaskRef { framework_id: framework_id.clone(), task_id: task.info.task_id.clone() }),
            );
            if reconcile.len() > before {
                reconcile_frameworks.push(framework.info.clone());
            }
        }
        let pings = self.settings.ping_interval * self.settings.pings_max;
        let registered = ToAgent::Registered {
            agent_id: id.clone(),
            master_id: self.info.id.clone(),
            master_hostname: self.info.hostname.clone().unwrap_or_default(),
            ping_timeout_ms: u64::try_from(pings.as_millis()).unwrap_or(u64::MAX),
            reconcile,
            reconcile_frameworks,
        };
        self.tell(id, registered);
    }

    /// Takes over what the agent reports; frameworks that only it knows of are recovered.
    fn take_tasks(
        &mut self,
        now: Millis,
        id: &AgentId,
        tasks: Vec<AgentTask>,
        infos: Vec<FrameworkInfo>,
        was_unreachable: bool,
    ) {
        for info in infos {
            let Some(framework_id) = info.id.clone() else {
                continue;
            };
            if self.is_completed(&framework_id) {
                self.tell(id, ToAgent::ShutdownFramework { framework_id });
            } else {
                self.frameworks.entry(framework_id).or_insert_with(|| Framework::recovered(info));
            }
        }
        let mut back = Vec::new();
        for reported in tasks {
            let framework_id = reported.framework_id.clone();
            let Some(framework) = self.frameworks.get_mut(&framework_id) else {
                continue;
            };
            let task_id = reported.info.task_id.clone();
            framework.unreachable.remove(&task_id);
            let mut task = Task::reported(reported);
            let known = framework.tasks.remove(&task_id);
            task.kill = known.and_then(|known| known.kill);
            if was_unreachable {
                back.push((framework_id, task.clone()));
            }
            framework.tasks.insert(task_id, task);
        }
        for (framework_id, task) in back {
            let why = (reason::AGENT_REREGISTERED, "Unreachable agent re-reregistered");
            let status = self.retell(now, &task, task.state, why);
            self.send(&framework_id, Event::Update(status));
        }
        self.forget_unreported(id);
    }

    /// Tasks that were unreachable on an agent that came back without them are gone.
    fn forget_unreported(&mut self, id: &AgentId) {
        for framework in self.frameworks.values_mut() {
            let tasks = std::mem::take(&mut framework.unreachable);
            for (task_id, mut task) in tasks {
                if task.info.agent_id == *id {
                    task.state = TaskState::Gone;
                    framework.complete(task);
                } else {
                    framework.unreachable.insert(task_id, task);
                }
            }
        }
    }

    /// What a returning agent may have missed: the frameworks as they are now, and kills.
    fn brief(&mut self, id: &AgentId) {
        let (mut infos, mut kills) = (Vec::new(), Vec::new());
        for (framework_id, framework) in &self.frameworks {
            let mut here = framework.tasks.values().filter(|t| t.info.agent_id == *id).peekable();
            if here.peek().is_some() && framework.stream.is_some() {
                infos.push(Box::new(framework.info.clone()));
            }
            for task in here {
                if let Some(policy) = task.kill {
                    kills.push((framework_id.clone(), task.info.task_id.clone(), policy));
                }
            }
        }
        for framework in infos {
            self.tell(id, ToAgent::UpdateFramework { framework });
        }
        for (framework_id, task_id, policy) in kills {
            self.send_kill(&framework_id, id, task_id, policy);
        }
    }

    /// The connection to an agent broke: its offers go at once, tasks only where nobody promised to keep them.
    pub(super) fn agent_closed(&mut self, now: Millis, stream: &str) {
        self.registrar.stream_closed(stream);
        let Some(id) = self.agent_of(stream).cloned() else {
            return;
        };
        let Some(agent) = self.agents.get_mut(&id) else {
            return;
        };
        agent.stream = None;
        let message = format!("Agent {} disconnected", agent.info.hostname);
        self.rescind(|offered| offered.agent_id == id);
        for (framework_id, task) in self.take_away(&id, |framework| !framework.info.checkpoint) {
            let why = (reason::AGENT_DISCONNECTED, message.as_str());
            self.end_task(now, &framework_id, task, (TaskState::Lost, why));
        }
    }

    pub(super) fn pong(&mut self, id: &AgentId) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.ponged = true;
            agent.missed_pings = 0;
        }
    }

    /// Pings who is due; who missed too many is unreachable.
    pub(super) fn ping(&mut self, now: Millis) {
        let (mut due, mut unreachable) = (Vec::new(), Vec::new());
        for (id, agent) in &mut self.agents {
            if now < agent.next_ping {
                continue;
            }
            agent.missed_pings = if agent.ponged { 0 } else { agent.missed_pings + 1 };
            agent.ponged = false;
            agent.next_ping = now + self.settings.ping_interval;
            if agent.missed_pings >= self.settings.pings_max {
                unreachable.push(id.clone());
            } else {
                due.push(id.clone());
            }
        }
        for id in due {
            self.tell(&id, ToAgent::Ping);
        }
        for id in unreachable {
            self.mark_unreachable(now, id);
        }
    }

    fn mark_unreachable(&mut self, now: Millis, id: AgentId) {
        if !self.registrar.is_changing(&id) {
            let since_ns = self.wall_ns(now);
            self.decide(now, Change::Unreachable(id, since_ns));
        }
    }

    /// The registry says that this agent can't be reached. The tasks of an agent that is still to come back from the
    /// predecessor aren't known.
    pub(super) fn agent_unreachable(&mut self, now: Millis, id: &AgentId, since_ns: i64) {
        self.count("slave_unreachable_completed");
        self.recovered.remove(id);
        let why = (reason::AGENT_REMOVED, "health check timed out");
        for (framework_id, mut task) in self.take_away(id, |_| true) {
            if task.state.is_terminal() {
                self.finish(&framework_id, task);
                continue;
            }
            let state = self.tellable(&framework_id, TaskState::Unreachable);
            let mut status = self.status(now, &task.info.task_id, state, Some(id), why);
            status.unreachable_time = Some(TimeInfo { nanoseconds: since_ns });
            task.state = state;
            task.kill = None;
            task.remember(status.clone());
            if let Some(framework) = self.frameworks.get_mut(&framework_id) {
                framework.unreachable.insert(task.info.task_id.clone(), task);
            }
            self.send(&framework_id, Event::Update(status));
        }
        self.bury(id);
    }

    /// Agents of the predecessor that didn't come back in time are unreachable.
    pub(super) fn give_up_recovered(&mut self, now: Millis) {
        if self.recovered.is_empty() || now < self.elected + self.settings.reregister_timeout {
            return;
        }
        for id in self.recovered.clone() {
            self.mark_unreachable(now, id);
        }
    }

    /// The operator has declared an agent gone: it is told to end, now or when it comes back.
    pub(super) fn mark_gone(&mut self, now: Millis, id: AgentId) {
        let since_ns = self.wall_ns(now);
        self.decide(now, Change::Gone(id, since_ns));
    }

    /// The registry says that this agent is gone.
    pub(super) fn agent_gone(&mut self, now: Millis, id: &AgentId) {
        self.recovered.remove(id);
        let message = "Agent has been marked gone".to_owned();
        self.tell(id, ToAgent::Shutdown { message });
        let why = (reason::AGENT_REMOVED_BY_OPERATOR, "Agent has been marked gone");
        for (framework_id, task) in self.take_away(id, |_| true) {
            let state = self.tellable(&framework_id, TaskState::GoneByOperator);
            self.end_task(now, &framework_id, task, (state, why));
        }
        self.forget_unreported(id);
        self.bury(id);
    }

    /// An agent ends for good, or was displaced: its tasks are lost, whatever the framework can deal with.
    pub(super) fn agent_removed(&mut self, now: Millis, id: &AgentId, why: &str) {
        let Some(agent) = self.agents.get(id) else {
            return;
        };
        let message = format!("Agent {} removed: {why}", agent.info.hostname);
        for (framework_id, task) in self.take_away(id, |_| true) {
            let why = (reason::AGENT_REMOVED, message.as_str());
            self.end_task(now, &framework_id, task, (TaskState::Lost, why));
        }
        self.bury(id);
    }

    /// Takes an agent's tasks out of their frameworks.
    fn take_away(&mut self, id: &AgentId, which: impl Fn(&Framework) -> bool) -> Vec<(FrameworkId, Task)> {
        let mut taken = Vec::new();
        for (framework_id, framework) in &mut self.frameworks {
            if !which(framework) {
                continue;
            }
            let here: Vec<TaskId> = framework
                .tasks
                .values()
                .filter(|task| task.info.agent_id == *id)
                .map(|task| task.info.task_id.clone())
                .collect();
            let tasks = here.iter().filter_map(|task| framework.tasks.remove(task));
            taken.extend(tasks.map(|task| (framework_id.clone(), task)));
        }
        taken
    }

    /// The end of a task that no agent will report; one that had ended already just goes.
    fn end_task(
        &mut self,
        now: Millis,
        framework_id: &FrameworkId,
        mut task: Task,
        (state, why): (TaskState, (&str, &str)),
    ) {
        if !task.state.is_terminal() {
            let agent = Some(&task.info.agent_id);
            let status: TaskStatus = self.status(now, &task.info.task_id, state, agent, why);
            task.state = state;
            task.remember(status.clone());
            self.send(framework_id, Event::Update(status));
        }
        self.finish(framework_id, task);
    }

    fn finish(&mut self, framework_id: &FrameworkId, task: Task) {
        if let Some(framework) = self.frameworks.get_mut(framework_id) {
            framework.complete(task);
        }
    }

    fn tellable(&self, framework_id: &FrameworkId, state: TaskState) -> TaskState {
        self.frameworks.get(framework_id).map_or(state, |framework| framework.tellable(state))
    }

    /// The last steps of an agent's end: RESCIND, end of its stream, FAILURE to everybody.
    fn bury(&mut self, id: &AgentId) {
        self.rescind(|offered| offered.agent_id == *id);
        if let Some(stream) = self.agents.remove(id).and_then(|agent| agent.stream) {
            self.actions.push(Action::CloseAgent(stream));
        }
        let frameworks: Vec<_> = self.frameworks.keys().cloned().collect();
        for framework in frameworks {
            let failure = Failure { agent_id: Some(id.clone()), ..Failure::default() };
            self.send(&framework, Event::Failure(failure));
        }
    }
}
