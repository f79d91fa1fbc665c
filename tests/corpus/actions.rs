//! What is done from outside: processes are started and signalled, streams closed, containers killed.

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::cluster;
use super::matching::Difference;
use super::replay::Replay;

impl Replay<'_> {
    pub(super) async fn act(&mut self, what: &str) -> Result<(), Difference> {
        let what = self.bindings.fill_text(what);
        self.trace("action", &what.as_str().into());
        let failed = |why: String| Difference::new("$", "success", why);
        let words: Vec<&str> = what.split(' ').collect();
        match words.as_slice() {
            ["client", "closes", "stream", label] if self.absent.contains(*label) => Ok(()),
            ["client", "closes", "stream", label] => {
                let stream = self.close(label)?;
                self.again = true;
                self.check_rest(self.done.len(), label, &stream, Instant::now())
            }
            ["client", "resets", "stream", label] => {
                self.again = true;
                self.close(label)?.reset().await;
                Ok(())
            }
            ["docker", arguments @ ..] => cluster::docker(arguments).await.map(|_| ()).map_err(failed),
            ["kill", "-9", "of", "the", "docker", "executor", .., agent] => {
                cluster::kill_executors(&self.cluster.work_dir(agent)).map(|_| ()).map_err(failed)
            }
            ["kill", signal, _, name] => {
                let signal = match *signal {
                    "-9" => Signal::SIGKILL,
                    "-STOP" => Signal::SIGSTOP,
                    "-CONT" => Signal::SIGCONT,
                    "-TERM" => Signal::SIGTERM,
                    "-USR1" => Signal::SIGUSR1,
                    other => return Err(failed(format!("an unknown signal {other}"))),
                };
                self.again |= signal == Signal::SIGCONT;
                self.cluster.signal(name, signal).await.map_err(failed)
            }
            ["start", "zookeeper", _] => self.cluster.start_zookeeper().await.map_err(failed),
            ["start", "with", new, "instead", "of", old, _, name] => {
                self.cluster.start(name, |flag| flag.replace(old, new)).map_err(failed)
            }
            ["start", _, name] => {
                self.again = true;
                self.cluster.start(name, str::to_owned).map_err(failed)
            }
            _ => Err(failed("the replayer doesn't know this action".to_owned())),
        }
    }
}
