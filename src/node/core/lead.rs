//! Whether Jupyter runs here: only while the own etcd member leads and has confirmed it lately by a linearizable read.
//!
//! When in doubt Jupyter stops first and questions are asked afterwards: two nodes serving one directory do harm, a second
//! without Jupyter doesn't.

use std::time::Duration;

use super::{Event, LATE_MAX, Local, Setup, TICK};
use crate::clock::Millis;
use crate::registry::LeaderRecord;

/// A confirmation holds this long, counted from when it was asked.
pub const CONFIRMED_MAX: Duration = Duration::from_secs(2);
/// Leadership is confirmed anew after this time: three tries before the last confirmation ends.
pub const CONFIRM_EVERY: Duration = Duration::from_millis(500);
/// A record that doesn't appear is published again after this time.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(300);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Stop Jupyter, at once.
    StopJupyter,
    /// Run Jupyter until told otherwise.
    StartJupyter,
    /// Ask the local member to confirm its leadership; the answer is `Confirmed` or `Unconfirmed`, within a second.
    Confirm,
    /// Publish this record.
    Publish(LeaderRecord),
}

/// Leadership as this node sees it.
#[derive(Debug)]
pub struct LeadCore {
    /// The record of this node; the term is filled in.
    own: LeaderRecord,
    seen: Option<Millis>,
    local: Option<Local>,
    /// Asked when, in which term.
    confirmed: Option<(Millis, u64)>,
    /// Answers to questions asked before this moment don't count.
    not_before: Millis,
    asking: bool,
    ask_at: Millis,
    published: Option<LeaderRecord>,
    publish_at: Millis,
    jupyter: bool,
}

impl LeadCore {
    /// Leads nothing yet.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            own: LeaderRecord {
                slot: setup.config.slot,
                incarnation: setup.config.incarnation,
                address: setup.address,
                term: 0,
            },
            seen: None,
            local: None,
            confirmed: None,
            not_before: Millis::default(),
            asking: false,
            ask_at: Millis::default(),
            published: None,
            publish_at: Millis::default(),
            jupyter: false,
        }
    }

    /// Takes in an event.
    pub fn on(&mut self, now: Millis, event: &Event) -> Vec<Action> {
        let silent = self.seen.replace(now).map(|seen| now.since(seen));
        if silent.is_some_and(|silent| silent > TICK + LATE_MAX) {
            self.confirmed = None;
            self.not_before = now;
        }
        match event {
            Event::Local(local) => self.local = *local,
            Event::EtcdExited => self.local = None,
            Event::Confirmed { asked, term } => {
                self.asking = false;
                if *asked >= self.not_before {
                    self.confirmed = Some((*asked, *term));
                }
            }
            Event::Unconfirmed => self.asking = false,
            Event::Registry(state) => self.published.clone_from(&state.leader),
            _ => {}
        }
        self.settle(now)
    }

    fn settle(&mut self, now: Millis) -> Vec<Action> {
        let mut actions = vec![];
        let term = self.local.filter(Local::leads).map(|local| local.term);
        let leads = term.is_some_and(|term| {
            self.confirmed.is_some_and(|(asked, confirmed)| confirmed == term && now.since(asked) <= CONFIRMED_MAX)
        });
        if leads != self.jupyter {
            self.jupyter = leads;
            actions.push(if leads { Action::StartJupyter } else { Action::StopJupyter });
        }
        let Some(term) = term else {
            // A new leadership is confirmed at once.
            self.ask_at = now;
            return actions;
        };
        if !self.asking && now >= self.ask_at {
            self.asking = true;
            self.ask_at = now + CONFIRM_EVERY;
            actions.push(Action::Confirm);
        }
        self.own.term = term;
        if leads && self.published.as_ref() != Some(&self.own) && now >= self.publish_at {
            self.publish_at = now + PUBLISH_EVERY;
            actions.push(Action::Publish(self.own.clone()));
        }
        actions
    }
}
