//! The kernel ends a process for want of memory: the limit of its container's control group becomes what is in use, a program beside
//! it eats the little that is left, and the kernel's choice falls on whoever would be missed least, which is made to be that process.
//!
//! Once the kernel has chosen, the limit is what it was before, and the eater is gone. It eats in small bites and looks after each
//! whether the kernel has chosen: nobody else is ended.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::control_group::{self, Group, Limit};
use super::faults::Place;
use super::processes::{self, ProcessView};
use super::text;

/// What the container has left to begin with; less than this is asked for by many at once.
const LEFT_BYTES: u64 = 4 << 20;
/// A bite.
const BITE_BYTES: usize = 64 << 10;
/// What can be freed is freed first: files in memory are read again, from a disk.
const EATS_MAX: Duration = Duration::from_secs(4);
/// Whoever has so many points is chosen before everybody who has none (proc_pid_oom_score_adj(5): from -1000 to 1000).
const CHOSEN: &str = "1000";

/// Has the kernel end this process of the container, or its process 1, for want of memory. Returns when it has ended.
///
/// # Errors
/// If the kernel can't be brought to it. Nothing is held in either case.
pub async fn make(place: &Place, fault: &str, container: &str, process: Option<ProcessView>) -> Result<(), String> {
    let init = super::tamper::process(place, container).await?;
    let first = || processes::look(u32::try_from(init).ok()?).map(|seen| seen.view);
    let victim = process.or_else(first).ok_or_else(|| format!("container {container} has ended"))?;
    let group = Group::of(init, "memory")?;
    let (file, key) = counter(&group);
    let before = group.count(file, key)?;
    let limits = [vec![choice(victim)?], limits(&group)?].concat();
    let eaten = match control_group::set(fault, &limits) {
        Ok(()) => eat(&group, before, victim).await,
        failed => failed,
    };
    control_group::set_back(fault)?;
    eaten?;
    let another = |why| format!("the kernel has ended another process for want of memory: {why}");
    processes::ended(victim).await.map_err(another)
}

/// Whom the kernel is to end, if it must end one.
fn choice(victim: ProcessView) -> Result<Limit, String> {
    if !processes::lives(victim) {
        return Err(format!("process {} has ended", victim.pid));
    }
    let file = format!("/proc/{}/oom_score_adj", victim.pid).into();
    Ok(Limit { file, text: CHOSEN.to_owned(), of: Some(victim) })
}

/// Little more than what is in use. Swap would be no want.
fn limits(group: &Group) -> Result<Vec<Limit>, String> {
    let in_use = if group.unified { "memory.current" } else { "memory.usage_in_bytes" };
    let bytes = group.read(in_use)?.parse::<u64>().map_err(text)? + LEFT_BYTES;
    let all = match group.unified {
        true => [group.limit("memory.max", bytes), group.limit("memory.swap.max", 0)],
        false => [group.limit("memory.limit_in_bytes", bytes), group.limit("memory.memsw.limit_in_bytes", bytes)],
    };
    // A kernel that doesn't account for swap has no second limit.
    Ok(all.into_iter().filter(|limit| limit.file.exists()).collect())
}

/// The file that counts whom the kernel has ended, and its key.
fn counter(group: &Group) -> (&'static str, &'static str) {
    (if group.unified { "memory.events" } else { "memory.oom_control" }, "oom_kill")
}

/// Runs the eater in the group until the kernel has ended somebody, which it had done so often before.
async fn eat(group: &Group, before: u64, victim: ProcessView) -> Result<(), String> {
    let (file, key) = counter(group);
    let program = std::env::current_exe().map_err(text)?;
    let [before_text, pid, started] =
        [before, victim.pid.into(), victim.started_ticks].map(|number| number.to_string());
    // In the group before it is a program: what it is made of counts there too.
    let mut eater = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "sh", "-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"])
        .arg(group.dir.join("cgroup.procs"))
        .arg(program)
        .args(["eat-memory", "--before", &before_text, "--victim", &pid, "--started", &started, "--group"])
        .arg(&group.dir)
        .args(group.unified.then_some("--unified"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("setpriv: {error}"))?;
    let ended = timeout(EATS_MAX, eater.wait()).await;
    let _ = eater.kill().await;
    match group.count(file, key) {
        // A group that is gone went with its process 1, which was the victim, or didn't end of this.
        Err(_) if !group.dir.exists() => Ok(()),
        Ok(now) if now > before => Ok(()),
        Ok(_) => Err(match ended {
            Err(_) => format!("the kernel has found memory for {} s", EATS_MAX.as_secs()),
            Ok(status) => format!("what eats memory ended with {status:?}, and the kernel has ended nobody"),
        }),
        Err(why) => Err(why),
    }
}

/// Takes memory of a control group, bite by bite, until the kernel has ended somebody there more often than `before`, or the victim is
/// gone, by whatever.
///
/// # Errors
/// If the group can't be looked at.
pub fn eat_memory(dir: &Path, unified: bool, before: u64, victim: ProcessView) -> Result<(), String> {
    let group = Group { dir: dir.to_owned(), unified };
    let (file, key) = counter(&group);
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    while group.count(file, key)? == before && processes::lives(victim) {
        // Written to: a page that nobody has written to is nobody's.
        eaten.push(vec![1; BITE_BYTES]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_little_more_than_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for name in ["memory.limit_in_bytes", "memory.max", "memory.swap.max"] {
            file(name, "max");
        }
        file("memory.usage_in_bytes", "1000\n");
        file("memory.current", "2000\n");
        let limits = |unified| {
            let limits = limits(&Group { dir: dir.path().to_owned(), unified }).unwrap().into_iter();
            limits.map(|l| (l.file.file_name().unwrap().to_str().unwrap().to_owned(), l.text)).collect::<Vec<_>>()
        };
        let more = |bytes: u64| (bytes + LEFT_BYTES).to_string();
        assert_eq!(limits(false), [("memory.limit_in_bytes".to_owned(), more(1_000))], "there is no limit of swap");
        let both = [("memory.max".to_owned(), more(2_000)), ("memory.swap.max".to_owned(), "0".to_owned())];
        assert_eq!(limits(true), both);
    }

    #[tokio::test]
    async fn a_process_is_chosen_and_another_of_its_id_never() {
        let mut child = Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let view = processes::look(child.id().unwrap()).unwrap().view;
        assert!(choice(view).unwrap().file.exists());
        let another = ProcessView { started_ticks: view.started_ticks + 1, ..view };
        assert!(choice(another).is_err_and(|why| why.contains("has ended")));
        child.kill().await.unwrap();
    }

    #[test]
    fn an_eater_ends_when_the_kernel_has_chosen_or_the_victim_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("memory.oom_control"), "oom_kill 4\n").unwrap();
        let own = processes::look(std::process::id()).unwrap().view;
        eat_memory(dir.path(), false, 3, own).unwrap();
        let gone = ProcessView { started_ticks: own.started_ticks + 1, ..own };
        eat_memory(dir.path(), false, 4, gone).unwrap();
        assert!(eat_memory(&dir.path().join("none"), false, 4, own).is_err());
    }
}
