//! Faults that an outpost makes, holds and undoes. A fault is held from before it is made: whatever becomes of the attempt,
//! it will be undone. What has no undo is held no longer than its making takes.
//!
//! Every fault is a lease: when its time is over it is undone here, whether the runner still speaks or not.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::{KillContainerOptionsBuilder, StopContainerOptionsBuilder};
use futures_util::future::join_all;
use tokio::task::spawn_blocking;

use super::containers::{freeze, inspect, list, state};
use super::etcd::Endpoints;
use super::full::{self, Disk};
use super::marks::{Mark, Marks};
use super::protocol::{Act, ContainerState, Hello};
use super::slow::SlowLinks;
use super::syncs::BadDisks;
use super::{control_group, cpu, crossing, cut, gluster, oom, parts, processes, syncs, tamper, text};
use crate::supervisor::core::Signal;

/// A container that is told to stop has this long before its engine kills it; a node's agent takes 3 s at most.
const STOP_S: i32 = 8;
/// Between two tries to undo a fault whose lease is over. Tries end with the fault, or with this process, which ends with its stream.
const AGAIN: Duration = Duration::from_secs(1);

/// Connections that are tried to see what a fault does to them.
const TRIES_MAX: u32 = 150;

/// What faults need of the machine that they are made on.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its engine, or why there is none.
    pub engine: Result<Docker, String>,
    /// Name of the GlusterFS volume.
    pub volume: String,
    /// Where slots keep their data, one directory each.
    pub slots: Option<PathBuf>,
    /// The disk of its brick, if it has one.
    pub disk: Option<Disk>,
    /// etcd's members.
    pub etcd: Arc<Endpoints>,
    /// What is seen of faults.
    pub marks: Arc<Marks>,
    /// Links that are slow.
    pub links: Arc<SlowLinks>,
    /// Programs whose disks are bad.
    pub disks: Arc<BadDisks>,
    /// ZooKeeper's servers, `ip:port`.
    pub zookeepers: Vec<String>,
    /// The cluster's name.
    pub cluster: String,
    /// Services on other machines.
    pub peers: Vec<SocketAddrV4>,
}

impl Place {
    fn disk(&self) -> Result<&Disk, String> {
        self.disk.as_ref().ok_or_else(|| "this machine has no brick".to_owned())
    }
}

/// One fault that is held.
#[derive(Debug)]
struct Held {
    act: Act,
    /// Making and undoing take turns: an undo waits for a making that is under way.
    turn: tokio::sync::Mutex<()>,
}

/// What is held, by the runner's names.
#[derive(Debug, Default)]
pub struct Faults {
    held: Mutex<BTreeMap<String, Arc<Held>>>,
}

impl Faults {
    /// Makes a fault and holds it, for as long as its lease lasts; returns when engine, kernel or supervisor have done it.
    ///
    /// # Errors
    /// If the name is taken, or it is refused. A refused fault isn't held.
    pub async fn inject(
        self: &Arc<Self>,
        place: Place,
        fault: String,
        act: Act,
        lease: Duration,
    ) -> Result<(), String> {
        let turn = tokio::sync::Mutex::new(());
        let held = Arc::new(Held { act, turn });
        {
            let mut all = self.lock();
            if all.contains_key(&fault) {
                return Err(format!("fault '{fault}' is held already; undo it first or use another name"));
            }
            all.insert(fault.clone(), Arc::clone(&held));
        }
        tokio::spawn(Arc::clone(self).lapse(place.clone(), fault.clone(), Arc::downgrade(&held), lease));
        let faults = Arc::clone(self);
        // A task of its own: when the request's time is over, the making still comes to an end, and undo waits for it.
        let making = tokio::spawn(async move {
            let _turn = held.turn.lock().await;
            let made = make(&place, &fault, &held.act).await;
            if made.is_err() {
                // Whether or not a part of it was done.
                let _ = unmake(&place, &fault, &held.act).await;
            }
            if made.is_err() || !held.act.has_undo() {
                faults.lock().remove(&fault);
            }
            if made.is_ok() && held.act.cut().is_some() {
                tokio::spawn(cross(place, held.act.clone()));
            }
            made
        });
        making.await.map_err(text)?
    }

    /// Undoes a fault, held or not: an outpost before this one may have made `act` and ended before it could undo it.
    ///
    /// # Errors
    /// If it can't be undone; what was held is still held then.
    pub async fn undo(&self, place: &Place, fault: &str, act: &Act) -> Result<(), String> {
        let held = self.lock().get(fault).cloned();
        let Some(held) = held else {
            return unmake(place, fault, act).await;
        };
        let _turn = held.turn.lock().await;
        unmake(place, fault, &held.act).await?;
        self.lock().remove(fault);
        Ok(())
    }

    /// Undoes a fault that is still held when its lease is over.
    async fn lapse(self: Arc<Self>, place: Place, fault: String, held: Weak<Held>, lease: Duration) {
        tokio::time::sleep(lease).await;
        // Whoever undoes a fault lets go of it; another one of the same name is none of this lease's business.
        while let Some(held) = held.upgrade() {
            match self.undo(&place, &fault, &held.act).await {
                Ok(()) => return tracing::warn!(fault, "its lease is over: undone"),
                Err(error) => tracing::error!(fault, error, "its lease is over, and it can't be undone"),
            }
            drop(held);
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Undoes everything, at the same time; what fails is logged.
    pub async fn undo_all(&self, place: &Place) {
        let faults: Vec<(String, Arc<Held>)> =
            self.lock().iter().map(|(fault, held)| (fault.clone(), Arc::clone(held))).collect();
        join_all(faults.iter().map(|(fault, held)| async move {
            match self.undo(place, fault, &held.act).await {
                Ok(()) => tracing::info!(fault, "undone at the end"),
                Err(error) => tracing::error!(fault, error, "cannot be undone"),
            }
        }))
        .await;
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(place: &Place, fault: &str, act: &Act) -> Result<(), String> {
    let engine = || place.engine.as_ref().map_err(Clone::clone);
    match act {
        Act::KillContainer { container } => {
            let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
            engine()?.kill_container(container, Some(options)).await.map_err(text)
        }
        Act::StopContainer { container } => {
            let options = StopContainerOptionsBuilder::new().t(STOP_S).build();
            engine()?.stop_container(container, Some(options)).await.map_err(text)
        }
        Act::PauseContainer { container } => freeze(engine()?, container).await.map_err(text),
        Act::DownPart { part, signal } => parts::hold(part, *signal).await,
        Act::RestartPart { part } => {
            parts::hold(part, Signal::Kill).await?;
            parts::release(part).await
        }
        Act::EndProcess { process, signal } | Act::DownBrick { process, signal } => {
            processes::end(*process, (*signal).into()).await
        }
        Act::FreezeProcess { process } => processes::stop(*process).await,
        Act::RestartBrick { process } => {
            processes::end(*process, Signal::Kill.into()).await?;
            gluster::start_bricks(&place.volume).await
        }
        Act::Cut(cut) => {
            let (fault, cut) = (fault.to_owned(), cut.clone());
            spawn_blocking(move || cut::make(&fault, &cut)).await.map_err(text)?
        }
        Act::FillDisk => {
            full::make(place.disk()?).await?;
            place.marks.put(fault, Mark::Shows(true));
            Ok(())
        }
        Act::SlowCpu { container, percent } => {
            cpu::make(place, fault, container, *percent).await?;
            place.marks.put(fault, Mark::Shows(true));
            Ok(())
        }
        Act::BadDisk { program, syncs } => {
            syncs::make(place, fault, program, *syncs).await?;
            place.marks.put(fault, Mark::Shows(true));
            Ok(())
        }
        Act::OutOfMemory { container, process } => oom::make(place, fault, container, *process).await,
        Act::Tamper(tamper) => {
            let damaged = tamper::make(place, tamper).await?;
            place.marks.put(fault, Mark::Damaged(damaged));
            Ok(())
        }
        Act::Lose { cut, percent } => {
            let (fault, cut, percent) = (fault.to_owned(), cut.clone(), *percent);
            spawn_blocking(move || cut::lose(&fault, &cut, percent)).await.map_err(text)?
        }
        Act::Slow { cut, link } => {
            let (fault, cut, link, links) = (fault.to_owned(), cut.clone(), *link, Arc::clone(&place.links));
            let make = move || cut::queue(&fault, &cut, links.open(&cut::chain(&fault), link)?);
            spawn_blocking(make).await.map_err(text)?
        }
    }
}

/// Has somebody try to cross a cut that stands; it stands all the same if nobody can.
async fn cross(place: Place, act: Act) {
    let Some(cut) = act.cut() else {
        return;
    };
    let times = match act {
        // So many that one is lost and one isn't, but for one time in a thousand.
        Act::Lose { percent, .. } => (700 / u32::from(percent.min(100 - percent.min(99)).max(1))).min(TRIES_MAX),
        _ => 1,
    };
    let tried = crossing::cross(cut, times, place.engine.as_ref().ok(), &place.cluster, &place.peers).await;
    if let Err(why) = tried {
        tracing::warn!(why, "nobody tries to cross a cut");
    }
}

async fn unmake(place: &Place, fault: &str, act: &Act) -> Result<(), String> {
    match act {
        // The system under test brings them back, and heals them.
        Act::KillContainer { .. } | Act::StopContainer { .. } | Act::EndProcess { .. } | Act::Tamper(_) => Ok(()),
        Act::OutOfMemory { .. } => control_group::set_back(fault),
        Act::PauseContainer { container } => thaw(place.engine.as_ref()?, container).await,
        Act::DownPart { part, .. } | Act::RestartPart { part } => parts::release(part).await,
        Act::FreezeProcess { process } => processes::go_on(*process),
        Act::DownBrick { .. } | Act::RestartBrick { .. } => gluster::start_bricks(&place.volume).await,
        Act::SlowCpu { .. } => {
            control_group::set_back(fault)?;
            place.marks.put(fault, Mark::Shows(false));
            Ok(())
        }
        Act::BadDisk { .. } => {
            syncs::unmake(place, fault).await?;
            place.marks.put(fault, Mark::Shows(false));
            Ok(())
        }
        Act::FillDisk => {
            full::unmake(place.disk()?).await?;
            place.marks.put(fault, Mark::Shows(false));
            Ok(())
        }
        Act::Cut(_) | Act::Lose { .. } | Act::Slow { .. } => {
            let (fault, links) = (fault.to_owned(), Arc::clone(&place.links));
            let unmake = move || {
                cut::unmake(&fault)?;
                // By now nothing comes to it any more.
                links.close(&cut::chain(&fault));
                Ok(())
            };
            spawn_blocking(unmake).await.map_err(text)?
        }
    }
}

async fn thaw(engine: &Docker, container: &str) -> Result<(), String> {
    let Err(error) = engine.unpause_container(container).await else {
        return Ok(());
    };
    // A container that is gone, dead or running isn't frozen: engines answer those in different ways.
    match inspect(engine, container).await?.as_ref().map(state) {
        Some(ContainerState::Paused) => Err(text(error)),
        _ => Ok(()),
    }
}

/// Undoes what an outpost before this one was killed over, but for containers. Returns what that was.
///
/// # Errors
/// If the machine can't be looked at, or something can't be undone.
pub async fn sweep(hello: &Hello) -> Result<Vec<String>, String> {
    // Whoever is traced doesn't go on by itself.
    let mount = hello.shared_mount.clone();
    let mut swept = spawn_blocking(move || syncs::sweep(mount.as_deref())).await.map_err(text)?;
    swept.extend(spawn_blocking(processes::go_on_all).await.map_err(text)?);
    let cuts = spawn_blocking(cut::unmake_all).await.map_err(text).flatten()?;
    swept.extend(cuts.into_iter().map(|chain| format!("removed the rules {chain}")));
    swept.extend(parts::release_all().await?.into_iter().map(|part| format!("released the part {part}")));
    swept.extend(spawn_blocking(control_group::sweep).await.map_err(text)??);
    if let Some(slots) = hello.slots.clone() {
        swept.extend(spawn_blocking(move || tamper::sweep(&slots)).await.map_err(text)??);
    }
    if let Some(disk) = Disk::of(hello) {
        swept.extend(spawn_blocking(move || full::sweep(&disk)).await.map_err(text)??);
    }
    if hello.brick.is_some() && processes::brick(&hello.volume).is_none() {
        gluster::start_bricks(&hello.volume).await?;
        swept.push("started the brick".to_owned());
    }
    Ok(swept)
}

/// Thaws every container of the cluster that is frozen. Returns which.
///
/// # Errors
/// If the engine doesn't answer or refuses.
pub async fn thaw_all(engine: &Docker, cluster: &str) -> Result<Vec<String>, String> {
    let mut thawed = Vec::new();
    for container in list(engine, cluster, Some("paused")).await? {
        thaw(engine, &container).await?;
        thawed.push(format!("thawed the container {container}"));
    }
    Ok(thawed)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{StatusCode, Uri};
    use bollard::API_DEFAULT_VERSION;
    use tokio::net::UnixListener;

    use super::*;

    type Asked = Arc<Mutex<Vec<String>>>;
    const LONG: Duration = Duration::from_secs(60);

    /// An engine that does everything it is told, and the paths that it was asked for.
    fn engine(dir: &std::path::Path) -> (Place, Asked) {
        unlucky_engine(dir, 0)
    }

    /// An engine that can't freeze anything so many times.
    fn unlucky_engine(dir: &std::path::Path, times: usize) -> (Place, Asked) {
        let asked = Asked::default();
        let note = Arc::clone(&asked);
        let router = Router::new().fallback(move |uri: Uri| {
            let mut asked = note.lock().unwrap();
            asked.push(uri.path().trim_start_matches('/').to_owned());
            let is_unlucky = asked.len() <= times && uri.path().ends_with("/pause");
            std::future::ready(match is_unlucky {
                true => {
                    let message = r#"{"message":"Cannot pause container a: OCI runtime pause failed: unable to freeze: unknown"}"#;
                    (StatusCode::INTERNAL_SERVER_ERROR, message)
                }
                false => (StatusCode::NO_CONTENT, ""),
            })
        });
        let socket = dir.join("engine.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let engine = Docker::connect_with_unix(&socket.to_string_lossy(), 5, API_DEFAULT_VERSION).unwrap();
        let place = Place {
            engine: Ok(engine),
            volume: String::new(),
            slots: None,
            disk: None,
            etcd: Arc::default(),
            marks: Arc::default(),
            links: Arc::default(),
            disks: Arc::default(),
            zookeepers: vec![],
            cluster: String::new(),
            peers: vec![],
        };
        (place, asked)
    }

    #[tokio::test]
    async fn a_kill_is_not_held_once_made_and_a_pause_is() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, _asked) = engine(dir.path());
        let faults = Arc::new(Faults::default());
        let kill = |container: &str| Act::KillContainer { container: container.into() };
        faults.inject(engine.clone(), "s1".into(), kill("a"), LONG).await.unwrap();
        faults.inject(engine.clone(), "s1".into(), kill("b"), LONG).await.unwrap();
        assert!(faults.is_empty());
        let pause = Act::PauseContainer { container: "a".into() };
        faults.inject(engine.clone(), "s2".into(), pause.clone(), LONG).await.unwrap();
        let again = faults.inject(engine.clone(), "s2".into(), pause.clone(), LONG).await;
        assert!(again.unwrap_err().contains("held already"));
        faults.undo(&engine, "s2", &pause).await.unwrap();
        assert!(faults.is_empty());
    }

    #[tokio::test]
    async fn an_engine_without_luck_is_asked_to_freeze_again_but_not_for_ever() {
        let pause = Act::PauseContainer { container: "a".into() };
        for (times, tries) in [(2, 3), (100, 5)] {
            let dir = tempfile::tempdir().unwrap();
            let (place, asked) = unlucky_engine(dir.path(), times);
            let made = make(&place, "s1", &pause).await;
            assert_eq!(made.is_ok(), times == 2, "{made:?}");
            assert_eq!(asked.lock().unwrap().len(), tries);
        }
    }

    #[tokio::test]
    async fn a_fault_ends_with_its_lease_and_one_of_the_same_name_with_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, asked) = engine(dir.path());
        let faults = Arc::new(Faults::default());
        let pause = Act::PauseContainer { container: "a".into() };
        let short = Duration::from_millis(200);
        faults.inject(engine.clone(), "s1".into(), pause.clone(), short).await.unwrap();
        faults.undo(&engine, "s1", &pause).await.unwrap();
        faults.inject(engine.clone(), "s1".into(), pause.clone(), LONG).await.unwrap();
        faults.inject(engine.clone(), "s2".into(), pause, short).await.unwrap();
        tokio::time::sleep(short * 3).await;
        let held: Vec<String> = faults.lock().keys().cloned().collect();
        assert_eq!(held, ["s1"], "the second s1 has its own lease");
        let thaws = asked.lock().unwrap().iter().filter(|path| path.ends_with("unpause")).count();
        assert_eq!(thaws, 2, "s1 by its runner, s2 by its lease");
    }

    #[tokio::test]
    async fn what_an_outpost_before_has_frozen_is_thawed_too() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, asked) = engine(dir.path());
        let pause = Act::PauseContainer { container: "a".into() };
        Faults::default().undo(&engine, "s1", &pause).await.unwrap();
        assert_eq!(*asked.lock().unwrap(), ["containers/a/unpause"]);
    }
}
