//! The secrets of one topology: made at its start, kept in files that only their owner can read, and written into the
//! hosts' memory through a stream. Never in an environment, an argument, a label or a log.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rand::RngCore;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{LineEnding, PrivateKey};
use stormbed::config::SecretsConfig;
use stormbed::outpost::traces::hex;

use super::TopologyError;
use crate::engine::Engine;
use crate::run::{Run, RunError};

/// File of the operator's private key in a run's folder.
pub const OPERATOR_KEY_FILE: &str = "operator_key";
/// File of the Jupyter token in a run's folder.
pub const TOKEN_FILE: &str = "jupyter-token";
/// Writing two small files into a running container.
const WRITE_MAX: Duration = Duration::from_secs(20);

/// The secrets of one topology.
#[derive(Clone)]
pub struct Secrets {
    jupyter_token: String,
    operator_private_key: String,
    operator_public_key: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Makes new ones.
    ///
    /// # Errors
    /// If the key can't be made.
    pub fn generate() -> Result<Self, TopologyError> {
        let mut token = [0; 24];
        rand::rng().fill_bytes(&mut token);
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        let key = PrivateKey::from(Ed25519Keypair::from_seed(&seed));
        Self::from_parts(hex(&token), &key)
    }

    fn from_parts(jupyter_token: String, key: &PrivateKey) -> Result<Self, TopologyError> {
        let bad = |e: ssh_key::Error| TopologyError::Secrets(e.to_string());
        Ok(Self {
            jupyter_token,
            operator_private_key: key.to_openssh(LineEnding::LF).map_err(bad)?.to_string(),
            operator_public_key: key.public_key().to_openssh().map_err(bad)?,
        })
    }

    /// Keeps them in the run's folder.
    ///
    /// # Errors
    /// If a file can't be written.
    pub fn save(&self, run: &Run) -> Result<(), TopologyError> {
        run.write_secret(TOKEN_FILE, &self.jupyter_token)?;
        run.write_secret(OPERATOR_KEY_FILE, &self.operator_private_key)?;
        Ok(())
    }

    /// Reads them from a run's folder.
    ///
    /// # Errors
    /// If a file can't be read or isn't a key.
    pub fn load(folder: &Path) -> Result<Self, TopologyError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(RunError::file(path))
        };
        let key =
            PrivateKey::from_openssh(read(OPERATOR_KEY_FILE)?).map_err(|e| TopologyError::Secrets(e.to_string()))?;
        Self::from_parts(read(TOKEN_FILE)?, &key)
    }

    /// The token that Jupyter asks for.
    #[must_use]
    pub fn jupyter_token(&self) -> &str {
        &self.jupyter_token
    }

    /// The operator's private key (OpenSSH format).
    #[must_use]
    pub fn operator_private_key(&self) -> &str {
        &self.operator_private_key
    }

    /// Writes the token and the operator's *public* key into a host's memory. A host that was started again has lost them.
    ///
    /// # Errors
    /// If the host doesn't take them.
    pub async fn hand_over(&self, engine: &Engine, host: &str, places: &SecretsConfig) -> Result<(), TopologyError> {
        let files = [(&places.jupyter_token, &self.jupyter_token), (&places.operator_key, &self.operator_public_key)];
        for (name, content) in files {
            let path = places.dir.join(name).display().to_string();
            // Whole or not at all: a task may be reading.
            let script = "umask 077 && cat > \"$0.new\" && mv \"$0.new\" \"$0\"";
            let line = format!("{content}\n");
            let command = ["sh", "-c", script, &path];
            let output = engine.exec(host, &command, line.as_bytes(), WRITE_MAX).await?;
            output.success(&format!("writing {name} into a host's memory"))?;
        }
        Ok(())
    }
}

/// What hosts hold in their memory, and which containers are hosts.
#[derive(Debug, Clone)]
pub struct HostSecrets {
    pub(super) secrets: Secrets,
    pub(super) places: SecretsConfig,
    pub(super) hosts: BTreeSet<String>,
}

impl HostSecrets {
    /// Gives a host that was started again what it has lost. Any other container has lost nothing.
    ///
    /// # Errors
    /// If the host doesn't take them.
    pub async fn hand_over(&self, engine: &Engine, container: &str) -> Result<(), TopologyError> {
        match self.hosts.contains(container) {
            true => self.secrets.hand_over(engine, container, &self.places).await,
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Home;

    #[test]
    fn secrets_survive_the_folder_and_do_not_print() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let run = Run::create(&Home::at(dir.path()), "a")?;
        let made = Secrets::generate()?;
        made.save(&run)?;
        let back = Secrets::load(run.folder())?;
        assert_eq!(back.jupyter_token(), made.jupyter_token());
        assert_eq!(back.operator_public_key, made.operator_public_key);
        assert!(made.operator_private_key().starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(!format!("{made:?}").contains(made.jupyter_token()));
        assert_ne!(Secrets::generate()?.jupyter_token(), made.jupyter_token());
        Ok(())
    }
}
