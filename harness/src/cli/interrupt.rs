//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the user interrupts. Never, if signals can't be listened to: then the default action ends the program,
/// and the next `up` sweeps what is left.
pub async fn interrupted() {
    let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
