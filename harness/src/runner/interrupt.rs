//! What ends a run before its end: the user, or the command's deadline. The run then undoes, judges what was seen, and leaves
//! its report.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What comes after the last act: undoing (a second; 30 s if something refuses), logs of twelve machines (3 s), removing the
/// topology (10 s on two idle cores), with room for a machine four times as slow.
pub const ENDING: Duration = Duration::from_secs(60);

/// Who ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Ctrl-C or SIGTERM.
    User,
    /// The command was to last no longer than this.
    Deadline(Duration),
}

/// A wish to end, for everybody who waits. Clones share it; the first cause stands.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Interrupt {
    /// One that Ctrl-C and SIGTERM cause. A second signal changes nothing.
    ///
    /// # Errors
    /// If the signals can't be caught.
    pub fn of_signals() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let ended = interrupt.clone();
        tokio::spawn(async move {
            // Ends with the process.
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                ended.end(Cause::User);
            }
        });
        Ok(interrupt)
    }

    /// Ends what is under way [`ENDING`] before the deadline, which counts from now.
    pub fn by(&self, deadline: Duration) {
        let ended = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(deadline.saturating_sub(ENDING)).await;
            ended.end(Cause::Deadline(deadline));
        });
    }

    /// Ends it.
    pub fn end(&self, cause: Cause) {
        // The first one stands.
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// Returns when it is to end.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Who ended it; none while nobody has.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_leaves_time_for_the_end_and_the_first_cause_stands() {
        let interrupt = Interrupt::default();
        let deadline = ENDING + Duration::from_millis(20);
        interrupt.by(deadline);
        let ended = tokio::time::timeout(Duration::from_secs(10), interrupt.cancelled()).await;
        assert!(ended.is_ok(), "it ends before the deadline");
        interrupt.end(Cause::User);
        assert_eq!(interrupt.cause(), Some(Cause::Deadline(deadline)));
        assert_eq!(Interrupt::default().cause(), None);
    }
}
