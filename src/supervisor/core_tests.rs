//! Tests of the supervisor's core: order, restart, hold, stop; and properties over any course of events.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn spec(name: &str, after: &[&str], step: bool) -> Spec {
    Spec { name: name.to_owned(), after: after.iter().map(|a| (*a).to_owned()).collect(), step, restart_delay: SECOND }
}

fn host() -> Supervisor {
    Supervisor::new(vec![
        spec("calico", &[], false),
        spec("docker", &["calico", "absent"], false),
        spec("network", &["docker"], true),
        spec("agent", &["network"], false),
    ])
}

fn start(name: &str) -> Vec<Action> {
    vec![Action::Start(name.to_owned())]
}

fn ready(part: &str) -> Event {
    Event::Ready { part: part.into() }
}

fn ended(part: &str, well: bool) -> Event {
    Event::Ended { part: part.into(), well, how: "exit status: 1".into() }
}

fn up() -> Supervisor {
    let mut host = host();
    assert_eq!(host.on(Millis(0), Event::Tick), start("calico"));
    assert_eq!(host.on(Millis(1), ready("calico")), start("docker"));
    assert_eq!(host.on(Millis(2), ready("docker")), start("network"));
    assert_eq!(host.on(Millis(3), ended("network", true)), start("agent"));
    assert_eq!(host.on(Millis(4), ready("agent")), []);
    assert_eq!(host.deadline(), None);
    host
}

#[test]
fn a_part_that_ended_starts_again_after_its_delay_once_its_dependencies_are_ready() {
    let mut host = up();
    assert_eq!(host.on(Millis(100), ended("docker", false)), []);
    assert_eq!(host.on(Millis(200), ended("agent", false)), []);
    assert_eq!(host.deadline(), Some(Millis(1_100)));
    assert_eq!(host.on(Millis(1_099), Event::Tick), []);
    assert_eq!(host.on(Millis(1_100), Event::Tick), start("docker"));
    // The step between them stays done; the agent waits for the engine all the same.
    assert_eq!(host.on(Millis(1_200), Event::Tick), []);
    assert_eq!(host.on(Millis(1_300), ready("docker")), start("agent"));
    assert_eq!(host.status()[2].restarts, 1);
}

#[test]
fn a_failed_step_is_tried_again() {
    let mut host = host();
    host.on(Millis(0), Event::Tick);
    host.on(Millis(0), ready("calico"));
    host.on(Millis(0), ready("docker"));
    assert_eq!(host.on(Millis(0), ended("network", false)), []);
    assert_eq!(host.on(Millis(1_000), Event::Tick), start("network"));
}

#[test]
fn a_held_part_stays_down_until_released() {
    let mut host = up();
    let hold = Event::Hold { part: "agent".into(), signal: Some(Signal::Kill) };
    assert_eq!(host.on(Millis(10), hold), [Action::Signal("agent".into(), Signal::Kill)]);
    assert_eq!(host.on(Millis(11), ended("agent", false)), []);
    assert_eq!(host.deadline(), None);
    assert_eq!(host.on(Millis(60_000), Event::Tick), []);
    let release = Event::Release { part: "agent".into() };
    assert_eq!(host.on(Millis(60_001), release), start("agent"));
}

#[test]
fn everything_stops_in_reverse_order_and_within_a_bound() {
    let mut host = up();
    let term = |name: &str| vec![Action::Signal(name.into(), Signal::Term)];
    assert_eq!(host.on(Millis(10), Event::Terminate), term("agent"));
    assert_eq!(host.on(Millis(20), ended("agent", false)), term("docker"));
    assert_eq!(host.on(Millis(4_019), Event::Tick), []);
    assert_eq!(host.on(Millis(4_020), Event::Tick), [Action::Signal("docker".into(), Signal::Kill)]);
    assert_eq!(host.on(Millis(4_030), ended("docker", false)), term("calico"));
    assert_eq!(host.on(Millis(4_040), ended("calico", true)), [Action::Exit]);
    assert_eq!(host.on(Millis(4_050), Event::Tick), []);
}

#[test]
fn a_part_that_never_ends_does_not_keep_the_machine_up() {
    let mut host = up();
    host.on(Millis(10), Event::Terminate);
    assert_eq!(host.on(Millis(8_010), Event::Tick), [Action::Exit]);
}

const NAMES: [&str; 4] = ["calico", "docker", "network", "agent"];

fn event() -> impl Strategy<Value = Event> {
    let part = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    prop_oneof![
        3 => Just(Event::Tick),
        3 => part.clone().prop_map(|part| Event::Ready { part }),
        3 => (part.clone(), any::<bool>()).prop_map(|(part, well)| ended(&part, well)),
        1 => part.clone().prop_map(|part| Event::Hold { part, signal: Some(Signal::Kill) }),
        1 => part.prop_map(|part| Event::Release { part }),
    ]
}

proptest! {
    /// Whatever ends, comes up or is held when: nothing is started twice, before its dependencies or while held; after Terminate nothing
    /// starts and the end comes within the bound.
    #[test]
    fn order_and_bounds_hold(events in prop::collection::vec((event(), 0u64..3_000), 0..80)) {
        let (mut host, mut now_ms) = (host(), 0);
        for (event, pause_ms) in events {
            now_ms += pause_ms;
            let before = host.status();
            // The shell reports an end only of what runs.
            if let Event::Ended { part, .. } = &event
                && !before.iter().any(|s| s.name == *part && matches!(s.phase, Phase::Up | Phase::Ready)) {
                continue;
            }
            for action in host.on(Millis(now_ms), event) {
                if let Action::Start(name) = action {
                    let own = host.parts.get(&name).expect("only its own parts");
                    prop_assert!(!own.held);
                    prop_assert_eq!(own.phase, Phase::Up);
                    let ready = own.spec.after.iter().all(|a| {
                        matches!(host.parts[a].phase, Phase::Ready | Phase::Done)
                    });
                    prop_assert!(ready, "{} started too early", name);
                }
            }
        }
        let mut actions = host.on(Millis(now_ms), Event::Terminate);
        for _ in 0..100 {
            prop_assert!(!actions.iter().any(|a| matches!(a, Action::Start(_))));
            if actions.contains(&Action::Exit) {
                break;
            }
            now_ms += 100;
            actions = host.on(Millis(now_ms), Event::Tick);
        }
        prop_assert!(host.exited);
    }
}
