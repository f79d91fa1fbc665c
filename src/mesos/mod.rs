//! A Mesos client library.
//!
//! * [`zk`]: `zk://` URLs and the rules of an election; [`detector`]: who leads; [`contender`]: stand in an election.

pub mod contender;
pub mod detector;
pub mod zk;
