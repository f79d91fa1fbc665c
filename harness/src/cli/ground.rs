//! A topology that is up, for commands that look at it or go into it without being responsible for it: they work while a
//! scenario runs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use stormbed::config::{Incarnation, LABEL_INCARNATION, LABEL_SLOT, Slot};

use super::part::{NodeName, Part};
use super::the_standing;
use crate::engine::{Engine, LABEL_MACHINE, LABEL_RUN};
use crate::invariant::hosts;
use crate::run::{Home, State};
use crate::topology::{Plan, Role, TopologyError};

/// One short command in a container.
pub(super) const ASK_MAX: Duration = Duration::from_secs(10);

/// A topology that is up.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) engine: Engine,
    /// The run's own folder, with its secrets.
    pub(super) folder: PathBuf,
    pub(super) plan: Plan,
    /// Machines by name: container id.
    machines: BTreeMap<String, String>,
}

/// A node's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) slot: Slot,
    pub(super) incarnation: Incarnation,
    pub(super) address: Ipv4Addr,
    /// The host that runs it.
    pub(super) host: String,
    /// Its id in that host's engine.
    pub(super) container: String,
}

/// Where a command is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// The machine's container.
    pub(super) container: String,
    /// The node's container in that machine's own engine.
    pub(super) inner: Option<String>,
}

impl Spot {
    /// The command as the machine's container must run it.
    pub(super) fn command<'a>(&'a self, command: &[&'a str], flags: &'a [&'a str]) -> Vec<&'a str> {
        match &self.inner {
            None => command.to_vec(),
            Some(inner) => [&["docker", "exec"], flags, &[inner.as_str()], command].concat(),
        }
    }
}

impl Ground {
    /// The topology of this run, or the only one that there is.
    pub(super) async fn find(engine: Engine, home: &Home, run: Option<&str>) -> Result<Self, TopologyError> {
        let id = the_standing(home, run)?;
        let folder = home.folder(&id);
        let state = State::read(&folder)?;
        let plan = Plan::new(&state).ok_or_else(|| TopologyError::NoNetwork {
            underlay: state.config.underlay.clone(),
            pool: state.config.pool.clone(),
        })?;
        let listed = engine.containers(LABEL_RUN, Some(&id)).await?;
        let machines = listed.into_iter().filter_map(|c| Some((c.labels.get(LABEL_MACHINE)?.clone(), c.id))).collect();
        Ok(Self { engine, folder, plan, machines })
    }

    /// A machine's container.
    pub(super) fn machine(&self, name: &str) -> Result<&str, TopologyError> {
        self.machines.get(name).map(String::as_str).ok_or_else(|| self.unknown(name))
    }

    fn unknown(&self, name: &str) -> TopologyError {
        let mut known: Vec<String> = self.machines.keys().cloned().collect();
        known.push(format!("the nodes {0}-0 … (by role) and {0}-s0 … (by slot)", self.plan.config.prefix));
        TopologyError::NoMachine { name: name.to_owned(), known: known.join(", ") }
    }

    /// Where a command on this part runs.
    pub(super) async fn spot(&self, part: &Part) -> Result<Spot, TopologyError> {
        match part {
            Part::Machine { machine, .. } => Ok(Spot { container: self.machine(machine)?.to_owned(), inner: None }),
            Part::Node(name) => {
                let node = self.node(*name).await?;
                Ok(Spot { container: self.machine(&node.host)?.to_owned(), inner: Some(node.container) })
            }
        }
    }

    /// A node by its name.
    pub(super) async fn node(&self, name: NodeName) -> Result<Node, TopologyError> {
        let nodes = self.nodes().await;
        let slot = match name {
            NodeName::Slot(slot) => Some(slot),
            NodeName::Number(number) => self.slot_named(&nodes, number).await,
        };
        let found = slot.and_then(|slot| nodes.into_iter().find(|node| node.slot == slot));
        found.ok_or_else(|| self.unknown(&name.shown(&self.plan.config.prefix)))
    }

    /// The newest incarnation of every slot that runs.
    async fn nodes(&self) -> Vec<Node> {
        let hosts = self.plan.of(Role::Host).map(|host| self.nodes_on(&host.name));
        let mut all: Vec<Node> = futures_util::future::join_all(hosts).await.into_iter().flatten().collect();
        all.sort_by_key(|node| (node.slot, std::cmp::Reverse(node.incarnation)));
        all.dedup_by_key(|node| node.slot);
        all
    }

    /// A host that doesn't answer has none.
    async fn nodes_on(&self, host: &str) -> Vec<Node> {
        let label = |name: &str| format!("{{{{.Label \"{name}\"}}}}");
        let format = format!("{{{{.ID}}}} {} {}", label(LABEL_SLOT), label(LABEL_INCARNATION));
        let filter = format!("label={LABEL_SLOT}");
        let command = ["docker", "ps", "--no-trunc", "--filter", &filter, "--format", &format];
        let Ok(container) = self.machine(host) else {
            return Vec::new();
        };
        let said = self.engine.exec(container, &command, b"", ASK_MAX).await.map(|output| output.stdout);
        let cluster = self.plan.cluster();
        let node = |line: &str| {
            let mut words = line.split(' ');
            let (container, slot) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
            let incarnation = words.next()?.parse().ok()?;
            let address = cluster.address(slot).ok()?;
            Some(Node { slot, incarnation, address, host: host.to_owned(), container })
        };
        said.unwrap_or_default().lines().filter_map(node).collect()
    }

    /// The slot that `PREFIX-<number>` means, by the hosts tables: that is what the user would type inside.
    async fn slot_named(&self, nodes: &[Node], number: u32) -> Option<Slot> {
        let prefix = &self.plan.config.prefix;
        for node in nodes {
            let spot =
                Spot { container: self.machine(&node.host).ok()?.to_owned(), inner: Some(node.container.clone()) };
            let command = spot.command(&["cat", "/etc/hosts"], &[]);
            let Ok(said) = self.engine.exec(&spot.container, &command, b"", ASK_MAX).await else {
                continue;
            };
            let table = hosts::parse(prefix, &said.stdout);
            let addresses = table.get(&format!("{prefix}-{number}"));
            if let Some(found) = nodes.iter().find(|node| addresses.is_some_and(|all| all.contains(&node.address))) {
                return Some(found.slot);
            }
        }
        None
    }
}
