//! Looking at the topology: probes in, [`observation::Observation`]s out.

pub mod observation;
