//! Process 1 of every container of the topology.
