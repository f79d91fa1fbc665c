//! Whether a promise was missed because the judge, or the whole machine, had no time: then it is INVALID, not FAIL.
//!
//! Safety is never excused so. And being slow is no excuse: what shows starvation must not come from the system under test. So it is
//! * the runner's own lateness: a tick began over 500 ms after it was due; or
//! * the whole time through, on average, all three: whenever the runner wanted a CPU it waited for 2.5 ms or more (its own threads, by
//!   the kernel's account), others than the topology took a third of the machine or more, and ticks took half a second or more. A
//!   system that burns all CPUs itself makes the runner wait, but isn't "others"; jobs that only take what is left don't make the
//!   runner wait; and a system that answers slowly makes ticks long, and neither of the two.

use std::time::Duration;

use stormbed::clock::Millis;

use super::tick::Tick;
use crate::observe::cpu::CpuView;
use crate::observe::observer::TICK_EVERY;
use crate::report::Verdict;

/// The runner was late by more than this: what it saw late may be its own fault.
pub const LATE_MS: u64 = 500;
/// A wait for a CPU takes as long as this on average. A probe is a chain of some hundred turns of many processes, each of which waits
/// as the runner does. Measured on two cores beside other work (n = 39 times 5 s): ticks of 0.3–1.6 s went with 2.0–7.7 ms a turn. Alone,
/// medians of 0.11–0.23 s went with 0.5–0.8 ms (n = 7 scenarios). The share of the time that is waited for tells nothing: turns are so
/// short that it is 90 % in both.
const WAIT_US_MIN: f64 = 2_500.0;
/// Others than the topology took at least this share of the machine's CPU time: what takes 1 s alone takes 1.5 s then.
const OTHERS_PERCENT_MIN: f64 = 33.0;
/// Fewer ticks show nothing.
const TICKS_MIN: usize = 4;

/// A missed promise is a FAIL, unless the judge or the machine was starved meanwhile; then the text says so.
pub(super) fn judged_while(ticks: &[Tick], from: Millis, to: Millis) -> (Verdict, String) {
    match starved(ticks, from, to) {
        Some(why) => (Verdict::Invalid, format!(" (but {why})")),
        None => (Verdict::Fail, String::new()),
    }
}

fn starved(ticks: &[Tick], from: Millis, to: Millis) -> Option<String> {
    let touching: Vec<&Tick> = ticks.iter().filter(|tick| tick.end >= from && tick.begin <= to).collect();
    if touching.iter().any(|tick| tick.late_ms > LATE_MS) {
        return Some(format!("the runner was starved, over {LATE_MS} ms late"));
    }
    let slow = touching.iter().map(|tick| tick.end.since(tick.begin)).sum::<Duration>();
    if touching.len() < TICKS_MIN || slow < TICK_EVERY * 2 * u32::try_from(touching.len()).ok()? {
        return None;
    }
    let shares = Shares::of(touching.iter().filter_map(|tick| tick.cpu.as_ref()))?;
    (shares.wait_us >= WAIT_US_MIN && shares.others_percent >= OTHERS_PERCENT_MIN).then(|| {
        format!(
            "the machine was starved: whenever the runner wanted a CPU it waited for {:.1} ms, and others than the topology took {:.0} % of the CPUs",
            shares.wait_us / 1e3,
            shares.others_percent
        )
    })
}

/// What became of the CPUs over several ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// What the runner waited whenever it wanted a CPU, on average.
    pub wait_us: f64,
    /// Of the machine's CPU time.
    pub others_percent: f64,
}

impl Shares {
    /// None without evidence.
    pub fn of<'a>(views: impl Iterator<Item = &'a CpuView>) -> Option<Self> {
        let mut sum = CpuView::default();
        let mut ticks = 0;
        for view in views {
            ticks += 1;
            sum.turns += view.turns;
            sum.waited_us += view.waited_us;
            sum.had_us += view.had_us;
            sum.others_us += view.others_us;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run are far below 2^52")]
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let others = u64::try_from(sum.others_us).unwrap_or(0);
        (ticks >= TICKS_MIN).then(|| Self {
            wait_us: ratio(sum.waited_us, sum.turns),
            others_percent: ratio(others, sum.had_us) * 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariant::truth::Truth;

    /// Forty ticks, 250 ms apart, each as long as that says, with such waits for a CPU and such a share of others.
    fn ticks(took_ms: u64, wait_us: u64, others_percent: i64) -> Vec<Tick> {
        let tick = |index: u64| {
            let begin = index * 250;
            let cpu = CpuView {
                ran_us: 5_000,
                waited_us: 60 * wait_us,
                turns: 60,
                had_us: 500_000,
                others_us: 5_000 * others_percent,
            };
            Tick { end: Millis(begin + took_ms), cpu: Some(cpu), ..Tick::showing(begin, Truth::default()) }
        };
        (0..40).map(tick).collect()
    }

    fn verdict(ticks: &[Tick]) -> Verdict {
        judged_while(ticks, Millis(0), Millis(10_000)).0
    }

    #[test]
    fn a_machine_that_others_took_away_is_no_fault_of_the_system() {
        let starved = ticks(1_500, 4_200, 45);
        let (verdict, why) = judged_while(&starved, Millis(0), Millis(10_000));
        assert_eq!(verdict, Verdict::Invalid);
        assert!(why.contains("waited for 4.2 ms") && why.contains("45 % of the CPUs"), "{why}");
    }

    #[test]
    fn a_system_that_burns_the_machine_itself_is_slow() {
        assert_eq!(verdict(&ticks(1_500, 9_000, 5)), Verdict::Fail);
        assert_eq!(verdict(&ticks(1_500, 9_000, -1)), Verdict::Fail, "accounts that are apart");
    }

    #[test]
    fn work_beside_it_that_takes_only_what_is_left_is_no_excuse() {
        assert_eq!(verdict(&ticks(1_500, 1_000, 90)), Verdict::Fail);
    }

    #[test]
    fn slow_answers_are_no_evidence_and_quick_ones_show_that_there_was_time() {
        let silent: Vec<Tick> = ticks(2_000, 4_200, 45).into_iter().map(|tick| Tick { cpu: None, ..tick }).collect();
        assert_eq!(verdict(&silent), Verdict::Fail, "no accounts");
        assert_eq!(verdict(&ticks(400, 4_200, 45)), Verdict::Fail);
    }

    #[test]
    fn a_moment_of_starvation_doesnt_excuse_a_long_time() {
        let mut mixed = ticks(1_500, 500, 10);
        mixed.splice(0..8, ticks(1_500, 6_000, 80).into_iter().take(8));
        assert_eq!(verdict(&mixed), Verdict::Fail);
        assert_eq!(judged_while(&mixed, Millis(0), Millis(1_000)).0, Verdict::Invalid, "while it lasted");
        assert_eq!(judged_while(&mixed[..3], Millis(0), Millis(1_000)).0, Verdict::Fail, "too few ticks");
    }

    #[test]
    fn a_late_runner_is_starved_whatever_else() {
        let mut late = ticks(100, 0, 0);
        late[3].late_ms = LATE_MS + 1;
        assert_eq!(verdict(&late), Verdict::Invalid);
        late[3].late_ms = LATE_MS;
        assert_eq!(verdict(&late), Verdict::Fail);
    }
}
