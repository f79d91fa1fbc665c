//! Which events of a stream keep their order: those of one task; offers among themselves; everything else by its kind. Events
//! of different lanes come as they like. Heartbeats have a rule of their own.

use serde_json::Value;

/// The lane of offers.
pub const OFFERS: &str = "offers";

/// Where an event belongs.
pub fn lane(event: &Value) -> String {
    let kind = event["type"].as_str().unwrap_or_default();
    match kind {
        "UPDATE" => format!("task {}", event["update"]["status"]["task_id"]["value"].as_str().unwrap_or_default()),
        "OFFERS" | "RESCIND" | "INVERSE_OFFERS" | "RESCIND_INVERSE_OFFER" => OFFERS.to_owned(),
        _ => kind.to_owned(),
    }
}

/// Whether an event only says that the stream lives.
pub fn is_heartbeat(event: &Value) -> bool {
    event["type"] == "HEARTBEAT"
}

/// The uuid of an update, which an event that is sent again shares.
pub fn update_uuid(event: &Value) -> Option<&str> {
    event["update"]["status"]["uuid"].as_str()
}

/// The document as it is compared: offers of different agents have no order inside of one event.
pub fn has_free_order(event: &Value) -> bool {
    matches!(event["type"].as_str(), Some("OFFERS" | "INVERSE_OFFERS"))
}

/// Whether heartbeats came as they should: one right after the subscription, then one every interval.
///
/// # Errors
/// What was wrong.
pub fn check_heartbeats(since_open_ms: &[u64], interval_ms: u64, open_ms: u64) -> Result<(), String> {
    /// A busy machine is late sometimes.
    const LATE_MS: u64 = 1_500;
    let mut due = 0;
    for beat in since_open_ms {
        if *beat + LATE_MS < due || *beat > due + LATE_MS {
            return Err(format!("a heartbeat {beat} ms after the subscription; expected one at {due} ms"));
        }
        due = beat + interval_ms;
    }
    if open_ms > due + LATE_MS {
        return Err(format!("no heartbeat {due} ms after the subscription"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn updates_of_one_task_share_a_lane() {
        let update = |task: &str| json!({"type": "UPDATE", "update": {"status": {"task_id": {"value": task}}}});
        assert_eq!(lane(&update("a")), lane(&update("a")));
        assert_ne!(lane(&update("a")), lane(&update("b")));
        assert_eq!(lane(&json!({"type": "OFFERS"})), lane(&json!({"type": "RESCIND"})));
        assert_ne!(lane(&json!({"type": "OFFERS"})), lane(&json!({"type": "ERROR"})));
    }

    #[test]
    fn heartbeats_keep_their_interval() {
        assert_eq!(check_heartbeats(&[2, 15_010, 30_020], 15_000, 31_000), Ok(()));
        assert_eq!(check_heartbeats(&[2], 15_000, 400), Ok(()));
        assert_eq!(check_heartbeats(&[], 15_000, 400), Ok(()));
        for (beats, open) in
            [(&[][..], 2_000), (&[2][..], 17_000), (&[2, 10_000][..], 11_000), (&[2, 15_000, 17_000][..], 18_000)]
        {
            assert!(check_heartbeats(beats, 15_000, open).is_err(), "{beats:?}");
        }
    }
}
