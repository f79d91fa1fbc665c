//! Interfaces, routes, sysctls and the netfilter chain, by the `ip` and `iptables` commands.
//!
//! A workload's link, as Calico's Felix makes it: host end `cali…` with the MAC ee:ee:ee:ee:ee:ee, proxy ARP without delay,
//! forwarding, strict reverse-path filter (a workload can't borrow an address), and the host route `<ip>/32 dev cali…`.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

/// A command that takes longer hangs: these take milliseconds, and Docker waits 15 s for the whole call.
const COMMAND_MAX: Duration = Duration::from_secs(5);
/// Seconds that iptables waits for its lock; below [`COMMAND_MAX`].
const LOCK_WAIT_S: &str = "4";
const CHAIN: &str = "cali-FORWARD";
const ALL_WORKLOADS: &str = "cali+";
const HOST_MAC: &str = "ee:ee:ee:ee:ee:ee";
const INTERFACES: &str = "/sys/class/net";

/// The host ends of workload links that exist now.
///
/// # Errors
/// If /sys isn't there.
pub fn present() -> Result<BTreeSet<String>, String> {
    let entries =
        std::fs::read_dir(INTERFACES).map_err(|e| format!("cannot list the interfaces in {INTERFACES}: {e}"))?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("cali"))
        .collect())
}

/// Lets this machine route, for workloads of other hosts too.
///
/// # Errors
/// If the sysctl can't be written.
pub fn enable_forwarding() -> Result<(), String> {
    sysctl("net/ipv4/ip_forward", "1")
}

/// Makes a workload's link, after removing leftovers of the same names or to the same address.
///
/// # Errors
/// What `ip` or the kernel said.
pub async fn make_link(host: &str, container: &str, address: Ipv4Addr) -> Result<(), String> {
    for leftover in [host, container] {
        remove_link(leftover).await?;
    }
    run("ip", &["link", "add", host, "address", HOST_MAC, "type", "veth", "peer", "name", container]).await?;
    for (key, value) in [
        (format!("net/ipv4/conf/{host}/proxy_arp"), "1"),
        (format!("net/ipv4/neigh/{host}/proxy_delay"), "0"),
        (format!("net/ipv4/conf/{host}/forwarding"), "1"),
        (format!("net/ipv4/conf/{host}/rp_filter"), "1"),
    ] {
        sysctl(&key, value)?;
    }
    run("ip", &["link", "set", host, "up"]).await?;
    run("ip", &["link", "set", container, "up"]).await?;
    let route = format!("{address}/32");
    run("ip", &["route", "replace", &route, "dev", host, "scope", "link"]).await
}

/// Removes a link if it is there.
///
/// # Errors
/// What `ip` said, unless there is no such link.
pub async fn remove_link(name: &str) -> Result<(), String> {
    if !Path::new(INTERFACES).join(name).exists() {
        return Ok(());
    }
    match run("ip", &["link", "del", name]).await {
        // The other end went with its namespace in between.
        Err(_) if !Path::new(INTERFACES).join(name).exists() => Ok(()),
        other => other,
    }
}

/// Makes sure that forwarding from and to workloads is accepted before Docker's own rules (its FORWARD policy is DROP) say otherwise.
/// Docker puts its chains on top again when it starts, so this is called again and again.
///
/// # Errors
/// What `iptables` said.
pub async fn ensure_chain() -> Result<(), String> {
    let rules = iptables(&["-S"]).await?;
    let (has_chain, first) = read_rules(&rules);
    if !has_chain {
        iptables(&["-N", CHAIN]).await?;
    }
    for direction in ["-i", "-o"] {
        let rule = [CHAIN, direction, ALL_WORKLOADS, "-j", "ACCEPT"];
        if !rules.contains(&format!("-A {}", rule.join(" "))) {
            iptables(&[&["-A"], &rule[..]].concat()).await?;
        }
    }
    if !first {
        let hook = ["FORWARD", "-j", CHAIN];
        // The new hook goes in before the old one goes out, so that there is no moment without.
        iptables(&["-I", "FORWARD", "1", "-j", CHAIN]).await?;
        if rules.contains(&format!("-A {}", hook.join(" "))) {
            delete_second_hook(&hook).await?;
        }
    }
    Ok(())
}

async fn delete_second_hook(hook: &[&str]) -> Result<(), String> {
    let forward = iptables(&["-S", "FORWARD"]).await?;
    let wanted = format!("-A {}", hook.join(" "));
    let second =
        forward.lines().filter(|line| line.starts_with("-A ")).enumerate().filter(|(_, line)| *line == wanted).nth(1);
    match second {
        Some((index, _)) => iptables(&["-D", "FORWARD", &(index + 1).to_string()]).await.map(drop),
        None => Ok(()),
    }
}

/// From `iptables -S`: is the chain there, and is it hooked first?
fn read_rules(rules: &str) -> (bool, bool) {
    let declared = format!("-N {CHAIN}");
    let hooked = format!("-A FORWARD -j {CHAIN}");
    (
        rules.lines().any(|line| line == declared),
        rules.lines().find(|line| line.starts_with("-A FORWARD ")) == Some(&hooked),
    )
}

async fn iptables(args: &[&str]) -> Result<String, String> {
    output("iptables", &[&["-w", LOCK_WAIT_S], args].concat()).await
}

fn sysctl(key: &str, value: &str) -> Result<(), String> {
    let path = Path::new("/proc/sys").join(key);
    std::fs::write(&path, value)
        .map_err(|e| format!("cannot set {} to {value}: {e}; is /proc/sys writable here?", path.display()))
}

async fn run(program: &str, args: &[&str]) -> Result<(), String> {
    output(program, args).await.map(drop)
}

async fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let line = || format!("{program} {}", args.join(" "));
    let command = Command::new(program).args(args).stdin(Stdio::null()).kill_on_drop(true).output();
    let done = tokio::time::timeout(COMMAND_MAX, command)
        .await
        .map_err(|_| format!("'{}' did not end within {COMMAND_MAX:?}", line()))?
        .map_err(|e| format!("cannot run '{}': {e}", line()))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    } else {
        let said = String::from_utf8_lossy(&done.stderr);
        Err(format!("'{}' failed: {}", line(), said.trim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_counts_only_when_hooked_first() {
        let head = "-P FORWARD DROP\n-N DOCKER-USER\n-N cali-FORWARD\n";
        let hook = "-A FORWARD -j cali-FORWARD\n";
        let docker = "-A FORWARD -j DOCKER-USER\n";
        assert_eq!(read_rules("-P FORWARD DROP\n"), (false, false));
        assert_eq!(read_rules(&format!("{head}{hook}{docker}")), (true, true));
        assert_eq!(read_rules(&format!("{head}{docker}{hook}")), (true, false));
        assert_eq!(read_rules(head), (true, false));
    }
}
