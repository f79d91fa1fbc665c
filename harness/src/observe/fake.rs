//! An engine of the tests: parts whose state changes as it is told, unless it refuses.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stormbed::outpost::protocol::{ContainerState, Hello};

use super::machines::{Machines, OutpostStream, Verb};
use super::observation::PartView;

/// Parts without outposts.
pub struct FakeMachines {
    parts: Mutex<BTreeMap<String, PartView>>,
    refusals: AtomicUsize,
}

impl FakeMachines {
    /// Parts in these states; the container of `zk-1` is `id-zk-1`.
    pub fn of(parts: &[(&str, ContainerState)]) -> Self {
        let view = |(name, state): &(&str, ContainerState)| {
            ((*name).to_owned(), PartView { id: format!("id-{name}"), state: *state })
        };
        Self { parts: Mutex::new(parts.iter().map(view).collect()), refusals: AtomicUsize::new(0) }
    }

    /// The first so many acts that would bring a part back are refused.
    pub fn refusing(self, acts: usize) -> Self {
        Self { refusals: AtomicUsize::new(acts), ..self }
    }

    fn told(&self, container: &str, verb: Verb) -> Result<(), String> {
        let state = match verb {
            Verb::Start | Verb::Unpause => ContainerState::Running,
            Verb::Pause => ContainerState::Paused,
            Verb::Kill | Verb::Stop => ContainerState::Exited,
        };
        let refuse = || self.refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if state == ContainerState::Running && refuse().is_ok() {
            return Err("the engine says no".to_owned());
        }
        let mut parts = self.parts.lock().expect("no test panics with it");
        parts.values_mut().filter(|part| part.id == container).for_each(|part| part.state = state);
        Ok(())
    }
}

impl Machines for FakeMachines {
    fn outposts(&self) -> Vec<String> {
        Vec::new()
    }
    fn hello(&self, _: &str) -> Option<Hello> {
        None
    }
    fn open_outpost<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<OutpostStream, String>> {
        async { Err("there is none".to_owned()) }.boxed()
    }
    fn parts(&self) -> BoxFuture<'_, Result<BTreeMap<String, PartView>, String>> {
        let parts = self.parts.lock().expect("no test panics with it").clone();
        async { Ok(parts) }.boxed()
    }
    fn act<'a>(&'a self, container: &'a str, verb: Verb) -> BoxFuture<'a, Result<(), String>> {
        async move { self.told(container, verb) }.boxed()
    }
}
