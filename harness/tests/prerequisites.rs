//! `scripts/prerequisites.sh` on machines that aren't there: everything that it would run is a stub on the path.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A machine: its folder has the stubs and `calls`, what was called with what.
struct Machine {
    folder: tempfile::TempDir,
    system: &'static str,
}

impl Machine {
    fn new(user: u32, system: &'static str) -> Self {
        let machine = Self { folder: tempfile::tempdir().expect("a temporary directory"), system };
        let bin = machine.path("bin");
        std::fs::create_dir(&bin).expect("it can be made");
        let ends = |name: &str, code: &str| {
            machine.stub(name, &format!("echo \"{name} $*\" >> '{}'\n{code}", machine.calls().display()))
        };
        for tool in
            ["cc", "make", "pkg-config", "protoc", "strip", "mmdebstrap", "cargo", "apt-get", "systemctl", "service"]
        {
            ends(tool, "exit 0");
        }
        machine.stub("rustc", "echo 'rustc 1.99.0'");
        machine.stub("id", &format!("[ \"$1\" = -u ] && echo {user} || echo somebody"));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn calls(&self) -> PathBuf {
        self.path("calls")
    }

    fn stub(&self, name: &str, body: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it is ours");
    }

    /// Runs the script; the engine's socket appears when a stub has run that starts it.
    fn run(&self) -> (Output, String) {
        let release = self.path("os-release");
        std::fs::write(&release, self.system).expect("written");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/prerequisites.sh");
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let (calls, socket) = (self.calls(), self.path("docker.sock"));
        let mut child = Command::new("sh");
        child.arg(script).env("PATH", path).env("OS_RELEASE", release);
        child.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        let mut listener = None;
        let output = std::thread::scope(|scope| {
            let ran = scope.spawn(move || child.output().expect("sh is there"));
            while !ran.is_finished() {
                let called = std::fs::read_to_string(&calls).unwrap_or_default();
                if listener.is_none() && (called.contains("docker start") || called.contains("start docker")) {
                    listener = UnixListener::bind(&socket).ok();
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            ran.join().expect("it ran")
        });
        let calls = std::fs::read_to_string(self.calls()).unwrap_or_default();
        (output, calls)
    }
}

const BOOKWORM: &str = "ID=debian\nVERSION_ID=\"12\"\n";
const NOBLE: &str = "ID=ubuntu\nVERSION_ID=\"24.04\"\n";

#[test]
fn root_on_debian_and_ubuntu_gets_an_engine_that_runs() {
    for system in [BOOKWORM, NOBLE] {
        let (output, calls) = Machine::new(0, system).run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // One that is installed and stands still is only started.
        let has_engine = Path::new("/usr/bin/dockerd").exists() || Path::new("/bin/dockerd").exists();
        assert!(has_engine || calls.contains("install -y --no-install-recommends docker.io"), "{calls}");
    }
}

#[test]
fn nobody_else_gets_anything_but_an_advice() {
    for (user, system) in [(1_000, BOOKWORM), (0, "ID=fedora\nVERSION_ID=41\n"), (0, "ID=debian\nVERSION_ID=11\n")] {
        let (output, calls) = Machine::new(user, system).run();
        assert_eq!(output.status.code(), Some(3));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("docker.io") && told.contains("DOCKER_HOST"), "{told}");
        assert!(!calls.contains("apt-get"), "{calls}");
    }
}
