//! Events as they come, in the order that they promise, and silence.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::case::Kind;
use super::holdings::{Change, Holdings, shifted};
use super::lanes::{OFFERS, check_heartbeats, has_free_order, is_heartbeat, lane, update_uuid};
use super::matching::{Difference, Order};
use super::replay::{EVENT_MAX, Replay};
use super::streams::{Received, Stream, lock};

/// An event that the recording waited for at least so long came by a rule of time.
const RULE_MS: u64 = 2_000;
/// The recordings end a silence where they like: what came this much before its end counts as after it.
const EDGE: Duration = Duration::from_millis(250);
/// The same for offers: allocations come every second, with another phase each time.
const EDGE_OFFERS: Duration = Duration::from_millis(1_100);
/// An event that the recording has this soon after a silence may come inside of it: a container starts faster, an allocation
/// has another phase.
const AHEAD_MS: u64 = 2_500;
/// A duplicate that the recording has comes this soon, or not at all.
const DUPLICATE_MAX: Duration = Duration::from_millis(1_500);

impl Replay<'_> {
    fn stream(&self, label: &str) -> Result<&Stream, Difference> {
        self.streams.get(label).ok_or_else(|| Difference::new("$", format!("the stream {label}"), "none was opened"))
    }

    pub(super) async fn event(&mut self, index: usize, label: &str, recorded: &Value) -> Result<(), Difference> {
        let lane = lane(&self.bindings.clone().fill(recorded));
        let (cause, waited_ms) = self.cause(index);
        let mut deadline = (cause + Duration::from_millis(waited_ms)).max(Instant::now()) + EVENT_MAX;
        let duplicate = update_uuid(recorded).is_some_and(|uuid| {
            let filled = self.bindings.clone().fill_text(uuid);
            self.again && self.seen.contains(&filled)
        });
        if duplicate {
            deadline = Instant::now() + DUPLICATE_MAX;
        }
        let received = loop {
            let received = self.stream(label)?.take(&lane, deadline).await;
            match received {
                Some(received) if !duplicate && self.is_duplicate(recorded, &received) => {}
                Some(received) => break received,
                None if duplicate => return Ok(()),
                None => {
                    let came = self.stream(label)?.waiting().into_iter().map(|r| r.event.to_string());
                    let came: Vec<_> = came.collect();
                    return Err(Difference::new(
                        "$",
                        recorded,
                        format!("nothing in time; waiting: [{}]", came.join(", ")),
                    ));
                }
            }
        };
        self.trace("event", &received.event);
        self.remember(&received);
        self.compare_event(index, recorded, &received)?;
        // An agent comes back after a random part of its back-off.
        if recorded["update"]["status"]["reason"] == "REASON_AGENT_REREGISTERED" {
            return Ok(());
        }
        // What a rule of time counts from, the recording doesn't tell: the step before, or what we asked for last (an offer comes
        // again so long after it was refused, however long the task took that was launched meanwhile).
        let early = |(since, waited_ms): (Instant, u64)| {
            let took = received.at.saturating_duration_since(since);
            let is_early = waited_ms >= RULE_MS && took < Duration::from_millis(waited_ms / 2);
            is_early.then(|| (format!("after {waited_ms} ms"), format!("after {} ms", took.as_millis())))
        };
        match early((cause, waited_ms)).zip(early(self.request(index))) {
            Some(((expected, got), _)) => Err(Difference::new("$", expected, got)),
            None => Ok(()),
        }
    }

    fn compare_event(&mut self, index: usize, recorded: &Value, received: &Received) -> Result<(), Difference> {
        let order = if has_free_order(recorded) { Order::Free } else { Order::Kept };
        let exact = self.bindings.value(recorded, &received.event, "$", order);
        if exact.is_ok() || recorded["type"] != "OFFERS" {
            return exact;
        }
        let shifted = self.shifted(index, recorded, received.at);
        self.bindings.value(&shifted, &received.event, "$", order)
    }

    /// Recorded offers as they have to be, given which tasks have really ended before they came.
    fn shifted(&mut self, index: usize, recorded: &Value, at: Instant) -> Value {
        let before = self.case.steps[..index].iter().flat_map(|step| match &step.kind {
            Kind::Send(request) => Change::of_request(&self.bindings.clone().fill(&request.body)),
            Kind::Event { event, .. } => Change::of_event(event).into_iter().collect(),
            _ => Vec::new(),
        });
        let then: Holdings = before.collect();
        let changes = lock(&self.changes).clone();
        let now: Holdings = changes.into_iter().filter(|(when, _)| *when < at).map(|(_, change)| change).collect();
        let mut event = recorded.clone();
        for offer in event["offers"]["offers"].as_array_mut().into_iter().flatten() {
            let agent = self.bindings.clone().fill_text(offer["agent_id"]["value"].as_str().unwrap_or_default());
            *offer = shifted(offer, &agent, &then, &now);
        }
        event
    }

    /// When that was done what the recording waited after, and how long it did.
    fn cause(&self, index: usize) -> (Instant, u64) {
        self.last(index, |kind| match kind {
            Kind::Event { event, .. } => !is_heartbeat(event),
            kind => matches!(kind, Kind::Send(_) | Kind::Answer { .. } | Kind::Action(_) | Kind::Observe { .. }),
        })
    }

    /// When we asked for something last, and how long the recording waited since.
    fn request(&self, index: usize) -> (Instant, u64) {
        self.last(index, |kind| match kind {
            Kind::Send(request) => request.body["type"] != "ACKNOWLEDGE",
            kind => matches!(kind, Kind::Action(_)),
        })
    }

    /// When the last step of a kind before this one was done, and how long before it in the recording.
    fn last(&self, index: usize, which: impl Fn(&Kind) -> bool) -> (Instant, u64) {
        let mut before = self.case.steps[..index].iter().enumerate().rev();
        match before.find(|(_, step)| which(&step.kind)) {
            Some((at, step)) => (self.done[at], self.case.steps[index].t_ms.saturating_sub(step.t_ms)),
            None => (Instant::now(), 0),
        }
    }

    /// After something came again, updates that are not acknowledged yet come more often than once; how often has no meaning.
    fn is_duplicate(&self, recorded: &Value, received: &Received) -> bool {
        let known = update_uuid(&received.event).is_some_and(|uuid| self.seen.contains(uuid));
        known && self.again && !self.fits(recorded, &received.event)
    }

    fn fits(&self, recorded: &Value, event: &Value) -> bool {
        self.bindings.clone().value(recorded, event, "$", Order::Kept).is_ok()
    }

    fn remember(&mut self, received: &Received) {
        if let Some(uuid) = update_uuid(&received.event) {
            self.seen.insert(uuid.to_owned());
        }
        let data = received.event["update"]["status"]["data"].as_str();
        if let Some(bytes) = data.and_then(|data| BASE64_STANDARD.decode(data).ok()) {
            self.document = serde_json::from_slice(&bytes).unwrap_or_default();
        }
    }

    pub(super) async fn watch(&mut self, index: usize, label: Option<&str>, ms: u64) -> Result<(), Difference> {
        let t_ms = self.case.steps[index].t_ms;
        let begun = t_ms.saturating_sub(ms) + 20;
        let before = self.case.steps[..index].iter().rposition(|step| step.t_ms <= begun);
        let end = match before {
            Some(before) => self.done[before] + Duration::from_millis(t_ms - self.case.steps[before].t_ms),
            None => Instant::now() + Duration::from_millis(ms),
        };
        sleep_until(end).await;
        let Some(stream) = label.and_then(|label| self.streams.remove(label)) else {
            return Ok(());
        };
        let label = label.unwrap_or_default();
        let checked = self.check_rest(index, label, &stream, end);
        self.streams.insert(label.to_owned(), stream);
        checked
    }

    /// Nothing may have come that the recording doesn't have, or has much later.
    pub(super) fn check_rest(
        &mut self,
        index: usize,
        label: &str,
        stream: &Stream,
        end: Instant,
    ) -> Result<(), Difference> {
        if self.again {
            stream.forget(|received| update_uuid(&received.event).is_some_and(|uuid| self.seen.contains(uuid)));
        }
        let horizon = self.case.steps[index].t_ms + AHEAD_MS;
        let mut coming: Vec<String> = Vec::new();
        for step in self.case.steps[index..].iter().take_while(|step| step.t_ms <= horizon) {
            if let Kind::Event { stream, event } = &step.kind
                && stream == label
            {
                coming.push(lane(&self.bindings.clone().fill(event)));
            }
        }
        let edge = |received: &Received| if received.lane == OFFERS { EDGE_OFFERS } else { EDGE };
        for received in stream.waiting().into_iter().filter(|received| received.at + edge(received) < end) {
            match coming.iter().position(|lane| *lane == received.lane) {
                Some(at) => {
                    coming.remove(at);
                }
                None => return Err(Difference::new("$", "nothing", &received.event)),
            }
        }
        Ok(())
    }

    pub(super) async fn stream_end(&mut self, label: &str, how: &str) -> Result<(), Difference> {
        let ended = self.stream(label)?.ended(Instant::now() + EVENT_MAX).await;
        match ended {
            Some(end) if end == how => {}
            Some(end) => return Err(Difference::new("$.how", how, end)),
            None => return Err(Difference::new("$", "the stream's end", "the stream goes on")),
        }
        let end = Instant::now() + EDGE * 2;
        let stream = self.close(label)?;
        self.check_rest(self.done.len(), label, &stream, end)
    }

    /// Takes a stream out and checks its heartbeats.
    pub(super) fn close(&mut self, label: &str) -> Result<Stream, Difference> {
        let stream = self.streams.remove(label);
        let stream = stream.ok_or_else(|| Difference::new("$", format!("the stream {label}"), "none is open"))?;
        if let (beats, Some(interval), open) = stream.heartbeats() {
            check_heartbeats(&beats, interval, open).map_err(|why| Difference::new("$", "steady heartbeats", why))?;
        }
        Ok(stream)
    }
}
