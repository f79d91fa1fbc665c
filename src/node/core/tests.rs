//! The core as a whole, and its rules under random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;

use super::lead::{Action as Lead, CONFIRMED_MAX};
use super::member::{Action as Member, Disk, Joined, Peer, Start};
use super::names::{Found, NamesCore, Write};
use super::*;
use crate::config::{Bootstrap, SecretsConfig, Slot};
use crate::registry::{LeaderRecord, NodeRecord};

fn address(slot: Slot) -> Ipv4Addr {
    Ipv4Addr::from(0xC613_000A + slot)
}

fn setup(bootstrap: Bootstrap, data_lost: bool) -> Setup {
    let config = NodeConfig {
        cluster: "c".into(),
        prefix: "storm".into(),
        slot: 0,
        incarnation: 7,
        addresses: (0..5).map(|slot| (slot, address(slot))).collect(),
        bootstrap,
        data_lost,
        data_dir: "/data".into(),
        shared_dir: "/shared".into(),
        secrets: SecretsConfig::default(),
        etcd_heartbeat_ms: 100,
        etcd_election_ms: 1000,
        lease_ttl_s: 5,
        jupyter_port: 8888,
    };
    Setup { config, address: address(0), operator_key: "ssh-ed25519 operator".into() }
}

const FORMED: Bootstrap = Bootstrap::Formed { generation: 3 };
const FORMING: Bootstrap = Bootstrap::Forming { generation: 3 };

fn record(slot: Slot, incarnation: Incarnation) -> NodeRecord {
    NodeRecord {
        slot,
        incarnation,
        address: address(slot),
        member_id: format!("{slot:x}"),
        host_key: format!("ssh-ed25519 host{slot}.{incarnation}"),
        user_key: format!("ssh-ed25519 user{slot}"),
    }
}

fn state(slots: &BTreeMap<Slot, Incarnation>, leader: Option<(Slot, Incarnation)>) -> RegistryState {
    RegistryState {
        revision: 100,
        nodes: slots.iter().map(|(slot, i)| (*slot, record(*slot, *i))).collect(),
        leader: leader.map(|(slot, incarnation)| LeaderRecord { slot, incarnation, address: address(slot), term: 2 }),
        incarnations: slots.clone(),
    }
}

fn data(token: &str, member: Option<u64>) -> Event {
    Event::Disk(Disk { log: true, token: Some(token.into()), member })
}

fn peer(slot: Slot, id: u64) -> Peer {
    Peer { id, address: Some(address(slot)), learner: false }
}

fn leading(term: u64) -> Event {
    Event::Local(Some(Local { member: 9, leader: 9, term, learner: false }))
}

/// What the core does about the member, event after event.
fn member(setup: &Setup, events: Vec<Event>) -> Vec<Member> {
    let mut core = NodeCore::new(setup);
    let mut now = Millis(0);
    let mut done = vec![];
    for event in std::iter::once(Event::Tick).chain(events) {
        done.extend(core.on(now, event).into_iter().filter_map(|action| match action {
            Action::Member(action) => Some(action),
            _ => None,
        }));
        now = now + Duration::from_secs(6);
    }
    done
}

#[test]
fn an_empty_founder_starts_new_and_only_while_forming() {
    let empty = Event::Disk(Disk::default());
    assert_eq!(member(&setup(FORMING, false), vec![empty.clone()]), [Member::Inspect, Member::Start(Start::New)]);
    assert_eq!(member(&setup(FORMED, false), vec![empty]), [Member::Inspect, Member::Survey]);
}

#[test]
fn a_founder_that_has_voted_never_founds_again() {
    let empty = Event::Disk(Disk::default());
    let events = vec![empty.clone(), leading(2), Event::EtcdExited, Event::Tick, empty];
    let done = member(&setup(FORMING, false), events);
    assert_eq!(done.last(), Some(&Member::Survey), "{done:?}");
}

#[test]
fn data_of_another_generation_is_wiped_first() {
    for bootstrap in [FORMING, FORMED] {
        let done = member(&setup(bootstrap, false), vec![data("c-g2", Some(1))]);
        assert_eq!(done, [Member::Inspect, Member::Wipe]);
    }
}

#[test]
fn data_whose_name_is_lost_is_wiped_only_while_nothing_was_acknowledged() {
    let nameless = || Event::Disk(Disk { log: true, token: None, member: None });
    assert_eq!(member(&setup(FORMING, false), vec![nameless()]), [Member::Inspect, Member::Wipe]);
    let known = Event::Survey(Some(vec![peer(0, 1), peer(1, 2)]));
    let done = member(&setup(FORMED, false), vec![nameless(), known]);
    assert_eq!(done, [Member::Inspect, Member::Survey, Member::Start(Start::Own)], "a member has this slot's address");
    let gone = Event::Survey(Some(vec![peer(1, 2)]));
    let done = member(&setup(FORMED, false), vec![nameless(), gone]);
    assert_eq!(done.last(), Some(&Member::Wipe));
}

#[test]
fn own_data_starts_as_itself_if_the_member_still_exists() {
    let survey = Event::Survey(Some(vec![peer(0, 1), peer(1, 2)]));
    let done = member(&setup(FORMED, true), vec![data("c-g3", Some(1)), survey]);
    assert_eq!(done, [Member::Inspect, Member::Survey, Member::Start(Start::Own)]);
}

#[test]
fn data_of_a_removed_member_is_wiped_and_the_slot_joins() {
    let members = vec![peer(0, 8), peer(1, 2)];
    let events = vec![
        data("c-g3", Some(1)),
        Event::Survey(Some(members.clone())),
        Event::Disk(Disk::default()),
        Event::Survey(Some(members)),
        Event::Joined(Ok(Joined { members: vec![peer(0, 9), peer(1, 2)] })),
    ];
    let existing = Start::Existing(vec![peer(0, 9), peer(1, 2)]);
    let expected = [
        Member::Inspect,
        Member::Survey,
        Member::Wipe,
        Member::Survey,
        Member::Join { remove: vec![8] },
        Member::Start(existing),
    ];
    assert_eq!(member(&setup(FORMED, false), events), expected);
}

#[test]
fn without_a_quorum_own_data_starts_but_not_data_that_the_slot_has_left_behind() {
    let events = vec![data("c-g3", Some(1)), Event::Survey(None)];
    let done = member(&setup(FORMED, false), events.clone());
    assert_eq!(done.last(), Some(&Member::Start(Start::Own)));
    let done = member(&setup(FORMED, true), events);
    assert_eq!(done.last(), Some(&Member::Survey), "it waits");
}

#[test]
fn a_slot_that_has_moved_and_voted_owns_its_data_again() {
    let start = Event::Joined(Ok(Joined { members: vec![] }));
    let events = vec![
        Event::Disk(Disk::default()),
        Event::Survey(Some(vec![peer(1, 2)])),
        start,
        leading(2),
        Event::EtcdExited,
        Event::Tick,
        data("c-g3", Some(9)),
        Event::Survey(None),
    ];
    assert_eq!(member(&setup(FORMED, true), events).last(), Some(&Member::Start(Start::Own)));
}

#[test]
fn the_twin_of_a_slot_that_has_moved_steps_aside_instead_of_joining_again() {
    // Its member was removed: etcd ended. The survivors know of the later incarnation.
    let mut core = NodeCore::new(&setup(FORMED, false));
    let mut done = vec![];
    let survey = Event::Survey(Some(vec![peer(0, 1), peer(1, 2)]));
    for (k, event) in
        [Event::Tick, data("c-g3", Some(1)), survey, Event::EtcdExited, Event::Tick, data("c-g3", Some(1))]
            .into_iter()
            .chain([Event::Fenced(8)])
            .enumerate()
    {
        done = core.on(Millis(6_000 * k as u64), event);
    }
    assert_eq!(done, [Action::StepAside(8)]);
}

#[test]
fn a_learner_asks_for_its_vote_and_an_unreachable_member_is_never_removed() {
    let learner = Event::Local(Some(Local { member: 9, leader: 2, term: 1, learner: true }));
    let start = Event::Joined(Ok(Joined { members: vec![] }));
    let events = vec![Event::Disk(Disk::default()), Event::Survey(Some(vec![peer(1, 2)])), start, learner];
    let done = member(&setup(FORMED, true), events);
    assert!(done.contains(&Member::Join { remove: vec![] }), "{done:?}");
    assert_eq!(done[done.len() - 2..], [Member::Remember { member: 9 }, Member::Promote { member: 9 }]);
}

#[test]
fn a_member_that_ended_asks_before_it_starts_again() {
    let events =
        vec![data("c-g3", Some(1)), Event::Survey(None), Event::EtcdExited, Event::Tick, data("c-g3", Some(1))];
    let done = member(&setup(FORMED, false), events);
    assert_eq!(done[3..], [Member::Inspect, Member::Survey]);
}

fn leads(core: &mut NodeCore, now: u64, event: Event) -> Vec<Lead> {
    let actions = core.on(Millis(now), event).into_iter();
    actions.filter_map(|a| if let Action::Lead(a) = a { Some(a) } else { None }).collect()
}

#[test]
fn jupyter_waits_for_the_confirmation_and_stops_without_a_fresh_one() {
    let mut core = NodeCore::new(&setup(FORMED, false));
    assert_eq!(leads(&mut core, 0, leading(4)), [Lead::Confirm]);
    let done = leads(&mut core, 50, Event::Confirmed { asked: Millis(0), term: 4 });
    assert_eq!(done[0], Lead::StartJupyter);
    assert!(matches!(&done[1], Lead::Publish(record) if record.term == 4));
    assert_eq!(leads(&mut core, 600, Event::Tick)[0], Lead::Confirm);
    assert!(leads(&mut core, 1600, Event::Unconfirmed).contains(&Lead::Confirm));
    assert_eq!(leads(&mut core, 2001, Event::Tick)[0], Lead::StopJupyter);
}

#[test]
fn after_a_freeze_jupyter_stops_first_and_old_answers_do_not_count() {
    let mut core = NodeCore::new(&setup(FORMED, false));
    leads(&mut core, 0, leading(4));
    leads(&mut core, 50, Event::Confirmed { asked: Millis(0), term: 4 });
    assert_eq!(leads(&mut core, 550, Event::Tick)[0], Lead::Confirm);
    assert_eq!(leads(&mut core, 1651, Event::Tick)[0], Lead::StopJupyter);
    let late = leads(&mut core, 1652, Event::Confirmed { asked: Millis(550), term: 4 });
    assert!(!late.contains(&Lead::StartJupyter) && late.contains(&Lead::Confirm), "{late:?}");
}

#[test]
fn a_registration_waits_for_vote_and_sshd_and_comes_back_at_once() {
    let mut core = NodeCore::new(&setup(FORMED, false));
    let mut on = |now, event| core.on(Millis(now), event).contains(&Action::Register { member: 9 });
    assert!(!on(0, leading(4)));
    assert!(on(1, Event::Ssh(true)));
    assert!(!on(2, Event::Registered { revision: 50 }));
    let gone = Event::Registry(state(&BTreeMap::from([(1, 1)]), None));
    assert!(on(3, gone));
    assert!(!on(4, Event::RegistrationLost));
    assert!(on(400, Event::Tick));
}

#[test]
fn a_higher_incarnation_fences() {
    let mut core = NodeCore::new(&setup(FORMED, false));
    let higher = state(&BTreeMap::from([(0, 8)]), None);
    assert!(core.on(Millis(0), Event::Registry(higher)).contains(&Action::StepAside(8)));
    assert!(!core.on(Millis(1), leading(4)).contains(&Action::Register { member: 9 }));
}

#[test]
fn files_that_something_else_has_changed_are_written_again_and_no_others() {
    let mut core = NodeCore::new(&setup(FORMED, false));
    let writes = |core: &mut NodeCore, event| {
        let actions = core.on(Millis(0), event).into_iter();
        actions.filter_map(|a| if let Action::Write(write) = a { Some(write) } else { None }).collect::<Vec<_>>()
    };
    let operator = Found { authorized_keys: Some("ssh-ed25519 operator\n".into()), ..Found::default() };
    assert_eq!(writes(&mut core, Event::Files(operator)), [], "nothing else was written yet");
    let lost = writes(&mut core, Event::Files(Found::default()));
    assert_eq!(lost, [Write::AuthorizedKeys("ssh-ed25519 operator\n".into())]);
    let mut found = Found::default();
    for write in writes(&mut core, Event::Registry(state(&BTreeMap::from([(0, 7), (1, 1)]), Some((1, 1))))) {
        match write {
            Write::AuthorizedKeys(text) => found.authorized_keys = Some(text),
            Write::KnownHosts(text) => found.known_hosts = Some(text),
            Write::Hosts(text) => found.hosts = Some(text),
        }
    }
    assert_eq!(writes(&mut core, Event::Files(found.clone())), [], "they say what was written");
    let damaged = Found { hosts: Some("127.0.0.1 storm-0\n".into()), ..found.clone() };
    assert_eq!(writes(&mut core, Event::Files(damaged)), [Write::Hosts(found.hosts.clone().unwrap())]);
    let damaged = Found { authorized_keys: Some(String::new()), known_hosts: None, ..found.clone() };
    let both = [Write::AuthorizedKeys(found.authorized_keys.unwrap()), Write::KnownHosts(found.known_hosts.unwrap())];
    assert_eq!(writes(&mut core, Event::Files(damaged)), both);
}

fn registry() -> impl Strategy<Value = RegistryState> {
    let slots = prop::collection::btree_map(0u32..5, 1u64..3, 0..5);
    (slots, prop::option::of((0u32..5, 1u64..3))).prop_map(|(slots, leader)| state(&slots, leader))
}

/// The files as the writes leave them, checked after every single write.
#[derive(Default)]
struct Machine {
    hosts: String,
    known: String,
}

impl Machine {
    fn names(&self) -> Vec<(&str, &str)> {
        let lines = self.hosts.lines().skip(3);
        lines.filter_map(|l| l.split_once('\t')).collect()
    }

    fn knows(&self, name: &str, key: &str) -> bool {
        self.known.lines().any(|l| l == format!("{name} {key}"))
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Hosts(text) => self.hosts = text,
            Write::KnownHosts(text) => self.known = text,
            Write::AuthorizedKeys(_) => {}
        }
    }
}

proptest! {
    #[test]
    fn tables_have_no_gaps_and_begin_with_the_leader(state in registry()) {
        let names = tables::names("storm", &state);
        prop_assert_eq!(names.is_some(), state.registered_leader().is_some());
        for (k, name) in names.iter().flatten().enumerate() {
            prop_assert_eq!(&name.name, &format!("storm-{k}"));
        }
        if let (Some(names), Some(leader)) = (names, state.registered_leader()) {
            prop_assert_eq!(names[0].address, leader.address);
            let all: BTreeSet<Ipv4Addr> = names.iter().map(|n| n.address).collect();
            prop_assert_eq!(all, state.nodes.values().map(|n| n.address).collect::<BTreeSet<_>>());
            prop_assert!(names[1..].is_sorted_by_key(|n| n.address));
        }
    }

    #[test]
    fn no_write_ever_leaves_a_name_without_the_key_that_answers(states in prop::collection::vec(registry(), 1..12)) {
        let mut core = NamesCore::new(&setup(FORMED, false));
        let mut machine = Machine::default();
        for state in states {
            let before = machine.hosts.clone();
            let writes = core.on(&state);
            for write in writes {
                machine.write(write);
                // Behind every name in the table, whatever node has its address now or had it a moment ago, the key is known.
                for (address, name) in machine.names() {
                    let known = machine.known.lines().any(|l| l.starts_with(&format!("{name} ")));
                    prop_assert!(known, "{name} {address} has no key in\n{}", machine.known);
                    let key = state.nodes.values().find(|n| n.address.to_string() == address).map(|n| &n.host_key);
                    if let Some(key) = key {
                        prop_assert!(machine.knows(name, key) || machine.hosts == before);
                    }
                }
            }
            if state.registered_leader().is_none() {
                prop_assert_eq!(&machine.hosts, &before, "tables keep their last state");
            }
            prop_assert_eq!(core.on(&state), vec![], "the same state changes nothing");
        }
    }

    #[test]
    fn jupyter_runs_only_with_a_confirmation_younger_than_two_seconds(
        steps in prop::collection::vec((0u64..900, 0u8..5, 1u64..4), 1..80)
    ) {
        let mut core = NodeCore::new(&setup(FORMED, false));
        let (mut now, mut asked, mut runs) = (0, None, false);
        let mut fresh: Option<(u64, u64)> = None;
        let mut term_now = 0;
        for (pause, kind, term) in steps {
            now += pause;
            let event = match (kind, asked) {
                (0 | 1, _) => { term_now = term; leading(term) }
                (2, Some(at)) => { asked = None; fresh = Some((at, term)); Event::Confirmed { asked: Millis(at), term } }
                (3, Some(_)) => { asked = None; Event::Unconfirmed }
                _ => Event::Tick,
            };
            for action in leads(&mut core, now, event) {
                match action {
                    Lead::StartJupyter => runs = true,
                    Lead::StopJupyter => runs = false,
                    Lead::Confirm => { prop_assert!(asked.is_none(), "one question at a time"); asked = Some(now); }
                    Lead::Publish(record) => prop_assert!(runs && record.term == term_now),
                }
            }
            let covered = fresh.is_some_and(|(at, term)| term == term_now && u128::from(now - at) <= CONFIRMED_MAX.as_millis());
            prop_assert!(!runs || covered, "Jupyter runs at {now} without a confirmation");
        }
    }

    #[test]
    fn nothing_starts_new_after_the_cluster_has_formed(
        events in prop::collection::vec((0u8..8, any::<bool>(), 1u64..4), 0..60), data_lost in any::<bool>()
    ) {
        let events = events.into_iter().map(|(kind, log, id)| match kind {
            0 | 1 => Event::Disk(Disk { log, token: Some(format!("c-g{id}")), member: Some(id) }),
            2 => Event::Survey(log.then(|| vec![peer(0, id), peer(1, 2)])),
            3 => Event::Survey(None),
            4 => Event::Joined(if log { Ok(Joined { members: vec![] }) } else { Err("no".into()) }),
            5 => Event::EtcdExited,
            6 => Event::Local(Some(Local { member: id, leader: 2, term: 1, learner: log })),
            _ => Event::Tick,
        });
        let done = member(&setup(FORMED, data_lost), events.collect());
        prop_assert!(!done.contains(&Member::Start(Start::New)));
        for pair in done.windows(2) {
            // What wipes has just inspected or asked; what removes has just asked.
            if let Member::Join { .. } = pair[1] {
                prop_assert_eq!(&pair[0], &Member::Survey);
            }
        }
    }
}
