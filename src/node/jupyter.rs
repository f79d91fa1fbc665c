//! Jupyter on the leader: its command, and its configuration, which holds the token and so is a file of its own, 0600.
//! What can't be said in JSON is Python, in a file beside it: the server reads all files of the name that it is given.

use std::io;
use std::path::Path;

use serde_json::json;
use tokio::process::Command;

use crate::config::NodeConfig;
use crate::files::replace;

/// Pages served through the proxy come from the user's own machine; their websockets say so.
const ORIGINS: &str = r"^https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$";

/// Classes that the server uses instead of its own.
const CLASSES: &str = include_str!("jupyter_server_config.py");

/// The server, configured in `run_dir`.
///
/// # Errors
/// If the token can't be read or the configuration can't be written.
pub fn command(config: &NodeConfig, run_dir: &Path) -> io::Result<Command> {
    let token_file = config.secrets.dir.join(&config.secrets.jupyter_token);
    let token = std::fs::read_to_string(&token_file)
        .map_err(|error| io::Error::new(error.kind(), format!("Jupyter's token {}: {error}", token_file.display())))?;
    let cookie_secret = run_dir.join("jupyter_cookie_secret");
    let settings = run_dir.join("jupyter_server_config.json");
    // The same on every node: a browser stays logged in when Jupyter moves.
    replace(&cookie_secret, format!("stormbed cookie {}\n", token.trim()), 0o600)?;
    let text = settings_text(config, token.trim(), &cookie_secret);
    replace(&settings, &text, 0o600)?;
    replace(&settings.with_extension("py"), CLASSES, 0o600)?;
    let mut command = Command::new("jupyter-server");
    let mut option = std::ffi::OsString::from("--config=");
    option.push(settings);
    command.arg(option).current_dir(&config.shared_dir).env("JUPYTER_RUNTIME_DIR", run_dir.join("jupyter"));
    Ok(command)
}

fn settings_text(config: &NodeConfig, token: &str, cookie_secret: &Path) -> String {
    let server = json!({
        "ip": "0.0.0.0",
        "port": config.jupyter_port,
        "port_retries": 0,
        "token": token,
        "password": "",
        "cookie_secret_file": cookie_secret,
        "root_dir": config.shared_dir,
        "allow_root": true,
        "open_browser": false,
        "allow_remote_access": true,
        "allow_origin_pat": ORIGINS,
    });
    // Each save signs its notebook in this database. On a disk that is a commit in which the server answers nobody (50 of a save's
    // 63 ms), for signatures that stay behind when Jupyter moves.
    let notary = json!({ "db_file": ":memory:" });
    json!({ "ServerApp": server, "NotebookNotary": notary }).to_string()
}
