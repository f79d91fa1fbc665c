//! The private protocol with the embedded agent; see [`crate::agent::protocol`].

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use super::super::core::{Event, Refusal};
use super::super::desk::Desk;
use super::ladder::{check_post, header};
use super::read::read;
use crate::agent::protocol::{FromAgent, Register, STREAM_ID_HEADER};

pub(super) async fn subscribe(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_post(parts)?;
    let register: Box<Register> = read(body)?;
    let opened = |stream| Event::RegisterAgent { stream, register };
    let (id, body) = desk.open(opened, |stream| Event::AgentClosed { stream }).await?;
    let name = HeaderName::from_bytes(STREAM_ID_HEADER.as_bytes())
        .expect("the header's name is a constant of letters and dashes");
    Ok(([(name, id)], body).into_response())
}

pub(super) async fn call(desk: &Arc<Desk>, parts: &Parts, body: &[u8]) -> Result<Response, Refusal> {
    check_post(parts)?;
    let message: FromAgent = read(body)?;
    let stream = header(&parts.headers, STREAM_ID_HEADER).unwrap_or_default().to_owned();
    let event = Event::FromAgent { stream: stream.clone(), message };
    desk.on_admitted(event, |master| match master.agent_of(&stream) {
        Some(_) => Ok(()),
        None => Err(Refusal::new(400, format!("'{stream}' is not the stream of a registered agent; subscribe again"))),
    })
    .await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
