//! The scheduler that keeps N slots running.
