use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { wait_max: Duration::from_secs(15), waiting_max: 2 };

fn leader(slot: u32, term: u64) -> LeaderRecord {
    LeaderRecord { slot, incarnation: 1, address: Ipv4Addr::from(0xC613_000A + slot), term }
}

fn seen(slot: u32, term: u64) -> Event {
    Event::Seen(Sighting { cluster_id: 7, leader: leader(slot, term) })
}

fn get(id: RequestId) -> Event {
    Event::Arrived { id, patient: true }
}

fn post(id: RequestId) -> Event {
    Event::Arrived { id, patient: false }
}

fn nth(id: RequestId, number: u32) -> Attempt {
    Attempt { id, number }
}

fn ask(id: RequestId, number: u32, slot: u32, term: u64) -> Action {
    Action::Ask { attempt: nth(id, number), leader: leader(slot, term) }
}

fn refuse(id: RequestId, why: Refusal) -> Action {
    Action::Refuse { id, why }
}

#[test]
fn without_a_leader_a_get_waits_and_a_post_fails() {
    let mut core = Core::new(BOUNDS);
    assert_eq!(core.on(Millis(0), get(1)), [Action::Look, Action::Wait(1)]);
    assert_eq!(core.on(Millis(1), post(2)), [refuse(2, Refusal::NoLeader)]);
    assert_eq!(core.on(Millis(50), seen(3, 4)), [ask(1, 1, 3, 4)]);
}

#[test]
fn the_highest_term_wins_and_never_gives_way() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 5));
    core.on(Millis(0), seen(1, 4));
    core.on(Millis(0), seen(1, 5));
    assert_eq!(core.leader(), Some(&leader(0, 5)));
    core.on(Millis(0), seen(1, 6));
    assert_eq!(core.leader(), Some(&leader(1, 6)));
}

#[test]
fn a_cluster_formed_anew_starts_its_terms_again() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 9));
    let anew = Sighting { cluster_id: 8, leader: leader(1, 2) };
    core.on(Millis(0), Event::Seen(anew));
    assert_eq!(core.leader(), Some(&leader(1, 2)));
}

#[test]
fn waiting_is_bounded_in_number_and_in_time() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), get(1));
    core.on(Millis(0), get(2));
    assert_eq!(core.on(Millis(0), get(3)), [refuse(3, Refusal::TooManyWait)]);
    core.on(Millis(14_999), Event::Tick);
    assert_eq!(core.waiting(), 2);
    assert_eq!(core.on(Millis(15_000), Event::Tick), [refuse(1, Refusal::NoLeader), refuse(2, Refusal::NoLeader)]);
    assert_eq!(core.wake_at(), None);
}

#[test]
fn a_refused_connection_is_tried_again_and_the_registry_looked_at() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 1));
    assert_eq!(core.on(Millis(0), get(1)), [ask(1, 1, 0, 1)]);
    assert_eq!(core.on(Millis(5), Event::Unreached(nth(1, 1))), [Action::Look, Action::Wait(1)]);
    assert_eq!(core.wake_at(), Some(Millis(105)));
    assert_eq!(core.on(Millis(105), Event::Tick), [ask(1, 2, 0, 1)]);
    // Not a second look within LOOK_AGAIN.
    assert_eq!(core.on(Millis(106), Event::Broken(nth(1, 2))), [Action::Wait(1)]);
    assert_eq!(core.on(Millis(150), seen(1, 2)), [ask(1, 3, 1, 2)]);
    // However often it is tried, the wait isn't longer for it.
    assert_eq!(core.wake_at(), Some(Millis(15_005)));
    assert_eq!(core.on(Millis(15_005), Event::Tick), [refuse(1, Refusal::NoLeader)]);
}

#[test]
fn a_post_whose_connection_breaks_has_an_unknown_outcome() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 1));
    core.on(Millis(0), post(1));
    core.on(Millis(0), post(2));
    assert_eq!(core.on(Millis(1), Event::Unreached(nth(1, 1)))[1], refuse(1, Refusal::NoLeader));
    assert_eq!(core.on(Millis(2), Event::Broken(nth(2, 1))), [refuse(2, Refusal::OutcomeUnknown)]);
}

#[test]
fn a_move_takes_everything_off_the_old_leader() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 1));
    for event in [get(1), post(2), get(3), Event::Answered(nth(3, 1))] {
        core.on(Millis(0), event);
    }
    assert_eq!(core.on(Millis(9), seen(1, 2)), [ask(1, 2, 1, 2), refuse(2, Refusal::OutcomeUnknown), Action::Cut(3)]);
    // Word of the attempt at the old leader may still come after that of the new one.
    core.on(Millis(10), Event::Answered(nth(1, 1)));
    assert_eq!(core.on(Millis(11), Event::Broken(nth(1, 1))), []);
    assert_eq!(core.on(Millis(12), Event::Unreached(nth(1, 2)))[1], Action::Wait(1));
}

#[test]
fn the_same_node_in_a_later_term_keeps_its_connections() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 1));
    core.on(Millis(0), get(1));
    core.on(Millis(0), Event::Answered(nth(1, 1)));
    assert_eq!(core.on(Millis(9), seen(0, 3)), []);
    assert_eq!(core.on(Millis(9), seen(1, 2)), [], "and the term counts");
}

#[test]
fn a_leader_that_never_answers_is_given_up() {
    let mut core = Core::new(BOUNDS);
    core.on(Millis(0), seen(0, 1));
    core.on(Millis(0), post(1));
    let end = Millis(0) + ANSWER_MAX;
    assert_eq!(core.wake_at(), Some(end));
    assert_eq!(core.on(end, Event::Tick), [refuse(1, Refusal::NoAnswer)]);
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let id = 0..12u64;
    let attempt = (0..12u64, 1..4u32).prop_map(|(id, number)| nth(id, number));
    let event = prop_oneof![
        2 => (0..4u32, 0..20u64).prop_map(|(slot, term)| seen(slot, term)),
        6 => any::<bool>().prop_map(|patient| Event::Arrived { id: 0, patient }),
        2 => attempt.clone().prop_map(Event::Unreached),
        2 => attempt.clone().prop_map(Event::Broken),
        2 => attempt.clone().prop_map(Event::Answered),
        2 => id.prop_map(Event::Gone),
        3 => Just(Event::Tick),
    ];
    prop::collection::vec((0..4_000u64, event), 0..120)
}

proptest! {
    /// Terms never go back, waiting stays bounded, patience ends in time, and nobody is spoken to after the end.
    #[test]
    fn every_request_comes_to_an_end(events in events()) {
        let mut core = Core::new(BOUNDS);
        let (mut now, mut next, mut term) = (Millis(0), 0, 0);
        let mut live = BTreeSet::new();
        for (step_ms, mut event) in events {
            now = now + Duration::from_millis(step_ms);
            match &mut event {
                Event::Arrived { id, .. } => { *id = next; live.insert(next); next += 1; }
                Event::Gone(id) => { live.remove(id); }
                _ => {}
            }
            for action in core.on(now, event) {
                match action {
                    Action::Ask { attempt, leader } => {
                        prop_assert!(live.contains(&attempt.id));
                        prop_assert_eq!(Some(&leader), core.leader());
                    }
                    Action::Wait(id) => prop_assert!(live.contains(&id)),
                    Action::Refuse { id, .. } | Action::Cut(id) => prop_assert!(live.remove(&id)),
                    Action::Look => {}
                }
            }
            let seen = core.leader().map_or(0, |l| l.term);
            prop_assert!(seen >= term);
            term = seen;
            prop_assert!(core.waiting() <= BOUNDS.waiting_max);
        }
        // When from now on every attempt fails, nobody waits any longer than allowed.
        let end = now + BOUNDS.wait_max;
        loop {
            let asked: Vec<_> = core.requests.iter().map(|(id, r)| nth(*id, r.attempts)).collect();
            for attempt in asked {
                core.on(now, Event::Unreached(attempt));
            }
            let Some(at) = core.wake_at().filter(|at| *at <= end) else {
                break;
            };
            now = now.max(at);
            core.on(now, Event::Tick);
        }
        prop_assert_eq!(core.waiting(), 0);
    }
}
