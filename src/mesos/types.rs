//! The v1 scheduler API's messages, as they are in JSON on the wire.
//!
//! The reader is tolerant: unknown fields are ignored, unknown enum names read as `Unrecognised`, numbers may come as
//! strings, and [`strip_nulls`] makes `null` mean "not set". Required fields are those that Mesos requires.

mod call;
mod event;
mod framework;
mod ids;
mod lenient;
mod master_info;
mod offer;
mod resource;
mod status;
mod task;

pub use call::*;
pub use event::*;
pub use framework::*;
pub use ids::*;
pub use lenient::strip_nulls;
pub use master_info::*;
pub use offer::*;
pub use resource::*;
pub use status::*;
pub use task::*;
