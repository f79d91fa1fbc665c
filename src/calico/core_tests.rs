//! Tests of the allocation table: examples in Docker's order of calls, and properties over any order.

use proptest::prelude::*;

use super::*;

const POOL: &str = "198.19.0.0/24";

fn table() -> Table {
    Table::new(POOL).expect("the test's pool is a CIDR")
}

fn ask(table: &mut Table, now_ms: u64, last: u8, present: &BTreeSet<String>) -> Reply {
    let request = Request::RequestAddress {
        pool_id: POOL.into(),
        address: Some(Ipv4Addr::new(198, 19, 0, last)),
        gateway: false,
    };
    table.on(Millis(now_ms), Role::Ipam, request, present).0
}

fn call(table: &mut Table, now_ms: u64, request: Request) -> (Reply, Vec<Action>) {
    table.on(Millis(now_ms), Role::Network, request, &BTreeSet::new())
}

fn up(table: &mut Table, endpoint: &str, last: u8) {
    assert_eq!(ask(table, 0, last, &BTreeSet::new()), Reply::Address(format!("198.19.0.{last}/32")));
    let address = Some(Ipv4Addr::new(198, 19, 0, last));
    let create = Request::CreateEndpoint { network: "n".into(), endpoint: endpoint.into(), address };
    assert_eq!(call(table, 0, create).0, Reply::Endpoint);
    assert!(matches!(call(table, 0, Request::Join { endpoint: endpoint.into() }).0, Reply::Joined { .. }));
}

#[test]
fn a_container_comes_and_goes() {
    let mut table = table();
    let endpoint = "0123456789abcdef";
    up(&mut table, endpoint, 10);
    let (_, actions) = call(&mut table, 1, Request::Leave { endpoint: endpoint.into() });
    assert_eq!(actions, [Action::RemoveLink { host: "cali0123456789a".into() }, Action::Persist]);
    call(&mut table, 1, Request::DeleteEndpoint { endpoint: endpoint.into() });
    let release = Request::ReleaseAddress { address: Ipv4Addr::new(198, 19, 0, 10) };
    call(&mut table, 1, release);
    assert!(table.allocations().is_empty());
    up(&mut table, "another", 10);
}

#[test]
fn an_address_in_use_is_refused_and_a_lost_one_is_not() {
    let mut table = table();
    up(&mut table, "e1", 10);
    let present = BTreeSet::from([host_interface("e1")]);
    assert!(matches!(ask(&mut table, 999_999, 10, &present), Reply::Refused(why) if why.contains("address in use")));
    // The machine was restarted: no interface is left, so nobody uses the address.
    assert!(matches!(ask(&mut table, 1, 10, &BTreeSet::new()), Reply::Address(_)));
}

#[test]
fn an_abandoned_request_blocks_its_address_for_a_minute_only() {
    let mut table = table();
    ask(&mut table, 0, 10, &BTreeSet::new());
    assert!(matches!(ask(&mut table, PENDING_MAX_MS - 1, 10, &BTreeSet::new()), Reply::Refused(_)));
    assert!(matches!(ask(&mut table, PENDING_MAX_MS, 10, &BTreeSet::new()), Reply::Address(_)));
}

#[test]
fn requests_without_address_outside_of_the_pool_or_for_a_gateway_are_refused() {
    let mut table = table();
    let mut request = |pool_id: &str, address: Option<Ipv4Addr>, gateway| {
        let request = Request::RequestAddress { pool_id: pool_id.into(), address, gateway };
        table.on(Millis(0), Role::Ipam, request, &BTreeSet::new()).0
    };
    assert!(matches!(request(POOL, None, false), Reply::Refused(_)));
    assert!(matches!(request(POOL, Some(Ipv4Addr::new(198, 19, 1, 1)), false), Reply::Refused(_)));
    assert!(matches!(request("other", Some(Ipv4Addr::new(198, 19, 0, 1)), false), Reply::Refused(_)));
    assert!(matches!(request(POOL, Some(Ipv4Addr::new(198, 19, 0, 1)), true), Reply::Refused(_)));
    assert_eq!(request(POOL, Some(Ipv4Addr::UNSPECIFIED), true), Reply::Address("0.0.0.0/0".into()));
    assert_eq!(request(POOL, None, true), Reply::Address("0.0.0.0/0".into()));
    assert!(table.allocations().is_empty());
}

#[test]
fn only_this_pool_and_only_with_our_ipam() {
    let mut table = table();
    let mut pool = |pool: Option<&str>, sub: Option<&str>| {
        let request = Request::RequestPool { pool: pool.map(Into::into), sub_pool: sub.map(Into::into) };
        table.on(Millis(0), Role::Ipam, request, &BTreeSet::new()).0
    };
    assert_eq!(pool(Some(POOL), None), Reply::Pool(POOL.into()));
    assert_eq!(pool(None, None), Reply::Pool(POOL.into()));
    assert!(matches!(pool(Some("198.19.0.0/25"), None), Reply::Refused(_)));
    assert!(matches!(pool(Some(POOL), Some("198.19.0.0/26")), Reply::Refused(_)));
    let network = |gateways: &[&str], unknown: &[&str]| {
        let strings = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        create_network(&strings(gateways), &strings(unknown))
    };
    assert_eq!(network(&["0.0.0.0/0"], &[]), Reply::Empty);
    assert!(matches!(network(&["198.19.0.1/24"], &[]), Reply::Refused(_)));
    assert!(matches!(network(&[], &[]), Reply::Refused(_)));
    assert!(matches!(network(&["0.0.0.0/0"], &["x"]), Reply::Refused(_)));
}

#[test]
fn the_table_survives_its_file_and_forgets_what_a_restart_killed() {
    let mut table = table();
    up(&mut table, "alive", 10);
    up(&mut table, "dead", 11);
    let text = serde_json::to_string(&table).expect("a table is JSON");
    let mut read: Table = serde_json::from_str(&text).expect("its own JSON");
    read.recover(Millis(5), &BTreeSet::from([host_interface("alive")]));
    let left: Vec<_> = read.allocations().keys().map(|a| a.octets()[3]).collect();
    assert_eq!(left, [10]);
}

#[derive(Debug, Clone)]
enum Step {
    Ask(u8),
    Create(u8, u8),
    Join(u8),
    Leave(u8),
    Delete(u8),
    Release(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u8..4).prop_map(Step::Ask),
        (0u8..4, 0u8..4).prop_map(|(e, a)| Step::Create(e, a)),
        (0u8..4).prop_map(Step::Join),
        (0u8..4).prop_map(Step::Leave),
        (0u8..4).prop_map(Step::Delete),
        (0u8..4).prop_map(Step::Release),
    ]
}

/// The world beside the table: which links exist, and to which address they lead.
#[derive(Debug, Default)]
struct World {
    links: BTreeMap<String, Ipv4Addr>,
}

impl World {
    fn apply(&mut self, table: &mut Table, now_ms: u64, request: Request) -> Reply {
        let present = self.links.keys().cloned().collect();
        let before = table.clone();
        let (reply, actions) = table.on(Millis(now_ms), Role::Network, request, &present);
        for action in &actions {
            match action {
                Action::MakeLink { host, address, .. } => {
                    self.links.insert(host.clone(), *address);
                }
                Action::RemoveLink { host } => {
                    self.links.remove(host);
                }
                Action::Persist => {}
            }
        }
        assert!(*table == before || actions.contains(&Action::Persist), "a change of the table must be written");
        reply
    }
}

proptest! {
    /// Whatever the engine calls, in whatever order: no address leads to two links, no endpoint holds two addresses, a refusal changes
    /// nothing, and every change is written.
    #[test]
    fn an_address_is_never_used_twice(steps in proptest::collection::vec((step(), 0u64..40_000), 0..60)) {
        let (mut table, mut world, mut now_ms) = (table(), World::default(), 0);
        for (step, pause_ms) in steps {
            now_ms += pause_ms;
            let name = |e: u8| format!("endpoint-{e}");
            let address = |a: u8| Ipv4Addr::new(198, 19, 0, a);
            let request = match step {
                Step::Ask(a) => Request::RequestAddress { pool_id: POOL.into(), address: Some(address(a)), gateway: false },
                Step::Create(e, a) => Request::CreateEndpoint { network: "n".into(), endpoint: name(e), address: Some(address(a)) },
                Step::Join(e) => Request::Join { endpoint: name(e) },
                Step::Leave(e) => Request::Leave { endpoint: name(e) },
                Step::Delete(e) => Request::DeleteEndpoint { endpoint: name(e) },
                Step::Release(a) => Request::ReleaseAddress { address: address(a) },
            };
            let before = table.clone();
            let reply = world.apply(&mut table, now_ms, request);
            if matches!(reply, Reply::Refused(_)) {
                prop_assert_eq!(&table, &before);
            }
            let mut addresses: Vec<_> = world.links.values().collect();
            addresses.sort();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), world.links.len());
            let mut endpoints: Vec<_> = table.allocations().values().filter_map(|a| a.endpoint.as_ref()).collect();
            let all = endpoints.len();
            endpoints.sort();
            endpoints.dedup();
            prop_assert_eq!(endpoints.len(), all);
        }
    }
}
