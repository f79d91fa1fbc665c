//! Stormbed's testbed: starts the whole topology for real, breaks it from scenario files, watches it, and judges what it saw.
//!
//! # Layout
//! * `image`, `engine`, `topology`: images, the Docker engine, the machines and their network.
//! * [`document`]: the files that people write, their grammar and their mistakes.
//! * `scenario`: scenario files and the plans made from them.
//! * [`fault`]: what can be broken, and each fault's life.
//! * [`observe`]: probes and observations.
//! * [`invariant`]: what must hold; pure.
//! * `history`: recovery times, coverage of the evidence; pure.
//! * `report`: what a run leaves behind.
//! * `runner`: the phases of a run.
//! * [`status`]: a topology at a glance.
//! * [`doctor`]: whether this machine can run topologies.
//! * `cli`: the commands.

pub mod cli;
pub mod doctor;
pub mod document;
pub mod engine;
pub mod fault;
pub mod history;
pub mod image;
pub mod invariant;
pub mod ledger;
pub mod observe;
pub mod progress;
pub mod report;
pub mod run;
pub mod runner;
pub mod scenario;
pub mod status;
pub mod target;
pub mod topology;
