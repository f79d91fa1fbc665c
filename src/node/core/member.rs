//! How this slot's etcd member comes into being, comes back, and is replaced.
//!
//! ```text
//!            ┌────────────────────────── etcd exited (after a pause) ──────────────────────────┐
//!            ▼                                                                                 │
//! start ► inspect ─ forming: own generation ──────────────────────────────► start own data ────┤
//!            │    ─ forming: empty ───────────────────────────────────────► start `new` ───────┤
//!            │    ─ data of another generation ► wipe ► inspect                                │
//!            │    ─ formed: own data ► survey ─ member exists, or nobody answers ► own data ───┤
//!            │                                ─ member was removed ► wipe ► inspect            │
//!            └──── ─ formed: empty ─► survey ─ quorum ► join ► start `existing` (learner) ─────┘
//!                                       ▲ └─ no quorum: wait, bounded
//! ```
//! A member is removed only when its data is known to be lost: this slot's directory is empty. `new` is started only while
//! the cluster forms: started later it could make a second cluster that has lost acknowledged data.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::{Action as NodeAction, Event, Setup};
use crate::clock::Millis;
use crate::config::Bootstrap;

/// First pause before etcd is started again; doubles with every exit.
pub const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause: a member that keeps failing is seen, but doesn't burn the machine.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Pause before survivors are asked again: etcd's own check wants peers connected for some seconds, asking faster is useless.
pub const ASK_AGAIN: Duration = Duration::from_secs(1);
/// An empty member that finds no way in for this long gives up; the framework starts a new incarnation.
pub const JOIN_PATIENCE: Duration = Duration::from_secs(180);
/// A learner asks for its vote this often; "not in sync yet" is the usual answer at first.
pub const PROMOTE_EVERY: Duration = Duration::from_millis(500);

/// What lies in this slot's data directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disk {
    /// A write-ahead log exists: this is a member's data.
    pub log: bool,
    /// The token of the cluster that it belongs to.
    pub token: Option<String>,
    /// The member whose data it is, when known.
    pub member: Option<u64>,
}

/// A member in etcd's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Member id.
    pub id: u64,
    /// Its peer address.
    pub address: Option<Ipv4Addr>,
    /// It is a learner.
    pub learner: bool,
}

/// The place that etcd gave us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// All members, the new one included.
    pub members: Vec<Peer>,
}

/// How etcd is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// As one of N founders.
    New,
    /// As the learner that was just added to these members.
    Existing(Vec<Peer>),
    /// With the data that is there.
    Own,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look at the data directory.
    Inspect,
    /// Put the data out of use and remove it, keep the keys of ssh; then look again.
    Wipe,
    /// Ask every other slot's member for a confirmed member list.
    Survey,
    /// Under the lock: remove these members (former lives of this slot), add this slot as a learner.
    Join {
        /// Members with this slot's address.
        remove: Vec<u64>,
    },
    /// Start the process, after writing down the token.
    Start(Start),
    /// Write down whose data this is.
    Remember {
        /// Own member id.
        member: u64,
    },
    /// Ask the voters to let this learner vote.
    Promote {
        /// Own member id.
        member: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Pausing { until: Millis },
    Inspecting,
    Surveying(Disk),
    Joining,
    Running,
}

/// The life of this slot's member.
#[derive(Debug)]
pub struct MemberCore {
    token: String,
    bootstrap: Bootstrap,
    data_lost: bool,
    address: Ipv4Addr,
    phase: Phase,
    pause: Duration,
    /// Without a member since.
    since: Millis,
    remembered: Option<u64>,
    promote_at: Millis,
    promoting: bool,
}

impl MemberCore {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let config = &setup.config;
        let (Bootstrap::Forming { generation } | Bootstrap::Formed { generation }) = config.bootstrap;
        Self {
            token: crate::config::cluster_token(&config.cluster, generation),
            bootstrap: config.bootstrap.clone(),
            data_lost: config.data_lost,
            address: setup.address,
            phase: Phase::Pausing { until: Millis::default() },
            pause: PAUSE_MIN,
            since: Millis::default(),
            remembered: None,
            promote_at: Millis::default(),
            promoting: false,
        }
    }

    /// Takes in an event.
    pub fn on(&mut self, now: Millis, event: &Event) -> Vec<NodeAction> {
        let action = match (event, &self.phase) {
            (Event::Tick, Phase::Pausing { until }) if now >= *until => self.enter(Phase::Inspecting, Action::Inspect),
            (Event::Disk(disk), Phase::Inspecting) => self.inspected(disk.clone()),
            (Event::Survey(answer), Phase::Surveying(disk)) => {
                let disk = disk.clone();
                return self.surveyed(now, &disk, answer.as_deref());
            }
            (Event::Joined(Ok(joined)), Phase::Joining) => {
                self.enter(Phase::Running, Action::Start(Start::Existing(joined.members.clone())))
            }
            (Event::Joined(Err(_)), Phase::Joining) | (Event::DiskFailed, Phase::Inspecting) => {
                return self.wait(now);
            }
            (Event::EtcdExited, Phase::Running) => {
                let until = now + self.pause;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.phase = Phase::Pausing { until };
                self.since = now;
                None
            }
            (Event::Local(Some(local)), Phase::Running) => return self.answered(now, *local),
            (Event::Promoted(_), _) => {
                self.promoting = false;
                None
            }
            _ => None,
        };
        action.map(NodeAction::Member).into_iter().collect()
    }

    fn enter(&mut self, phase: Phase, action: Action) -> Option<Action> {
        self.phase = phase;
        Some(action)
    }

    fn inspected(&mut self, disk: Disk) -> Option<Action> {
        let foreign = match &disk.token {
            Some(token) => *token != self.token,
            // Its name is lost. While the cluster forms nothing was acknowledged yet; later the survivors know whose it is.
            None => matches!(self.bootstrap, Bootstrap::Forming { .. }),
        };
        if disk.log && foreign {
            return self.enter(Phase::Inspecting, Action::Wipe);
        }
        self.remembered = disk.member.filter(|_| disk.log);
        match (&self.bootstrap, disk.log) {
            (Bootstrap::Forming { .. }, true) => self.enter(Phase::Running, Action::Start(Start::Own)),
            (Bootstrap::Forming { .. }, false) => self.enter(Phase::Running, Action::Start(Start::New)),
            (Bootstrap::Formed { .. }, _) => self.enter(Phase::Surveying(disk), Action::Survey),
        }
    }

    fn surveyed(&mut self, now: Millis, disk: &Disk, answer: Option<&[Peer]>) -> Vec<NodeAction> {
        let action = match (answer, disk.log) {
            (Some(members), true) => {
                let mine = |m: &Peer| disk.member.map_or(m.address == Some(self.address), |id| m.id == id);
                if members.iter().any(mine) {
                    self.enter(Phase::Running, Action::Start(Start::Own))
                } else {
                    self.enter(Phase::Inspecting, Action::Wipe)
                }
            }
            (Some(members), false) => {
                let former = members.iter().filter(|m| m.address == Some(self.address));
                let remove = former.map(|m| m.id).collect();
                self.enter(Phase::Joining, Action::Join { remove })
            }
            // The whole cluster may be starting: nobody has a quorum until we are back. Safe, because a member that was
            // removed is refused by its peers. Not so when this data is an older life of a slot that has moved since.
            (None, true) if !self.data_lost => self.enter(Phase::Running, Action::Start(Start::Own)),
            (None, _) => return self.wait(now),
        };
        action.map(NodeAction::Member).into_iter().collect()
    }

    fn wait(&mut self, now: Millis) -> Vec<NodeAction> {
        self.phase = Phase::Pausing { until: now + ASK_AGAIN };
        if now.since(self.since) <= JOIN_PATIENCE {
            return vec![];
        }
        self.since = now;
        vec![NodeAction::GiveUp(format!(
            "no quorum of the cluster let this empty member in for {} s; look at the other members' etcd logs",
            JOIN_PATIENCE.as_secs()
        ))]
    }

    fn answered(&mut self, now: Millis, local: super::Local) -> Vec<NodeAction> {
        let mut actions = vec![];
        if self.remembered != Some(local.member) {
            self.remembered = Some(local.member);
            actions.push(NodeAction::Member(Action::Remember { member: local.member }));
        }
        if local.votes() {
            self.pause = PAUSE_MIN;
            // A founder that has voted once never founds again, whatever happens to its directory.
            let (Bootstrap::Forming { generation } | Bootstrap::Formed { generation }) = self.bootstrap;
            self.bootstrap = Bootstrap::Formed { generation };
            // From here on the directory holds this life's data, whatever lay in it before.
            self.data_lost = false;
        }
        if local.learner && !self.promoting && now >= self.promote_at {
            self.promoting = true;
            self.promote_at = now + PROMOTE_EVERY;
            actions.push(NodeAction::Member(Action::Promote { member: local.member }));
        }
        actions
    }
}
