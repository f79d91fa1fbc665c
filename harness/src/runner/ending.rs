//! Begin and end of a scenario: the cluster is steady before, and everything is judged without excuses after.

use std::time::Duration;

use stormbed::clock::Millis;

use super::session::{Session, Stop};
use crate::history::{Ending, FINAL_HOLD_MS, FINAL_WITHIN_MS};
use crate::ledger::Ledger;
use crate::report::ScenarioReport;

/// A fresh topology meets all invariants within 25 s on an idle machine; this is for a loaded one, and for what a scenario before has left.
const STEADY_WITHIN: Duration = Duration::from_secs(120);
/// What is under way ends (5 s), then three tries of reading (20 s each) while the volume heals (30 s).
const ACCOUNT_WITHIN: Duration = Duration::from_secs(75);
/// All invariants have held for this long before anything is broken.
const STEADY_MS: u64 = 2_000;

impl Session<'_> {
    /// Waits until every invariant holds. Returns whether they do.
    pub(super) async fn steady(&mut self) -> Result<bool, Stop> {
        self.enter("steady");
        let begin = self.now();
        let steady = self.all_hold(begin, STEADY_MS, STEADY_WITHIN).await?;
        if steady {
            let took = self.now().since(begin).as_secs_f64();
            self.say(&format!("steady after {took:.1} s"));
        } else {
            let text = self.lacking();
            self.say(&format!("not steady: {text}"));
        }
        Ok(steady)
    }

    /// The final judgement: the ledger's account, and then, with nothing left to be done, that everything holds.
    pub(super) async fn finish(&mut self, mut ledger: Ledger) -> Result<(), Stop> {
        self.enter("account");
        let account = tokio::spawn(async move {
            ledger.stop().await;
            tokio::join!(ledger.account(), ledger.volume())
        });
        self.until(ACCOUNT_WITHIN, |_| account.is_finished()).await?;
        if !account.is_finished() {
            account.abort();
        }
        let (outcome, volume) =
            account.await.map_err(|error| Stop::Broken(format!("the ledger's account failed: {error}")))?;
        (self.ledger, self.volume) = (outcome, Some(volume));
        self.enter("final judgement");
        let begin = self.now();
        let within = Duration::from_millis(FINAL_WITHIN_MS);
        // Judged as it is when it has held for long enough: no tick is taken after that one.
        if !self.all_hold(begin, FINAL_HOLD_MS, within).await? {
            let text = self.lacking();
            self.say(&format!("not everything holds at the end: {text}"));
        }
        Ok(())
    }

    /// Waits until everything has held for `held_ms`, a whole sweep that began after `after` included.
    async fn all_hold(&mut self, after: Millis, held_ms: u64, within: Duration) -> Result<bool, Stop> {
        let end = self.now() + within;
        loop {
            let swept = self.swept.is_some_and(|(begin, _)| begin >= after);
            match next(swept, self.history.all_held_ms() >= held_ms, self.history.lacking().is_empty()) {
                Next::Done => return Ok(true),
                _ if self.now() >= end => return Ok(false),
                Next::Sweep => self.want_sweep(),
                Next::Wait => {}
            }
            self.tick().await?;
        }
    }

    fn lacking(&self) -> String {
        let lacking = self.history.lacking();
        let told = lacking.iter().map(|(name, why)| format!("{name}: {why}"));
        told.collect::<Vec<_>>().join("; ")
    }

    /// The report on whatever came of it.
    pub(super) fn report(&self, interrupted: bool) -> ScenarioReport {
        self.history.outcome(&Ending {
            plan: self.plan,
            faults: &self.faults,
            ledger: &self.ledger,
            volume: self.volume.as_ref(),
            witnesses: &self.witnesses,
            ended: self.now(),
            harness_errors: self.errors.clone(),
            interrupted,
            aborted: self.aborted.as_deref(),
        })
    }
}

/// What a wait for everything to hold does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing: a whole sweep agrees, and everything has held for long enough.
    Done,
    /// Ask for a sweep.
    Sweep,
    /// Take another tick.
    Wait,
}

/// However long everything has held, only a sweep that began after the wait ends it; while something lacks, sweeps go on.
fn next(swept: bool, held: bool, nothing_lacks: bool) -> Next {
    match (swept, held, nothing_lacks) {
        (true, true, _) => Next::Done,
        (false, ..) | (true, false, false) => Next::Sweep,
        (true, false, true) => Next::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_and_a_hold_are_both_wanted_at_the_end() {
        assert_eq!(next(true, true, true), Next::Done);
        assert_eq!(
            next(false, true, true),
            Next::Sweep,
            "what held before the last write has not been looked into since"
        );
        assert_eq!(next(true, false, true), Next::Wait, "it holds, but not for long enough");
        assert_eq!(next(true, false, false), Next::Sweep, "what lacks may have come back");
    }
}
