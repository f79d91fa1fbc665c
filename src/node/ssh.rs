//! sshd and the ssh client of a node: keys on the slot's data directory, strict checking, keys only.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::files::replace;
use crate::registry::SSH_PORT;

/// root's authorized_keys: local, never on the shared volume.
pub const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";
/// root's known_hosts.
pub const KNOWN_HOSTS: &str = "/root/.ssh/known_hosts";
const CLIENT_CONFIG: &str = "/etc/ssh/ssh_config.d/stormbed.conf";
const SERVER: &str = "/usr/sbin/sshd";
/// sshd separates its privileges here; Debian makes it only in its service unit.
const SEPARATION_DIR: &str = "/run/sshd";

/// The keys of one node.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Public host key, without a comment.
    pub host: String,
    /// Public key of root, without a comment.
    pub user: String,
    dir: PathBuf,
}

/// Debian's default, sntrup761, takes 70 of a login's 107 CPU-milliseconds (both ends, n = 10); this one takes 2.
const KEY_EXCHANGE: &str = "curve25519-sha256";

impl Keys {
    /// Reads the keys of this slot, or makes them when it has none.
    ///
    /// # Errors
    /// If they can neither be read nor made.
    pub async fn prepare(data_dir: &Path) -> io::Result<Self> {
        let dir = data_dir.join("ssh");
        std::fs::create_dir_all(&dir)?;
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700))?;
        Ok(Self { host: key(&dir.join("host_ed25519")).await?, user: key(&dir.join("user_ed25519")).await?, dir })
    }

    /// Writes the client's configuration.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn configure_client(&self) -> io::Result<()> {
        let identity = self.dir.join("user_ed25519");
        let text = format!(
            "Host *\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {KNOWN_HOSTS}\n  StrictHostKeyChecking yes\n  \
             UpdateHostKeys no\n  PasswordAuthentication no\n  BatchMode yes\n",
            identity.display()
        );
        replace(Path::new(CLIENT_CONFIG), &text, 0o644)
    }

    /// The server in the foreground, configured in `run_dir`.
    ///
    /// # Errors
    /// If its configuration can't be written.
    pub fn server(&self, run_dir: &Path) -> io::Result<Command> {
        std::fs::create_dir_all(SEPARATION_DIR)?;
        let config = run_dir.join("sshd_config");
        let text = format!(
            "Port {SSH_PORT}\nHostKey {}\nAuthorizedKeysFile {AUTHORIZED_KEYS}\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nUseDNS no\nPrintMotd no\n\
             KexAlgorithms {KEY_EXCHANGE}\nMaxStartups 100:30:200\nLogLevel ERROR\nSubsystem sftp internal-sftp\n",
            self.dir.join("host_ed25519").display()
        );
        replace(&config, &text, 0o600)?;
        let mut command = Command::new(SERVER);
        command.args(["-D", "-e", "-f"]).arg(config);
        Ok(command)
    }
}

/// The public half of a key pair that is made when it doesn't exist.
async fn key(path: &Path) -> io::Result<String> {
    let public = path.with_extension("pub");
    if !public.try_exists()? {
        // A private half without its public one is a making that was interrupted.
        let _ = std::fs::remove_file(path);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path);
        let status = command.status().await?;
        if !status.success() {
            return Err(io::Error::other(format!("ssh-keygen for {} {status}", path.display())));
        }
    }
    let text = std::fs::read_to_string(&public)?;
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(key)) => Ok(format!("{kind} {key}")),
        _ => {
            std::fs::remove_file(&public)?;
            Err(io::Error::other(format!("{} held no key; it is made again", public.display())))
        }
    }
}
