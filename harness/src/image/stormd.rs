//! The system's program as it goes into the images: built natively where its libc needs are met by bookworm, else in a
//! bookworm container with this machine's toolchain mounted; stripped, because every code edit makes a new layer of it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::{ImageError, base, recipe::Packages, recipe::Recipe};
use crate::engine::{ContainerSpec, Engine};
use crate::run::{Home, Run, id};
use crate::topology::machines::labels;

/// glibc of the images (Debian 12).
pub const BOOKWORM_GLIBC: (u32, u32) = (2, 36);
/// A cold build of everything on two cores takes a few minutes.
const BUILD_MAX: Duration = Duration::from_secs(1_800);

/// The system's program.
const PROGRAM: &str = "stormd";

/// Where the program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The one beside this program runs in bookworm.
    Native,
    /// It needs a newer libc than bookworm's: build it there.
    Container,
}

/// Decides by what the program itself asks of the dynamic linker: that is exact, where the builder's own libc version
/// would only be a guess.
#[must_use]
pub fn origin(program: &[u8]) -> Origin {
    match needed_glibc(program) {
        Some(needed) if needed > BOOKWORM_GLIBC => Origin::Container,
        _ => Origin::Native,
    }
}

/// The highest `GLIBC_x.y` that a program names.
#[must_use]
pub fn needed_glibc(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let mut highest = None;
    let mut rest = program;
    while let Some(at) = rest.windows(MARK.len()).position(|w| w == MARK) {
        rest = &rest[at + MARK.len()..];
        let end = rest.iter().position(|b| !b.is_ascii_digit() && *b != b'.').unwrap_or(rest.len());
        let mut numbers =
            rest[..end].split(|b| *b == b'.').map(|n| std::str::from_utf8(n).ok().and_then(|n| n.parse::<u32>().ok()));
        if let (Some(Some(major)), Some(Some(minor))) = (numbers.next(), numbers.next()) {
            highest = highest.max(Some((major, minor)));
        }
    }
    highest
}

/// The program's bytes, stripped and fit for bookworm.
///
/// # Errors
/// If it isn't built, can't be stripped, or can't be built in a container.
pub async fn program(engine: &Engine, home: &Home, progress: &(dyn Fn(&str) + Sync)) -> Result<Vec<u8>, ImageError> {
    let found = find()?;
    let stripped = strip(&found).await?;
    let bytes = read(&stripped)?;
    if origin(&bytes) == Origin::Native {
        return Ok(bytes);
    }
    progress("this machine's libc is newer than bookworm's: building stormd in a container");
    build_in_container(engine, home, &["--bin", PROGRAM], progress).await?;
    read(&strip(&bookworm(&toolchain()?.sources).join("debug").join(PROGRAM)).await?)
}

/// Programs that a test runs inside of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestPrograms {
    /// The system's program.
    pub stormd: PathBuf,
    /// The test itself.
    pub test: PathBuf,
}

/// The programs of a test of the package `stormbed` that runs itself inside of images; none where those that cargo builds for
/// this machine run there.
///
/// # Errors
/// If they have to be built in a container and can't be.
pub async fn for_test(
    engine: &Engine,
    home: &Home,
    test: &str,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<Option<TestPrograms>, ImageError> {
    if origin(&read(&strip(&find()?).await?)?) == Origin::Native {
        return Ok(None);
    }
    progress(&format!("this machine's libc is newer than bookworm's: building {test} in a container"));
    let words = ["--bin", PROGRAM, "--test", test, "--message-format=json"];
    let said = build_in_container(engine, home, &words, progress).await?;
    let built = executable(&said, test).ok_or_else(|| ImageError::Tool {
        what: format!("building {test} for bookworm"),
        tail: "cargo names no such executable".to_owned(),
    })?;
    Ok(Some(TestPrograms { stormd: bookworm(&toolchain()?.sources).join("debug").join(PROGRAM), test: built }))
}

/// Where cargo says that it has put a test's program.
fn executable(said: &str, test: &str) -> Option<PathBuf> {
    let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == test);
    built.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Where programs are built for bookworm.
fn bookworm(sources: &Path) -> PathBuf {
    sources.join("target/bookworm")
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    std::fs::read(path).map_err(ImageError::file(path))
}

/// `stormd` beside this program, or one directory up (tests run from `deps`).
fn find() -> Result<PathBuf, ImageError> {
    let own = std::env::current_exe().map_err(ImageError::file("this program"))?;
    let places: Vec<PathBuf> = own.ancestors().skip(1).take(2).map(|d| d.join(PROGRAM)).collect();
    places.iter().find(|p| p.is_file()).cloned().ok_or_else(|| ImageError::NoStormd {
        looked: places.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "),
    })
}

/// A stripped copy beside the program, made anew when the program is newer.
async fn strip(program: &Path) -> Result<PathBuf, ImageError> {
    let target = program.with_extension("stripped");
    let changed = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified());
    if let (Ok(theirs), Ok(ours)) = (changed(program), changed(&target))
        && ours > theirs
    {
        return Ok(target);
    }
    // Another run may do the same at this moment: each writes its own file, and the rename is atomic.
    let own = program.with_extension(format!("stripped-{}", std::process::id()));
    let status = tokio::process::Command::new("strip")
        .arg("-o")
        .arg(&own)
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|_| ImageError::Missing {
            program: "strip",
            purpose: "make a small copy of stormd for the images",
            package: "binutils",
        })?;
    if !status.status.success() {
        return Err(ImageError::Tool {
            what: format!("stripping {}", program.display()),
            tail: String::from_utf8_lossy(&status.stderr).trim().to_owned(),
        });
    }
    std::fs::rename(&own, &target).map_err(ImageError::file(&target))?;
    Ok(target)
}

/// Where the sources are, the compiler, and cargo's own directory.
struct Toolchain {
    sources: PathBuf,
    sysroot: PathBuf,
    cargo_home: PathBuf,
}

fn toolchain() -> Result<Toolchain, ImageError> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    let sources = sources.filter(|s| s.join("Cargo.toml").is_file()).ok_or_else(|| ImageError::Tool {
        what: "building stormd for bookworm".into(),
        tail: "the sources that this program was built from are gone; run from a checkout".into(),
    })?;
    let output =
        std::process::Command::new("rustc").args(["--print", "sysroot"]).output().map_err(|_| ImageError::Missing {
            program: "rustc",
            purpose: "build stormd for bookworm",
            package: "rustup, from https://rustup.rs",
        })?;
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    Ok(Toolchain {
        sources,
        sysroot: String::from_utf8_lossy(&output.stdout).trim().into(),
        cargo_home: std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from),
    })
}

/// Builds programs of the package `stormbed` in a bookworm container, in the directory [`bookworm`]; returns what cargo says.
async fn build_in_container(
    engine: &Engine,
    home: &Home,
    what: &[&str],
    progress: &(dyn Fn(&str) + Sync),
) -> Result<String, ImageError> {
    let tools = toolchain()?;
    let base_id = base::ensure(engine, progress).await?;
    let recipe = Recipe::builder(&Packages::shipped());
    if engine.image_id(&recipe.tag(&base_id)).await?.is_none() {
        engine.build(&recipe.build(base::BASE, &base_id), progress).await?;
    }
    let target = bookworm(&tools.sources);
    std::fs::create_dir_all(&target).map_err(ImageError::file(&target))?;
    // A run of its own: if this process dies, the next sweep removes the container.
    let run = Run::create(home, &id::new())?;
    let own = |p: &Path, read_only| (p.to_owned(), p.display().to_string(), read_only);
    let spec = ContainerSpec {
        name: format!("stormbed-{}-builder", run.id()),
        hostname: "builder".into(),
        image: recipe.tag(&base_id),
        command: vec!["sleep".into(), BUILD_MAX.as_secs().to_string()],
        labels: labels(run.id(), home),
        environment: vec![
            format!("CARGO_HOME={}", tools.cargo_home.display()),
            format!("PATH={}/bin:/usr/bin:/bin", tools.sysroot.display()),
        ],
        binds: vec![
            own(&tools.sources, true),
            own(&target, false),
            own(&tools.cargo_home, false),
            own(&tools.sysroot, true),
        ],
        // What the container writes must belong to whoever runs this.
        user: Some(format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())),
        ..ContainerSpec::default()
    };
    let container = engine.create(&spec).await?;
    let built = run_cargo(engine, &container, &tools.sources, what).await;
    engine.remove(&container).await?;
    run.forget()?;
    built
}

async fn run_cargo(engine: &Engine, container: &str, sources: &Path, what: &[&str]) -> Result<String, ImageError> {
    engine.start(container).await?;
    let manifest = sources.join("Cargo.toml").display().to_string();
    let target = bookworm(sources).display().to_string();
    let fixed =
        ["cargo", "build", "--locked", "--package", "stormbed", "--manifest-path", &manifest, "--target-dir", &target];
    let command: Vec<&str> = fixed.iter().chain(what).copied().collect();
    let output = engine.exec(container, &command, b"", BUILD_MAX).await?;
    Ok(output.success("building for bookworm")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_program_is_where_cargo_says() {
        let said = concat!(
            "not json\n",
            r#"{"reason":"compiler-artifact","target":{"name":"stormd"},"executable":"/t/debug/stormd"}"#,
            "\n",
            r#"{"reason":"compiler-artifact","target":{"name":"it"},"executable":"/t/debug/deps/it-0f"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(said, "it"), Some(PathBuf::from("/t/debug/deps/it-0f")));
        assert_eq!(executable(said, "other"), None);
    }

    #[test]
    fn the_highest_glibc_decides() {
        let program = b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.4\0";
        assert_eq!(needed_glibc(program), Some((2, 34)));
        assert_eq!(origin(program), Origin::Native);
        assert_eq!(origin(b"x\0GLIBC_2.36\0"), Origin::Native);
        assert_eq!(origin(b"x\0GLIBC_2.39\0"), Origin::Container);
        assert_eq!(origin(b"static"), Origin::Native);
    }
}
