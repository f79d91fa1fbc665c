//! Replays recordings of Apache Mesos against the embedded master and agent. What the recordings are and what of them is
//! comparable is told in `fixtures/mesos-corpus/README.md`.
//!
//! # Layout
//! Pure:
//! * [`case`]: a recording's file. [`refused`]: the cases that are refused instead, and why.
//! * [`matching`]: whether what was said fits what was recorded, and what the placeholders stand for.
//! * [`lanes`]: which events of a stream keep their order.
//! * [`inspect`]: the essentials of a container's document.
//! * [`flags`]: Mesos's flags in the words of our configuration.
//!
//! Inside of a case's network namespace:
//! * [`http`]: requests as they were sent. [`streams`]: event streams as they arrive.
//! * [`cluster`]: masters, agents, ZooKeeper, the engine. [`znodes`]: what lies in ZooKeeper.
//! * [`replay`]: one step after the other; [`observe`]: a look at something else.
//!
//! Outside: [`runner`].

pub mod case;
pub mod cluster;
pub mod flags;
pub mod http;
pub mod inspect;
pub mod lanes;
pub mod matching;
pub mod observe;
pub mod refused;
pub mod replay;
pub mod runner;
pub mod streams;
pub mod znodes;
