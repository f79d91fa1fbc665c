//! Outside of the cases: a container for each, four at a time, and the sum.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};

use super::case::{Case, files};
use super::machine::{Machine, REFUSED};
use super::refused::{self, Refused};
use super::replay::{Failure, replay};

/// Cases at the same time: mostly they wait.
const AT_ONCE: usize = 4;

/// What the command line says.
#[derive(Debug, Default)]
pub struct Arguments {
    filters: Vec<String>,
    list: bool,
    inside: Option<Inside>,
}

/// Replaying here and now, instead of in a container.
#[derive(Debug)]
struct Inside {
    case: PathBuf,
    root: PathBuf,
    out: PathBuf,
    stormd: PathBuf,
}

impl Arguments {
    /// Reads the command line; libtest's own options mean nothing here.
    ///
    /// # Errors
    /// If there is something else.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--list" => arguments.list = true,
                "--inside" => {
                    let mut path = || words.next().map(PathBuf::from).ok_or("--inside CASE SCRATCH LOGS STORMD");
                    arguments.inside = Some(Inside { case: path()?, root: path()?, out: path()?, stormd: path()? });
                }
                "--nocapture" | "--exact" => {}
                _ if word.starts_with("--test-threads=") => {}
                _ if word.starts_with('-') => {
                    return Err(format!("'{word}' is unknown; expected words of names, --list"));
                }
                _ => arguments.filters.push(word),
            }
        }
        Ok(arguments)
    }
}

/// How a case came out.
#[derive(Debug)]
enum Verdict {
    Passed,
    /// It failed among others and passed alone.
    PassedAlone(Box<Failure>),
    Failed(Box<Failure>),
    Refused(String),
}

impl Verdict {
    fn word(&self) -> String {
        match self {
            Verdict::Passed => "ok".to_owned(),
            Verdict::PassedAlone(_) => "ok alone".to_owned(),
            Verdict::Failed(_) => "FAILED".to_owned(),
            Verdict::Refused(reason) => format!("refused: {reason}"),
        }
    }
}

/// Does what the command line says.
pub fn run(arguments: Arguments) -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    let code = match (&arguments.inside, arguments.list) {
        (Some(inside), _) => runtime.block_on(inside.replay()),
        (None, true) => list().map(|()| ExitCode::SUCCESS),
        (None, false) => runtime.block_on(all(arguments.filters)),
    };
    code.unwrap_or_else(|why| {
        eprintln!("{why}");
        println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        ExitCode::FAILURE
    })
}

impl Inside {
    async fn replay(&self) -> Result<ExitCode, String> {
        let told = |e: std::io::Error| e.to_string();
        if stormbed::supervisor::init::is_init() {
            // Executors outlive agents and are orphans then: somebody has to be their parent.
            let mut again = std::process::Command::new(std::env::current_exe().map_err(told)?);
            again.arg("--inside").args([&self.case, &self.root, &self.out, &self.stormd]);
            let code = stormbed::supervisor::init::run(&mut again).await.map_err(told)?;
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        let text = std::fs::read_to_string(&self.case).map_err(told)?;
        let case = Case::read(&self.case)?;
        for folder in [&self.root, &self.out] {
            std::fs::create_dir_all(folder).map_err(told)?;
        }
        let refused = std::fs::read(self.out.join(REFUSED)).ok();
        let refused: Option<Refused> = refused.and_then(|text| serde_json::from_slice(&text).ok());
        let folders = [self.root.as_path(), self.out.as_path(), self.stormd.as_path()];
        let outcome = replay(&case, &text, refused.as_ref(), folders).await;
        let result = serde_json::to_vec(&outcome).map_err(|e| e.to_string())?;
        std::fs::write(self.out.join("result.json"), result).map_err(told)?;
        hand_over(&self.out).map_err(told)?;
        if let Some(failure) = &outcome.failure {
            println!("{}", describe(failure));
        }
        Ok(if outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Gives the logs to whoever owns their folder.
fn hand_over(out: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let owner = std::fs::metadata(out)?;
    for entry in std::fs::read_dir(out)? {
        chown(entry?.path(), Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn describe(failure: &Failure) -> String {
    let Failure { step, t_ms, what, path, expected, got } = failure;
    let step = step.map_or_else(|| "before the first step".to_owned(), |step| format!("step {step} at {t_ms} ms"));
    format!("{step}, {what}: {path}\n      expected {expected}\n      got      {got}")
}

fn corpus() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus");
    std::env::var_os("STORMBED_CORPUS").map_or(default, PathBuf::from)
}

fn list() -> Result<(), String> {
    for file in files(&corpus())? {
        println!("{}", Case::read(&file)?.name);
    }
    Ok(())
}

async fn all(filters: Vec<String>) -> Result<ExitCode, String> {
    let mut cases = Vec::new();
    for file in files(&corpus())? {
        cases.push((Case::read(&file)?, file));
    }
    let names: Vec<_> = cases.iter().map(|(case, _)| case.name.clone()).collect();
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mesos-corpus-refused.toml");
    let mut refused = refused::read(&list, &names)?;
    let job = |(case, file): (Case, PathBuf)| {
        let refused = refused.remove(&case.name);
        (case, file, refused)
    };
    let mut jobs: Vec<Job> = cases.into_iter().map(job).collect();
    jobs.retain(|(case, ..)| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter)));
    // The longest first: nobody waits for them in the end.
    jobs.sort_by_key(|(case, ..)| std::cmp::Reverse(case.duration_ms()));
    let filtered = names.len() - jobs.len();

    let machine = Machine::new()?;
    let started = Instant::now();
    let results = tokio::select! {
        // Whatever happens, nothing of it stays.
        results = AssertUnwindSafe(replay_all(&machine, &jobs)).catch_unwind() => Some(results),
        _ = tokio::signal::ctrl_c() => None,
    };
    machine.sweep().await;
    match results {
        Some(Ok(results)) => Ok(sum(&results?, filtered, started.elapsed())),
        Some(Err(panic)) => std::panic::resume_unwind(panic),
        None => Ok(ExitCode::from(130)),
    }
}

/// A recording, its file, and what of it is refused.
type Job = (Case, PathBuf, Option<Refused>);

/// Several cases on few cores delay each other's tasks and timers. What a case proves, it proves alone; but that it needed to
/// be is told, because a case that passes every other time fails so, too.
async fn replay_all(machine: &Machine, jobs: &[Job]) -> Result<BTreeMap<String, Verdict>, String> {
    let donor = &machine.lend().await?;
    let among_others = jobs.iter().map(|job| async move { (job, one(machine, job, donor).await) });
    let first: Vec<_> = futures_util::stream::iter(among_others).buffer_unordered(AT_ONCE).collect().await;
    let mut results = BTreeMap::new();
    for (job, mut verdict) in first {
        if let Verdict::Failed(failure) = verdict {
            print!("alone: ");
            verdict = match one(machine, job, donor).await {
                Verdict::Passed | Verdict::Refused(_) => Verdict::PassedAlone(failure),
                other => other,
            };
        }
        results.insert(job.0.name.clone(), verdict);
    }
    Ok(results)
}

async fn one(machine: &Machine, (case, file, refused): &Job, donor: &str) -> Verdict {
    let started = Instant::now();
    let failure = match refused {
        Some(refused) if refused.instead.is_empty() && refused.incomplete.is_empty() => None,
        _ => machine.replay(case, file, refused.as_ref(), donor).await,
    };
    let verdict = match (failure, refused) {
        (Some(failure), _) => Verdict::Failed(Box::new(failure)),
        (None, Some(refused)) => Verdict::Refused(refused.reason.clone()),
        (None, None) => Verdict::Passed,
    };
    println!("test {} ({:.1} s) ... {}", case.name, started.elapsed().as_secs_f64(), verdict.word());
    verdict
}

fn sum(results: &BTreeMap<String, Verdict>, filtered: usize, took: Duration) -> ExitCode {
    let count = |which: fn(&Verdict) -> bool| results.values().filter(|result| which(result)).count();
    let passed = count(|result| matches!(result, Verdict::Passed | Verdict::PassedAlone(_)));
    let failed = count(|result| matches!(result, Verdict::Failed(_)));
    let refused = count(|result| matches!(result, Verdict::Refused(_)));
    let mut alone = Vec::new();
    for (name, result) in results {
        match result {
            Verdict::Failed(failure) => println!("\n{name}: {}", describe(failure)),
            Verdict::PassedAlone(failure) => {
                println!("\n{name}, among others: {}", describe(failure));
                alone.push(name.as_str());
            }
            Verdict::Passed | Verdict::Refused(_) => {}
        }
    }
    let alone = if alone.is_empty() { String::new() } else { format!("; passed only alone: {}", alone.join(", ")) };
    println!("\n{passed} passed, {failed} failed, {refused} refused in {:.0} s{alone}", took.as_secs_f64());
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {word}. {passed} passed; {failed} failed; {refused} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s",
        took.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
