//! Every mistake has a message that says where it is and what to do. Read them aloud: `snapshots/*mistake*.snap`.

use miette::{GraphicalReportHandler, GraphicalTheme};

use super::read::read;
use crate::topology::TopologyConfig;

/// The message as a user without colours sees it.
pub(super) fn refused(text: &str) -> String {
    let mistakes = read("bad.toml", text, &TopologyConfig::default()).expect_err("it must be refused");
    told(&mistakes)
}

fn told(diagnostic: &dyn miette::Diagnostic) -> String {
    let mut message = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::none())
        .with_width(120)
        .render_report(&mut message, diagnostic)
        .expect("writing to a string never fails");
    message
}

/// Step texts, each with one mistake, by what the mistake is.
const STEPS: &[(&str, &str)] = &[
    ("unknown fault", "fault = \"puase\"\ntarget = { node = \"leader\" }"),
    ("fault in another language", "fault = \"töten\"\ntarget = { node = \"leader\" }"),
    ("no target", "fault = \"kill\""),
    ("target without fault", "target = { node = \"leader\" }"),
    ("unknown key", "fault = \"kill\"\ntarget = { node = \"leader\" }\nrecoverd = { all = \"30s\" }"),
    ("key with an underscore", "fault = \"kill\"\ntarget = { node = \"leader\" }\nresolve_within = \"3s\""),
    ("unknown kind of part", "fault = \"kill\"\ntarget = { nod = \"leader\" }"),
    ("two kinds of parts", "fault = \"kill\"\ntarget = { node = \"leader\", zookeeper = \"leader\" }"),
    ("target is a text", "fault = \"kill\"\ntarget = \"leader\""),
    ("empty target", "fault = \"kill\"\ntarget = {}"),
    ("unknown role", "fault = \"kill\"\ntarget = { zookeeper = \"leadr\" }"),
    ("a role of another kind of part", "fault = \"kill\"\ntarget = { mesos-master = \"follower\" }"),
    ("a role that is true", "fault = \"kill\"\ntarget = { node = true }"),
    ("a slot that isn't there", "fault = \"kill\"\ntarget = { node = 5 }"),
    ("a host that isn't there", "fault = \"kill\"\ntarget = { host = 4 }"),
    ("a host from zero", "fault = \"kill\"\ntarget = { host = 0 }"),
    ("more than there are", "fault = \"kill\"\ntarget = { node = \"follower\", count = 5 }"),
    ("count of one", "fault = \"kill\"\ntarget = { node = \"leader\", count = 2 }"),
    ("count and share", "fault = \"kill\"\ntarget = { node = \"any\", count = 2, share = \"50%\" }"),
    ("a share that is a number", "fault = \"kill\"\ntarget = { node = \"any\", share = 50 }"),
    ("a share over all", "fault = \"kill\"\ntarget = { node = \"any\", share = \"150%\" }"),
    ("same host as nothing", "fault = \"kill\"\ntarget = { same-host-as = \"previous\" }"),
    ("what can't be done to a part", "fault = \"partition\"\ntarget = { zookeeper = \"majority\" }"),
    ("from without isolate", "fault = \"kill\"\nfrom = \"zookeeper\"\ntarget = { host = \"any\" }"),
    ("tamper with nothing", "fault = \"tamper\"\ntarget = { node = \"any\" }"),
    ("tamper with something else", "fault = \"tamper\"\nwhat = \"passwords\"\ntarget = { node = \"any\" }"),
    ("what without a choice", "fault = \"kill\"\nwhat = \"hosts\"\ntarget = { node = \"any\" }"),
    ("a hold of damage", "fault = \"tamper\"\nwhat = \"hosts\"\ntarget = { node = \"any\" }\nfor = \"5s\""),
    (
        "an event that damage doesn't cause",
        "fault = \"tamper\"\nwhat = \"lease\"\ntarget = { node = \"leader\" }\nexpect = [\"slot-left\"]",
    ),
    ("data of a majority", "fault = \"tamper\"\nwhat = \"etcd-data\"\ntarget = { node = \"any\", count = 3 }"),
    ("a blackout of a part", "fault = \"blackout\"\ntarget = { host = \"all\" }"),
    ("a squeeze of nothing", "fault = \"squeeze\"\ntarget = { node = \"any\" }\nto = \"20%\""),
    ("a squeeze to nothing", "fault = \"squeeze\"\nwhat = \"cpu\"\ntarget = { node = \"any\" }"),
    (
        "a squeeze of the wrong amount",
        "fault = \"squeeze\"\nwhat = \"disk\"\ntarget = { etcd = \"any\" }\nto = \"20%\"",
    ),
    (
        "a squeeze that takes no amount",
        "fault = \"squeeze\"\nwhat = \"fsync\"\ntarget = { etcd = \"any\" }\ndelay = \"1s\"",
    ),
    (
        "a squeeze of what the part doesn't live on",
        "fault = \"squeeze\"\nwhat = \"fsync\"\ntarget = { zookeeper = \"any\" }",
    ),
    ("an oom of a process that has no limit", "fault = \"oom\"\ntarget = { mesos-agent = \"any\" }"),
    ("a squeeze by too much", "fault = \"squeeze\"\nwhat = \"disk\"\ntarget = { etcd = \"any\" }\ndelay = \"9s\""),
    ("a squeeze to no share", "fault = \"squeeze\"\nwhat = \"cpu\"\ntarget = { node = \"any\" }\nto = \"64MB\""),
    ("a loss of no share", "fault = \"loss\"\ntarget = { node = \"any\" }\nshare = \"half\""),
    ("how much without a squeeze", "fault = \"kill\"\nto = \"20%\"\ntarget = { node = \"any\" }"),
    ("a full disk of a node", "fault = \"disk-full\"\ntarget = { node = \"any\" }"),
    ("everything killed", "fault = \"kill\"\ntarget = { topology = \"all\" }"),
    ("unknown peers", "fault = \"isolate\"\nfrom = \"zookeepers\"\ntarget = { mesos-master = \"leader\" }"),
    ("no peers at all", "fault = \"isolate\"\nfrom = []\ntarget = { mesos-master = \"leader\" }"),
    ("peers twice", "fault = \"isolate\"\nfrom = [\"masters\", \"masters\"]\ntarget = { mesos-agent = \"any\" }"),
    ("everyone and others", "fault = \"isolate\"\nfrom = [\"masters\", \"everyone\"]\ntarget = { host = \"any\" }"),
    (
        "peers that a part never meets",
        "fault = \"isolate\"\nfrom = [\"masters\", \"proxy\"]\ntarget = { mesos-agent = \"any\" }",
    ),
    ("a way of something else", "fault = \"pause\"\nway = \"in\"\ntarget = { host = \"any\" }"),
    ("unknown way", "fault = \"isolate\"\nway = \"inward\"\ntarget = { host = \"any\" }"),
    (
        "an event of peers that are still reached",
        "fault = \"isolate\"\nfrom = \"proxy\"\ntarget = { node = \"leader\" }\nexpect = [\"etcd-leader-changed\"]",
    ),
    ("a shape of something else", "fault = \"isolate\"\nshape = \"ring\"\ntarget = { node = \"all\" }"),
    ("a ring of one", "fault = \"partition\"\nshape = \"ring\"\ntarget = { node = \"leader\" }"),
    ("a bridge of hosts", "fault = \"partition\"\nshape = \"bridge\"\ntarget = { host = \"any\" }"),
    ("a bridge of two", "fault = \"partition\"\nshape = \"bridge\"\ntarget = { node = \"any\", count = 2 }"),
    ("a partition of all", "fault = \"partition\"\ntarget = { host = \"all\" }"),
    ("unknown shape", "fault = \"partition\"\nshape = \"star\"\ntarget = { node = \"any\" }"),
    ("a loss of nothing", "fault = \"loss\"\ntarget = { node = \"any\" }"),
    ("a loss of all", "fault = \"loss\"\nshare = \"100%\"\ntarget = { node = \"any\" }"),
    ("a share of something else", "fault = \"isolate\"\nshare = \"30%\"\ntarget = { node = \"any\" }"),
    ("a delay of something else", "fault = \"loss\"\nshare = \"30%\"\ndelay = \"1s\"\ntarget = { node = \"any\" }"),
    ("a link that isn't slow", "fault = \"slow-link\"\ntarget = { node = \"any\" }"),
    ("a way of a slow link", "fault = \"slow-link\"\ndelay = \"1s\"\nway = \"in\"\ntarget = { node = \"any\" }"),
    ("a jitter alone", "fault = \"slow-link\"\njitter = \"20ms\"\ntarget = { node = \"any\" }"),
    (
        "a jitter beyond its delay",
        "fault = \"slow-link\"\ndelay = \"5ms\"\njitter = \"20ms\"\ntarget = { node = \"any\" }",
    ),
    ("a delay of a minute", "fault = \"slow-link\"\ndelay = \"1m\"\ntarget = { node = \"any\" }"),
    ("an odd rate", "fault = \"slow-link\"\nrate = \"8mb/s\"\ntarget = { node = \"any\" }"),
    ("a slow link of what isn't judged by it", "fault = \"slow-link\"\nrate = \"8mbit\"\ntarget = { sshd = \"any\" }"),
    (
        "an event of a loss",
        "fault = \"loss\"\nshare = \"30%\"\ntarget = { node = \"leader\" }\nexpect = [\"etcd-leader-changed\"]",
    ),
    ("a time without a unit", "fault = \"pause\"\ntarget = { node = \"leader\" }\nfor = \"15\""),
    ("a time with a strange unit", "fault = \"pause\"\ntarget = { node = \"leader\" }\nfor = \"15sec\""),
    ("a time that is a number", "fault = \"pause\"\ntarget = { node = \"leader\" }\nfor = 15"),
    ("no time at all", "fault = \"pause\"\ntarget = { node = \"leader\" }\nfor = \"0s\""),
    ("two days", "fault = \"pause\"\ntarget = { node = \"leader\" }\nfor = \"48h\""),
    ("a hold of what isn't held", "fault = \"kill\"\ntarget = { node = \"leader\" }\nfor = \"5s\""),
    ("unknown event", "fault = \"kill\"\ntarget = { node = \"leader\" }\nexpect = [\"jupiter-moved\"]"),
    ("an event twice", "fault = \"kill\"\ntarget = { node = \"leader\" }\nexpect = [\"slot-left\", \"slot-left\"]"),
    ("an event that isn't in a list", "fault = \"kill\"\ntarget = { node = \"leader\" }\nexpect = \"slot-left\""),
    (
        "an event that it doesn't cause",
        "fault = \"kill\"\ntarget = { node = \"any\" }\nexpect = [\"etcd-leader-changed\"]",
    ),
    ("an event that needs the leader", "fault = \"kill\"\ntarget = { node = 3 }\nexpect = [\"jupyter-moved\"]"),
    (
        "an event that can't come in time",
        "fault = \"pause\"\ntarget = { mesos-master = \"leader\" }\nfor = \"5s\"\nexpect = [\"mesos-master-changed\"]",
    ),
    ("unknown invariant", "fault = \"kill\"\ntarget = { node = \"leader\" }\nrecovered = { jupiter = \"5s\" }"),
    ("an empty table", "fault = \"kill\"\ntarget = { node = \"leader\" }\nrecovered = {}"),
    ("unknown condition", "fault = \"pause\"\ntarget = { node = \"leader\" }\nmeanwhile = { jupyter = \"hold\" }"),
    ("meanwhile of nothing", "fault = \"kill\"\ntarget = { node = \"leader\" }\nmeanwhile = { jupyter = \"holds\" }"),
    (
        "rejoin of nothing",
        "fault = \"kill\"\ntarget = { node = \"leader\" }\nrecovered = { rejoin = { all = \"5s\" } }",
    ),
    (
        "a bound beyond the hold",
        "fault = \"pause\"\ntarget = { mesos-master = \"leader\" }\nfor = \"15s\"\nrecovered = { mesos = \"15s\" }",
    ),
    ("with nothing", "fault = \"kill\"\nwith = \"previous\"\ntarget = { node = \"any\" }"),
    ("with something else", "fault = \"kill\"\nwith = \"s1\"\ntarget = { node = \"any\" }"),
    ("two things in one step", "fault = \"kill\"\ntarget = { node = \"any\" }\nwatch = \"5s\""),
    ("nothing in a step", "wait = \"5s\""),
    ("a storm without faults", "storm = { for = \"60s\", every = \"2s..8s\", faults = [] }"),
    (
        "a storm that is over before it begins",
        "storm = { for = \"7s\", every = \"2s..8s\", faults = [ { fault = \"kill\", target = { node = \"any\" } } ] }",
    ),
    (
        "a range that ends before it begins",
        "storm = { for = \"60s\", every = \"8s..2s\", faults = [ { fault = \"kill\", target = { node = \"any\" } } ] }",
    ),
    (
        "a storm that never may act",
        "storm = { for = \"60s\", every = \"8s\", faults = [ { fault = \"kill\", target = { zookeeper = \"majority\" } } ] }",
    ),
    (
        "a storm of too many",
        "storm = { for = \"24h\", every = \"1ms\", faults = [ { fault = \"kill\", target = { node = \"any\" } } ] }",
    ),
    (
        "a weight of nothing",
        "storm = { for = \"60s\", every = \"8s\", faults = [ { fault = \"kill\", target = { node = \"any\" }, weight = 0 } ] }",
    ),
];

/// Whole files.
const FILES: &[(&str, &str)] = &[
    ("no toml", "name = \"x\"\n[[step]\nfault = kill\n"),
    ("a key twice", "name = \"x\"\nname = \"y\"\n[[step]]\nwatch = \"5s\"\n"),
    ("no name", "[[step]]\nwatch = \"5s\"\n"),
    ("a name with blanks", "name = \"Leader Loss\"\n[[step]]\nwatch = \"5s\"\n"),
    ("no steps", "name = \"x\"\nstep = []\n"),
    ("nothing at all", ""),
    ("one step in single brackets", "name = \"x\"\n[step]\nwatch = \"5s\"\n"),
    ("unknown key of the file", "name = \"x\"\ncolour = \"red\"\n[[step]]\nwatch = \"5s\"\n"),
    ("too many nodes", "name = \"x\"\n[cluster]\nnodes = 11\n[[step]]\nwatch = \"5s\"\n"),
    ("nested too deeply", "name = \"x\"\nstep = [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n"),
    (
        "an invariant with a taken name",
        "name = \"x\"\n[[invariant]]\nname = \"etcd\"\nhttp = { url = \"/api\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant far away",
        "name = \"x\"\n[[invariant]]\nname = \"far\"\nhttp = { url = \"https://example.org/\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant with a bad pattern",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nhttp = { url = \"/api\", body = \"[\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant that asks nothing",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nabout = \"It asks nothing.\"\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant that asks twice",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nhttp = { url = \"/api\" }\nexec = { on = { node = \"leader\" }, command = [\"true\"] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant whose question is wrong",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nhttp = 5\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command on nobody",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { node = \"ledaer\" }, command = [\"true\"] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command beside nobody",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { node = \"any\", same-host-as = \"previous\" }, command = [\"true\"] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command without words",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { node = \"leader\" }, command = [] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command without a program",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { node = \"leader\" }, command = [\"\", \"x\"] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command that is a line",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { node = \"leader\" }, command = \"etcdctl member list\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command with a bad pattern",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { zookeeper = \"all\" }, command = [\"true\"], output = \"(\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an exit code that can't be",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nexec = { on = { host = 1 }, command = [\"true\"], exit = 256 }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "a command that is run too rarely",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nevery = \"1500ms\"\nexec = { on = { node = \"any\" }, command = [\"true\"] }\n[[step]]\nwatch = \"5s\"\n",
    ),
    (
        "an invariant that is asked too rarely",
        "name = \"x\"\n[[invariant]]\nname = \"a\"\nevery = \"5s\"\nhttp = { url = \"/api\" }\n[[step]]\nwatch = \"5s\"\n",
    ),
    ("unknown invariant to abort on", "name = \"x\"\nabort-if = { jupiter = \"5s\" }\n[[step]]\nwatch = \"5s\"\n"),
    (
        "several at once",
        "name = \"x\"\n[cluster]\nnods = 5\n[[step]]\nfault = \"puase\"\ntarget = { nod = \"leader\" }\n[[step]]\nfault = \"kill\"\ntarget = { node = 7 }\nexpect = [\"slot-lost\", \"slot-moved\"]\n",
    ),
];

#[test]
fn every_mistake_says_where_and_what_to_do() {
    let count = STEPS.len() + FILES.len();
    assert!(count >= 30, "only {count} mistakes");
    for (name, text) in STEPS {
        check(name, &refused(&format!("name = \"x\"\n[[step]]\n{text}\n")));
    }
    for (name, text) in FILES {
        check(name, &refused(text));
    }
}

fn check(name: &str, message: &str) {
    assert!(message.contains("bad.toml:"), "{name} has no place:\n{message}");
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(format!("mistake {name}").replace([' ', '\''], "-"), message));
}

#[test]
fn a_bound_below_what_physics_allows_is_warned_of() {
    let warned = |step: &str| {
        let text = format!("name = \"x\"\n[[step]]\n{step}\n");
        let checked = read("odd.toml", &text, &TopologyConfig::default()).expect("it can run");
        checked.warnings.iter().map(|warning| told(warning)).collect::<String>()
    };
    let master = "fault = \"kill\"\ntarget = { mesos-master = \"leader\" }\nrecovered = { mesos = \"4s\" }";
    let node = "fault = \"pause\"\ntarget = { node = \"follower\" }\nrecovered = { hosts = \"3s\", all = \"20s\" }";
    let host = "fault = \"isolate\"\ntarget = { host = \"of-leader\" }\nrecovered = { all = \"5s\" }";
    insta::assert_snapshot!([master, node, host].map(warned).concat());
    assert_eq!(warned("fault = \"kill\"\ntarget = { node = \"leader\" }\nrecovered = { hosts = \"3s\" }"), "");
}

#[test]
fn the_configuration_bounds_what_can_come_true() {
    let config = TopologyConfig::read("c.toml", "nodes = 7\nhosts = 4\n[timing]\nsession_ms = 4000\n").expect("valid");
    let step = |step: &str| read("x.toml", &format!("name = \"x\"\n[[step]]\n{step}\n"), &config).map(|_| ());
    let master =
        "fault = \"pause\"\ntarget = { mesos-master = \"leader\" }\nfor = \"5s\"\nexpect = [\"mesos-master-changed\"]";
    for fine in [master, "fault = \"kill\"\ntarget = { node = 6 }", "fault = \"kill\"\ntarget = { host = 4 }"] {
        step(fine).expect("this topology allows it");
    }
    step("fault = \"kill\"\ntarget = { node = 7 }").expect_err("there are 7 nodes");
}

#[test]
fn a_configuration_has_messages_of_the_same_kind() {
    let text = "nodes = \"five\"\nhost = 3\nhosts = 2\nprefix = \"Storm_1\"\npool = \"198.18.128.0/17\"\nunderlay = \"10.1.2.3/8\"\n[timing]\nsession_ms = 11000\nagent_pings = 0\nzookeper_tick_ms = 3\n[mesos]\nflavor = \"apach\"\nmaster_flags = { quorum = 2 }\n[patience]\nnodes_s = 0.5\n";
    insta::assert_snapshot!(told(&TopologyConfig::read("config.toml", text).expect_err("nearly all of it is wrong")));
    let text = "pool = \"198.18.128.0/17\"\n[timing]\nsession_ms = 11000\n[mesos]\nimage = \"m\"\n";
    insta::assert_snapshot!(told(&TopologyConfig::read("config.toml", text).expect_err("it doesn't fit together")));
}
