//! Frameworks come, come again, are cut off, and end.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use super::model::Framework;
use super::{Action, Master, Refusal, validate};
use crate::agent::protocol::ToAgent;
use crate::clock::Millis;
use crate::mesos::types::{Event, FrameworkId, FrameworkInfo, OfferId, Subscribe, Subscribed, TaskState, reason};

/// Ended frameworks that are remembered (Mesos's default); until then their ids are refused.
pub(in crate::master) const COMPLETED_FRAMEWORKS_MAX: usize = 50;

impl Master {
    pub(super) fn subscribe(&mut self, now: Millis, stream: String, subscribe: Subscribe) {
        let id = subscribe.framework_info.id.clone();
        let id = id.filter(|id| !id.value.is_empty());
        if let Err(why) = self.check_subscription(id.as_ref(), &subscribe) {
            self.actions.push(Action::ToScheduler(stream.clone(), Box::new(Event::Error(why))));
            self.actions.push(Action::CloseScheduler(stream));
            return;
        }
        let id = match id {
            Some(id) => {
                self.count("messages_reregister_framework");
                id
            }
            None => {
                self.count("messages_register_framework");
                self.framework_count += 1;
                FrameworkId::new(format!("{}-{:04}", self.info.id, self.framework_count - 1))
            }
        };
        self.connect(now, &id, stream, subscribe);
    }

    fn check_subscription(&self, id: Option<&FrameworkId>, subscribe: &Subscribe) -> Result<(), String> {
        validate::framework(&subscribe.framework_info, &subscribe.suppressed_roles)?;
        self.check_flags(&subscribe.framework_info)?;
        let Some(id) = id else { return Ok(()) };
        validate::id(id.as_str())?;
        if self.is_completed(id) {
            return Err("Framework has been removed".to_owned());
        }
        let known = self.frameworks.get(id).filter(|framework| !framework.recovered);
        if known.is_some_and(|f| f.info.principal != subscribe.framework_info.principal) {
            return Err("Changing framework's principal is not allowed.".to_owned());
        }
        Ok(())
    }

    /// What this master's own settings forbid.
    fn check_flags(&self, info: &FrameworkInfo) -> Result<(), String> {
        if let Some(allowed) = &self.settings.roles {
            let foreign: BTreeSet<_> =
                info.all_roles().into_iter().filter(|role| role != "*" && !allowed.contains(role)).collect();
            if !foreign.is_empty() {
                return Err(format!("Roles {} are not present in the master's --roles", validate::braced(&foreign)));
            }
        }
        if info.user == "root" && !self.settings.root_submissions {
            return Err("User 'root' is not allowed to run frameworks without --root_submissions set".to_owned());
        }
        Ok(())
    }

    pub(super) fn is_completed(&self, id: &FrameworkId) -> bool {
        self.completed.iter().any(|framework| framework.info.id.as_ref() == Some(id))
    }

    /// Gives the framework its new stream; an older one ends. Who wasn't connected is offered something at once; a scheduler
    /// that takes over from a connected one waits for the batch, and what was refused stays refused, as in Mesos.
    fn connect(&mut self, now: Millis, id: &FrameworkId, stream: String, subscribe: Subscribe) {
        let known = self.frameworks.contains_key(id);
        self.drop_offers(|offered| offered.framework_id == *id);
        self.send(id, Event::Error("Framework failed over".to_owned()));
        let wall_s = self.wall_s(now);
        let framework = self
            .frameworks
            .entry(id.clone())
            .or_insert_with(|| Framework::new(subscribe.framework_info.clone(), wall_s));
        match framework.stream.replace(stream) {
            Some(older) => self.actions.push(Action::CloseScheduler(older)),
            None => self.allocate_now = true,
        }
        if known {
            framework.reregistered_s = Some(wall_s);
        }
        if std::mem::take(&mut framework.recovered) {
            framework.registered_s = wall_s;
        }
        framework.take_info(id, subscribe);
        framework.remove_at = None;
        framework.next_heartbeat = now + self.settings.heartbeat_interval;
        let subscribed = Subscribed {
            framework_id: id.clone(),
            heartbeat_interval_seconds: self.settings.heartbeat_interval.as_secs_f64(),
            master_info: Some(self.info.clone()),
        };
        self.send(id, Event::Subscribed(subscribed));
        self.send(id, Event::Heartbeat);
        self.broadcast_framework(id);
    }

    /// Tells the agents of a framework's info; they send its pending updates again.
    fn broadcast_framework(&mut self, id: &FrameworkId) {
        let Some(info) = self.frameworks.get(id).map(|framework| framework.info.clone()) else {
            return;
        };
        let agents: Vec<_> = self.agents.keys().cloned().collect();
        for agent in agents {
            let framework = Box::new(info.clone());
            self.tell(&agent, ToAgent::UpdateFramework { framework });
        }
    }

    /// Whether UPDATE_FRAMEWORK may change a framework so; it is the one call whose answer tells.
    ///
    /// # Errors
    /// With the answer to give, if not.
    pub fn admit_update(&self, id: &FrameworkId, update: &Subscribe) -> Result<(), Refusal> {
        let info = &update.framework_info;
        let invalid = |why: String| Refusal::new(400, format!("Supplied FrameworkInfo is not valid: {why}"));
        validate::framework(info, &update.suppressed_roles).map_err(invalid)?;
        self.check_flags(info).map_err(invalid)?;
        let Some(known) = self.frameworks.get(id).map(|framework| &framework.info) else {
            return Ok(());
        };
        let unsupported = |field: &str, old: &dyn Display, new: &dyn Display| {
            let why =
                format!("Updating 'FrameworkInfo.{field}' is unsupported; attempted to update from '{old}' to '{new}'");
            Err(Refusal::new(400, format!("'FrameworkInfo' update is not valid: {why}")))
        };
        if known.principal != info.principal {
            let why = "'FrameworkInfo' update is not valid: Changing framework's principal is not allowed.";
            return Err(Refusal::new(400, why));
        }
        if known.user != info.user {
            return unsupported("user", &known.user, &info.user);
        }
        if known.checkpoint != info.checkpoint {
            return unsupported("checkpoint", &known.checkpoint, &info.checkpoint);
        }
        Ok(())
    }

    /// UPDATE_FRAMEWORK, admitted: offers of roles that were left are rescinded.
    pub(super) fn update_framework(&mut self, id: &FrameworkId, update: Subscribe) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        framework.take_info(id, update);
        let roles = framework.info.all_roles();
        self.rescind(|offered| offered.framework_id == *id && !roles.contains(&offered.role));
        self.broadcast_framework(id);
    }

    pub(super) fn scheduler_closed(&mut self, now: Millis, stream: &str) {
        let of_stream = |(id, framework): (&FrameworkId, &Framework)| {
            (framework.stream.as_deref() == Some(stream)).then(|| id.clone())
        };
        let Some(id) = self.frameworks.iter().find_map(of_stream) else {
            return;
        };
        self.drop_offers(|offered| offered.framework_id == id);
        let Some(framework) = self.frameworks.get_mut(&id) else {
            return;
        };
        framework.stream = None;
        framework.filters.clear();
        let patience = Duration::try_from_secs_f64(framework.info.failover_timeout);
        framework.remove_at = Some(now + patience.unwrap_or_default());
        self.end_overdue_frameworks(now);
    }

    pub(super) fn end_overdue_frameworks(&mut self, now: Millis) {
        let overdue = |(id, framework): (&FrameworkId, &Framework)| {
            framework.remove_at.is_some_and(|at| now >= at).then(|| id.clone())
        };
        let overdue: Vec<_> = self.frameworks.iter().filter_map(overdue).collect();
        for id in overdue {
            self.remove_framework(now, &id);
        }
    }

    /// Ends a framework: its tasks are killed, its id is refused from now on.
    pub(super) fn remove_framework(&mut self, now: Millis, id: &FrameworkId) {
        self.drop_offers(|offered| offered.framework_id == *id);
        let Some(mut framework) = self.frameworks.remove(id) else {
            return;
        };
        self.forget_turns();
        if let Some(stream) = framework.stream.take() {
            self.actions.push(Action::CloseScheduler(stream));
        }
        let agents: Vec<_> = self.agents.keys().cloned().collect();
        for agent in agents {
            let framework_id = id.clone();
            self.tell(&agent, ToAgent::ShutdownFramework { framework_id });
        }
        let message = format!("Framework {id} removed");
        let live = std::mem::take(&mut framework.tasks).into_values();
        let mut ended: Vec<_> = live.chain(std::mem::take(&mut framework.unreachable).into_values()).collect();
        // The youngest first, as Mesos lists them.
        ended.sort_by(|one, other| other.first_heard_s().total_cmp(&one.first_heard_s()));
        for mut task in ended {
            if !task.state.is_terminal() {
                let why = (reason::FRAMEWORK_REMOVED, message.as_str());
                let agent = Some(&task.info.agent_id);
                let status = self.status(now, &task.info.task_id, TaskState::Killed, agent, why);
                task.state = TaskState::Killed;
                task.remember(status);
            }
            framework.complete(task);
        }
        framework.unregistered_s = self.wall_s(now);
        framework.remove_at = None;
        if self.completed.len() == COMPLETED_FRAMEWORKS_MAX {
            self.completed.pop_front();
        }
        self.completed.push_back(framework);
    }

    pub(super) fn heartbeat(&mut self, now: Millis) {
        let interval = self.settings.heartbeat_interval;
        for framework in self.frameworks.values_mut() {
            let Some(stream) = &framework.stream else {
                continue;
            };
            if now >= framework.next_heartbeat {
                framework.next_heartbeat = now + interval;
                let beat = Action::ToScheduler(stream.clone(), Box::new(Event::Heartbeat));
                self.actions.push(beat);
            }
        }
    }

    /// Takes offers back without a word.
    fn drop_offers(&mut self, which: impl Fn(&super::Offered) -> bool) {
        self.offers.retain(|_, offered| !which(offered));
    }

    /// Takes offers back and says so.
    pub(super) fn rescind(&mut self, which: impl Fn(&super::Offered) -> bool) {
        let gone: Vec<(OfferId, FrameworkId)> = self
            .offers
            .iter()
            .filter(|(_, offered)| which(offered))
            .map(|(id, offered)| (id.clone(), offered.framework_id.clone()))
            .collect();
        for (offer, framework) in gone {
            self.offers.remove(&offer);
            self.send(&framework, Event::Rescind(offer));
        }
    }
}

impl Framework {
    /// Takes over what may change; user and checkpoint stay as they were.
    fn take_info(&mut self, id: &FrameworkId, subscribe: Subscribe) {
        self.info = FrameworkInfo {
            id: Some(id.clone()),
            user: std::mem::take(&mut self.info.user),
            checkpoint: self.info.checkpoint,
            ..subscribe.framework_info
        };
        self.suppressed = subscribe.suppressed_roles.into_iter().collect();
        let roles = self.info.all_roles();
        self.filters.retain(|filter| roles.contains(&filter.role));
        self.turns.retain(|role, _| roles.contains(role));
    }
}
