//! Every Mesos master and agent, asked over HTTP at the same time; redirects are read, never followed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::text;

/// All answers come from memory; a frozen master must not cost the tick more than this.
const LOOK_MAX: Duration = Duration::from_millis(800);

/// Masters and agents as their HTTP endpoints show them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MesosView {
    /// By master name.
    pub masters: BTreeMap<String, Result<MasterView, String>>,
    /// By agent name: the hostname of the master that it takes for the leader (`master_hostname` of its `/state`), if any.
    pub agents: BTreeMap<String, Result<Option<String>, String>>,
}

/// One master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MasterView {
    /// `master/elected` of `/metrics/snapshot`.
    pub elected: bool,
    /// Where `/redirect` points (`host:port`); none = 503, no leader known.
    pub redirect: Option<String>,
    /// `/state`, from an elected master only.
    pub state: Option<MasterState>,
}

/// The part of a leading master's `/state` that the judge needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MasterState {
    /// Master id.
    pub id: String,
    /// Registered agents.
    pub agents: Vec<AgentView>,
    /// Frameworks, completed ones left out.
    pub frameworks: Vec<FrameworkView>,
}

/// An agent in `/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentView {
    /// Agent id.
    pub id: String,
    /// Host name.
    pub hostname: String,
    /// Active.
    pub active: bool,
}

/// A framework in `/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameworkView {
    /// Framework id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Active.
    pub active: bool,
    /// Connected.
    pub connected: bool,
    /// Where its scheduler runs, by the scheduler's own word.
    pub hostname: String,
    /// Tasks that aren't completed.
    pub tasks: Vec<TaskView>,
}

/// A task in `/state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Task id.
    pub id: String,
    /// Name.
    pub name: String,
    /// `TASK_RUNNING`, ….
    pub state: String,
    /// Agent id.
    pub agent_id: String,
}

/// A client that follows nothing and asks no proxy.
///
/// # Errors
/// If the system gives no randomness or resolver.
pub fn client() -> Result<Client, String> {
    let builder = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(LOOK_MAX);
    builder.build().map_err(text)
}

/// Asks all masters and agents (name → `ip:port`).
pub async fn look(client: &Client, masters: &BTreeMap<String, String>, agents: &BTreeMap<String, String>) -> MesosView {
    let ask_masters =
        join_all(masters.iter().map(|(name, address)| async move { (name.clone(), master(client, address).await) }));
    let ask_agents =
        join_all(agents.iter().map(|(name, address)| async move { (name.clone(), agent(client, address).await) }));
    let (masters, agents) = tokio::join!(ask_masters, ask_agents);
    MesosView { masters: masters.into_iter().collect(), agents: agents.into_iter().collect() }
}

async fn master(client: &Client, address: &str) -> Result<MasterView, String> {
    #[derive(Deserialize)]
    struct Snapshot {
        #[serde(rename = "master/elected")]
        elected: f64,
    }
    let snapshot = json::<Snapshot>(client, address, "/metrics/snapshot");
    let (snapshot, redirect) = tokio::try_join!(snapshot, redirect(client, address))?;
    let elected = snapshot.elected > 0.5;
    let state = if elected { Some(json::<State>(client, address, "/state").await?.into()) } else { None };
    Ok(MasterView { elected, redirect, state })
}

async fn agent(client: &Client, address: &str) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Agent {
        master_hostname: Option<String>,
    }
    let agent = json::<Agent>(client, address, "/state").await?;
    Ok(agent.master_hostname.filter(|name| !name.is_empty()))
}

/// Where `/redirect` points: `host:port`; none while no leader is known.
async fn redirect(client: &Client, address: &str) -> Result<Option<String>, String> {
    let response = get(client, address, "/redirect").await?;
    match response.status() {
        StatusCode::TEMPORARY_REDIRECT => {
            let location = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            let location = location.ok_or(format!("{address}/redirect: 307 without a Location"))?;
            Ok(Some(authority(location).to_owned()))
        }
        StatusCode::SERVICE_UNAVAILABLE => Ok(None),
        status => Err(format!("{address}/redirect: {status}, expected 307 or 503")),
    }
}

/// `host:port` of `//host:port/…`, with or without a scheme.
fn authority(location: &str) -> &str {
    let rest = location.split_once("//").map_or(location, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

async fn json<T: DeserializeOwned>(client: &Client, address: &str, path: &str) -> Result<T, String> {
    let response = get(client, address, path).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("{address}{path}: {}, expected 200", response.status()));
    }
    let body = response.bytes().await.map_err(text)?;
    serde_json::from_slice(&body).map_err(|error| format!("{address}{path}: {error}"))
}

async fn get(client: &Client, address: &str, path: &str) -> Result<Response, String> {
    let response = client.get(format!("http://{address}{path}")).send();
    response.await.map_err(text)
}

/// The part of `/state` that is passed on.
#[derive(Deserialize)]
struct State {
    id: String,
    #[serde(default)]
    slaves: Vec<Slave>,
    #[serde(default)]
    frameworks: Vec<Framework>,
}

#[derive(Deserialize)]
struct Slave {
    id: String,
    hostname: String,
    active: bool,
}

#[derive(Deserialize)]
struct Framework {
    id: String,
    name: String,
    active: bool,
    connected: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    tasks: Vec<Task>,
}

#[derive(Deserialize)]
struct Task {
    id: String,
    name: String,
    state: String,
    slave_id: String,
}

impl From<State> for MasterState {
    fn from(state: State) -> Self {
        let agents = state.slaves.into_iter().map(|slave| AgentView {
            id: slave.id,
            hostname: slave.hostname,
            active: slave.active,
        });
        let frameworks = state.frameworks.into_iter().map(|framework| FrameworkView {
            id: framework.id,
            name: framework.name,
            active: framework.active,
            connected: framework.connected,
            hostname: framework.hostname,
            tasks: framework.tasks.into_iter().map(TaskView::from).collect(),
        });
        MasterState { id: state.id, agents: agents.collect(), frameworks: frameworks.collect() }
    }
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        TaskView { id: task.id, name: task.name, state: task.state, agent_id: task.slave_id }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::header;
    use axum::response::IntoResponse;
    use axum::routing::get;

    use super::*;

    const STATE: &str = r#"{"id":"m-id","elected_time":1.5,"slaves":[{"id":"m-S0","hostname":"host-1","active":true,"port":5051}],
        "frameworks":[{"id":"m-0000","name":"stormbed","active":true,"connected":false,"completed_tasks":[],
        "tasks":[{"id":"t","name":"storm-s0","state":"TASK_RUNNING","slave_id":"m-S0","statuses":[]}]}],"completed_frameworks":[]}"#;

    async fn serve(router: Router) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn text(body: &'static str) -> axum::routing::MethodRouter {
        get(move || async move { body })
    }

    #[tokio::test]
    async fn leader_standby_agent_and_the_dead_are_told_apart() {
        let to = |place: &'static str| {
            get(move || async move { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response() })
        };
        let leading = Router::new()
            .route("/metrics/snapshot", text(r#"{"master/elected":1.0,"master/uptime_secs":3.2}"#))
            .route("/redirect", to("//198.18.0.21:5050"))
            .route("/state", text(STATE));
        let standby = Router::new()
            .route("/metrics/snapshot", text(r#"{"master/elected":0.0}"#))
            .route("/redirect", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
            .route("/state", to("//198.18.0.21:5050/state"));
        let agent = Router::new().route("/state", text(r#"{"id":"x","master_hostname":"198.18.0.21"}"#));
        let lost = Router::new().route("/state", text(r#"{"id":"y"}"#));
        let masters = BTreeMap::from([
            ("a".to_owned(), serve(leading).await),
            ("b".to_owned(), serve(standby).await),
            ("c".to_owned(), "127.0.0.1:1".to_owned()),
        ]);
        let agents = BTreeMap::from([("h".to_owned(), serve(agent).await), ("i".to_owned(), serve(lost).await)]);
        let view = look(&client().unwrap(), &masters, &agents).await;

        let leader = view.masters["a"].as_ref().unwrap();
        assert_eq!((leader.elected, leader.redirect.as_deref()), (true, Some("198.18.0.21:5050")));
        let state = leader.state.as_ref().unwrap();
        assert_eq!(state.agents[0].hostname, "host-1");
        assert_eq!(state.frameworks[0].tasks[0].agent_id, "m-S0");
        let standby = MasterView { elected: false, redirect: None, state: None };
        assert_eq!(view.masters["b"], Ok(standby));
        assert!(view.masters["c"].is_err());
        assert_eq!(view.agents["h"], Ok(Some("198.18.0.21".to_owned())));
        assert_eq!(view.agents["i"], Ok(None));
    }

    #[test]
    fn a_location_is_an_authority_with_trimmings() {
        for location in ["//m:5050", "http://m:5050/", "//m:5050/redirect", "m:5050"] {
            assert_eq!(authority(location), "m:5050");
        }
    }
}
