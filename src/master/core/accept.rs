//! From offers to tasks: ACCEPT and DECLINE.
//!
//! Only LAUNCH has an effect. The tasks of a LAUNCH_GROUP are refused, and so are operations on resources: with a word if
//! they have an id, silently if not, as Mesos refuses what isn't valid.

use super::model::{Offered, Task};
use super::{Master, validate};
use crate::agent::protocol::ToAgent;
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    Accept, AllocationInfo, Decline, Event, FrameworkId, OfferId, Operation, OperationState, OperationStatus,
    OperationType, TaskInfo, TaskState, reason,
};

impl Master {
    /// Uses up all named offers, valid or not; launches what can be launched; refuses the rest for a while.
    pub(super) fn accept(&mut self, now: Millis, framework: &FrameworkId, accept: Accept) {
        let verdict = self.check_offers(framework, &accept.offer_ids);
        let used: Vec<Offered> = accept.offer_ids.iter().filter_map(|id| self.offers.remove(id)).collect();
        let Some((first, Ok(()))) = used.first().cloned().zip(Some(&verdict)) else {
            let why = verdict.err().unwrap_or_default();
            for operation in accept.operations {
                let what = if operation.launches() { "Task launched" } else { "Operation attempted" };
                let why = format!("{what} with invalid offers: {why}");
                self.refuse_operation(now, framework, operation, TaskState::Dropped, (reason::INVALID_OFFERS, &why));
            }
            return;
        };
        let mut left = Resources::new();
        for offered in &used {
            left.add(&offered.resources);
        }
        // One ill-formed resource spoils all tasks of the call, as in Mesos.
        let mut resources = accept.operations.iter().flat_map(tasks_of).map(|task| &task.resources);
        let spoilt = resources.find_map(|resources| Resources::of(resources).err());
        for operation in accept.operations {
            let refused = spoilt
                .clone()
                .map(|why| (reason::TASK_INVALID, why))
                .or_else(|| self.check_operation(&operation, &first));
            match refused {
                Some((reason, why)) => {
                    self.refuse_operation(now, framework, operation, TaskState::Error, (reason, &why));
                }
                None => self.launch_all(now, framework, operation, &first, &mut left),
            }
        }
        self.refuse(now, &first, left, accept.filters.as_ref());
    }

    /// Why nothing of an operation can be done: the reason for its tasks, and the words.
    fn check_operation(&self, operation: &Operation, offered: &Offered) -> Option<(&'static str, String)> {
        match operation.kind {
            OperationType::Launch if operation.id.is_some() => {
                Some((reason::TASK_INVALID, "The `id` field cannot be set on LAUNCH operations".to_owned()))
            }
            OperationType::Launch => None,
            OperationType::LaunchGroup => Some((reason::TASK_GROUP_INVALID, validate::task_group(tasks_of(operation)))),
            kind => {
                let agent = self.agents.get(&offered.agent_id)?;
                let why = validate::operation(kind, operation.reserve.as_ref());
                Some(("", format!("{why}; on agent {} at {} ({})", offered.agent_id, agent.pid(), agent.info.hostname)))
            }
        }
    }

    /// Launches the tasks of a LAUNCH, each if it is valid and what is left suffices.
    fn launch_all(
        &mut self,
        now: Millis,
        framework: &FrameworkId,
        operation: Operation,
        offered: &Offered,
        left: &mut Resources,
    ) {
        for mut task in operation.launch.into_iter().flat_map(|launch| launch.task_infos) {
            allocate_to(&mut task, &offered.role);
            match self.check_task(framework, &task, offered, left) {
                Ok(taken) => {
                    left.subtract(&taken);
                    self.launch(framework, task, taken);
                }
                Err(why) => self.refuse_task(now, framework, &task, TaskState::Error, (reason::TASK_INVALID, &why)),
            }
        }
    }

    /// Says that nothing of an operation will be done.
    fn refuse_operation(
        &mut self,
        now: Millis,
        framework: &FrameworkId,
        operation: Operation,
        state: TaskState,
        (reason, message): (&str, &str),
    ) {
        for task in tasks_of(&operation) {
            self.refuse_task(now, framework, task, state, (reason, message));
        }
        let silent = operation.launches();
        if let Some(id) = operation.id.filter(|_| !silent) {
            let message = Some(message.to_owned());
            let status = OperationStatus { operation_id: Some(id), state: OperationState::Error, message };
            self.send(framework, Event::UpdateOperationStatus(status));
        }
    }

    /// Takes the offers back, whoever's they are (Mesos doesn't check), and refuses them for a while.
    pub(super) fn decline(&mut self, now: Millis, decline: Decline) {
        for id in decline.offer_ids {
            if let Some(offered) = self.offers.remove(&id) {
                let all = offered.resources.clone();
                self.refuse(now, &offered, all, decline.filters.as_ref());
            }
        }
    }

    /// Mesos's checks of the offers of one ACCEPT, in its order.
    fn check_offers(&self, framework: &FrameworkId, ids: &[OfferId]) -> Result<(), String> {
        if ids.is_empty() {
            return Err("No offers specified".to_owned());
        }
        for (index, id) in ids.iter().enumerate() {
            if ids[..index].contains(id) {
                return Err(format!("Duplicate offer {id} in offer list"));
            }
        }
        let mut offers = Vec::new();
        for id in ids {
            let offered = self.offers.get(id);
            let offered = offered.ok_or_else(|| format!("Offer {id} is no longer valid"))?;
            if offered.framework_id != *framework {
                return Err(format!(
                    "Offer {id} has invalid framework {} while framework {framework} is expected",
                    offered.framework_id
                ));
            }
            offers.push((id, offered));
        }
        let (_, first) = offers[0];
        for (id, offered) in &offers {
            if offered.role != first.role {
                return Err(format!(
                    "Aggregated offers must be allocated to the same role. Offer {id} uses role '{}' but \
                     another is using role '{}'",
                    offered.role, first.role
                ));
            }
            if offered.agent_id != first.agent_id {
                return Err(format!(
                    "Aggregated offers must belong to one single agent. Offer {id} uses agent {} and agent {}",
                    offered.agent_id, first.agent_id
                ));
            }
        }
        Ok(())
    }

    /// What a task takes, if it may be launched on this agent from what is left of the offers.
    fn check_task(
        &self,
        framework_id: &FrameworkId,
        task: &TaskInfo,
        offered: &Offered,
        left: &Resources,
    ) -> Result<Resources, String> {
        let framework = self.frameworks.get(framework_id).ok_or("Framework cannot be found")?;
        validate::id(task.task_id.as_str())?;
        if framework.tasks.contains_key(&task.task_id) {
            return Err(format!("Task has duplicate ID: {}", task.task_id));
        }
        if framework.unreachable.contains_key(&task.task_id) {
            return Err(format!("Task reuses the ID of an unreachable task: {}", task.task_id));
        }
        if task.agent_id != offered.agent_id {
            return Err(format!(
                "Task uses invalid agent {} while agent {} is expected",
                task.agent_id, offered.agent_id
            ));
        }
        validate::task(task)?;
        let wanted = Resources::of(&task.resources)?;
        if !left.contains(&wanted) {
            return Err(format!(
                "Total resources {} required by task and its executor is more than available {}",
                wanted.describe(Some(&offered.role)),
                left.describe(Some(&offered.role)),
            ));
        }
        Ok(wanted)
    }

    fn launch(&mut self, framework_id: &FrameworkId, task: TaskInfo, resources: Resources) {
        let Some(framework) = self.frameworks.get_mut(framework_id) else {
            return;
        };
        let info = Box::new(framework.info.clone());
        let agent = task.agent_id.clone();
        let record = Task::staging(task.clone(), resources);
        framework.tasks.insert(task.task_id.clone(), record);
        let run = ToAgent::RunTask { framework: info, task: Box::new(task) };
        self.tell(&agent, run);
    }

    /// Says that a task won't be launched; nothing of it is kept.
    fn refuse_task(
        &mut self,
        now: Millis,
        framework_id: &FrameworkId,
        task: &TaskInfo,
        state: TaskState,
        why: (&str, &str),
    ) {
        let Some(framework) = self.frameworks.get(framework_id) else {
            return;
        };
        let state = framework.tellable(state);
        let status = self.status(now, &task.task_id, state, Some(&task.agent_id), why);
        self.send(framework_id, Event::Update(status));
    }
}

/// The tasks of a LAUNCH or LAUNCH_GROUP.
fn tasks_of(operation: &Operation) -> &[TaskInfo] {
    let launched = operation.launch.as_ref().filter(|_| operation.kind == OperationType::Launch);
    let group = operation.launch_group.as_ref().filter(|_| operation.kind == OperationType::LaunchGroup);
    launched.map(|launch| &*launch.task_infos).or(group.map(|group| &*group.task_group.tasks)).unwrap_or_default()
}

/// Resources of a task without an allocation take the offer's.
fn allocate_to(task: &mut TaskInfo, role: &str) {
    for resource in &mut task.resources {
        resource.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.to_owned()) });
    }
}
