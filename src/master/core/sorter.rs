//! Who comes first. Roles are equal to each other, and so are the frameworks within a role: the smallest dominant share
//! of what the cluster has is served first; among equal shares, who has had fewer offers; among those, the first by name.
//! Left out: weights, quota, and the hierarchy of roles (`a/b` is a role like any other).

use std::collections::BTreeSet;

use super::Master;
use super::model::Framework;
use crate::mesos::resources::Resources;
use crate::mesos::types::FrameworkId;

impl Master {
    /// Roles, and the connected frameworks in them that want offers, in the order in which they are served.
    pub(super) fn queue(&self) -> Vec<(FrameworkId, String)> {
        let mut total = Resources::new();
        self.agents.values().for_each(|agent| total.add(&agent.total));
        let wanted = self.frameworks.values().filter(|framework| framework.stream.is_some());
        let roles: BTreeSet<String> = wanted.flat_map(Framework::wanted_roles).collect();
        let roles = in_order(roles, |role| {
            let turns = self.role_turns.get(role).copied().unwrap_or_default();
            (dominant_share(&self.held(role, None), &total), turns)
        });
        roles.into_iter().flat_map(|role| self.queue_of(&role, &total)).collect()
    }

    fn queue_of(&self, role: &str, total: &Resources) -> Vec<(FrameworkId, String)> {
        let wants = |framework: &Framework| framework.wanted_roles().any(|wanted| wanted == role);
        let wanting = self.frameworks.iter().filter(|(_, f)| f.stream.is_some() && wants(f));
        let ordered = in_order(wanting.map(|(id, _)| id.clone()), |id| {
            let turns = self.frameworks.get(id).and_then(|framework| framework.turns.get(role));
            (dominant_share(&self.held(role, Some(id)), total), turns.copied().unwrap_or_default())
        });
        ordered.into_iter().map(|id| (id, role.to_owned())).collect()
    }

    /// What is used by or offered to a role, or one framework in it.
    fn held(&self, role: &str, framework: Option<&FrameworkId>) -> Resources {
        let who = |id: &FrameworkId| framework.is_none_or(|framework| framework == id);
        let mut held = self.used(|id, task| task.role() == role && who(id));
        held.add(&self.offered(|offered| offered.role == role && who(&offered.framework_id)));
        held
    }

    /// Forgets roles without frameworks: they begin anew.
    pub(super) fn forget_turns(&mut self) {
        let known: BTreeSet<String> =
            self.frameworks.values().flat_map(|framework| framework.info.all_roles()).collect();
        self.role_turns.retain(|role, _| known.contains(role));
    }

    /// Notes an offer.
    pub(super) fn take_turn(&mut self, id: &FrameworkId, role: &str) {
        self.forget_turns();
        *self.role_turns.entry(role.to_owned()).or_default() += 1;
        if let Some(framework) = self.frameworks.get_mut(id) {
            *framework.turns.entry(role.to_owned()).or_default() += 1;
        }
    }
}

impl Framework {
    /// The roles for which it wants offers.
    fn wanted_roles(&self) -> impl Iterator<Item = String> {
        self.info.all_roles().into_iter().filter(|role| !self.suppressed.contains(role))
    }
}

/// Sorts by share, then turns, then name.
fn in_order<T: Ord>(clients: impl IntoIterator<Item = T>, standing: impl Fn(&T) -> (f64, u64)) -> Vec<T> {
    let mut ordered: Vec<_> = clients.into_iter().map(|client| (standing(&client), client)).collect();
    ordered.sort_by(|((share, turns), client), ((other_share, other_turns), other)| {
        share.total_cmp(other_share).then(turns.cmp(other_turns)).then_with(|| client.cmp(other))
    });
    ordered.into_iter().map(|(_, client)| client).collect()
}

/// The largest share of anything that can be counted.
fn dominant_share(held: &Resources, total: &Resources) -> f64 {
    let shares = total.scalar_names().into_iter().map(|name| held.scalar(name) / total.scalar(name));
    shares.max_by(f64::total_cmp).unwrap_or_default()
}
