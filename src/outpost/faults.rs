//! Faults that an outpost makes, holds and undoes. A fault is held from before it is made: whatever becomes of the attempt,
//! it will be undone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bollard::Docker;
use bollard::query_parameters::KillContainerOptionsBuilder;
use futures_util::future::join_all;

use super::containers::{inspect, state};
use super::protocol::{Act, ContainerState};
use super::text;

/// One fault that is held.
#[derive(Debug)]
struct Held {
    act: Act,
    /// Making and undoing take turns: an undo waits for a making that is under way.
    turn: tokio::sync::Mutex<()>,
}

/// What is held, by the runner's names.
#[derive(Debug, Default)]
pub struct Faults {
    held: Mutex<BTreeMap<String, Arc<Held>>>,
}

impl Faults {
    /// Makes a fault and holds it; returns when the engine has done it.
    ///
    /// # Errors
    /// If the name is taken, or the engine refuses. A refused fault isn't held.
    pub async fn inject(self: &Arc<Self>, engine: Docker, fault: String, act: Act) -> Result<(), String> {
        let turn = tokio::sync::Mutex::new(());
        let held = Arc::new(Held { act, turn });
        {
            let mut all = self.lock();
            if all.contains_key(&fault) {
                return Err(format!("fault '{fault}' is held already; undo it first or use another name"));
            }
            all.insert(fault.clone(), Arc::clone(&held));
        }
        let faults = Arc::clone(self);
        // A task of its own: when the request's time is over, the making still comes to an end, and undo waits for it.
        let making = tokio::spawn(async move {
            let _turn = held.turn.lock().await;
            let made = make(&engine, &held.act).await;
            if made.is_err() {
                // Whether or not a part of it was done.
                let _ = unmake(&engine, &held.act).await;
                faults.lock().remove(&fault);
            }
            made
        });
        making.await.map_err(text)?
    }

    /// Undoes a held fault.
    ///
    /// # Errors
    /// If it isn't held, or the engine fails; then it is still held.
    pub async fn undo(&self, engine: &Docker, fault: &str) -> Result<(), String> {
        let held = self.lock().get(fault).cloned();
        let held = held.ok_or_else(|| format!("fault '{fault}' is not held"))?;
        let _turn = held.turn.lock().await;
        unmake(engine, &held.act).await?;
        self.lock().remove(fault);
        Ok(())
    }

    /// Undoes everything, at the same time; what fails is logged.
    pub async fn undo_all(&self, engine: &Docker) {
        let faults: Vec<String> = self.lock().keys().cloned().collect();
        join_all(faults.iter().map(|fault| async move {
            match self.undo(engine, fault).await {
                Ok(()) => tracing::info!(fault, "undone at the end"),
                Err(error) => tracing::error!(fault, error, "cannot be undone"),
            }
        }))
        .await;
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make(engine: &Docker, act: &Act) -> Result<(), String> {
    match act {
        Act::KillContainer { container } => {
            let options = KillContainerOptionsBuilder::new().signal("SIGKILL").build();
            engine.kill_container(container, Some(options)).await.map_err(text)
        }
        Act::PauseContainer { container } => engine.pause_container(container).await.map_err(text),
    }
}

async fn unmake(engine: &Docker, act: &Act) -> Result<(), String> {
    match act {
        // The system under test brings the slot back.
        Act::KillContainer { .. } => Ok(()),
        Act::PauseContainer { container } => {
            let Err(error) = engine.unpause_container(container).await else {
                return Ok(());
            };
            // A container that is gone, dead or running isn't frozen: engines answer those in different ways.
            match inspect(engine, container).await?.as_ref().map(state) {
                Some(ContainerState::Paused) => Err(text(error)),
                _ => Ok(()),
            }
        }
    }
}
