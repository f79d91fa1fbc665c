//! The core among its requests: every request has a task that serves it and one standing order, which the core's
//! actions replace. The newest order is the only one that counts, so nothing queues up.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::core::{Action, Attempt, Bounds, Core, Event, Refusal, RequestId};
use crate::clock::{Clock, Millis};
use crate::config::ProxyConfig;
use crate::registry::LeaderRecord;

/// With nothing due, the time is still looked at this often; only a bound for a lost wake-up.
const IDLE: Duration = Duration::from_secs(3600);

/// What a request's task is to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Hold the request.
    Wait,
    /// Send it.
    Ask {
        /// To be named in word of it.
        attempt: Attempt,
        /// Where to.
        to: SocketAddr,
    },
    /// Answer with an error.
    Refuse(Refusal),
    /// End the answer that is under way.
    Cut,
}

/// The shared state of one proxy.
#[derive(Debug)]
pub struct Hub {
    clock: Clock,
    jupyter_port: u16,
    inner: Mutex<Inner>,
    /// Something became due sooner.
    sooner: Notify,
    /// Counts the wishes to have the registry looked at again.
    look: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    core: Core,
    next: RequestId,
    orders: BTreeMap<RequestId, watch::Sender<Order>>,
}

impl Hub {
    /// A hub that knows no leader yet.
    #[must_use]
    pub fn new(config: &ProxyConfig) -> Self {
        let core =
            Core::new(Bounds { wait_max: Duration::from_millis(config.wait_max_ms), waiting_max: config.waiting_max });
        Self {
            clock: Clock::start(),
            jupyter_port: config.jupyter_port,
            inner: Mutex::new(Inner { core, next: 0, orders: BTreeMap::new() }),
            sooner: Notify::new(),
            look: watch::Sender::new(0),
        }
    }

    /// Tells the core and passes its actions on.
    pub fn tell(&self, event: Event) {
        let mut inner = self.lock();
        let due = inner.core.wake_at();
        if let Event::Gone(id) = event {
            inner.orders.remove(&id);
        }
        for action in inner.core.on(self.clock.now(), event) {
            self.carry_out(&inner, action);
        }
        let due_now = inner.core.wake_at();
        drop(inner);
        if due_now.is_some_and(|at| due.is_none_or(|before| at < before)) {
            self.sooner.notify_one();
        }
    }

    /// Takes a request in; its [`Ticket`] carries its orders and ends it when dropped.
    pub fn admit(self: &Arc<Self>, patient: bool) -> Ticket {
        let sender = watch::Sender::new(Order::Wait);
        let orders = sender.subscribe();
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        inner.orders.insert(id, sender);
        drop(inner);
        self.tell(Event::Arrived { id, patient });
        Ticket { id, hub: Arc::clone(self), orders }
    }

    /// Changes whenever the registry should be looked at again.
    #[must_use]
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.look.subscribe()
    }

    /// The leader to route to and the number of waiting requests.
    #[must_use]
    pub fn state(&self) -> (Option<LeaderRecord>, usize) {
        let inner = self.lock();
        (inner.core.leader().cloned(), inner.core.waiting())
    }

    /// Ticks the core whenever something is due; never ends.
    pub async fn keep_time(&self) {
        loop {
            let due = self.lock().core.wake_at();
            let pause = due.map_or(IDLE, |at| at - self.clock.now());
            // One more millisecond: the core's clock rounds down, and a tick that comes too early does nothing.
            let pause = pause + Duration::from_millis(1);
            tokio::select! {
                () = tokio::time::sleep(pause) => self.tell(Event::Tick),
                () = self.sooner.notified() => {}
            }
        }
    }

    fn carry_out(&self, inner: &Inner, action: Action) {
        let (id, order) = match action {
            Action::Look => {
                self.look.send_modify(|count| *count += 1);
                return;
            }
            Action::Ask { attempt, leader } => {
                let to = SocketAddr::from((leader.address, self.jupyter_port));
                (attempt.id, Order::Ask { attempt, to })
            }
            Action::Wait(id) => (id, Order::Wait),
            Action::Refuse { id, why } => (id, Order::Refuse(why)),
            Action::Cut(id) => (id, Order::Cut),
        };
        if let Some(sender) = inner.orders.get(&id) {
            sender.send_replace(order);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The core has no panics of its own; were there one, its state would still be whole between two events.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hub's time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.clock.now()
    }
}

/// A request's place in the hub. Dropping it tells the core that the request is gone.
#[derive(Debug)]
#[must_use]
pub struct Ticket {
    id: RequestId,
    hub: Arc<Hub>,
    orders: watch::Receiver<Order>,
}

impl Ticket {
    /// The standing order, now taken note of.
    pub fn order(&mut self) -> Order {
        self.orders.borrow_and_update().clone()
    }

    /// Waits for an order that wasn't taken note of.
    pub async fn changed(&mut self) {
        // The sender lives in the hub until this ticket is dropped.
        if self.orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reports what became of an attempt. True if the order taken note of still stands.
    pub fn report(&self, event: Event) -> bool {
        self.hub.tell(event);
        !self.orders.has_changed().unwrap_or(true)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.hub.tell(Event::Gone(self.id));
    }
}
