//! The programs of this machine: which of them run, as the kernel shows them, and keeping one down.
//!
//! The supervisor tells which process each part is; that it runs, and that it is still the same one, is `/proc`'s word.

use std::collections::BTreeMap;
use std::path::Path;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use super::text;
use crate::supervisor::control::{Answer, Request, SOCKET, ask};
use crate::supervisor::core::{Signal, Status};

/// A process. Two views are equal if and only if it is the same process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Its id on this machine.
    pub pid: u32,
    /// When it started, in clock ticks since the machine's boot: ids are used again, pairs aren't.
    pub started_ticks: u64,
}

/// The parts whose process runs now, by name.
///
/// # Errors
/// If the supervisor doesn't answer.
pub async fn look() -> Result<BTreeMap<String, ProcessView>, String> {
    let parts = asked(Request::Status).await?.into_iter();
    Ok(parts.filter_map(|part| Some((part.name, process(part.pid?)?))).collect())
}

/// How long a part's process has run; none while it doesn't.
pub async fn age_ms(part: &str) -> Option<u64> {
    let started = look().await.ok()?.get(part)?.started_ticks;
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

/// Kills a part's process, which stays down.
///
/// # Errors
/// If there is no such part, or the supervisor doesn't answer.
pub async fn hold(part: &str) -> Result<(), String> {
    asked(Request::Hold { part: part.to_owned(), signal: Some(Signal::Kill) }).await.map(|_| ())
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

/// None if it has ended, reaped or not.
fn process(pid: u32) -> Option<ProcessView> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    started_ticks(&stat).map(|started_ticks| ProcessView { pid, started_ticks })
}

/// Field 22 of `/proc/<pid>/stat`; none of a zombie. The second field may hold anything, but ends with the last `)`.
fn started_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_runs_and_is_itself() {
        let view = process(std::process::id()).expect("it runs");
        assert_eq!(process(std::process::id()), Some(view));
        assert_eq!(process(u32::MAX), None);
    }

    #[test]
    fn an_age_counts_from_the_start() {
        assert_eq!(age(12_345, "125.70 3.00\n", 100), Some(2_250));
        assert_eq!(age(12_345, "", 100), None);
    }

    #[test]
    fn a_zombie_is_no_process_and_names_may_hold_anything() {
        let stat = |state| format!("7 (a) b ( c) {state} 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 123456 0 0");
        assert_eq!(started_ticks(&stat("S")), Some(123_456));
        assert_eq!(started_ticks(&stat("Z")), None);
    }
}
