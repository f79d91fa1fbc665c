//! Who is offered what: all free resources of an agent to the framework that comes first.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Master;
use super::model::{Agent, Filter, Framework, NamedOffer, Offered};
use crate::clock::Millis;
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    Address, AgentId, AllocationInfo, Event, Filters, FrameworkCapability, FrameworkId, Offer, OfferId, Url,
};

/// Less than this of both isn't worth an offer (Mesos's MIN_CPUS, MIN_MEM).
const CPUS_MIN: f64 = 0.01;
const MEM_MB_MIN: f64 = 32.0;
/// Refusal without a time (Mesos's default), and the longest one: 365 days.
const REFUSE_DEFAULT_S: f64 = 5.0;
const REFUSE_MAX_S: f64 = 31_536_000.0;

impl Master {
    /// One round over all agents.
    pub(super) fn allocate(&mut self, now: Millis) {
        for framework in self.frameworks.values_mut() {
            framework.filters.retain(|filter| now < filter.until);
        }
        let mut outgoing: BTreeMap<FrameworkId, Vec<NamedOffer>> = BTreeMap::new();
        let agents: Vec<_> = self.agents.keys().cloned().collect();
        for agent in agents {
            let mut free = self.free(&agent);
            for (framework, role) in self.queue() {
                let part = free.allocatable_to(&role);
                if !is_worth_offering(&part) || self.is_refused(&framework, &role, &agent, &part) {
                    continue;
                }
                free.subtract(&part);
                let id = OfferId::new(format!("{}-O{}", self.info.id, self.offer_count));
                self.offer_count += 1;
                let offered = Offered {
                    framework_id: framework.clone(),
                    agent_id: agent.clone(),
                    role,
                    resources: part,
                    since: now,
                };
                self.offers.insert(id.clone(), offered.clone());
                self.take_turn(&framework, &offered.role);
                outgoing.entry(framework).or_default().push((id, offered));
            }
        }
        for (framework, offers) in outgoing {
            let wire = offers.iter().filter_map(|(id, offered)| self.wire_offer(id, offered));
            let event = Event::Offers(wire.collect());
            self.send(&framework, event);
        }
    }

    /// What of a connected agent in use is neither used nor offered.
    pub(super) fn free(&self, agent_id: &AgentId) -> Resources {
        let connected = self.agents.get(agent_id).filter(|agent| agent.stream.is_some());
        let Some(agent) = connected.filter(|_| self.deactivation(agent_id).is_none()) else {
            return Resources::new();
        };
        let mut free = agent.total.clone();
        free.subtract(&self.used(|_, task| task.info.agent_id == *agent_id));
        free.subtract(&self.offered(|offered| offered.agent_id == *agent_id));
        free
    }

    /// The sum of what some tasks use.
    pub(in crate::master) fn used(&self, which: impl Fn(&FrameworkId, &super::model::Task) -> bool) -> Resources {
        let mut sum = Resources::new();
        for (id, framework) in &self.frameworks {
            let holding = framework.tasks.values().filter(|task| !task.state.is_terminal());
            for task in holding.filter(|task| which(id, task)) {
                sum.add(&task.resources);
            }
        }
        sum
    }

    /// The sum of some offers.
    pub(in crate::master) fn offered(&self, which: impl Fn(&Offered) -> bool) -> Resources {
        let mut sum = Resources::new();
        for offered in self.offers.values().filter(|offered| which(offered)) {
            sum.add(&offered.resources);
        }
        sum
    }

    fn is_refused(&self, id: &FrameworkId, role: &str, agent: &AgentId, part: &Resources) -> bool {
        let filters = self.frameworks.get(id).map(|framework| &framework.filters);
        filters
            .into_iter()
            .flatten()
            .any(|filter| filter.role == role && filter.agent_id == *agent && filter.refused.contains(part))
    }

    /// Notes that an offer's resources, or their rest, aren't wanted for a while.
    pub(super) fn refuse(&mut self, now: Millis, offered: &Offered, rest: Resources, filters: Option<&Filters>) {
        let seconds = filters.and_then(|filters| filters.refuse_seconds);
        let seconds = seconds.filter(|seconds| *seconds >= 0.0).unwrap_or(REFUSE_DEFAULT_S).min(REFUSE_MAX_S);
        let Some(framework) = self.frameworks.get_mut(&offered.framework_id) else {
            return;
        };
        if seconds == 0.0 || rest.is_empty() {
            return;
        }
        let time = Duration::from_secs_f64(seconds).max(self.settings.allocation_interval);
        framework.filters.push(Filter {
            agent_id: offered.agent_id.clone(),
            role: offered.role.clone(),
            refused: rest,
            until: now + time,
        });
    }

    pub(super) fn rescind_overdue_offers(&mut self, now: Millis) {
        if let Some(timeout) = self.settings.offer_timeout {
            self.rescind(|offered| now.since(offered.since) >= timeout);
        }
    }

    /// REVIVE: the filters of the roles go, and offers come again. One foreign role spoils the call.
    pub(super) fn revive(&mut self, id: &FrameworkId, roles: Vec<String>) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let Some(roles) = framework.own_roles(roles) else {
            return;
        };
        framework.filters.retain(|filter| !roles.contains(&filter.role));
        framework.suppressed.retain(|role| !roles.contains(role));
        self.allocate_now = true;
    }

    /// SUPPRESS: no offers for the roles. One foreign role spoils the call.
    pub(super) fn suppress(&mut self, id: &FrameworkId, roles: Vec<String>) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let Some(roles) = framework.own_roles(roles) else {
            return;
        };
        framework.suppressed.extend(roles);
    }

    /// An offer as it is on the wire, in the format that the framework's capabilities ask for.
    pub(in crate::master) fn wire_offer(&self, id: &OfferId, offered: &Offered) -> Option<Offer> {
        let agent = self.agents.get(&offered.agent_id)?;
        let framework = self.frameworks.get(&offered.framework_id)?;
        let multi_role = framework.info.can(FrameworkCapability::MultiRole);
        let role = multi_role.then_some(offered.role.as_str());
        let refined = framework.info.can(FrameworkCapability::ReservationRefinement);
        Some(Offer {
            id: id.clone(),
            framework_id: offered.framework_id.clone(),
            agent_id: offered.agent_id.clone(),
            hostname: agent.info.hostname.clone(),
            url: Some(agent.url()),
            resources: if refined {
                offered.resources.to_wire(role)
            } else {
                offered.resources.to_wire_unrefined(role)
            },
            attributes: agent.info.attributes.clone(),
            executor_ids: Vec::new(),
            allocation_info: role.map(|role| AllocationInfo { role: Some(role.to_owned()) }),
        })
    }
}

impl Agent {
    fn url(&self) -> Url {
        Url {
            scheme: "http".to_owned(),
            address: Address {
                hostname: Some(self.info.hostname.clone()),
                ip: Some(self.info.ip.to_string()),
                port: self.info.port,
            },
            path: Some("/slave(1)".to_owned()),
        }
    }
}

impl Framework {
    /// All roles when none are named; none if one of them isn't the framework's.
    fn own_roles(&self, roles: Vec<String>) -> Option<Vec<String>> {
        let mine = self.info.all_roles();
        if roles.is_empty() {
            return Some(mine);
        }
        roles.iter().all(|role| mine.contains(role)).then_some(roles)
    }
}

fn is_worth_offering(part: &Resources) -> bool {
    part.scalar("cpus") >= CPUS_MIN || part.scalar("mem") >= MEM_MB_MIN
}
