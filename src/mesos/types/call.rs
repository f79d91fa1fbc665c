//! What a scheduler says to the master.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::wire_enum;
use super::{
    AgentId, ExecutorId, Filters, FrameworkId, FrameworkInfo, KillPolicy, OfferId, OperationId, Resource, TaskId,
    TaskInfo,
};

wire_enum! {
    /// The kind of a call.
    CallType {
        Unknown = "UNKNOWN",
        Subscribe = "SUBSCRIBE",
        Teardown = "TEARDOWN",
        Accept = "ACCEPT",
        Decline = "DECLINE",
        AcceptInverseOffers = "ACCEPT_INVERSE_OFFERS",
        DeclineInverseOffers = "DECLINE_INVERSE_OFFERS",
        Revive = "REVIVE",
        Kill = "KILL",
        Shutdown = "SHUTDOWN",
        Acknowledge = "ACKNOWLEDGE",
        AcknowledgeOperationStatus = "ACKNOWLEDGE_OPERATION_STATUS",
        Reconcile = "RECONCILE",
        ReconcileOperations = "RECONCILE_OPERATIONS",
        Message = "MESSAGE",
        Request = "REQUEST",
        Suppress = "SUPPRESS",
        UpdateFramework = "UPDATE_FRAMEWORK",
    }
}

/// A call as it is on the wire: the kind, and the body under the kind's name in small letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The caller; absent only in SUBSCRIBE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framework_id: Option<FrameworkId>,
    /// The kind; an unknown name counts as absent.
    #[serde(rename = "type", default = "no_type")]
    pub kind: CallType,
    /// Body of SUBSCRIBE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Subscribe>,
    /// Body of ACCEPT.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<Accept>,
    /// Body of DECLINE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline: Option<Decline>,
    /// Body of ACCEPT_INVERSE_OFFERS; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_inverse_offers: Option<Value>,
    /// Body of DECLINE_INVERSE_OFFERS; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline_inverse_offers: Option<Value>,
    /// Body of REVIVE, optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revive: Option<Roles>,
    /// Body of SUPPRESS, optional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress: Option<Roles>,
    /// Body of KILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<Kill>,
    /// Body of SHUTDOWN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shutdown: Option<Shutdown>,
    /// Body of ACKNOWLEDGE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge: Option<Acknowledge>,
    /// Body of ACKNOWLEDGE_OPERATION_STATUS; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_operation_status: Option<Value>,
    /// Body of RECONCILE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconcile>,
    /// Body of RECONCILE_OPERATIONS; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile_operations: Option<Value>,
    /// Body of MESSAGE; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// Body of REQUEST; only its presence counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Value>,
    /// Body of UPDATE_FRAMEWORK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_framework: Option<Subscribe>,
}

fn no_type() -> CallType {
    CallType::Unrecognised
}

impl Call {
    /// A call without a body.
    #[must_use]
    pub fn bare(framework_id: Option<FrameworkId>, kind: CallType) -> Self {
        Self {
            framework_id,
            kind,
            subscribe: None,
            accept: None,
            decline: None,
            accept_inverse_offers: None,
            decline_inverse_offers: None,
            revive: None,
            suppress: None,
            kill: None,
            shutdown: None,
            acknowledge: None,
            acknowledge_operation_status: None,
            reconcile: None,
            reconcile_operations: None,
            message: None,
            request: None,
            update_framework: None,
        }
    }

    /// SUBSCRIBE; the framework's id comes from its info.
    #[must_use]
    pub fn subscribe(framework_info: FrameworkInfo) -> Self {
        let mut call = Self::bare(framework_info.id.clone(), CallType::Subscribe);
        call.subscribe = Some(Subscribe { framework_info, suppressed_roles: Vec::new() });
        call
    }

    /// ACCEPT offers to launch tasks, one LAUNCH.
    #[must_use]
    pub fn launch(
        framework: FrameworkId,
        offer_ids: Vec<OfferId>,
        task_infos: Vec<TaskInfo>,
        filters: Option<Filters>,
    ) -> Self {
        let mut call = Self::bare(Some(framework), CallType::Accept);
        call.accept = Some(Accept { offer_ids, operations: vec![Operation::launch(task_infos)], filters });
        call
    }

    /// DECLINE offers.
    #[must_use]
    pub fn decline(framework: FrameworkId, offer_ids: Vec<OfferId>, filters: Option<Filters>) -> Self {
        let mut call = Self::bare(Some(framework), CallType::Decline);
        call.decline = Some(Decline { offer_ids, filters });
        call
    }

    /// REVIVE all roles.
    #[must_use]
    pub fn revive(framework: FrameworkId) -> Self {
        Self::bare(Some(framework), CallType::Revive)
    }

    /// SUPPRESS all roles.
    #[must_use]
    pub fn suppress(framework: FrameworkId) -> Self {
        Self::bare(Some(framework), CallType::Suppress)
    }

    /// KILL a task.
    #[must_use]
    pub fn kill(
        framework: FrameworkId,
        task_id: TaskId,
        agent_id: Option<AgentId>,
        kill_policy: Option<KillPolicy>,
    ) -> Self {
        let mut call = Self::bare(Some(framework), CallType::Kill);
        call.kill = Some(Kill { task_id, agent_id, kill_policy });
        call
    }

    /// ACKNOWLEDGE a status update.
    #[must_use]
    pub fn acknowledge(framework: FrameworkId, agent_id: AgentId, task_id: TaskId, uuid: String) -> Self {
        let mut call = Self::bare(Some(framework), CallType::Acknowledge);
        call.acknowledge = Some(Acknowledge { agent_id, task_id, uuid });
        call
    }

    /// RECONCILE these tasks; all, if there are none.
    #[must_use]
    pub fn reconcile(framework: FrameworkId, tasks: Vec<ReconcileTask>) -> Self {
        let mut call = Self::bare(Some(framework), CallType::Reconcile);
        call.reconcile = Some(Reconcile { tasks });
        call
    }

    /// TEARDOWN.
    #[must_use]
    pub fn teardown(framework: FrameworkId) -> Self {
        Self::bare(Some(framework), CallType::Teardown)
    }
}

/// Body of SUBSCRIBE and of UPDATE_FRAMEWORK.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Who subscribes.
    pub framework_info: FrameworkInfo,
    /// Roles for which no offers are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suppressed_roles: Vec<String>,
}

/// Body of ACCEPT.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Accept {
    /// Offers of one agent.
    #[serde(default)]
    pub offer_ids: Vec<OfferId>,
    /// What to do with them, in order.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// For what is left over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

wire_enum! {
    /// What to do with offers.
    OperationType {
        Launch = "LAUNCH",
        LaunchGroup = "LAUNCH_GROUP",
        Reserve = "RESERVE",
        Unreserve = "UNRESERVE",
        Create = "CREATE",
        Destroy = "DESTROY",
        GrowVolume = "GROW_VOLUME",
        ShrinkVolume = "SHRINK_VOLUME",
        CreateDisk = "CREATE_DISK",
        DestroyDisk = "DESTROY_DISK",
    }
}

/// One thing to do with offers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The kind; an unknown name counts as absent.
    #[serde(rename = "type", default = "no_operation")]
    pub kind: OperationType,
    /// With it the framework hears what became of the operation; not allowed in LAUNCH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<OperationId>,
    /// Body of LAUNCH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// Body of LAUNCH_GROUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_group: Option<LaunchGroup>,
    /// Body of RESERVE.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve: Option<Reserve>,
}

impl Operation {
    /// Whether it launches tasks, which tell what became of it.
    #[must_use]
    pub fn launches(&self) -> bool {
        matches!(self.kind, OperationType::Launch | OperationType::LaunchGroup)
    }

    /// LAUNCH.
    #[must_use]
    pub fn launch(task_infos: Vec<TaskInfo>) -> Self {
        let launch = Some(Launch { task_infos });
        Self { kind: OperationType::Launch, id: None, launch, launch_group: None, reserve: None }
    }
}

fn no_operation() -> OperationType {
    OperationType::Unrecognised
}

/// Body of LAUNCH_GROUP.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LaunchGroup {
    /// The executor of the tasks; carried, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<Value>,
    /// The tasks, all or none.
    #[serde(default)]
    pub task_group: TaskGroup,
}

/// Tasks that are launched together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TaskGroup {
    /// The tasks.
    #[serde(default)]
    pub tasks: Vec<TaskInfo>,
}

/// Body of RESERVE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reserve {
    /// What is to be reserved, as it will be.
    #[serde(default)]
    pub resources: Vec<Resource>,
}

/// Body of LAUNCH.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Launch {
    /// The tasks.
    #[serde(default)]
    pub task_infos: Vec<TaskInfo>,
}

/// Body of DECLINE.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Decline {
    /// The offers.
    #[serde(default)]
    pub offer_ids: Vec<OfferId>,
    /// How long to refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
}

/// Body of REVIVE and of SUPPRESS.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Roles {
    /// All subscribed roles when empty.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// Body of KILL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill {
    /// The task.
    pub task_id: TaskId,
    /// Its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// Overrides the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_policy: Option<KillPolicy>,
}

/// Body of SHUTDOWN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// The executor; for command tasks its id is the task's.
    pub executor_id: ExecutorId,
    /// Its agent.
    pub agent_id: AgentId,
}

/// Body of ACKNOWLEDGE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledge {
    /// The agent of the update.
    pub agent_id: AgentId,
    /// The task.
    pub task_id: TaskId,
    /// Base64 of the update's uuid.
    pub uuid: String,
}

/// Body of RECONCILE.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reconcile {
    /// Empty: every task that the master knows of.
    #[serde(default)]
    pub tasks: Vec<ReconcileTask>,
}

/// A task that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileTask {
    /// The task.
    pub task_id: TaskId,
    /// Its agent: makes the answer precise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
}
