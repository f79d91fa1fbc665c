//! Little processor time for a container, by its control group.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::control_group::{self, Group, Limit};
use super::faults::Place;
use super::tamper::process;
use super::text;

/// A busy program meets its limit within this time.
const MEETS_MAX: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Time is given out by such periods (µs); version 1 says its own.
const PERIOD_US: u64 = 100_000;

/// Leaves a container so much of one core. Returns when it was seen to run into that.
///
/// # Errors
/// If that can't be set, or it lives within it.
pub async fn make(place: &Place, fault: &str, container: &str, percent: u8) -> Result<(), String> {
    let group = Group::of(process(place, container).await?, "cpu")?;
    let throttled = || group.count("cpu.stat", "nr_throttled");
    let before = throttled()?;
    control_group::set(fault, &[limit(&group, percent)?])?;
    let end = Instant::now() + MEETS_MAX;
    while throttled()? == before {
        if Instant::now() >= end {
            let max = MEETS_MAX.as_secs();
            return Err(format!("container {container} lives well within {percent}% for {max} s: squeeze it more"));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn limit(group: &Group, percent: u8) -> Result<Limit, String> {
    let share = |period: u64| period * u64::from(percent) / 100;
    Ok(match group.unified {
        true => group.limit("cpu.max", format!("{} {PERIOD_US}", share(PERIOD_US))),
        false => group.limit("cpu.cfs_quota_us", share(group.read("cpu.cfs_period_us")?.parse().map_err(text)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_that_of_the_kernels_version() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cpu.cfs_period_us"), "50000\n").unwrap();
        let limit = |unified| {
            let group = Group { dir: dir.path().to_owned(), unified };
            let limit = limit(&group, 20).unwrap();
            (limit.file.file_name().unwrap().to_owned(), limit.text)
        };
        assert_eq!(limit(false), ("cpu.cfs_quota_us".into(), "10000".to_owned()));
        assert_eq!(limit(true), ("cpu.max".into(), "20000 100000".to_owned()));
    }
}
