//! From offers to tasks: ACCEPT and DECLINE.

use super::model::{Offered, Task};
use super::{Master, validate};
use crate::agent::protocol::ToAgent;
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    Accept, AllocationInfo, Decline, Event, FrameworkId, OfferId, OperationType, TaskInfo, TaskState, reason,
};

impl Master {
    /// Uses up all named offers, valid or not; launches what can be launched; refuses the rest for a while.
    pub(super) fn accept(&mut self, now: Millis, framework: &FrameworkId, accept: Accept) {
        let verdict = self.check_offers(framework, &accept.offer_ids);
        let used: Vec<Offered> = accept.offer_ids.iter().filter_map(|id| self.offers.remove(id)).collect();
        let Some((first, Ok(()))) = used.first().cloned().zip(Some(&verdict)) else {
            let why = verdict.err().unwrap_or_default();
            let message = format!("Task launched with invalid offers: {why}");
            for task in launches(accept) {
                let why = (reason::INVALID_OFFERS, message.as_str());
                self.refuse_task(now, framework, &task, TaskState::Dropped, why);
            }
            return;
        };
        let mut left = Resources::new();
        for offered in &used {
            left.add(&offered.resources);
        }
        let with_id =
            accept.operations.iter().any(|operation| operation.kind == OperationType::Launch && operation.id.is_some());
        let filters = accept.filters;
        let mut tasks = launches(accept);
        for task in &mut tasks {
            allocate_to(task, &first.role);
        }
        // One ill-formed resource spoils all tasks of the call, as in Mesos.
        let mut spoilt = tasks.iter().find_map(|task| Resources::of(&task.resources).err());
        if with_id {
            spoilt = Some("The `id` field cannot be set on LAUNCH operations".to_owned());
        }
        for task in tasks {
            let checked = match &spoilt {
                Some(why) => Err(why.clone()),
                None => self.check_task(framework, &task, &first, &left),
            };
            match checked {
                Ok(taken) => {
                    left.subtract(&taken);
                    self.launch(framework, task, taken);
                }
                Err(why) => {
                    let why = (reason::TASK_INVALID, why.as_str());
                    self.refuse_task(now, framework, &task, TaskState::Error, why);
                }
            }
        }
        self.refuse(now, &first, left, filters.as_ref());
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
                    first.agent_id, offered.agent_id
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

/// The tasks of all LAUNCH operations.
fn launches(accept: Accept) -> Vec<TaskInfo> {
    let launches = accept.operations.into_iter().filter(|o| o.kind == OperationType::Launch);
    launches.filter_map(|operation| operation.launch).flat_map(|l| l.task_infos).collect()
}

/// Resources of a task without an allocation take the offer's.
fn allocate_to(task: &mut TaskInfo, role: &str) {
    for resource in &mut task.resources {
        resource.allocation_info.get_or_insert_with(|| AllocationInfo { role: Some(role.to_owned()) });
    }
}
