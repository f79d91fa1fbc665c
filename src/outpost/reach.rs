//! Echoes from inside the containers: the workload network as a workload has it.

use std::net::Ipv4Addr;
use std::process::Stdio;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::process::Command;

use super::protocol::{ContainerState, ContainerView, Reply};

/// Processes at the same time; each waits for its echo most of the time.
const AT_ONCE_MAX: usize = 16;

/// One echo from every running container to every address.
///
/// # Errors
/// If an echo can't even be tried: a tool is missing on this host.
pub async fn look(containers: Vec<ContainerView>, to: Vec<Ipv4Addr>) -> Result<Reply, String> {
    let running = containers.into_iter().filter(|c| c.state == ContainerState::Running);
    let pairs: Vec<(String, i32, Ipv4Addr)> = running
        .filter_map(|container| Some((container.id, container.pid?)))
        .flat_map(|(id, pid)| to.iter().map(move |to| (id.clone(), pid, *to)))
        .collect();
    let tried = pairs.len();
    let echoes = pairs.into_iter().map(|(id, pid, to)| async move {
        let answered = echo(pid, to).await?;
        Ok::<_, String>((!answered).then_some((id, to)))
    });
    let echoes = stream::iter(echoes).buffer_unordered(AT_ONCE_MAX);
    let failed = echoes.try_filter_map(|failed| async { Ok(failed) });
    let mut failed: Vec<_> = failed.try_collect().await?;
    failed.sort();
    Ok(Reply::Reach { tried, failed })
}

async fn echo(pid: i32, to: Ipv4Addr) -> Result<bool, String> {
    let status = Command::new("nsenter")
        .args(["-t", &pid.to_string(), "-n", "ping", "-n", "-q", "-c1", "-W1", &to.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| format!("cannot start nsenter: {error}; is util-linux in the host's image?"))?;
    match status.code() {
        // The shells' codes for "can't be run" and "isn't there".
        Some(126 | 127) => Err("nsenter found no ping; is iputils-ping in the host's image?".into()),
        _ => Ok(status.success()),
    }
}
