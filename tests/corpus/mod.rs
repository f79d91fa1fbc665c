//! Replays recordings of Apache Mesos against the embedded master and agent. What the recordings are and what of them is
//! comparable is told in `fixtures/mesos-corpus/README.md`.
//!
//! # Layout
//! Pure:
//! * [`case`]: a recording's file. [`refused`]: the cases that are refused instead, and why.
//! * [`matching`]: whether what was said fits what was recorded, and what the placeholders stand for.
//! * [`lanes`]: which events of a stream keep their order. [`holdings`]: what an offer has to hold.
//! * [`inspect`]: the essentials of a container's document.
//! * [`flags`]: Mesos's flags in the words of our configuration.
//!
//! Inside of a case's network namespace:
//! * [`http`]: requests as they were sent. [`streams`]: event streams as they arrive.
//! * [`cluster`]: masters, agents, ZooKeeper, the engine. [`znodes`]: what lies in ZooKeeper.
//! * [`replay`]: one step after the other: [`requests`] and their answers, [`events`] and silence, [`actions`] from outside,
//!   [`observe`]: a look at something else.
//!
//! Outside: [`runner`] counts, [`machine`] gives each case its container.

pub mod actions;
pub mod case;
pub mod cluster;
pub mod events;
pub mod flags;
pub mod holdings;
pub mod http;
pub mod inspect;
pub mod lanes;
pub mod machine;
pub mod matching;
pub mod observe;
pub mod refused;
pub mod replay;
pub mod requests;
pub mod runner;
pub mod streams;
pub mod znodes;
