//! The programs of this machine: which of them run, as the kernel shows them, and keeping one down.
//!
//! The supervisor tells which process each part is; that it runs, and that it is still the same one, is `/proc`'s word.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use tokio::time::Instant;

use super::processes::{self, Seen};
use super::text;
use crate::supervisor::control::{Answer, Request, SOCKET, ask};
use crate::supervisor::core::{Signal, Status};

/// A part that is told to end has this long.
const END_MAX: Duration = Duration::from_secs(8);
/// Between two looks whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The parts whose process runs now, by name. A machine without a supervisor has none.
///
/// # Errors
/// If the supervisor doesn't answer.
pub async fn look() -> Result<BTreeMap<String, Seen>, String> {
    if !Path::new(SOCKET).exists() {
        return Ok(BTreeMap::new());
    }
    let parts = asked(Request::Status).await?.into_iter();
    Ok(parts.filter_map(|part| Some((part.name, processes::look(part.pid?)?))).collect())
}

/// How long a part's process has run; none while it doesn't.
pub async fn age_ms(part: &str) -> Option<u64> {
    let started = look().await.ok()?.get(part)?.view.started_ticks;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let per_second = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok()?;
    age(started, &uptime, per_second)
}

/// `uptime` is `/proc/uptime`: seconds since boot with two decimals first.
fn age(started_ticks: u64, uptime: &str, ticks_per_second: u64) -> Option<u64> {
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let now_ms = seconds.parse::<u64>().ok()? * 1_000 + hundredths.parse::<u64>().ok()? * 10;
    Some(now_ms.saturating_sub(started_ticks * 1_000 / ticks_per_second))
}

/// Ends a part's process, which stays down. Returns when it has ended.
///
/// # Errors
/// If there is no such part, the supervisor doesn't answer, or the process doesn't end.
pub async fn hold(part: &str, signal: Signal) -> Result<(), String> {
    asked(Request::Hold { part: part.to_owned(), signal: Some(signal) }).await?;
    let end = Instant::now() + END_MAX;
    let runs = |parts: Vec<Status>| parts.iter().any(|known| known.name == part && known.pid.is_some());
    // The supervisor must have noticed: a part that it takes for running isn't started again.
    while runs(asked(Request::Status).await?) {
        if Instant::now() >= end {
            return Err(format!("{part} still runs {} s after it was told to end", END_MAX.as_secs()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// Lets a part run again.
///
/// # Errors
/// If there is no such part, or the supervisor doesn't answer.
pub async fn release(part: &str) -> Result<(), String> {
    asked(Request::Release { part: part.to_owned() }).await.map(|_| ())
}

/// Lets every part that is kept down run again: what a predecessor that was killed has left behind. Returns their names.
///
/// # Errors
/// If the supervisor doesn't answer.
pub async fn release_all() -> Result<Vec<String>, String> {
    if !Path::new(SOCKET).exists() {
        return Ok(Vec::new());
    }
    let parts = asked(Request::Status).await?.into_iter();
    let held: Vec<String> = parts.filter(|part| part.held).map(|part| part.name).collect();
    for part in &held {
        release(part).await?;
    }
    Ok(held)
}

async fn asked(request: Request) -> Result<Vec<Status>, String> {
    match ask(Path::new(SOCKET), &request).await {
        Ok(Answer::Parts(parts)) => Ok(parts),
        Ok(Answer::Refused(why)) => Err(why),
        Err(error) => Err(format!("the supervisor at {SOCKET}: {}", text(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_from_the_start() {
        assert_eq!(age(12_345, "125.70 3.00\n", 100), Some(2_250));
        assert_eq!(age(12_345, "", 100), None);
    }
}
