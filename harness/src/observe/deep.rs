//! The deep tier: what costs too much for every tick. Fresh logins in rotation, and a kernel's cell, a cross-read, a notebook
//! and echoes every 5 s; all of them at once, with every ordered pair of logins and a new kernel, in a sweep. Nothing here holds up a tick.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use stormbed::outpost::protocol::{Call, Reply};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::fast::bounded;
use super::jupyter::Saved;
use super::observation::{Asked, CrossReadView, Deep, LoginProbe, NotebookView, Probe, ReachView};
use super::observer::Seen;
use super::outpost::Outpost;
use super::world::{Actor, World, actors};
use crate::invariant::Name;
use crate::invariant::own::Answer;

/// Logins in rotation: each second from the next node to all others, which is four logins a second for five nodes. One way in
/// for all of them, because the way in costs as much as a login does (0.1 CPU-seconds on both ends together).
const ROTATION_EVERY: Duration = Duration::from_secs(1);
/// First hops of a sweep at the same time. All at once would take both cores of a small machine for a second or two, and
/// Jupyter, which the fast tier asks meanwhile, would be late for no fault of its own; one alone would wait for every login to a frozen
/// node in turn.
const SWEEP_HOPS: usize = 2;
/// The slower probes: the greatest gap in deep evidence is 8 s.
const ROUND_EVERY: Duration = Duration::from_secs(5);
/// A look at the volume starts a client of all its bricks, which takes a second or two: half as often as the rest.
const VOLUME_EVERY: Duration = Duration::from_secs(10);
/// A login takes 0.2 s; TCP gives a lost SYN its second try after 1 s and its third after 3.
const LOGIN_MAX: Duration = Duration::from_secs(5);
/// A kernel starts in 0.5–1.5 s on an idle machine.
const KERNEL_MAX: Duration = Duration::from_secs(7);
/// To remove it.
const KERNEL_MORE: Duration = Duration::from_secs(1);
/// GlusterFS may stall while a brick is away.
const FILE_MAX: Duration = Duration::from_secs(5);
/// An echo has its own second; `gluster volume heal info` takes one or two.
const OTHERS_MAX: Duration = Duration::from_secs(5);
/// First hops of the rotation that may be under way at the same time: those to a frozen node wait for their bound.
const ROTATION_MAX: usize = 5;

/// The deep tier of one run.
#[derive(Debug)]
pub struct DeepTier {
    world: World,
    seen: watch::Receiver<Option<Arc<Seen>>>,
    board: Mutex<Deep>,
    /// Last notebook that was saved and not yet read back.
    saved: tokio::sync::Mutex<Option<SavedNotebook>>,
    serial: AtomicU64,
    /// Who logs in next.
    turn: AtomicUsize,
    rotating: AtomicUsize,
    /// The rotation rests while a sweep logs in everywhere.
    sweeping: AtomicUsize,
}

#[derive(Debug, Clone)]
struct SavedNotebook {
    path: String,
    content: String,
    by: Option<stormbed::config::Slot>,
}

impl DeepTier {
    /// A deep tier that learns from `seen` who is there.
    #[must_use]
    pub fn new(world: World, seen: watch::Receiver<Option<Arc<Seen>>>) -> Self {
        Self {
            world,
            seen,
            board: Mutex::default(),
            saved: tokio::sync::Mutex::default(),
            serial: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            rotating: AtomicUsize::new(0),
            sweeping: AtomicUsize::new(0),
        }
    }

    /// The newest results.
    #[must_use]
    pub fn newest(&self) -> Deep {
        self.locked().clone()
    }

    /// The newest tick.
    #[must_use]
    pub fn seen(&self) -> Option<Arc<Seen>> {
        self.seen.borrow().clone()
    }

    /// Keeps the newest answer for an invariant of the user's own.
    pub fn keep_own(&self, name: Name, answer: Probe<Result<Answer, String>>) {
        self.locked().own.insert(name, answer);
    }

    /// Forgets the answers for another scenario's invariants.
    pub fn forget_own(&self) {
        self.locked().own.clear();
    }

    /// Probes until it is dropped.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(
            self.rotate_logins(),
            self.every(ROUND_EVERY, Duration::ZERO, |tier| Box::pin(tier.kernel())),
            self.every(ROUND_EVERY, ROUND_EVERY / 4, |tier| Box::pin(tier.cross_read())),
            self.every(ROUND_EVERY, ROUND_EVERY / 2, |tier| Box::pin(tier.notebook())),
            self.every(ROUND_EVERY, ROUND_EVERY / 4 * 3, |tier| Box::pin(tier.reach())),
            self.every(VOLUME_EVERY, ROUND_EVERY / 8 * 7, |tier| Box::pin(tier.gluster())),
        );
    }

    /// Leaves nothing behind that was kept for the next probe.
    pub async fn end(&self) {
        self.world.jupyter.remove_kept().await;
    }

    /// Everything once, with every ordered pair of logins, one group after another to leave the system some CPU. All results are on the board when it returns.
    pub async fn sweep(&self) {
        let _resting = Resting::new(&self.sweeping);
        // Whoever would be next in the rotation comes first: nobody's last login grows older than a round of it.
        let mut actors = self.actors();
        let turn = self.turn.load(Ordering::Relaxed) % actors.len().max(1);
        actors.rotate_left(turn);
        let hops: Vec<(Actor, Vec<String>)> = actors.iter().map(|from| (from.clone(), names(&actors, from))).collect();
        let logins = stream::iter(hops).map(|(from, names)| self.login(from, names)).buffer_unordered(SWEEP_HOPS);
        logins.collect::<()>().await;
        tokio::join!(self.new_kernel(), self.cross_read(), self.notebook(), self.reach());
        self.gluster().await;
    }

    async fn every<'a, F>(&'a self, rhythm: Duration, offset: Duration, probe: F)
    where
        F: Fn(&'a Self) -> futures_util::future::BoxFuture<'a, ()>,
    {
        tokio::time::sleep(offset).await;
        let mut rhythm = tokio::time::interval(rhythm);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rhythm.tick().await;
            if !self.actors().is_empty() {
                probe(self).await;
            }
        }
    }

    async fn rotate_logins(self: &Arc<Self>) {
        let mut rhythm = tokio::time::interval(ROTATION_EVERY);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rhythm.tick().await;
            let actors = self.actors();
            let busy =
                self.rotating.load(Ordering::Relaxed) >= ROTATION_MAX || self.sweeping.load(Ordering::Relaxed) > 0;
            if actors.len() < 2 || busy {
                continue;
            }
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            let from = actors[turn % actors.len()].clone();
            let names = names(&actors, &from);
            let tier = Arc::clone(self);
            self.rotating.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                tier.login(from, names).await;
                tier.rotating.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }

    fn actors(&self) -> Vec<Actor> {
        self.seen().map(|seen| actors(&seen.truth, &self.world.shape)).unwrap_or_default()
    }

    fn locked(&self) -> MutexGuard<'_, Deep> {
        self.board.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A number that this run hasn't used yet.
    fn number(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    async fn login(&self, from: Actor, names: Vec<String>) {
        let call = Call::Logins { from: from.address, names: names.clone() };
        // The host's own outpost, so that a sweep's work is spread over the machines.
        let outpost = self.world.outposts.get(&from.host);
        let outpost = outpost.filter(|o| o.is_connected());
        let outpost = outpost.or_else(|| self.world.central());
        let probe = self
            .world
            .ask(outpost, call, LOGIN_MAX, |r| match r {
                Reply::Logins(seen) => Some(seen),
                _ => None,
            })
            .await;
        let fresh = names.into_iter().map(|to| {
            let result = match &probe.result {
                Ok(Ok(seen)) => seen.get(&to).cloned().ok_or_else(|| "the outpost left this login out".to_owned()),
                Ok(Err(first_hop)) => Ok(Err(first_hop.clone())),
                Err(unasked) => Err(unasked.clone()),
            };
            LoginProbe {
                from: from.slot,
                container: from.container.clone(),
                to,
                probe: Probe { begin: probe.begin, end: probe.end, result },
            }
        });
        let fresh: Vec<LoginProbe> = fresh.collect();
        let actors = self.actors();
        keep_newest(&mut self.locked().logins, fresh, &actors);
    }

    async fn kernel(&self) {
        let cell = self.world.jupyter.run_cell(KERNEL_MAX);
        self.locked().kernel = Some(bounded(self.world.clock, KERNEL_MAX + KERNEL_MORE, cell).await);
    }

    async fn new_kernel(&self) {
        let cell = self.world.jupyter.run_new_cell(KERNEL_MAX);
        self.locked().kernel = Some(bounded(self.world.clock, KERNEL_MAX + KERNEL_MORE, cell).await);
    }

    async fn cross_read(&self) {
        let actors = self.actors();
        let number = self.number();
        let turn = usize::try_from(number).unwrap_or(0);
        // A node writes through its own host's outpost: who has none can't be asked, and another takes its turn.
        let reached = |actor: &&Actor| self.world.outposts.get(&actor.host).is_some_and(Outpost::is_connected);
        let writers: Vec<&Actor> = actors.iter().filter(reached).collect();
        let Some(writer) = writers.get(turn % writers.len().max(1)) else {
            return;
        };
        let probe = bounded(self.world.clock, FILE_MAX * 3, self.cross_read_by(writer, &actors, number)).await;
        self.locked().cross_read = Some(probe);
    }

    async fn cross_read_by(&self, writer: &Actor, readers: &[Actor], number: u64) -> Asked<CrossReadView> {
        let dir = self.world.directory(&format!("cross/{number}"));
        let content = format!("written by slot {} as number {number}", writer.slot);
        let write = Call::FileWrite {
            path: dir.join("text"),
            content: content.clone(),
            container: Some(writer.container.clone()),
        };
        let outpost = self.world.outposts.get(&writer.host);
        let written = self.world.ask(outpost, write, FILE_MAX, done).await;
        if let Err(why) = written.result? {
            return Ok(Err(format!("slot {} did not write: {why}", writer.slot)));
        }
        let reads = readers.iter().map(|reader| {
            let call = Call::FileReadAll { dir: dir.clone(), container: Some(reader.container.clone()) };
            let (world, content) = (&self.world, &content);
            async move {
                let outpost = world.outposts.get(&reader.host);
                let read = world.ask(outpost, call, FILE_MAX, files).await;
                let same = |files: std::collections::BTreeMap<String, String>| files.get("text") == Some(content);
                (reader.slot, read.result.map(|answer| answer.map(same)))
            }
        });
        Ok(Ok(CrossReadView { writer: writer.slot, readers: join_all(reads).await.into_iter().collect() }))
    }

    /// Reads back the notebook saved last time, which was before a move if there was one, and then saves the next.
    async fn notebook(&self) {
        let mut saved = self.saved.lock().await;
        if let Some(notebook) = saved.clone() {
            let probe = bounded(self.world.clock, FILE_MAX * 2, async {
                let read = self.world.jupyter.read(&notebook.path, FILE_MAX).await?;
                Ok(NotebookView {
                    name: notebook.path.clone(),
                    saved_by: notebook.by,
                    intact: read.as_deref() == Some(&notebook.content),
                })
            })
            .await;
            let again = probe.result.is_err();
            self.locked().notebook = Some(probe);
            if again {
                return;
            }
        }
        if let Some(notebook) = self.saved_notebook().await {
            *saved = Some(notebook);
        }
    }

    async fn saved_notebook(&self) -> Option<SavedNotebook> {
        let number = self.number();
        let dir = self.world.directory("probe");
        // Its parent: the API saves into existing directories only. From the second time on it exists, and that is no error.
        let keep = Call::FileWrite { path: dir.join(".keep"), content: String::new(), container: None };
        if number < 16 {
            let host = self.world.any_host();
            let _ = self.world.call(host, keep, FILE_MAX, done).await;
        }
        let by = self.seen.borrow().as_ref().and_then(|seen| {
            let leader = seen.truth.etcd_leader.as_ref();
            leader.map(|leader| leader.slot)
        });
        let notebook = SavedNotebook {
            path: format!("{}/n{number}.ipynb", dir.display()),
            content: format!("notebook {number} of run {}", self.world.run),
            by,
        };
        let jupyter = &self.world.jupyter;
        let saved = jupyter.save(&notebook.path, &notebook.content, FILE_MAX).await;
        (saved == Saved::Acknowledged).then_some(notebook)
    }

    async fn reach(&self) {
        let actors = self.actors();
        let addresses: Vec<_> = actors.iter().map(|actor| actor.address).collect();
        let hosts: BTreeSet<&String> = actors.iter().map(|actor| &actor.host).collect();
        let probes = hosts.into_iter().map(|host| {
            let call = Call::Reach { to: addresses.clone() };
            async move {
                let outpost = self.world.outposts.get(host);
                let probe = self.world.call(outpost, call, OTHERS_MAX, |r| match r {
                    Reply::Reach { tried, failed } => Some(ReachView { tried, failed }),
                    _ => None,
                });
                (host.clone(), probe.await)
            }
        });
        let fresh = join_all(probes).await.into_iter().collect();
        self.locked().reach = fresh;
    }

    async fn gluster(&self) {
        let probe = bounded(self.world.clock, OTHERS_MAX * 2, self.world.volume(OTHERS_MAX)).await;
        keep_seen(&mut self.locked().gluster, probe);
    }
}

/// The rotation rests while this lives, also if its sweep is cut off.
struct Resting<'a>(&'a AtomicUsize);

impl<'a> Resting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A look that failed doesn't take the place of what was seen before it: that grows old instead.
fn keep_seen<T>(board: &mut Option<Probe<T>>, fresh: Probe<T>) {
    let seen = board.as_ref().is_some_and(|probe| probe.result.is_ok());
    if fresh.result.is_ok() || !seen {
        *board = Some(fresh);
    }
}

/// The host names of all but this one.
fn names(actors: &[Actor], from: &Actor) -> Vec<String> {
    let others = actors.iter().filter(|to| to.slot != from.slot);
    others.map(|to| to.name.clone()).collect()
}

/// Newest result per (container, name), and none of containers or names that are gone.
fn keep_newest(board: &mut Vec<LoginProbe>, fresh: Vec<LoginProbe>, actors: &[Actor]) {
    board.retain(|old| {
        let replaced = fresh.iter().any(|new| new.container == old.container && new.to == old.to);
        !replaced
    });
    board.extend(fresh);
    if actors.is_empty() {
        return;
    }
    board.retain(|login| {
        actors.iter().any(|a| a.container == login.container)
            && actors.iter().any(|a| a.name == login.to)
            && !actors.iter().any(|a| a.container == login.container && a.name == login.to)
    });
}

fn done(reply: Reply) -> Option<()> {
    (reply == Reply::Done).then_some(())
}

fn files(reply: Reply) -> Option<std::collections::BTreeMap<String, String>> {
    match reply {
        Reply::Files(files) => Some(files),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use stormbed::clock::Millis;

    use super::*;

    fn actors(n: u32) -> Vec<Actor> {
        let actor = |slot| Actor {
            slot,
            address: Ipv4Addr::LOCALHOST,
            container: format!("c{slot}"),
            host: "host-1".into(),
            name: format!("storm-{slot}"),
        };
        (0..n).map(actor).collect()
    }

    fn login(container: &str, to: &str, at: u64) -> LoginProbe {
        LoginProbe {
            from: 0,
            container: container.into(),
            to: to.into(),
            probe: Probe { begin: Millis(at), end: Millis(at), result: Err("x".into()) },
        }
    }

    #[test]
    fn a_failed_look_leaves_what_was_seen_to_grow_old() {
        let look = |at, result| Probe { begin: Millis(at), end: Millis(at), result };
        let failed = || Err("no answer".to_owned());
        let mut board = None;
        keep_seen(&mut board, look(1, failed()));
        keep_seen(&mut board, look(2, Ok(())));
        keep_seen(&mut board, look(3, failed()));
        assert_eq!(board, Some(look(2, Ok(()))));
        keep_seen(&mut board, look(4, Ok(())));
        assert_eq!(board, Some(look(4, Ok(()))));
    }

    #[test]
    fn the_board_keeps_the_newest_login_of_each_pair_and_forgets_the_gone() {
        let mut board = vec![login("c0", "storm-1", 1), login("gone", "storm-1", 1), login("c1", "storm-7", 1)];
        let fresh = vec![login("c0", "storm-1", 2), login("c1", "storm-0", 2)];
        keep_newest(&mut board, fresh, &actors(2));
        let kept: Vec<_> = board.iter().map(|l| (l.container.as_str(), l.probe.begin.0)).collect();
        assert_eq!(kept, [("c0", 2), ("c1", 2)]);
    }
}
