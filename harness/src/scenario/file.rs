//! What a scenario file may say. These types are the language: the reader, its messages, the JSON Schema (`stormbed schema`) and
//! the lists of what is allowed all come from them and their comments.
//!
//! Items of lists are optional: one that was wrong has been told, and leaves its place empty.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::event::Event;
use super::values::{FORMATS, FaultWord, FromKeys, Label, Rate, Share, SplitWord, Time, Times, WayWord, WhatWord};
use super::{Condition, When};
use crate::document::grammar::Grammar;
use crate::fault::words::{CLASSES, ClassRow, Numbers};
use crate::invariant::Name;

/// A list in which wrong items are empty.
pub type Items<T> = Vec<Option<T>>;

/// The grammar of scenario files.
pub static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar::of::<ScenarioKeys>(FORMATS));

/// What is broken, in which order, and what must be seen of it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "a scenario")]
pub struct ScenarioKeys {
    /// Its name: reports and folders are called so.
    #[schemars(extend("examples" = ["leader-loss"]))]
    pub name: Label,
    /// What it shows, in a sentence.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub about: Option<String>,
    /// What it asks of the topology.
    #[serde(default)]
    pub cluster: Option<ClusterKeys>,
    /// Ends the scenario early when an invariant is broken for longer than this, excused or not.
    #[serde(default)]
    pub abort_if: Option<AbortKeys>,
    /// Invariants of your own, judged beside the built-in ones.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub invariant: Items<InvariantKeys>,
    /// What is done, in order: at least one `[[step]]`.
    #[schemars(length(min = 1, max = 200), extend("examples" = ["[[step]] on a line of its own, and below it: watch = \"60s\""]))]
    pub step: Items<StepKeys>,
}

/// What a scenario asks of the topology; what is left out may be anything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "[cluster]")]
pub struct ClusterKeys {
    /// Number of nodes. With fewer than three none may be lost, and more than nine only slow etcd down.
    #[schemars(range(min = 1, max = 9))]
    pub nodes: Option<u32>,
    /// Host names are PREFIX-0, PREFIX-1, ….
    pub prefix: Option<Label>,
}

/// An invariant of your own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "[[invariant]]")]
pub struct InvariantKeys {
    /// Its name, for `recovered`, `meanwhile`, `abort-if` and the report.
    #[schemars(extend("examples" = ["kernels"]))]
    pub name: Label,
    /// A question over HTTP, and the answer that is right.
    #[schemars(extend("examples" = ["{ url = \"/api/kernels\", status = 200 }"]))]
    pub http: Option<HttpKeys>,
    /// A command in the container of whoever holds a role, and what is right of it. An invariant has `http` or `exec`.
    #[schemars(extend("examples" = ["{ on = { node = \"leader\" }, command = [\"etcdctl\", \"endpoint\", \"health\"] }"]))]
    pub exec: Option<ExecKeys>,
    /// What it promises, in a sentence.
    #[schemars(length(max = 500))]
    pub about: Option<String>,
    /// What excuses this built-in one excuses it too; nothing does when left out.
    pub like: Option<BuiltIn>,
    /// Time between two questions; 500ms when left out, and 1s between two commands.
    pub every: Option<Time>,
    /// An answer takes at most this long; 1s when left out. A command that takes longer is killed.
    pub within: Option<Time>,
}

/// A question over HTTP.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "http")]
pub struct HttpKeys {
    /// A path through the proxy, with Jupyter's token; or a whole URL of this machine's loopback, without.
    #[schemars(length(min = 1, max = 500), extend("examples" = ["/api/kernels"]))]
    pub url: String,
    /// The right status; 200 when left out.
    #[schemars(range(min = 100, max = 599))]
    pub status: Option<u16>,
    /// A regular expression that is found in the right body.
    #[schemars(length(min = 1, max = 500))]
    pub body: Option<String>,
}

/// A command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "exec")]
pub struct ExecKeys {
    /// Whose container it runs in: whoever holds the role at that moment; if several do, all of them must be right.
    #[schemars(extend("examples" = ["{ node = \"leader\" }"]))]
    pub on: TargetKeys,
    /// Program and arguments; a shell's line is `["sh", "-c", "…"]`.
    #[schemars(length(min = 1, max = 50), extend("examples" = ["[\"sh\", \"-c\", \"test -s /etc/hosts\"]"]))]
    pub command: Items<String>,
    /// The right exit code; 0 when left out.
    #[schemars(range(min = 0, max = 255))]
    pub exit: Option<u8>,
    /// A regular expression that is found in the right standard output, of which the first 64 KiB count.
    #[schemars(length(min = 1, max = 500))]
    pub output: Option<String>,
}

/// A built-in invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct BuiltIn(pub Name);

impl JsonSchema for BuiltIn {
    fn schema_name() -> Cow<'static, str> {
        "BuiltIn".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Name::ALL.map(|name| name.as_str());
        json_schema!({ "type": "string", "title": "built-in invariant", "enum": names })
    }
}

/// One step: a fault, several at once, a storm of faults, or nothing but watching.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "a step", extend("examples" = ["fault = \"kill\" and target = { node = \"leader\" }; or watch = \"60s\""]))]
pub enum StepKeys {
    /// One fault.
    Fault(Box<FaultStep>),
    /// Several faults at the same moment.
    Together(TogetherStep),
    /// Random faults for a while.
    Storm(StormStep),
    /// Nothing is broken.
    Watch(WatchStep),
}

/// A struct with the keys that say what a fault is, wherever one stands, and keys of its own.
macro_rules! with_fault {
    ($(#[$about:meta])* $name:ident { $($(#[$of_key:meta])* $key:ident: $value:ty,)* }) => {
        $(#[$about])*
        pub struct $name {
            /// What is done.
            #[schemars(extend("examples" = ["kill"]))]
            pub fault: FaultWord,
            /// To whom.
            #[schemars(extend("examples" = ["{ node = \"leader\" }"]))]
            pub target: TargetKeys,
            /// With whom a part can't speak, or only badly, one or a list; everyone when left out.
            pub from: Option<FromKeys>,
            /// Which packets are dropped; both ways when left out.
            pub way: Option<WayWord>,
            /// Who doesn't reach whom in a partition; two sides when left out.
            pub shape: Option<SplitWord>,
            /// Of a loss: the share of packets that is dropped.
            pub share: Option<Share>,
            /// Of a slow link: how much later packets arrive. Of a squeeze of `disk`: how much longer each sync takes.
            pub delay: Option<Time>,
            /// Of a slow link: by how much the delay varies.
            pub jitter: Option<Time>,
            /// Of a slow link: how much passes in a second.
            pub rate: Option<Rate>,
            /// What the fault is about; needed where there is a choice, as with `tamper`.
            pub what: Option<WhatWord>,
            /// Of a squeeze of `cpu`: the share of one core that is left.
            #[schemars(extend("examples" = ["20%"]))]
            pub to: Option<Share>,
            $($(#[$of_key])* pub $key: $value,)*
        }
    };
}

with_fault! {
    /// A step that makes one fault.
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[schemars(title = "a fault's step")]
    FaultStep {
        /// How long the fault is held. Without it: until the others have taken over, at most 30 s.
        r#for: Option<Time>,
        /// Begins while the previous step's fault is held, or is still being healed.
        with: Option<Previous>,
        /// Time to let pass before the act.
        wait: Option<Time>,
        /// The moment to wait for before the act.
        when: Option<When>,
        /// How long to wait for somebody to hold the target's role, or for the moment; 5s when left out.
        resolve_within: Option<Time>,
        /// The step is made so many times, each after the one before has recovered.
        #[schemars(range(min = 1, max = 100))]
        repeat: Option<u32>,
        /// With `repeat`: time between the beginnings of two rounds, or longer if a round takes longer.
        every: Option<Time>,
        /// Events that must be seen, else the verdict is INVALID.
        #[serde(default)]
        #[schemars(extend("uniqueItems" = true, "examples" = ["[\"slot-replaced\"]"]))]
        expect: Items<Event>,
        /// What must be seen of invariants while the fault is held.
        meanwhile: Option<MeanwhileKeys>,
        /// How soon invariants must hold again.
        recovered: Option<RecoveredKeys>,
    }
}

/// A step that makes several faults at the same moment.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "a step of several faults")]
pub struct TogetherStep {
    /// The faults.
    #[schemars(length(min = 2, max = 10), extend("examples" = ["[ { fault = \"kill\", target = { node = \"leader\" } }, … ]"]))]
    pub together: Items<TogetherFault>,
    /// Begins while the previous step's fault is held, or is still being healed.
    pub with: Option<Previous>,
    /// Time to let pass before the act.
    pub wait: Option<Time>,
    /// How long to wait for somebody to hold each target's role; 5s when left out.
    pub resolve_within: Option<Time>,
    /// The step is made so many times, each after the one before has recovered.
    #[schemars(range(min = 1, max = 100))]
    pub repeat: Option<u32>,
    /// With `repeat`: time between the beginnings of two rounds, or longer if a round takes longer.
    pub every: Option<Time>,
}

with_fault! {
    /// One of several faults that are made at the same moment.
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[schemars(title = "one of several faults")]
    TogetherFault {
        /// How long the fault is held. Without it: until the others have taken over, at most 30 s.
        r#for: Option<Time>,
        /// Events that must be seen, else the verdict is INVALID.
        #[serde(default)]
        #[schemars(extend("uniqueItems" = true, "examples" = ["[\"slot-replaced\"]"]))]
        expect: Items<Event>,
        /// What must be seen of invariants while the fault is held.
        meanwhile: Option<MeanwhileKeys>,
        /// How soon invariants must hold again.
        recovered: Option<RecoveredKeys>,
    }
}

/// A step that makes random faults.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "a storm's step")]
pub struct StormStep {
    /// The storm.
    pub storm: StormKeys,
    /// Time to let pass before it begins.
    pub wait: Option<Time>,
}

/// A step that breaks nothing.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "a watching step")]
pub struct WatchStep {
    /// How long everything is watched.
    #[schemars(extend("examples" = ["60s"]))]
    pub watch: Time,
    /// Time to let pass before.
    pub wait: Option<Time>,
}

/// Random faults: which, how often, how long.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "a storm")]
pub struct StormKeys {
    /// Faults begin within this time. A storm has a `for`, a `count`, or both: what comes first ends it.
    #[schemars(extend("examples" = ["60s"]))]
    pub r#for: Option<Time>,
    /// So many faults are drawn.
    #[schemars(range(min = 1, max = 10_000))]
    pub count: Option<u32>,
    /// So many faults at most are in force, or being healed, at a time; a draw beyond that is skipped.
    #[schemars(range(min = 1, max = 99))]
    pub at_most: Option<u32>,
    /// The storm may leave less than a quorum; false when left out.
    pub allow_quorum_loss: Option<bool>,
    /// Time between two faults: a range, of which the seed chooses.
    #[schemars(extend("examples" = ["2s..8s"]))]
    pub every: Times,
    /// Seed of what is drawn; the run's own when left out.
    #[schemars(range(min = 0))]
    pub seed: Option<u64>,
    /// What may happen.
    #[schemars(length(min = 1, max = 100), extend("examples" = ["[ { fault = \"kill\", target = { node = \"any\" } } ]"]))]
    pub faults: Items<StormFaultKeys>,
}

with_fault! {
    /// A kind of fault in a storm.
    #[derive(Debug, Clone, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[schemars(title = "a storm's fault")]
    StormFaultKeys {
        /// How long the fault is held; 8s when left out.
        r#for: Option<Time>,
        /// Its share among the storm's faults; 1 when left out.
        #[schemars(range(min = 1, max = 1000))]
        weight: Option<u32>,
    }
}

/// The step before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(title = "value of 'with'")]
pub enum Previous {
    /// The step before this one.
    Previous,
}

/// Bounds on recovery, from the injection on; those in `rejoin` count from the undo.
#[derive(Debug, Clone, Deserialize)]
pub struct RecoveredKeys {
    /// From the undo on.
    pub rejoin: Option<BTreeMap<String, Time>>,
    /// From the injection on, by invariant or for `all`.
    #[serde(flatten)]
    pub failover: BTreeMap<String, Time>,
}

/// Invariants, and how long each may be broken.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct AbortKeys(pub BTreeMap<String, Time>);

/// What must be seen of invariants while a fault is held.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct MeanwhileKeys(pub BTreeMap<String, Condition>);

/// A kind of part and whom of it, as the tables of [`crate::fault::words`] have it.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct TargetKeys(pub Map<String, Value>);

/// An object with one key for each invariant.
fn by_invariant(title: &str, more: &[(&str, Schema)], value: &Schema) -> Schema {
    let mut properties = Map::new();
    for name in Name::ALL {
        properties.insert(name.as_str().to_owned(), value.clone().to_value());
    }
    for (key, schema) in more {
        properties.insert((*key).to_owned(), schema.clone().to_value());
    }
    json_schema!({
        "type": "object", "title": title, "minProperties": 1, "properties": properties,
        // Invariants of the user's own; whether there is one of that name is looked at later.
        "additionalProperties": value,
    })
}

impl JsonSchema for RecoveredKeys {
    fn schema_name() -> Cow<'static, str> {
        "RecoveredKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut time = generator.subschema_for::<Time>();
        time.insert("description".to_owned(), json!("It must hold again within this time."));
        let mut all = time.clone();
        all.insert("description".to_owned(), json!("Every invariant must hold again within this time."));
        let mut rejoin = by_invariant("rejoin", &[("all", all.clone())], &time);
        rejoin.insert("description".to_owned(), json!("Bounds that count from the undo."));
        by_invariant("recovered", &[("all", all), ("rejoin", rejoin)], &time)
    }
}

impl JsonSchema for AbortKeys {
    fn schema_name() -> Cow<'static, str> {
        "AbortKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut time = generator.subschema_for::<Time>();
        time.insert("description".to_owned(), json!("Broken for longer than this, it ends the scenario."));
        by_invariant("abort-if", &[], &time)
    }
}

impl JsonSchema for MeanwhileKeys {
    fn schema_name() -> Cow<'static, str> {
        "MeanwhileKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let condition = generator.subschema_for::<Condition>();
        by_invariant("meanwhile", &[], &condition)
    }
}

impl JsonSchema for TargetKeys {
    fn schema_name() -> Cow<'static, str> {
        "TargetKeys".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let share = generator.subschema_for::<Share>().to_value();
        let shapes: Vec<Value> = CLASSES.iter().map(|row| shape_of(row, &share)).collect();
        let host = json!({
            "type": "object", "title": "a target", "required": ["same-host-as"], "additionalProperties": false,
            "properties": { "same-host-as": same_host("The host of the previous step's victim, itself.") },
        });
        let shapes: Vec<Value> = shapes.into_iter().chain([host]).collect();
        json_schema!({ "title": "a target", "examples": ["{ node = \"leader\" }"], "anyOf": shapes })
    }
}

fn same_host(about: &str) -> Value {
    json!({ "type": "string", "title": "value of 'same-host-as'", "oneOf": [{ "const": "previous", "description": about }] })
}

/// `{ node = "leader" }` and its variations.
fn shape_of(row: &ClassRow, share: &Value) -> Value {
    let words: Vec<Value> =
        row.roles.iter().map(|role| json!({ "const": role.word, "description": role.about })).collect();
    let words = json!({ "type": "string", "title": format!("role of a {}", row.word), "oneOf": words });
    let number = match row.numbers {
        Numbers::None => None,
        Numbers::Slots => Some(json!({ "type": "integer", "title": "a slot", "minimum": 0, "maximum": 98 })),
        Numbers::Hosts => Some(json!({ "type": "integer", "title": "a host's number", "minimum": 1, "maximum": 9 })),
    };
    let whom = match &number {
        Some(number) => json!({ "description": row.about, "anyOf": [words, number] }),
        None => words,
    };
    let mut properties = Map::new();
    properties.insert(row.word.to_owned(), whom);
    properties.insert(
        "count".to_owned(),
        json!({ "type": "integer", "minimum": 1, "maximum": 99, "description": "So many of them." }),
    );
    let mut some = share.clone();
    some["description"] = json!("This share of them, rounded up.");
    properties.insert("share".to_owned(), some);
    if number.is_some() {
        properties
            .insert("same-host-as".to_owned(), same_host("Only those on the host of the previous step's victim."));
    }
    json!({
        "type": "object", "title": "a target", "required": [row.word], "properties": properties, "additionalProperties": false,
    })
}
