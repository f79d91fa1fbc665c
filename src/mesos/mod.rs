//! A Mesos client library.
//!
//! * [`types`]: the v1 scheduler API's messages.
//! * [`resources`]: arithmetic on resources. [`attributes`]: what agents say of themselves.
//! * [`recordio`]: the framing of streams.
//! * [`zk`]: `zk://` URLs and the rules of an election; [`detector`]: who leads; [`contender`]: stand in an election.
//! * [`scheduler`]: a scheduler's connection to whichever master leads.

pub mod attributes;
pub mod contender;
pub mod detector;
pub mod recordio;
pub mod resources;
pub mod scheduler;
pub mod types;
pub mod zk;
