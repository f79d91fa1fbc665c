//! A steady cluster as tests see it: five nodes on three hosts, slot 2 leads etcd, master-1 Mesos, zk-2 ZooKeeper.
//! Each test changes one thing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use stormbed::clock::Millis;
use stormbed::config::Slot;
use stormbed::outpost::protocol::{
    AgentView, ContainerState, ContainerView, EtcdMember, EtcdView, FrameworkView, GlusterView, LoginView, MachineView,
    MasterState, MasterView, MesosView, Route, RoutesView, TaskView, ZooKeeperServer, ZooKeeperView,
};

use super::truth::{Truth, TruthTracker};
use super::{Held, Invariant, Judged, Judgement, Look};
use crate::observe::observation::{
    CrossReadView, Deep, Fast, KernelView, LoginProbe, NotebookView, Observation, PartView, Probe, ReachView,
    RunnerView, Shape, StatusView,
};

/// Begin of the observation under test.
pub const BEGIN: u64 = 100_000;
/// Its end.
pub const END: u64 = 100_100;
pub const LEADER: Slot = 2;
const TERM: u64 = 7;

/// A cluster and one observation of it.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub shape: Shape,
    pub seen: Observation,
    pub held: Held,
}

pub fn probe<T>(value: T) -> Probe<T> {
    Probe { begin: Millis(BEGIN), end: Millis(END), result: Ok(value) }
}

pub fn address(slot: Slot) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 0, 10 + u8::try_from(slot).expect("few slots"))
}

pub fn host_of(slot: Slot) -> String {
    format!("host-{}", slot % 3 + 1)
}

pub fn member_id(slot: Slot) -> u64 {
    0xa0 + u64::from(slot)
}

/// Who is there, and who leads etcd.
#[derive(Debug, Clone)]
pub struct Roles {
    pub present: BTreeSet<Slot>,
    pub leader: Slot,
    pub term: u64,
}

impl Default for Roles {
    fn default() -> Self {
        Self { present: (0..5).collect(), leader: LEADER, term: TERM }
    }
}

pub fn hosts_file() -> String {
    hosts_file_of(&Roles::default())
}

pub fn hosts_file_of(roles: &Roles) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for (name, slot) in Truth::names("storm", roles.leader, &roles.present) {
        text += &format!("{} {name}\n", address(slot));
    }
    for slot in 0..5 {
        text += &format!("{} storm-s{slot}\n", address(slot));
    }
    text
}

fn shape() -> Shape {
    let three = |name: &str| (1..=3).map(|k| format!("{name}-{k}")).collect::<Vec<_>>();
    Shape {
        prefix: "storm".into(),
        cluster: "storm".into(),
        addresses: (0..5).map(|slot| (slot, address(slot))).collect(),
        pool: "198.19.0.0/24".into(),
        machines: BTreeMap::from([("framework-1".to_owned(), Ipv4Addr::new(198, 18, 0, 31))]),
        hosts: three("host"),
        masters: three("master")
            .into_iter()
            .enumerate()
            .map(|(k, name)| (name, format!("198.18.0.2{}:5050", k + 1)))
            .collect(),
        zookeepers: three("zk"),
        frameworks: vec!["framework-1".into()],
        framework_name: "stormbed".into(),
        jupyter_port: 8888,
        edge: "edge".into(),
    }
}

fn container(slot: Slot, roles: &Roles) -> ContainerView {
    ContainerView {
        id: format!("c{slot}"),
        name: format!("mesos-{slot}"),
        slot,
        incarnation: 1,
        state: ContainerState::Running,
        pid: Some(100),
        started_unix_ms: 1,
        exit_code: None,
        hostname: format!("storm-s{slot}"),
        address: Some(address(slot)),
        hosts_file: Ok(hosts_file_of(roles)),
        listening: if slot == roles.leader { vec![22, 2379, 8888] } else { vec![22, 2379] },
    }
}

fn etcd(slot: Slot, roles: &Roles) -> EtcdView {
    EtcdView {
        cluster_id: 0xc,
        member_id: member_id(slot),
        leader_id: member_id(roles.leader),
        term: roles.term,
        index: 50,
        applied_index: 50,
        learner: false,
        errors: vec![],
        members: (0..5)
            .map(|s| EtcdMember {
                id: member_id(s),
                name: format!("s{s}"),
                peer_urls: vec![format!("http://{}:2380", address(s))],
                learner: false,
            })
            .collect(),
    }
}

fn mesos(shape: &Shape, roles: &Roles) -> MesosView {
    let tasks = roles
        .present
        .iter()
        .map(|slot| TaskView {
            id: format!("storm.{slot}.1"),
            name: format!("storm-s{slot}"),
            state: "TASK_RUNNING".into(),
            agent_id: format!("a{}", slot % 3 + 1),
        })
        .collect();
    let state = MasterState {
        id: "m1".into(),
        agents: (1..=3)
            .map(|k| AgentView { id: format!("a{k}"), hostname: format!("host-{k}"), active: true })
            .collect(),
        frameworks: vec![FrameworkView {
            id: "f1".into(),
            name: "stormbed".into(),
            active: true,
            connected: true,
            hostname: "198.18.0.31".into(),
            tasks,
        }],
    };
    let master = |name: &String| MasterView {
        elected: name == "master-1",
        redirect: Some("198.18.0.21:5050".into()),
        state: (name == "master-1").then(|| state.clone()),
    };
    MesosView {
        masters: shape.masters.keys().map(|name| (name.clone(), Ok(master(name)))).collect(),
        agents: shape.hosts.iter().map(|name| (name.clone(), Ok(Some("198.18.0.21".into())))).collect(),
    }
}

fn zookeeper(shape: &Shape) -> ZooKeeperView {
    let server =
        |name: &String| ZooKeeperServer { mode: if name == "zk-2" { "leader" } else { "follower" }.into(), epoch: 3 };
    ZooKeeperView {
        servers: shape.zookeepers.iter().map(|name| (name.clone(), Ok(server(name)))).collect(),
        election: Ok(shape
            .masters
            .values()
            .enumerate()
            .map(|(k, a)| (format!("json.info_{k:010}"), a.clone()))
            .collect()),
        schedulers: Ok(vec![("json.info_0000000000".into(), "framework-1".into())]),
    }
}

fn routes(machine: &str, shape: &Shape, roles: &Roles) -> RoutesView {
    let others = shape.hosts.iter().filter(|host| *host != machine);
    RoutesView {
        routes: roles
            .present
            .iter()
            .copied()
            .map(|slot| Route {
                to: address(slot),
                via: (host_of(slot) != machine).then(|| Ipv4Addr::new(198, 18, 0, 30)),
                dev: "eth0".into(),
            })
            .collect(),
        bgp: others.map(|host| (format!("peer_{}", host.replace('-', "_")), "Established".into())).collect(),
    }
}

fn logins(roles: &Roles) -> Vec<LoginProbe> {
    let names = Truth::names("storm", roles.leader, &roles.present);
    let mut all = vec![];
    for from in roles.present.iter().copied() {
        for (name, slot) in names.iter().filter(|(_, slot)| **slot != from) {
            all.push(LoginProbe {
                from,
                container: format!("c{from}"),
                to: name.clone(),
                probe: probe(Ok(LoginView {
                    hostname: format!("storm-s{slot}"),
                    addresses: vec![address(*slot)],
                    took_ms: 80,
                })),
            });
        }
    }
    all
}

fn deep(shape: &Shape, roles: &Roles) -> Deep {
    Deep {
        logins: logins(roles),
        kernel: Some(probe(KernelView { hostname: format!("storm-s{}", roles.leader), computed: true })),
        cross_read: Some(probe(Ok(CrossReadView {
            writer: 1,
            readers: roles.present.iter().map(|slot| (*slot, Ok(Ok(true)))).collect(),
        }))),
        notebook: Some(probe(NotebookView { name: "n1.ipynb".into(), saved_by: Some(LEADER), intact: true })),
        reach: shape.hosts.iter().map(|host| (host.clone(), probe(ReachView { tried: 8, failed: vec![] }))).collect(),
        gluster: Some(probe(GlusterView { heal_pending: 0, split_brain: 0, bricks_online: 3, bricks: 3 })),
        own: BTreeMap::new(),
    }
}

fn fast(shape: &Shape, roles: &Roles) -> Fast {
    let views: BTreeMap<Slot, Result<EtcdView, String>> = (0..5)
        .map(|slot| match roles.present.contains(&slot) {
            true => (slot, Ok(etcd(slot, roles))),
            false => (slot, Err("refused".to_owned())),
        })
        .collect();
    let part = |name: &String| PartView { id: format!("id-{name}"), state: ContainerState::Running };
    let names = shape.hosts.iter().chain(shape.masters.keys()).chain(&shape.zookeepers).chain(&shape.frameworks);
    Fast {
        parts: probe(names.chain([&shape.edge]).map(|name| (name.clone(), part(name))).collect()),
        containers: shape
            .hosts
            .iter()
            .map(|host| {
                let views = roles
                    .present
                    .iter()
                    .filter(|slot| host_of(**slot) == *host)
                    .map(|slot| container(*slot, roles))
                    .collect();
                (host.clone(), probe(views))
            })
            .collect(),
        routes: shape.hosts.iter().chain([&shape.edge]).map(|m| (m.clone(), probe(routes(m, shape, roles)))).collect(),
        etcd_before: probe(views.clone()),
        etcd_after: probe(views),
        mesos: probe(mesos(shape, roles)),
        zookeeper: probe(zookeeper(shape)),
        machines: shape
            .hosts
            .iter()
            .chain(shape.masters.keys())
            .map(|m| (m.clone(), probe(MachineView::default())))
            .collect(),
        status: probe(StatusView { with_token: 200, without_token: 403 }),
    }
}

impl Cluster {
    /// Everything is right.
    pub fn steady() -> Self {
        Self::of(&Roles::default())
    }

    /// Everything is right with these roles (but N members and tasks aren't there).
    pub fn of(roles: &Roles) -> Self {
        let shape = shape();
        let seen = Observation {
            tick: 400,
            begin: Millis(BEGIN),
            end: Millis(END),
            runner: RunnerView::default(),
            fast: fast(&shape, roles),
            deep: deep(&shape, roles),
        };
        Self { shape, seen, held: Held::default() }
    }

    /// The truth of this observation, drawn by a tracker that has known the steady cluster for a while.
    pub fn truth(&self) -> Truth {
        let mut tracker = TruthTracker::new(self.shape.clone());
        let mut before = Self::steady().seen;
        before.begin = Millis(BEGIN - 60_000);
        before.end = Millis(END - 60_000);
        tracker.see(&before);
        tracker.see(&self.seen)
    }

    /// What this invariant says of it.
    pub fn judged(&self, invariant: &dyn Invariant) -> Judged {
        invariant.judge(&Look { seen: &self.seen, truth: &self.truth(), shape: &self.shape, held: &self.held })
    }

    /// Asserts that the invariant rejects it with a reason that contains all of these words.
    pub fn rejected(&self, invariant: &dyn Invariant, words: &[&str]) {
        match self.judged(invariant).overall() {
            Judgement::Broken(why) => {
                for word in words {
                    assert!(why.contains(word), "'{word}' is missing in: {why}");
                }
            }
            other => panic!("expected it to be broken ({words:?}), found {other:?}"),
        }
    }

    /// Asserts that the invariant holds.
    pub fn accepted(&self, invariant: &dyn Invariant) {
        assert_eq!(self.judged(invariant).overall(), Judgement::Holds);
    }

    /// Asserts that the invariant can't tell.
    pub fn unknown(&self, invariant: &dyn Invariant, words: &[&str]) {
        match self.judged(invariant).overall() {
            Judgement::Unknown(why) => {
                for word in words {
                    assert!(why.contains(word), "'{word}' is missing in: {why}");
                }
            }
            other => panic!("expected it to be unknown ({words:?}), found {other:?}"),
        }
    }

    pub fn containers(&mut self, host: &str) -> &mut Vec<ContainerView> {
        let probe = self.seen.fast.containers.get_mut(host).expect("a host");
        probe.result.as_mut().expect("a look")
    }

    pub fn container(&mut self, slot: Slot) -> &mut ContainerView {
        let views = self.containers(&host_of(slot));
        views.iter_mut().find(|view| view.slot == slot).expect("a container")
    }

    /// Processes and rules of a machine.
    pub fn machine(&mut self, name: &str) -> &mut MachineView {
        let probe = self.seen.fast.machines.get_mut(name).expect("a machine");
        probe.result.as_mut().expect("a look")
    }

    /// A container of the topology itself.
    pub fn part(&mut self, name: &str) -> &mut PartView {
        let parts = self.seen.fast.parts.result.as_mut().expect("a look");
        parts.get_mut(name).expect("a part")
    }

    /// etcd's second answer of this slot.
    pub fn etcd_view(&mut self, slot: Slot) -> &mut EtcdView {
        let views = self.seen.fast.etcd_after.result.as_mut().expect("a look");
        views.get_mut(&slot).expect("a slot").as_mut().expect("an answer")
    }

    /// This slot's etcd doesn't answer, neither time.
    pub fn etcd_fails(&mut self, slot: Slot, why: &str) {
        for probe in [&mut self.seen.fast.etcd_before, &mut self.seen.fast.etcd_after] {
            probe.result.as_mut().expect("a look").insert(slot, Err(why.into()));
        }
    }

    pub fn master(&mut self, name: &str) -> &mut MasterView {
        let view = self.seen.fast.mesos.result.as_mut().expect("a look");
        view.masters.get_mut(name).expect("a master").as_mut().expect("an answer")
    }

    pub fn state(&mut self) -> &mut MasterState {
        self.master("master-1").state.as_mut().expect("the leader's state")
    }

    pub fn zookeeper(&mut self) -> &mut ZooKeeperView {
        self.seen.fast.zookeeper.result.as_mut().expect("a look")
    }

    /// The same, seen at this time.
    pub fn at(mut self, begin: u64) -> Self {
        fn set<T>(probe: &mut Probe<T>, begin: u64) {
            probe.begin = Millis(begin);
            probe.end = Millis(begin + END - BEGIN);
        }
        let seen = &mut self.seen;
        seen.begin = Millis(begin);
        seen.end = Millis(begin + END - BEGIN);
        set(&mut seen.fast.parts, begin);
        set(&mut seen.fast.etcd_before, begin);
        set(&mut seen.fast.etcd_after, begin);
        set(&mut seen.fast.mesos, begin);
        set(&mut seen.fast.zookeeper, begin);
        set(&mut seen.fast.status, begin);
        seen.fast.containers.values_mut().for_each(|p| set(p, begin));
        seen.fast.routes.values_mut().for_each(|p| set(p, begin));
        seen.fast.machines.values_mut().for_each(|p| set(p, begin));
        seen.deep.logins.iter_mut().for_each(|l| set(&mut l.probe, begin));
        seen.deep.kernel.iter_mut().for_each(|p| set(p, begin));
        seen.deep.cross_read.iter_mut().for_each(|p| set(p, begin));
        seen.deep.notebook.iter_mut().for_each(|p| set(p, begin));
        seen.deep.reach.values_mut().for_each(|p| set(p, begin));
        seen.deep.gluster.iter_mut().for_each(|p| set(p, begin));
        self
    }
}
