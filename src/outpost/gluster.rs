//! The volume's heal state. `heal … info summary` connects to every brick as a client does, so it also tells which bricks
//! are there; unlike `volume status` it takes no lock in glusterd, and three hosts may ask at the same time.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::protocol::GlusterView;

/// What `timeout` ends with when it has killed its command and itself.
const KILLED: i32 = 9;

/// Asks for the heal state of a volume.
///
/// The client that gluster starts for it (`glfsheal`) outlives a gluster that is killed, and locks one entry after another to see whether
/// it heals. With some hundred entries that takes longer than anybody waits, and ten such clients keep the volume from healing at all
/// (measured: 0.3 entries a second instead of 10). So `timeout` kills the whole group.
///
/// # Errors
/// If gluster can't be run, doesn't answer in time, or says no.
pub async fn look(volume: &str, within: Duration) -> Result<GlusterView, String> {
    let seconds = format!("{:.3}", within.as_secs_f64());
    let output = Command::new("timeout")
        .args(["--signal=KILL", &seconds])
        .args(["gluster", "--mode=script", "--xml", "volume", "heal", volume, "info", "summary"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot start gluster: {error}"))?;
    if output.status.signal() == Some(KILLED) {
        return Err(format!("heal info of {volume}: no answer within {seconds} s"));
    }
    view(&String::from_utf8_lossy(&output.stdout)).map_err(|why| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("heal info of {volume}: {why} ({}) {}", output.status, errors.trim())
    })
}

/// Has glusterd start the bricks of this machine that don't run.
///
/// # Errors
/// If gluster can't be run or says no.
pub async fn start_bricks(volume: &str) -> Result<(), String> {
    let output = Command::new("gluster")
        .args(["--mode=script", "volume", "start", volume, "force"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("cannot start gluster: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    Err(format!("starting the bricks of {volume}: {} {}", output.status, said.join(" ")))
}

fn view(xml: &str) -> Result<GlusterView, String> {
    match values(xml, "opRet").next() {
        Some("0") => {}
        Some(code) => {
            let why = values(xml, "opErrstr").next().unwrap_or_default();
            return Err(format!("gluster says {code}: {why}"));
        }
        None => return Err("the answer is no XML of gluster".into()),
    }
    // A brick that isn't connected has '-' for a number: its entries are known by the others, who hold them for it.
    let sum = |tag| -> u64 { values(xml, tag).filter_map(|n| n.parse::<u64>().ok()).sum() };
    let bricks: Vec<&str> = xml.split("<brick ").skip(1).collect();
    let online = bricks.iter().filter(|brick| values(brick, "status").next() == Some("Connected"));
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(GlusterView {
        heal_pending: sum("numberOfEntriesInHealPending") + sum("numberOfEntriesPossiblyHealing"),
        split_brain: sum("numberOfEntriesInSplitBrain"),
        bricks_online: count(online.count()),
        bricks: count(bricks.len()),
    })
}

/// The texts between `<tag>` and `</tag>`, in order. Enough for gluster's flat elements; no XML parser is worth this one use.
fn values<'a>(xml: &'a str, tag: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let parts = xml.split_inclusive('\n').collect::<Vec<_>>();
    parts.into_iter().filter_map(move |line| {
        let (_, rest) = line.split_once(&open)?;
        Some(rest.split_once(&close)?.0.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brick(status: &str, pending: &str, split: &str, healing: &str) -> String {
        format!(
            "      <brick hostUuid=\"0c6e\">\n        <name>198.18.0.31:/bricks/gv</name>\n        <status>{status}</status>\n        <totalNumberOfEntries>{pending}</totalNumberOfEntries>\n        <numberOfEntriesInHealPending>{pending}</numberOfEntriesInHealPending>\n        <numberOfEntriesInSplitBrain>{split}</numberOfEntriesInSplitBrain>\n        <numberOfEntriesPossiblyHealing>{healing}</numberOfEntriesPossiblyHealing>\n      </brick>\n"
        )
    }

    fn answer(bricks: &str, code: &str, error: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<cliOutput>\n  <healInfo>\n    <bricks>\n{bricks}    </bricks>\n  </healInfo>\n  <opRet>{code}</opRet>\n  <opErrno>0</opErrno>\n  <opErrstr>{error}</opErrstr>\n</cliOutput>\n"
        )
    }

    #[test]
    fn entries_and_bricks_are_counted() {
        let bricks = brick("Connected", "3", "0", "1")
            + &brick("Connected", "3", "1", "0")
            + &brick("Transport endpoint is not connected", "-", "-", "-");
        let expected = GlusterView { heal_pending: 7, split_brain: 1, bricks_online: 2, bricks: 3 };
        assert_eq!(view(&answer(&bricks, "0", "")), Ok(expected));
    }

    #[test]
    fn a_refusal_is_no_healthy_volume() {
        let error = view(&answer("", "-1", "Volume gv is not started")).unwrap_err();
        assert!(error.contains("not started"), "{error}");
        assert!(view("").is_err());
    }
}
