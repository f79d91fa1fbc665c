//! What a user sees while a run runs: lines that stay, and on a terminal one line that moves.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};

use stormbed::clock::{Clock, Millis};

use crate::fault::FaultKind;
use crate::report::Verdict;

/// Columns that the moving line may take; longer ones would wrap and stay.
const COLUMNS_MAX: usize = 100;

/// Writes progress to standard error.
#[derive(Debug)]
pub struct Progress {
    clock: Clock,
    live: bool,
    color: bool,
    /// Before every line, where several runs write to one screen.
    prefix: String,
    /// The moving line is on the screen.
    shown: Mutex<bool>,
}

impl Progress {
    /// Live on a terminal, plain lines otherwise. `NO_COLOR` is respected. One of several lanes writes whole lines only, each
    /// with the lane's number.
    #[must_use]
    pub fn detect(clock: Clock, lane: Option<usize>) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self {
            clock,
            live: terminal && lane.is_none(),
            color: terminal && !no_color(),
            prefix: lane.map(|lane| format!("[{lane}] ")).unwrap_or_default(),
            shown: Mutex::new(false),
        }
    }

    /// A line that stays, with the time.
    pub fn line(&self, text: &str) {
        let at = stamp(self.clock.now());
        let mut shown = self.shown();
        let wipe = if std::mem::take(&mut *shown) { "\r\x1b[K" } else { "" };
        // Nobody to tell when standard error is gone.
        let _ = writeln!(std::io::stderr(), "{wipe}{}{at}  {text}", self.prefix);
    }

    /// The moving line; nothing where there is no terminal.
    pub fn status(&self, text: &str) {
        if !self.live {
            return;
        }
        let at = stamp(self.clock.now());
        let text: String = text.chars().take(COLUMNS_MAX).collect();
        let mut shown = self.shown();
        let mut err = std::io::stderr();
        let _ = write!(err, "\r\x1b[K{at}  {}", self.dim(&text));
        let _ = err.flush();
        *shown = true;
    }

    /// A verdict, coloured if that is wanted.
    #[must_use]
    pub fn verdict(&self, verdict: Verdict) -> String {
        let code = match verdict {
            Verdict::Pass => "32",
            Verdict::Fail | Verdict::Broken => "31",
            Verdict::Invalid | Verdict::Interrupted => "33",
        };
        self.painted(code, &verdict.to_string())
    }

    /// A fault, in the colour of its kind if that is wanted.
    #[must_use]
    pub fn fault(&self, kind: FaultKind) -> String {
        self.painted(kind.row().colour, &kind.to_string())
    }

    fn dim(&self, text: &str) -> String {
        self.painted("2", text)
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn shown(&self) -> MutexGuard<'_, bool> {
        self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The user wants no colours (<https://no-color.org>).
#[must_use]
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// `m:ss.t` since the start of the run.
fn stamp(at: Millis) -> String {
    let tenths = at.0 / 100;
    format!("{:>2}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_minutes_seconds_and_tenths() {
        assert_eq!(stamp(Millis(0)), " 0:00.0");
        assert_eq!(stamp(Millis(61_250)), " 1:01.2");
        assert_eq!(stamp(Millis(3_600_000)), "60:00.0");
    }
}
