//! Looking at the topology: probes in, [`observation::Observation`]s out.
//!
//! * [`observation`]: what a tick saw; plain data.
//! * [`machines`]: what is needed of a standing topology.
//! * [`docker`]: that, on the user's engine.
//! * [`outpost`]: the runner's end of an outpost.
//! * [`jupyter`]: Jupyter through the proxy.
//! * [`world`]: all of these in one handle.
//! * [`fast`], [`deep`]: the two tiers of probes.
//! * [`own`]: questions of the user's own.
//! * [`pressure`], [`cpu`]: the machine's own condition.
//! * [`observer`]: ticks, in order.

pub mod cpu;
pub mod deep;
pub mod docker;
#[cfg(test)]
pub(crate) mod fake;
pub mod fast;
pub mod jupyter;
pub mod machines;
pub mod observation;
pub mod observer;
pub mod outpost;
pub mod own;
pub mod pressure;
pub mod world;
