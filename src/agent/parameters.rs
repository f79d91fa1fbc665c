//! `DockerInfo.parameters`: Mesos hands them to `docker run` as they are; here a documented subset is translated, and the rest refused as
//! the command line refuses what it doesn't know.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, DeviceMapping, HostConfig, ResourcesUlimits};

use crate::mesos::types::Parameter;

/// The keys that are understood.
pub const SUPPORTED: &[&str] = &[
    "add-host",
    "cap-add",
    "cap-drop",
    "device",
    "dns",
    "env",
    "init",
    "ip",
    "label",
    "net",
    "network",
    "security-opt",
    "stop-signal",
    "sysctl",
    "tmpfs",
    "ulimit",
    "volume",
];

/// What concerns the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extra {
    /// The first `net` or `network`; overrides the task's network.
    pub network: Option<String>,
    /// `ip`.
    pub address: Option<String>,
}

/// Puts the parameters into the request.
///
/// # Errors
/// If one isn't supported, or its value isn't what the option takes.
pub fn apply(parameters: &[Parameter], body: &mut ContainerCreateBody, host: &mut HostConfig) -> Result<Extra, String> {
    let mut extra = Extra::default();
    for Parameter { key, value } in parameters {
        let bad = |expected: &str| format!("the parameter {key}={value} is not valid; expected {expected}");
        let list = |list: &mut Option<Vec<String>>| list.get_or_insert_default().push(value.clone());
        match key.as_str() {
            "ip" => extra.address = Some(value.clone()),
            "net" | "network" => {
                extra.network.get_or_insert_with(|| value.clone());
            }
            "volume" => list(&mut host.binds),
            "cap-add" => list(&mut host.cap_add),
            "cap-drop" => list(&mut host.cap_drop),
            "dns" => list(&mut host.dns),
            "add-host" => list(&mut host.extra_hosts),
            "security-opt" => list(&mut host.security_opt),
            "env" => list(&mut body.env),
            "stop-signal" => body.stop_signal = Some(value.clone()),
            "init" => host.init = Some(value.parse().map_err(|_| bad("true or false"))?),
            "device" => host.devices.get_or_insert_default().push(device(value)),
            "label" => insert(&mut body.labels, value, '=', ""),
            "tmpfs" => insert(&mut host.tmpfs, value, ':', ""),
            "sysctl" => insert(&mut host.sysctls, value, '=', ""),
            "ulimit" => {
                host.ulimits.get_or_insert_default().push(ulimit(value).ok_or_else(|| bad("name=soft[:hard]"))?)
            }
            other => {
                return Err(format!(
                    "unknown flag: --{other}\n\nthe parameters that are understood here are {}",
                    SUPPORTED.join(", ")
                ));
            }
        }
    }
    Ok(extra)
}

fn insert(map: &mut Option<HashMap<String, String>>, text: &str, separator: char, default: &str) {
    let (key, value) = text.split_once(separator).unwrap_or((text, default));
    map.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

/// `/dev/a[:/dev/b][:rwm]`.
fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let on_host = parts.next().unwrap_or(text);
    let rest: Vec<&str> = parts.collect();
    let (inside, permissions) = match rest[..] {
        [] => (on_host, "rwm"),
        [one] if one.starts_with('/') => (one, "rwm"),
        [one] => (on_host, one),
        [inside, permissions, ..] => (inside, permissions),
    };
    DeviceMapping {
        path_on_host: Some(on_host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    }
}

fn ulimit(text: &str) -> Option<ResourcesUlimits> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    Some(ResourcesUlimits {
        name: Some(name.to_owned()),
        soft: Some(soft.parse().ok()?),
        hard: Some(hard.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(parameters: &[(&str, &str)]) -> Result<(Extra, ContainerCreateBody, HostConfig), String> {
        let parameters: Vec<_> = parameters.iter().map(|(k, v)| Parameter::new(*k, *v)).collect();
        let (mut body, mut host) = (ContainerCreateBody::default(), HostConfig::default());
        let extra = apply(&parameters, &mut body, &mut host)?;
        Ok((extra, body, host))
    }

    #[test]
    fn every_supported_key_is_understood() {
        for key in SUPPORTED {
            let value = match *key {
                "init" => "true",
                "ulimit" => "nofile=1024:2048",
                _ => "a=b",
            };
            assert!(applied(&[(key, value)]).is_ok(), "{key}");
        }
    }

    #[test]
    fn the_rest_is_refused_by_name() {
        assert!(applied(&[("restart", "always")]).is_err_and(|e| e.starts_with("unknown flag: --restart\n")));
        assert!(applied(&[("ulimit", "nofile")]).is_err_and(|e| e.contains("soft[:hard]")));
    }

    #[test]
    fn values_land_where_they_belong() {
        let (extra, body, host) = applied(&[
            ("ip", "198.19.0.10"),
            ("network", "a"),
            ("net", "b"),
            ("label", "stormbed.slot=0"),
            ("device", "/dev/fuse"),
            ("device", "/dev/a:/dev/b:r"),
            ("tmpfs", "/run:size=8m"),
        ])
        .expect("supported");
        assert_eq!(extra.network.as_deref(), Some("a"));
        assert_eq!(extra.address.as_deref(), Some("198.19.0.10"));
        assert_eq!(body.labels.expect("labels")["stormbed.slot"], "0");
        assert_eq!(host.tmpfs.expect("tmpfs")["/run"], "size=8m");
        let devices = host.devices.expect("devices");
        assert_eq!(devices[0].path_in_container.as_deref(), Some("/dev/fuse"));
        assert_eq!(devices[1].cgroup_permissions.as_deref(), Some("r"));
    }
}
