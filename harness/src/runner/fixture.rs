//! A session of the tests, on machines that answer as a test tells them to.

use std::sync::Arc;

use stormbed::clock::Clock;

use super::folder::RunFolder;
use super::interrupt::Interrupt;
use super::session::{Session, Shared};
use crate::fault::journal::Journal;
use crate::observe::fake::FakeMachines;
use crate::observe::jupyter::Jupyter;
use crate::observe::observation::Shape;
use crate::observe::observer::Observer;
use crate::observe::world::World;
use crate::progress::Progress;
use crate::scenario::plan::Plan;
use crate::status::live::Teller;

/// Runs a test's body on a session of this plan.
pub(super) async fn on_session(
    plan: &Plan,
    shape: Shape,
    machines: FakeMachines,
    body: impl AsyncFnOnce(&mut Session<'_>),
) {
    let clock = Clock::start();
    let jupyter = Jupyter::new("http://127.0.0.1:9", "t").expect("a client");
    let world = World::open("r", clock, shape, Arc::new(machines), jupyter);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut run = RunFolder::create(folder.path().join("r")).expect("it can be made");
    let mut journal = Journal::open(folder.path(), "r", None).expect("it can be made");
    let (mut observer, progress) = (Observer::start(world.clone()), Progress::detect(clock, None));
    let shared = Shared {
        world: &world,
        observer: &mut observer,
        folder: &mut run,
        journal: &mut journal,
        progress: &progress,
        teller: &mut Teller::new(folder.path()),
        interrupt: &Interrupt::default(),
    };
    body(&mut Session::new(shared, plan, "1-x".into())).await;
}
