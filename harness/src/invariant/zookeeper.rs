//! `zookeeper`: one leader, the rest followers. Servers that a fault holds down needn't answer.

use super::evidence::Evidence;
use super::{Invariant, Judged, Look};

/// The invariant.
#[derive(Debug)]
pub struct ZooKeeper;

impl Invariant for ZooKeeper {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let mut evidence = Evidence::default();
        if let Some(view) = evidence.look("ZooKeeper", &look.seen.fast.zookeeper) {
            let mut leaders = vec![];
            for name in look.shape.zookeepers.iter().filter(|name| !look.held.zookeepers.contains(*name)) {
                match view.servers.get(name) {
                    Some(Ok(server)) if server.mode == "leader" => leaders.push(name.as_str()),
                    Some(Ok(server)) if server.mode == "follower" => {}
                    Some(Ok(server)) => {
                        evidence.broken(format!("{name} is '{}'; expected leader or follower", server.mode));
                    }
                    Some(Err(why)) => evidence.broken(format!("{name} doesn't answer: {why}")),
                    None => evidence.unknown(format!("{name} was not asked")),
                }
            }
            match leaders.as_slice() {
                [_] if look.truth.zookeeper_leader.is_none() => {
                    evidence.broken(format!("{} leads without a majority of followers", leaders[0]));
                }
                [_] => {}
                [] => evidence.broken("no server leads; expected exactly one"),
                names => evidence.broken(format!("{} lead; expected exactly one", names.join(" and "))),
            }
        }
        Judged { fast: Some(evidence.part()), ..Judged::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::fixture::Cluster;

    fn mode(name: &str, mode: &str) -> Cluster {
        let mut cluster = Cluster::steady();
        if let Some(Ok(server)) = cluster.zookeeper().servers.get_mut(name) {
            server.mode = mode.into();
        }
        cluster
    }

    #[test]
    fn a_right_ensemble_holds() {
        Cluster::steady().accepted(&ZooKeeper);
    }

    #[test]
    fn one_leads_and_the_rest_follow() {
        mode("zk-1", "leader").rejected(&ZooKeeper, &["zk-1 and zk-2 lead"]);
        mode("zk-2", "follower").rejected(&ZooKeeper, &["no server leads"]);
        mode("zk-3", "standalone").rejected(&ZooKeeper, &["zk-3", "standalone"]);
    }

    #[test]
    fn a_leader_needs_a_majority() {
        let mut cluster = Cluster::steady();
        for name in ["zk-1", "zk-3"] {
            cluster.zookeeper().servers.insert(name.into(), Err("refused".into()));
            cluster.held.zookeepers.insert(name.into());
        }
        cluster.rejected(&ZooKeeper, &["zk-2 leads without a majority"]);
    }

    #[test]
    fn a_silent_server_is_rejected_unless_a_fault_holds_it_down() {
        let mut cluster = Cluster::steady();
        cluster.zookeeper().servers.insert("zk-1".into(), Err("refused".into()));
        cluster.rejected(&ZooKeeper, &["zk-1 doesn't answer", "refused"]);
        cluster.held.zookeepers.insert("zk-1".into());
        cluster.accepted(&ZooKeeper);
    }

    #[test]
    fn missing_evidence_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.seen.fast.zookeeper.result = Err("outpost gone".into());
        cluster.unknown(&ZooKeeper, &["outpost gone"]);
        let mut cluster = Cluster::steady();
        cluster.zookeeper().servers.remove("zk-1");
        cluster.unknown(&ZooKeeper, &["zk-1 was not asked"]);
    }
}
