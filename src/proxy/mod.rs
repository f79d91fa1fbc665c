//! The way in from outside: follows the leader.
