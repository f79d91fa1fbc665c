//! A Mesos client library: what a scheduler, and whoever stands in for a master, needs of Apache Mesos's v1 HTTP API and of
//! its election in ZooKeeper. JSON over HTTP; recorded against Mesos 1.12.
//!
//! # Layout
//! * [`scheduler`]: a scheduler's connection to whichever master leads: subscribes, and again after every loss; calls in
//!   order; a watchdog on heartbeats; being fenced by another instance is an error of its own.
//! * [`detector`]: who leads. [`contender`]: stand in an election. [`zk`]: `zk://` URLs, sessions, the rules of an election.
//! * [`types`]: the API's messages. [`resources`]: arithmetic on resources. [`attributes`]: what agents say of themselves.
//! * [`recordio`]: the framing of event streams.
//!
//! # A scheduler
//! A scheduler reads [`scheduler::Signal`]s and answers with [`types::Call`]s. Nothing is acknowledged for it: an update with
//! a `uuid` comes again until the scheduler sends [`types::Call::acknowledge`], which it does once it has written down what it
//! was told. `examples/one_container.rs` is a whole one.
//!
//! ```no_run
//! use std::time::Duration;
//! use stormbed::mesos::{detector::locate, scheduler::{Signal, connect}, types::{Call, Event, FrameworkInfo}};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let info = FrameworkInfo { user: "root".into(), name: "decliner".into(), ..FrameworkInfo::default() };
//! let leader = locate("zk://zk-1:2181,zk-2:2181/mesos", Duration::from_secs(10))?;
//! let mut signals = connect(info, leader);
//! let mut session = None;
//! while let Some(signal) = signals.recv().await {
//!     match signal {
//!         // Store the id before anything else: who subscribes without it is a new framework.
//!         Signal::Subscribed { subscribed, calls } => session = Some((subscribed.framework_id, calls)),
//!         Signal::Event(Event::Offers(offers)) => {
//!             let Some((framework, calls)) = &session else { continue };
//!             let ids = offers.into_iter().map(|offer| offer.id).collect();
//!             calls.send(Call::decline(framework.clone(), ids, None)).await;
//!         }
//!         Signal::Event(event) => println!("{event:?}"),
//!         // The offers are gone, the tasks are not: reconcile after the next subscription.
//!         Signal::Disconnected(why) => println!("{why}"),
//!         Signal::Ended(why) => return Err(why.into()),
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # What to know of Mesos
//! * 202 says that a call was understood, and nothing of its effect: that comes as events, or not at all.
//! * A framework without `failover_timeout` ends with its stream, and its tasks with it.
//! * Offers don't survive a new subscription; updates are delivered at least once, in order for each task and in none across
//!   tasks; what a master made up itself while nobody was subscribed is lost. Hence: reconcile after every subscription.
//! * A task that is `TASK_UNREACHABLE` may come back. A framework without `PARTITION_AWARE` is told `TASK_LOST` instead, and
//!   the task may come back all the same.
//! * Ids of tasks are never used again.
//!
//! # Not here
//! Protobuf bodies, authentication, TLS, the operator's event stream, executors.

pub mod attributes;
pub mod contender;
pub mod detector;
pub mod recordio;
pub mod resources;
pub mod scheduler;
pub mod types;
pub mod zk;
