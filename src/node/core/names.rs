//! When names and keys change, and in which order the files are written, so that strict host-key checking never breaks:
//! known_hosts with old ∪ new keys → hosts → known_hosts pruned. What something else has changed is written again.

use std::net::Ipv4Addr;

use super::Setup;
use super::tables::{self, Name};
use crate::registry::state::RegistryState;

/// One file and its whole new content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// root's authorized_keys.
    AuthorizedKeys(String),
    /// root's known_hosts.
    KnownHosts(String),
    /// /etc/hosts.
    Hosts(String),
}

/// What the files say just now; none of one that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// root's authorized_keys.
    pub authorized_keys: Option<String>,
    /// root's known_hosts.
    pub known_hosts: Option<String>,
    /// /etc/hosts.
    pub hosts: Option<String>,
}

/// Remembers what was written last.
#[derive(Debug)]
pub struct NamesCore {
    prefix: String,
    own_hostname: String,
    own_address: Ipv4Addr,
    operator_key: String,
    names: Option<Vec<Name>>,
    authorized: String,
}

impl NamesCore {
    /// Nobody but the operator is let in, and no name is known.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            prefix: setup.config.prefix.clone(),
            own_hostname: tables::hostname(&setup.config.prefix, setup.config.slot),
            own_address: setup.address,
            operator_key: setup.operator_key.clone(),
            names: None,
            authorized: tables::authorized_keys(&setup.operator_key, &RegistryState::default()),
        }
    }

    /// Takes in a registry state; nothing changes while it has no registered leader.
    pub fn on(&mut self, state: &RegistryState) -> Vec<Write> {
        let Some(new) = tables::names(&self.prefix, state) else {
            return vec![];
        };
        let mut writes = vec![];
        // Logins are let in before names lead there.
        let authorized = tables::authorized_keys(&self.operator_key, state);
        if authorized != self.authorized {
            self.authorized.clone_from(&authorized);
            writes.push(Write::AuthorizedKeys(authorized));
        }
        if self.names.as_ref() != Some(&new) {
            let old = self.names.replace(new.clone()).unwrap_or_default();
            let both = tables::known_hosts(old.iter().chain(&new));
            let pruned = tables::known_hosts(&new);
            let prune = both != pruned;
            writes.extend([Write::KnownHosts(both), Write::Hosts(self.hosts(&new))]);
            writes.extend(prune.then_some(Write::KnownHosts(pruned)));
        }
        writes
    }

    /// What must be written again, because the files don't say what was written last.
    #[must_use]
    pub fn repair(&self, found: &Found) -> Vec<Write> {
        let mut writes = vec![];
        if found.authorized_keys.as_ref() != Some(&self.authorized) {
            writes.push(Write::AuthorizedKeys(self.authorized.clone()));
        }
        // Without names nothing was written: what the container's engine put there stays.
        let Some(names) = &self.names else {
            return writes;
        };
        let known = tables::known_hosts(names);
        if found.known_hosts.as_ref() != Some(&known) {
            writes.push(Write::KnownHosts(known));
        }
        let hosts = self.hosts(names);
        if found.hosts.as_ref() != Some(&hosts) {
            writes.push(Write::Hosts(hosts));
        }
        writes
    }

    fn hosts(&self, names: &[Name]) -> String {
        tables::hosts(&self.own_hostname, self.own_address, names)
    }
}
