//! Slow links of this machine: packets that the rules of a fault give to a queue of this process, which lets them go when the link would
//! have brought them. One thread for each fault. When this process is gone, the rules let packets pass by themselves.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rand::Rng as _;

use super::link::{Link, Shaper};
use super::nfqueue::{Queue, Verdict};

/// The first number that is tried for a queue; other programs like the small ones.
const NUMBER: u16 = 21_300;
/// Numbers that are tried.
const NUMBERS: u16 = 64;
/// Packets that are taken before those that are due are let go.
const TAKEN_MAX: usize = 256;
/// How soon a thread that is told to end does so, if no packet comes.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Slow links that are in force, by the chain of their rules.
#[derive(Debug, Default)]
pub struct SlowLinks {
    all: Mutex<BTreeMap<String, SlowLink>>,
}

#[derive(Debug)]
struct SlowLink {
    over: Arc<AtomicBool>,
    late: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl SlowLinks {
    /// Opens a link. Returns the number of the queue that leads to it.
    ///
    /// # Errors
    /// If the kernel gives this process no queue.
    pub fn open(&self, chain: &str, link: Link) -> Result<u16, String> {
        let mut refused = String::new();
        for number in NUMBER..NUMBER + NUMBERS {
            let queue = match Queue::open(number) {
                Ok(queue) => queue,
                Err(why) => {
                    refused = why;
                    continue;
                }
            };
            let (over, late) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
            let (told, counted) = (Arc::clone(&over), Arc::clone(&late));
            let thread = std::thread::spawn(move || {
                if let Err(why) = serve(queue, link, &told, &counted) {
                    tracing::error!(why, "a slow link is broken: its packets pass at once");
                }
            });
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(chain.to_owned(), SlowLink { over, late, thread });
            return Ok(number);
        }
        Err(refused)
    }

    /// Ends a link: what waits passes at once. One that isn't there is fine.
    pub fn close(&self, chain: &str) {
        let link = self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(chain);
        if let Some(link) = link {
            link.over.store(true, Ordering::Relaxed);
            // It has no words of its own for having failed; the log has.
            let _ = link.thread.join();
        }
    }

    /// How many packets each link has let go later than they came, by chain.
    #[must_use]
    pub fn late(&self) -> BTreeMap<String, u64> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(chain, link)| (chain.clone(), link.late.load(Ordering::Relaxed))).collect()
    }
}

/// Lets packets go when they are due, until it is told to end.
fn serve(mut queue: Queue, link: Link, over: &AtomicBool, late: &AtomicU64) -> Result<(), String> {
    let begin = Instant::now();
    let mut shaper = Shaper::new(link);
    let mut chance = rand::rng();
    let mut waiting: VecDeque<(Duration, u32)> = VecDeque::new();
    loop {
        let next = waiting.front().map_or(LOOK_EVERY, |(due, _)| due.saturating_sub(begin.elapsed()).min(LOOK_EVERY));
        // Up to the next whole millisecond: none is let go too early.
        let timeout = u16::try_from(next.as_micros().div_ceil(1_000)).unwrap_or(u16::MAX);
        let mut looked = [PollFd::new(std::os::fd::AsFd::as_fd(&queue), PollFlags::POLLIN)];
        match poll(&mut looked, PollTimeout::from(timeout)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(super::text(error)),
        }
        let over = over.load(Ordering::Relaxed);
        let mut taken = 0;
        while taken < TAKEN_MAX
            && let Some(packet) = queue.take()?
        {
            taken += 1;
            match shaper.due(begin.elapsed(), packet.bytes, chance.random()) {
                Some(due) => waiting.push_back((due, packet.id)),
                None => queue.tell(packet.id, Verdict::Drop)?,
            }
        }
        while let Some((due, id)) = waiting.front().copied()
            && (over || due <= begin.elapsed())
        {
            waiting.pop_front();
            queue.tell(id, Verdict::Pass)?;
            late.fetch_add(u64::from(!over), Ordering::Relaxed);
        }
        // By then no rule gives it another packet.
        if over && taken < TAKEN_MAX {
            return Ok(());
        }
    }
}
