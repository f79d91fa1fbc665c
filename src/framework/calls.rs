//! From Mesos's words to the core's, and back.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::core::messages::{Action, Event, Offer, Update};
use super::task::task_info;
use crate::config::{FrameworkConfig, Slot};
use crate::mesos::resources::Resources;
use crate::mesos::types::{
    self, Call, Capability, Filters, FrameworkCapability, FrameworkId, FrameworkInfo, ReconcileTask,
};

/// What we are to Mesos.
pub(super) fn framework_info(config: &FrameworkConfig, id: Option<&String>) -> FrameworkInfo {
    let capability = |kind| Capability { kind };
    FrameworkInfo {
        user: "root".to_owned(),
        name: format!("stormbed-{}", config.cluster.name),
        id: id.map(FrameworkId::new),
        failover_timeout: config.failover_timeout_s,
        checkpoint: true,
        role: None,
        roles: vec![config.role.clone()],
        hostname: Some(config.ip.to_string()),
        principal: None,
        webui_url: None,
        capabilities: [
            FrameworkCapability::PartitionAware,
            FrameworkCapability::MultiRole,
            FrameworkCapability::TaskKillingState,
            FrameworkCapability::ReservationRefinement,
        ]
        .map(capability)
        .to_vec(),
        labels: None,
    }
}

/// An event of the stream, if the core cares.
pub(super) fn event(event: types::Event, role: &str) -> Option<Event> {
    Some(match event {
        types::Event::Offers(offers) => Event::Offers(offers.into_iter().map(|o| offer(o, role)).collect()),
        types::Event::Rescind(id) => Event::Rescind(id.value),
        types::Event::Update(status) => Event::Update(Update {
            task_id: status.task_id.value,
            state: status.state,
            agent: status.agent_id.map(|id| id.value),
            uuid: status.uuid,
        }),
        types::Event::Failure(failure) if failure.executor_id.is_none() => Event::AgentLost(failure.agent_id?.value),
        _ => return None,
    })
}

/// Only unreserved resources count: a task names them without a reservation.
fn offer(offer: types::Offer, role: &str) -> Offer {
    let mut resources = offer.resources;
    resources.retain(|resource| resource.reserved_for() == "*" && resource.revocable.is_none());
    let free = Resources::of(&resources)
        .inspect_err(|error| tracing::warn!(role, error, "an offer can't be understood"))
        .unwrap_or_else(|_| Resources::new());
    Offer {
        id: offer.id.value,
        agent: offer.agent_id.value,
        hostname: offer.hostname,
        cpus: free.scalar("cpus"),
        mem_mb: free.scalar("mem"),
    }
}

/// The call for an action; none for what isn't said to Mesos.
pub(super) fn call(
    config: &FrameworkConfig,
    addresses: &BTreeMap<Slot, Ipv4Addr>,
    framework: FrameworkId,
    action: Action,
) -> Option<Call> {
    let filters = |refuse_s| Some(Filters { refuse_seconds: Some(refuse_s) });
    Some(match action {
        Action::Launch { offer, tasks } => {
            let (cluster, role) = (&config.cluster, config.role.as_str());
            let tasks = tasks.iter().map(|launch| task_info(cluster, addresses, role, &offer.agent, launch));
            // The rest isn't wanted; whatever is wanted later is asked for with REVIVE.
            let rest = filters(REFUSE_REST_S);
            Call::launch(framework, vec![offer.id.into()], tasks.collect(), rest)
        }
        Action::Decline { offer, refuse_s } => Call::decline(framework, vec![offer.into()], filters(refuse_s)),
        Action::Revive => Call::revive(framework),
        Action::Suppress => Call::suppress(framework),
        Action::Kill { task_id, agent } => Call::kill(framework, task_id.into(), agent.map(Into::into), None),
        Action::Acknowledge { task_id, agent, uuid } => {
            Call::acknowledge(framework, agent.into(), task_id.into(), uuid)
        }
        Action::Reconcile(tasks) => {
            let task =
                |(id, agent): (String, String)| ReconcileTask { task_id: id.into(), agent_id: Some(agent.into()) };
            Call::reconcile(framework, tasks.into_iter().map(task).collect())
        }
        Action::Persist { .. } | Action::Withdraw { .. } | Action::Probe { .. } | Action::Census => return None,
    })
}

/// How long the unused rest of an accepted offer isn't offered again.
const REFUSE_REST_S: f64 = 3_600.0;
