//! Changes of the registry. Each is durable before anybody hears of it: an agent that was promised its place, or a task
//! that was told to be unreachable, must not be forgotten by the next leader.
//!
//! ```text
//! decide ─► waiting ─► writing (SaveRegistry) ─► RegistrySaved ─► what follows from it
//! ```
//! One write is under way at a time; what is decided meanwhile goes into the next one, in order. A change that changes
//! nothing, such as the return of an agent that is admitted already, needs no write.

use super::drain::Deactivation;
use super::model::{Agent, Registry};
use super::{Action, Master};
use crate::agent::protocol::Register;
use crate::clock::Millis;
use crate::mesos::types::{AgentId, AgentInfo};

/// Something that the registry has to know.
#[derive(Debug)]
pub(super) enum Change {
    /// An agent registers, with an id by now.
    Admit {
        /// Its stream.
        stream: String,
        /// Whether that has ended while the change was waiting.
        closed: bool,
        /// Its id.
        id: AgentId,
        /// Who, and with what.
        register: Box<Register>,
    },
    /// An agent can't be reached since then (nanoseconds since 1970).
    Unreachable(AgentId, i64),
    /// An agent never comes back, as of then (nanoseconds since 1970).
    Gone(AgentId, i64),
    /// An agent has ended, and why.
    Remove(AgentId, &'static str),
    /// An agent is out of use.
    Deactivate(AgentId, Deactivation),
    /// It is in use again.
    Reactivate(AgentId),
}

/// What a change has done to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// An agent is admitted; whether it was unreachable.
    Admitted { was_unreachable: bool },
    /// What was asked for.
    Done,
    /// It isn't possible (any more): the agent is gone, or not admitted.
    Refused,
}

/// The changes on their way.
#[derive(Debug, Default)]
pub(super) struct Registrar {
    waiting: Vec<Change>,
    writing: Option<(Registry, Vec<(Change, Effect)>)>,
    decided: u64,
    done: u64,
}

impl Registrar {
    fn all(&self) -> impl Iterator<Item = &Change> {
        let written = self.writing.iter().flat_map(|(_, changes)| changes).map(|(change, _)| change);
        written.chain(&self.waiting)
    }

    /// Whether something is under way for an agent: whatever comes of it, it isn't lost for its silence meanwhile.
    pub(super) fn is_changing(&self, agent: &AgentId) -> bool {
        self.all().any(|change| match change {
            Change::Admit { id, .. } | Change::Unreachable(id, _) | Change::Gone(id, _) | Change::Remove(id, _) => {
                id == agent
            }
            Change::Deactivate(..) | Change::Reactivate(_) => false,
        })
    }

    /// The agents that are about to be admitted.
    pub(super) fn coming(&self) -> impl Iterator<Item = (&AgentId, &Register)> {
        self.all().filter_map(|change| match change {
            Change::Admit { id, register, .. } => Some((id, &**register)),
            _ => None,
        })
    }

    /// Notes that a stream has ended whose agent isn't admitted yet.
    pub(super) fn stream_closed(&mut self, ended: &str) {
        let written = self.writing.iter_mut().flat_map(|(_, changes)| changes).map(|(change, _)| change);
        for change in written.chain(&mut self.waiting) {
            if let Change::Admit { stream, closed, .. } = change
                && *stream == ended
            {
                *closed = true;
            }
        }
    }
}

impl Master {
    /// How many changes of the registry were decided, and how many of them have had their effect.
    #[must_use]
    pub fn registry_changes(&self) -> (u64, u64) {
        (self.registrar.decided, self.registrar.done)
    }

    pub(super) fn decide(&mut self, now: Millis, change: Change) {
        self.registrar.decided += 1;
        self.registrar.waiting.push(change);
        self.write_registry(now);
    }

    pub(super) fn registry_saved(&mut self, now: Millis) {
        if let Some((registry, changes)) = self.registrar.writing.take() {
            self.registry = registry;
            self.follow(now, changes);
        }
        self.write_registry(now);
    }

    fn write_registry(&mut self, now: Millis) {
        while self.registrar.writing.is_none() && !self.registrar.waiting.is_empty() {
            let mut next = self.registry.clone();
            let waiting = std::mem::take(&mut self.registrar.waiting);
            let changes = waiting.into_iter().map(|change| {
                let effect = next.apply(&change);
                (change, effect)
            });
            let changes: Vec<_> = changes.collect();
            if next == self.registry {
                self.follow(now, changes);
            } else {
                self.actions.push(Action::SaveRegistry(next.clone()));
                self.registrar.writing = Some((next, changes));
            }
        }
    }

    fn follow(&mut self, now: Millis, changes: Vec<(Change, Effect)>) {
        for (change, effect) in changes {
            self.registrar.done += 1;
            match (change, effect) {
                (Change::Admit { stream, closed, id, register }, Effect::Admitted { was_unreachable }) => {
                    self.agent_admitted(now, &id, stream.clone(), *register, was_unreachable);
                    if closed {
                        self.agent_closed(now, &stream);
                    }
                }
                (Change::Admit { stream, .. }, _) => self.agent_refused(stream),
                (_, Effect::Refused) => {}
                (Change::Unreachable(id, since_ns), _) => self.agent_unreachable(now, &id, since_ns),
                (Change::Gone(id, _), _) => self.agent_gone(now, &id),
                (Change::Remove(id, why), _) => self.agent_removed(now, &id, why),
                (Change::Deactivate(id, why), _) => self.agent_deactivated(&id, why.drain),
                // The next allocation offers what it has.
                (Change::Reactivate(_), _) => {}
            }
        }
    }
}

impl Registry {
    fn apply(&mut self, change: &Change) -> Effect {
        match change {
            Change::Admit { id, .. } if self.gone.contains_key(id.as_str()) => Effect::Refused,
            Change::Admit { id, register, .. } => {
                let was_unreachable = self.unreachable.remove(id.as_str()).is_some();
                self.admitted.insert(id.value.clone(), announced(id, register));
                Effect::Admitted { was_unreachable }
            }
            Change::Unreachable(id, since_ns) if self.admitted.contains_key(id.as_str()) => {
                self.mark_unreachable(id, *since_ns);
                Effect::Done
            }
            Change::Gone(id, since_ns) if !self.gone.contains_key(id.as_str()) => {
                self.mark_gone(id, *since_ns);
                Effect::Done
            }
            Change::Remove(id, _) if self.admitted.remove(id.as_str()).is_some() => {
                self.deactivated.remove(id.as_str());
                Effect::Done
            }
            Change::Deactivate(id, why) if self.knows(id) => {
                self.deactivated.insert(id.value.clone(), why.clone());
                Effect::Done
            }
            Change::Reactivate(id) if self.deactivated.remove(id.as_str()).is_some() => Effect::Done,
            Change::Unreachable(..)
            | Change::Gone(..)
            | Change::Remove(..)
            | Change::Deactivate(..)
            | Change::Reactivate(_) => Effect::Refused,
        }
    }
}

/// What the registry keeps of an agent.
fn announced(id: &AgentId, register: &Register) -> AgentInfo {
    let info = &register.agent_info;
    AgentInfo {
        hostname: info.hostname.clone(),
        port: info.port,
        id: Some(id.clone()),
        resources: info.resources.clone(),
        attributes: info.attributes.clone(),
    }
}

impl Agent {
    /// Whether another agent registers from the same address.
    pub(super) fn is_at(&self, register: &Register) -> bool {
        self.info.ip == register.agent_info.ip && self.info.port == register.agent_info.port
    }
}
