//! `POST /api/v1/scheduler`.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::core::{Event, Refusal};
use super::super::desk::Desk;
use super::ladder::{STREAM_ID, check_accept, check_request, header};
use super::read::read_message;
use crate::mesos::types::{Call, CallType, FrameworkId};

pub(super) async fn answer(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_request(parts)?;
    let call: Call = read_message("scheduler.Call", body)?;
    validate(&call).map_err(|why| Refusal::new(400, format!("Failed to validate scheduler::Call: {why}")))?;
    if matches!(call.kind, CallType::Subscribe | CallType::ReconcileOperations) {
        check_accept(&parts.headers)?;
    }
    let stream = header(&parts.headers, STREAM_ID);
    match (call.kind, call.framework_id.clone()) {
        (CallType::Subscribe, _) => subscribe(desk, stream, call).await,
        (kind, Some(framework_id)) => {
            let check_id = framework_id.clone();
            let update = call.update_framework.clone().filter(|_| kind == CallType::UpdateFramework);
            let call = Box::new(call);
            let event = Event::Call { framework_id, call };
            desk.on_admitted(event, |master| {
                master.admit(&check_id, stream)?;
                if kind == CallType::Unknown {
                    // The real one crashes here.
                    return Err(Refusal::new(501, "501 Not Implemented."));
                }
                update.as_ref().map_or(Ok(()), |update| master.admit_update(&check_id, update))
            })
            .await?;
            Ok(match kind {
                CallType::UpdateFramework => StatusCode::OK,
                _ => StatusCode::ACCEPTED,
            }
            .into_response())
        }
        (_, None) => Err(Refusal::new(400, "Framework cannot be found")),
    }
}

async fn subscribe(desk: &Arc<Desk>, stream: Option<&str>, call: Call) -> Result<Response, Refusal> {
    if stream.is_some() {
        return Err(Refusal::new(400, "Subscribe calls should not include the 'Mesos-Stream-Id' header"));
    }
    let subscribe =
        call.subscribe.map(Box::new).ok_or_else(|| Refusal::new(400, "Expecting 'subscribe' to be present"))?;
    let opened = |stream| Event::Subscribe { stream, subscribe };
    let (id, body) = desk.open(opened, |stream| Event::SchedulerClosed { stream }).await?;
    let headers = [
        (axum::http::header::CONTENT_TYPE, "application/json".to_owned()),
        (HeaderName::from_static("mesos-stream-id"), id),
    ];
    Ok((headers, body).into_response())
}

/// What must be there, and fit together, whoever calls.
fn validate(call: &Call) -> Result<(), String> {
    let expect = |name: &str, present: bool| {
        if present { Ok(()) } else { Err(format!("Expecting '{name}' to be present")) }
    };
    expect("type", call.kind != CallType::Unrecognised)?;
    if call.kind == CallType::Subscribe {
        let Some(subscribe) = &call.subscribe else {
            return expect("subscribe", false);
        };
        // An empty id is none.
        let given = |id: &Option<FrameworkId>| id.clone().filter(|id| !id.value.is_empty());
        if given(&call.framework_id) != given(&subscribe.framework_info.id) {
            return Err("'framework_id' differs from 'subscribe.framework_info.id'".to_owned());
        }
        return Ok(());
    }
    expect("framework_id", call.framework_id.is_some())?;
    let present = match call.kind {
        CallType::Accept => call.accept.is_some(),
        CallType::Decline => call.decline.is_some(),
        CallType::AcceptInverseOffers => call.accept_inverse_offers.is_some(),
        CallType::DeclineInverseOffers => call.decline_inverse_offers.is_some(),
        CallType::Kill => call.kill.is_some(),
        CallType::Shutdown => call.shutdown.is_some(),
        CallType::Acknowledge => call.acknowledge.is_some(),
        CallType::AcknowledgeOperationStatus => call.acknowledge_operation_status.is_some(),
        CallType::Reconcile => call.reconcile.is_some(),
        CallType::ReconcileOperations => call.reconcile_operations.is_some(),
        CallType::Message => call.message.is_some(),
        CallType::Request => call.request.is_some(),
        CallType::UpdateFramework => call.update_framework.is_some(),
        _ => true,
    };
    expect(&call.kind.as_str().to_ascii_lowercase(), present)?;
    match &call.acknowledge {
        Some(acknowledge) if call.kind == CallType::Acknowledge => check_uuid(&acknowledge.uuid),
        _ => Ok(()),
    }
}

/// 16 bytes that are an RFC 4122 uuid.
fn check_uuid(text: &str) -> Result<(), String> {
    let uuid = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| uuid::Uuid::from_slice(&bytes).ok())
        .filter(|uuid| uuid.get_variant() == uuid::Variant::RFC4122);
    uuid.map(|_| ()).ok_or_else(|| "Not a valid UUID".to_owned())
}
