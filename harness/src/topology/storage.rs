//! The GlusterFS volume over the hosts: joined and made from the first host, mounted by each host's supervisor.

use std::time::Duration;

use super::plan::{VOLUME, brick};
use super::{Plan, Role, TopologyError};
use crate::engine::Engine;

const SCRIPT: &str = include_str!("storage.sh");
/// The script ends this long before its bound, and says what it waited for: a command of 15 s may be under way, and one more asks
/// for the servers' state.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// Joins the hosts and starts the volume, within `within`. `first` is the first host's container.
///
/// # Errors
/// If the servers don't come up or refuse; the message has GlusterFS's own words.
pub async fn make(engine: &Engine, plan: &Plan, first: &str, within: Duration) -> Result<(), TopologyError> {
    let timing = &plan.config.timing;
    let brick = brick().display().to_string();
    let (ping, heal) = (timing.storage_ping_s.to_string(), timing.storage_heal_s.to_string());
    let addresses: Vec<String> = plan.of(Role::Host).map(|m| m.address.to_string()).collect();
    let limit = within.saturating_sub(LAST_WORDS).as_secs().to_string();
    let mut command = vec!["sh", "-c", SCRIPT, "storage.sh", &limit, VOLUME, &brick, &ping, &heal];
    command.extend(addresses.iter().map(String::as_str));
    let output = engine.exec(first, &command, b"", within).await?;
    output.success("making the GlusterFS volume")?;
    Ok(())
}
