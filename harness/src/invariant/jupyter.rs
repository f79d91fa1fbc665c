//! `jupyter`: through the proxy, with the token: 200, served by the leader, and a kernel runs code; without the token: refused;
//! no other node serves Jupyter.

use std::collections::BTreeSet;

use stormbed::config::Slot;

use super::evidence::Evidence;
use super::{Breach, Invariant, Judged, Look, Part};

/// Two nodes may be seen to listen for this long while leadership moves: an agent stops Jupyter at the latest when it hasn't
/// confirmed its leadership for 2 s, the server gets a moment to end, and ticks see it 250 ms later.
pub const DOUBLE_MAX_MS: u64 = 5_000;

/// The invariant.
#[derive(Debug)]
pub struct Jupyter;

impl Invariant for Jupyter {
    fn judge(&self, look: &Look<'_>) -> Judged {
        let serving = &look.truth.serving_jupyter;
        let breach = (serving.len() > 1).then(|| Breach {
            why: format!("slots {serving:?} serve Jupyter at the same time; expected only the etcd leader's"),
            tolerated_ms: DOUBLE_MAX_MS,
        });
        let blind = look.containers().any(|(_, probe)| probe.result.is_err());
        Judged { fast: Some(fast(look, serving)), deep: Some(deep(look)), breach, blind }
    }
}

fn fast(look: &Look<'_>, serving: &BTreeSet<Slot>) -> Part {
    let mut evidence = Evidence::default();
    let status = &look.seen.fast.status;
    evidence.uses(status);
    match &status.result {
        Err(why) => evidence.broken(format!("GET /api/status through the proxy had no answer: {why}; expected 200")),
        Ok(seen) => {
            if seen.with_token != 200 {
                evidence.broken(format!(
                    "GET /api/status through the proxy with the token: expected 200, found {}",
                    seen.with_token
                ));
            }
            if !matches!(seen.without_token, 401 | 403) {
                evidence.broken(format!(
                    "GET /api/status through the proxy without the token: expected 401 or 403, found {}",
                    seen.without_token
                ));
            }
        }
    }
    for (host, probe) in look.containers() {
        evidence.look(&format!("the containers of {host}"), probe);
    }
    match &look.truth.etcd_leader {
        None => evidence.unknown("there is no etcd leader, so nobody must serve Jupyter"),
        Some(leader) => {
            evidence.uses(&look.seen.fast.etcd_after);
            let port = look.shape.jupyter_port;
            for slot in serving.iter().filter(|slot| **slot != leader.slot) {
                evidence.broken(format!(
                    "slot {slot} listens on Jupyter's port {port}, but slot {} leads etcd",
                    leader.slot
                ));
            }
            if !serving.contains(&leader.slot) && look.saw(leader.slot) {
                evidence.broken(format!(
                    "slot {} leads etcd, but nothing listens on Jupyter's port {port} there",
                    leader.slot
                ));
            }
        }
    }
    evidence.part()
}

fn deep(look: &Look<'_>) -> Part {
    let mut evidence = Evidence::default();
    let (Some(probe), Some(leader)) = (&look.seen.deep.kernel, &look.truth.etcd_leader) else {
        evidence.unknown("no kernel has run yet, or there is no etcd leader to run it");
        return evidence.part();
    };
    evidence.uses(probe);
    if probe.begin < look.truth.led_since {
        evidence.unknown("the newest kernel ran before the present etcd leader led");
        return evidence.part();
    }
    match &probe.result {
        Err(why) => evidence.broken(format!("a kernel through the proxy did not run its cell: {why}")),
        Ok(kernel) => {
            let expected = look.shape.slot_hostname(leader.slot);
            evidence.expect("host name printed by the kernel (slot of the etcd leader)", &expected, &kernel.hostname);
            evidence.expect("the kernel computed rightly", &true, &kernel.computed);
        }
    }
    evidence.part()
}

#[cfg(test)]
mod tests {
    use stormbed::clock::Millis;

    use super::*;
    use crate::invariant::fixture::{BEGIN, Cluster, probe};
    use crate::observe::observation::{KernelView, StatusView};

    fn status(with_token: u16, without_token: u16) -> Cluster {
        let mut cluster = Cluster::steady();
        cluster.seen.fast.status = probe(StatusView { with_token, without_token });
        cluster
    }

    fn kernel(hostname: &str, computed: bool) -> Cluster {
        let mut cluster = Cluster::steady();
        cluster.seen.deep.kernel = Some(probe(KernelView { hostname: hostname.into(), computed }));
        cluster
    }

    #[test]
    fn a_right_server_holds() {
        Cluster::steady().accepted(&Jupyter);
        status(200, 401).accepted(&Jupyter);
    }

    #[test]
    fn a_wrong_status_is_rejected() {
        status(503, 403).rejected(&Jupyter, &["with the token", "expected 200, found 503"]);
        status(200, 200).rejected(&Jupyter, &["without the token", "found 200"]);
        let mut cluster = Cluster::steady();
        cluster.seen.fast.status.result = Err("connection refused".into());
        cluster.rejected(&Jupyter, &["no answer", "connection refused"]);
    }

    #[test]
    fn only_the_leader_listens() {
        let mut cluster = Cluster::steady();
        cluster.container(0).listening.push(8888);
        cluster.rejected(&Jupyter, &["slot 0 listens", "slot 2 leads"]);
        let breach = cluster.judged(&Jupyter).breach.expect("two serve");
        assert_eq!(breach.tolerated_ms, DOUBLE_MAX_MS);
        cluster.container(2).listening.clear();
        cluster.rejected(&Jupyter, &["slot 0 listens", "nothing listens"]);
        assert_eq!(cluster.judged(&Jupyter).breach, None);
    }

    #[test]
    fn the_kernel_must_run_on_the_leader_and_compute() {
        kernel("storm-s1", true).rejected(&Jupyter, &["storm-s2", "storm-s1"]);
        kernel("storm-s2", false).rejected(&Jupyter, &["computed"]);
        let mut cluster = Cluster::steady();
        if let Some(probe) = &mut cluster.seen.deep.kernel {
            probe.result = Err("no kernel in 7 s".into());
        }
        cluster.rejected(&Jupyter, &["no kernel in 7 s"]);
    }

    #[test]
    fn missing_or_old_evidence_is_unknown() {
        let mut cluster = Cluster::steady();
        cluster.seen.deep.kernel = None;
        cluster.unknown(&Jupyter, &["no kernel"]);
        let mut cluster = kernel("storm-s1", true);
        if let Some(probe) = &mut cluster.seen.deep.kernel {
            probe.begin = Millis(BEGIN - 90_000);
        }
        cluster.unknown(&Jupyter, &["before the present etcd leader"]);
        let mut cluster = Cluster::steady();
        if let Some(probe) = cluster.seen.fast.containers.get_mut("host-3") {
            probe.result = Err("no answer".into());
        }
        cluster.unknown(&Jupyter, &["host-3"]);
        assert!(cluster.judged(&Jupyter).blind && !Cluster::steady().judged(&Jupyter).blind);
        cluster.held.hosts.insert("host-3".into());
        assert!(!cluster.judged(&Jupyter).blind, "a machine that a fault holds down serves nobody");
    }
}
