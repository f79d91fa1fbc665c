//! A whole scheduler in one file: runs one container through Mesos and ends when the container has ended.
//!
//! ```text
//! cargo run --example one_container -- zk://10.0.0.1:2181,10.0.0.2:2181/mesos busybox sleep 5    # a Mesos with an election
//! cargo run --example one_container -- 10.0.0.1:5050 busybox sleep 5                             # or without
//! ```
//! Where there is no Mesos, a master and an agent of our own on this machine's engine do (as root, or whoever may use it):
//!
//! ```text
//! target/debug/stormd master --config examples/master.toml &
//! target/debug/stormd agent --config examples/agent.toml &
//! cargo run --example one_container -- 127.0.0.1:5050 busybox sleep 5
//! ```
//! It prints what the master says of the task, TASK_STARTING to TASK_FINISHED; what the container wrote lies in the agent's
//! `work_dir`, below `slaves`.
//!
//! What a scheduler that matters does and this one leaves out: to store its framework id and its tasks before it launches, and
//! to reconcile after every subscription. This one asks for a new framework each time, whose task ends with it.

use std::time::Duration;

use stormbed::mesos::detector::locate;
use stormbed::mesos::resources::Resources;
use stormbed::mesos::scheduler::{Calls, Signal, connect};
use stormbed::mesos::types::{
    Call, Capability, CommandInfo, ContainerInfo, ContainerType, DockerInfo, DockerNetwork, Event, Filters,
    FrameworkCapability, FrameworkId, FrameworkInfo, Offer, TaskInfo, TaskStatus,
};

type Failure = Box<dyn std::error::Error>;

const ROLE: &str = "example";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(master), Some(image)) = (arguments.next(), arguments.next()) else {
        return Err("usage: one_container MASTER IMAGE [COMMAND [ARGUMENT…]]".into());
    };
    let leader = locate(&master, Duration::from_secs(10))?;
    let mut signals = connect(framework(), leader);
    let mut session = None;
    let mut wanted = Some((image, arguments.collect::<Vec<_>>()));
    while let Some(signal) = signals.recv().await {
        match signal {
            Signal::Subscribed { subscribed, calls } => {
                println!("subscribed as {}", subscribed.framework_id);
                session = Some(Session { framework: subscribed.framework_id, calls });
            }
            Signal::Event(event) => {
                let session = session.as_ref().ok_or("an event before SUBSCRIBED")?;
                if session.hear(event, &mut wanted).await {
                    session.calls.send(Call::teardown(session.framework.clone())).await;
                    // The answer to TEARDOWN is the end of the stream.
                    while !matches!(signals.recv().await, None | Some(Signal::Disconnected(_) | Signal::Ended(_))) {}
                    return Ok(());
                }
            }
            Signal::Disconnected(why) => println!("disconnected: {why}; tries again"),
            Signal::Ended(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// A framework with the capabilities that a scheduler of today should have.
fn framework() -> FrameworkInfo {
    let capabilities = [
        FrameworkCapability::MultiRole,
        FrameworkCapability::PartitionAware,
        FrameworkCapability::TaskKillingState,
        FrameworkCapability::ReservationRefinement,
    ];
    FrameworkInfo {
        user: "root".to_owned(),
        name: "one container".to_owned(),
        roles: vec![ROLE.to_owned()],
        capabilities: capabilities.map(|kind| Capability { kind }).to_vec(),
        ..FrameworkInfo::default()
    }
}

/// One subscription: its framework, and the way to the master.
struct Session {
    framework: FrameworkId,
    calls: Calls,
}

impl Session {
    /// Takes an event; true when the task has ended. What is wanted is launched once.
    async fn hear(&self, event: Event, wanted: &mut Option<(String, Vec<String>)>) -> bool {
        match event {
            Event::Offers(offers) => {
                for offer in offers {
                    self.answer(offer, wanted).await;
                }
                false
            }
            Event::Update(status) => self.acknowledge(status).await,
            other => {
                println!("{}", other.kind());
                false
            }
        }
    }

    /// Takes an offer that suffices; refuses the others for a minute.
    async fn answer(&self, offer: Offer, wanted: &mut Option<(String, Vec<String>)>) {
        let takes = Resources::parse("cpus:0.1;mem:32").expect("a constant in Mesos's notation");
        let suffices = Resources::of(&offer.resources).is_ok_and(|offered| offered.contains(&takes));
        let framework = self.framework.clone();
        let call = match wanted.take_if(|_| suffices) {
            Some((image, arguments)) => {
                println!("launches {image} on {}", offer.hostname);
                let task = task(&offer, takes, image, arguments);
                Call::launch(framework, vec![offer.id], vec![task], None)
            }
            None => Call::decline(framework, vec![offer.id], Some(Filters { refuse_seconds: Some(60.0) })),
        };
        self.calls.send(call).await;
    }

    /// A status with a uuid comes again until it is acknowledged; a scheduler with a memory would write it down first.
    async fn acknowledge(&self, status: TaskStatus) -> bool {
        println!("{} {}", status.state, status.message.unwrap_or_default());
        if let (Some(uuid), Some(agent)) = (status.uuid, status.agent_id) {
            self.calls.send(Call::acknowledge(self.framework.clone(), agent, status.task_id, uuid)).await;
        }
        status.state.is_terminal()
    }
}

fn task(offer: &Offer, takes: Resources, image: String, arguments: Vec<String>) -> TaskInfo {
    let mut arguments = arguments.into_iter();
    let docker = DockerInfo {
        image,
        network: DockerNetwork::Host,
        port_mappings: Vec::new(),
        privileged: false,
        parameters: Vec::new(),
        force_pull_image: false,
    };
    TaskInfo {
        resources: takes.to_wire(Some(ROLE)),
        command: Some(CommandInfo {
            value: arguments.next(),
            arguments: arguments.collect(),
            ..CommandInfo::of_image()
        }),
        container: Some(ContainerInfo {
            kind: ContainerType::Docker,
            volumes: Vec::new(),
            hostname: None,
            docker: Some(docker),
            mesos: None,
            network_infos: Vec::new(),
        }),
        ..TaskInfo::new("one container", format!("task-{}", offer.id), offer.agent_id.clone())
    }
}
