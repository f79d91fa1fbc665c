//! The observer: a fast tick every 250 ms (500 ms while the machine is busy), the newest deep results beside it, the truth that they show, in order.
//!
//! Ticks overlap: one that waits for something frozen does not hold up the next. They are published in the order in which
//! they began.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use stormbed::clock::Millis;
use stormbed::outpost::protocol::ContainerState;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cpu::{CpuView, Meter};
use super::deep::DeepTier;
use super::fast;
use super::observation::{Fast, Observation, PartView, RunnerView};
use super::pressure::pressure;
use super::world::World;
use crate::invariant::truth::{Truth, TruthTracker};

/// Between the beginnings of two ticks.
pub const TICK_EVERY: Duration = Duration::from_millis(250);
/// The same while programs wait for a processor for more than [`BUSY`] percent of the time. Whoever asks as often as ever while answers
/// take ever longer asks them all at once in the end, and it is the asking that is slow then.
const TICK_EVERY_BUSY: Duration = Duration::from_millis(500);
/// A topology of five nodes that is watched keeps two cores at about 75 % (pressure stall information, `some avg10`).
const BUSY: f64 = 80.0;
/// A tick takes 3 s if nobody answers at all.
const OVERLAP_MAX: usize = 12;
/// Observations that wait for the runner: it is busy for some seconds when it injects on a slow machine.
const QUEUE_MAX: usize = 256;

/// One tick, and the truth that it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What was seen.
    pub observation: Observation,
    /// What is true.
    pub truth: Truth,
}

/// Watches a topology until it is dropped.
#[derive(Debug)]
pub struct Observer {
    queue: mpsc::Receiver<Arc<Seen>>,
    newest: watch::Receiver<Option<Arc<Seen>>>,
    deep: Arc<DeepTier>,
    dropped: Arc<AtomicU64>,
    _guard: DropGuard,
}

impl Observer {
    /// Starts watching.
    #[must_use]
    pub fn start(world: World) -> Self {
        let (publish, newest) = watch::channel(None);
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let deep = Arc::new(DeepTier::new(world.clone(), newest.clone()));
        let stop = CancellationToken::new();
        let dropped = Arc::new(AtomicU64::new(0));
        let ticker = Ticker {
            tracker: TruthTracker::new((*world.shape).clone()),
            meter: Meter::default(),
            containers: Vec::new(),
            world,
            deep: deep.clone(),
            publish,
            sender,
            dropped: dropped.clone(),
        };
        let guard = stop.clone().drop_guard();
        let (tier, token) = (deep.clone(), stop.clone());
        tokio::spawn(async move {
            token.run_until_cancelled(tier.clone().run()).await;
            tier.end().await;
        });
        tokio::spawn(async move { stop.run_until_cancelled(ticker.run()).await });
        Self { queue, newest, deep, dropped, _guard: guard }
    }

    /// The next tick, in order.
    pub async fn next(&mut self) -> Option<Arc<Seen>> {
        self.queue.recv().await
    }

    /// The newest tick.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Option<Arc<Seen>>> {
        self.newest.clone()
    }

    /// The deep tier, for sweeps.
    #[must_use]
    pub fn deep(&self) -> Arc<DeepTier> {
        self.deep.clone()
    }

    /// Ticks that were lost because the runner did not take them: gaps in the evidence.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

struct Ticker {
    world: World,
    tracker: TruthTracker,
    meter: Meter,
    /// The topology's own, by id.
    containers: Vec<String>,
    deep: Arc<DeepTier>,
    publish: watch::Sender<Option<Arc<Seen>>>,
    sender: mpsc::Sender<Arc<Seen>>,
    dropped: Arc<AtomicU64>,
}

type Look = (u64, RunnerView, (Millis, Millis, Fast));

impl Ticker {
    async fn run(mut self) {
        let mut looks = FuturesOrdered::new();
        let mut due = Instant::now();
        let mut number = 0;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due), if looks.len() < OVERLAP_MAX => {
                    let late = due.elapsed();
                    let cpu = self.meter.read(&self.containers);
                    looks.push_back(tokio::spawn(look(self.world.clone(), number, late, cpu)));
                    number += 1;
                    // A late tick isn't made up for.
                    due = (due + every(pressure("cpu"))).max(Instant::now());
                }
                Some(done) = looks.next() => match done {
                    Ok(look) => self.publish(look),
                    Err(error) => tracing::error!(%error, "a tick was lost"),
                },
            }
        }
    }

    fn publish(&mut self, (tick, runner, (begin, end, fast)): Look) {
        let observation = Observation { tick, begin, end, runner, fast, deep: self.deep.newest() };
        let truth = self.tracker.see(&observation);
        if let Ok(parts) = &observation.fast.parts.result {
            let uses = |part: &&PartView| matches!(part.state, ContainerState::Running | ContainerState::Paused);
            self.containers = parts.values().filter(uses).map(|part| part.id.clone()).collect();
        }
        let seen = Arc::new(Seen { observation, truth });
        self.publish.send_replace(Some(seen.clone()));
        if self.sender.try_send(seen).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Between the beginnings of two ticks on a machine with this pressure.
fn every(cpu_pressure: Option<f64>) -> Duration {
    if cpu_pressure.is_some_and(|percent| percent > BUSY) { TICK_EVERY_BUSY } else { TICK_EVERY }
}

async fn look(world: World, number: u64, late: Duration, cpu: Option<CpuView>) -> Look {
    let runner = RunnerView {
        late_ms: u64::try_from(late.as_millis()).unwrap_or(u64::MAX),
        cpu_pressure: pressure("cpu"),
        io_pressure: pressure("io"),
        cpu,
    };
    (number, runner, fast::look(&world).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_machine_is_asked_half_as_often() {
        assert_eq!(every(Some(99.0)), 2 * every(Some(50.0)));
        assert_eq!(every(None), TICK_EVERY, "a kernel without that figure tells nothing");
    }
}
