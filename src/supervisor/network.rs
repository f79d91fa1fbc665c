//! The workload network in the engine: over the whole pool, with our driver.

use std::path::Path;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect};

/// Names under which the plugin's sockets lie.
const DRIVER: &str = "calico";
const IPAM_DRIVER: &str = "calico-ipam";
/// Docker waits 15 s for a plugin's answer; a network takes a few of them.
const CALL_MAX_S: u64 = 60;

/// Creates the network, unless it is already there as it should be. One with another driver or pool is replaced.
///
/// # Errors
/// What the engine said, e.g. that containers still use the network of before.
pub async fn ensure(socket: &Path, name: &str, pool: &str) -> Result<(), String> {
    let failed = |what: &str, e: bollard::errors::Error| format!("cannot {what} the network '{name}': {e}");
    let docker = Docker::connect_with_socket(&socket.to_string_lossy(), CALL_MAX_S, bollard::API_DEFAULT_VERSION)
        .map_err(|e| failed("reach the engine for", e))?;
    match docker.inspect_network(name, None).await {
        Ok(found) if fits(&found, pool) => return Ok(()),
        Ok(_) => docker.remove_network(name).await.map_err(|e| failed("replace", e))?,
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => {}
        Err(e) => return Err(failed("look at", e)),
    }
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        driver: Some(DRIVER.to_owned()),
        ipam: Some(Ipam {
            driver: Some(IPAM_DRIVER.to_owned()),
            config: Some(vec![IpamConfig { subnet: Some(pool.to_owned()), ..IpamConfig::default() }]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    };
    docker.create_network(request).await.map(drop).map_err(|e| failed("create", e))
}

fn fits(found: &NetworkInspect, pool: &str) -> bool {
    let ipam = found.ipam.as_ref();
    let subnets = ipam.and_then(|ipam| ipam.config.as_ref());
    found.driver.as_deref() == Some(DRIVER)
        && ipam.and_then(|ipam| ipam.driver.as_deref()) == Some(IPAM_DRIVER)
        && subnets.is_some_and(|all| all.iter().any(|c| c.subnet.as_deref() == Some(pool)))
}
