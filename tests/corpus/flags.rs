//! Mesos's flags in the words of our configuration.

use std::path::Path;

use toml::{Table, Value};

/// Flags that say how the recordings were made, or choose what our programs do anyway.
const NOTHING_TO_SAY: &[&str] = &["quorum", "systemd_enable_support", "launcher", "isolation"];

/// A program's configuration.
///
/// # Errors
/// If a flag has no counterpart.
pub fn configuration(line: &[String], work_dir: &Path) -> Result<String, String> {
    let mut table = Table::new();
    table.insert("work_dir".to_owned(), work_dir.display().to_string().into());
    for flag in line.iter().skip(1) {
        let (name, value) = flag.strip_prefix("--").unwrap_or(flag).split_once('=').unwrap_or((flag, ""));
        let bare = name.trim_start_matches('-').strip_prefix("no-").unwrap_or(name);
        if !NOTHING_TO_SAY.contains(&bare)
            && let Some((key, value)) = setting(name.trim_start_matches('-'), value)?
        {
            table.insert(key, value);
        }
    }
    Ok(table.to_string())
}

fn setting(name: &str, value: &str) -> Result<Option<(String, Value)>, String> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| format!("--{name}={text} is no number"));
    let list = |text: &str| Value::Array(text.split(',').map(Value::from).collect());
    Ok(Some(match name {
        "ip" | "hostname" | "zk" | "master" | "resources" | "attributes" => (name.to_owned(), value.into()),
        "port" | "max_agent_ping_timeouts" => (name.to_owned(), number(value)?.into()),
        "agent_ping_timeout" | "offer_timeout" | "zk_session_timeout" => {
            let seconds = value.strip_suffix("secs").ok_or_else(|| format!("--{name}={value} is not in seconds"))?;
            (format!("{name}_ms"), (number(seconds)? * 1000).into())
        }
        "roles" => (name.to_owned(), list(value)),
        "no-root_submissions" => ("root_submissions".to_owned(), false.into()),
        "no-docker_kill_orphans" => ("docker_kill_orphans".to_owned(), false.into()),
        // The docker containerizer is what the embedded agent has.
        "containerizers" if value.split(',').any(|one| one == "docker") => return Ok(None),
        "containerizers" => (name.to_owned(), list(value)),
        other => return Err(format!("the flag --{other} has no counterpart in our configuration")),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_settings() {
        let line = |flags: &[&str]| flags.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        let master = line(&[
            "mesos-master",
            "--ip=127.0.0.1",
            "--port=5050",
            "--quorum=1",
            "--no-root_submissions",
            "--agent_ping_timeout=1secs",
            "--roles=a,b",
            "--no-systemd_enable_support",
        ]);
        let text = configuration(&master, Path::new("/w")).unwrap();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["agent_ping_timeout_ms"].as_integer(), Some(1000));
        assert_eq!(table["root_submissions"].as_bool(), Some(false));
        assert_eq!(table["roles"].as_array().map(Vec::len), Some(2));
        assert_eq!(table.len(), 6, "{text}");
        assert!(configuration(&line(&["mesos-master", "--authenticate_http_frameworks"]), Path::new("/w")).is_err());
        assert!(configuration(&line(&["mesos-master", "--offer_timeout=2mins"]), Path::new("/w")).is_err());
    }
}
