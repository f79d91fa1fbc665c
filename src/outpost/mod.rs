//! The testbed's eyes and hands inside a host or the edge: one `stormd outpost` per machine, speaking JSON lines on its
//! standard streams. See [`protocol`].

pub mod protocol;
