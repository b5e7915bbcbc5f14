//! Reports of decisions as they are made.

use crate::head::Head;
use crate::limit::LaneAsk;
use crate::meters::{Denied, HashedKey};
use crate::policy::Policy;
use core::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Receives each decision, by policy: for counters, logs, bans. All methods do nothing by default.
///
/// The methods are called on the thread of the request, before its response. [`store_failed_later`](Self::store_failed_later) may be called by a task. A key
/// is only reported as a hash under random numbers of the process. The address of a client comes from the head of its request, as for a log that
/// fail2ban reads:
///
/// ```
/// use ratelimit_meter_tower::{ClientIp, Observe, PerKey, PolicyDecision, RateLimitLayer};
///
/// struct Log { client: ClientIp }
///
/// impl Observe for Log {
///     fn denied(&self, event: &PolicyDecision<'_>) {
///         if let Some(client) = self.client.address(&event.head()) {
///             println!("{} denies {client}", event.policy());
///         }
///     }
/// }
///
/// let client = ClientIp::trusting(["10.0.0.0/8"])?;
/// let limit = PerKey::new(client.clone(), "100/min".parse()?, 100_000)?.named("requests");
/// let layer = RateLimitLayer::new(limit).observe(Log { client });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// To serve a cheaper answer instead of a denial, mark the requests that a limit on trial would deny:
///
#[cfg_attr(feature = "axum", doc = "```")]
#[cfg_attr(not(feature = "axum"), doc = "```ignore")]
/// use axum::{Extension, Router, middleware::map_request, routing::get};
/// use http::Request;
/// use ratelimit_meter_tower::{Observe, PeerIp, PerKey, PolicyDecision, RateLimitLayer};
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
///
/// #[derive(Clone, Default)]
/// struct OverLimit(Arc<AtomicBool>);
///
/// struct Mark;
///
/// impl Observe for Mark {
///     fn would_deny(&self, event: &PolicyDecision<'_>) {
///         if let Some(OverLimit(over)) = event.head().extensions().get() {
///             over.store(true, Ordering::Relaxed);
///         }
///     }
/// }
///
/// async fn search(Extension(OverLimit(over)): Extension<OverLimit>) -> &'static str {
///     match over.load(Ordering::Relaxed) {
///         true => "from the cache",
///         false => "from the database",
///     }
/// }
///
/// async fn with_mark<B>(mut request: Request<B>) -> Request<B> {
///     request.extensions_mut().insert(OverLimit::default());
///     request
/// }
///
/// let soft = PerKey::new(PeerIp::new(), "10/s".parse()?, 100_000)?.dry_run();
/// let app: Router = Router::new()
///     .route("/search", get(search))
///     .layer(RateLimitLayer::new(soft).observe(Mark))
///     .layer(map_request(with_mark)); // outside of the limit
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Observe: Send + Sync {
    /// A request was admitted by all policies; called for each of them.
    fn admitted(&self, _event: &PolicyDecision<'_>) {}

    /// The policy denied a request; called for each that did.
    fn denied(&self, _event: &PolicyDecision<'_>) {}

    /// A policy on trial would have denied a request.
    fn would_deny(&self, _event: &PolicyDecision<'_>) {}

    /// A request costs more than the policy ever admits.
    fn never(&self, _event: &PolicyDecision<'_>) {}

    /// The table of the policy was full and `WhenFull::Deny` was chosen.
    fn table_full(&self, _event: &PolicyDecision<'_>) {}

    /// The queue of a `QueueLayer` denied a request: too many requests wait already, or the deadline of its `Patience` has passed.
    fn queue_denied(&self, _event: &PolicyDecision<'_>) {}

    /// A request had no key for the policy.
    fn no_key(&self, _policy: &str, _head: &Head<'_>) {}

    /// The store of the policy gave no decision.
    fn store_failed(&self, _policy: &str, _head: &Head<'_>) {}

    /// The store of the policy failed after a request was admitted: cells may not be counted, or may not be given back.
    fn store_failed_later(&self, _policy: &str) {}
}

/// Observes nothing.
impl Observe for () {}

/// Implements each method by the observers `$to`, in turn.
macro_rules! observe_by {
    ($self:ident, $($to:expr),+) => {
        fn admitted(&$self, event: &PolicyDecision<'_>) {
            $($to.admitted(event);)+
        }

        fn denied(&$self, event: &PolicyDecision<'_>) {
            $($to.denied(event);)+
        }

        fn would_deny(&$self, event: &PolicyDecision<'_>) {
            $($to.would_deny(event);)+
        }

        fn never(&$self, event: &PolicyDecision<'_>) {
            $($to.never(event);)+
        }

        fn table_full(&$self, event: &PolicyDecision<'_>) {
            $($to.table_full(event);)+
        }

        fn queue_denied(&$self, event: &PolicyDecision<'_>) {
            $($to.queue_denied(event);)+
        }

        fn no_key(&$self, policy: &str, head: &Head<'_>) {
            $($to.no_key(policy, head);)+
        }

        fn store_failed(&$self, policy: &str, head: &Head<'_>) {
            $($to.store_failed(policy, head);)+
        }

        fn store_failed_later(&$self, policy: &str) {
            $($to.store_failed_later(policy);)+
        }
    };
}

/// Both observe.
impl<A: Observe, B: Observe> Observe for (A, B) {
    observe_by!(self, self.0, self.1);
}

/// An observer that its owner reads, such as counters.
impl<H: Observe + ?Sized> Observe for Arc<H> {
    observe_by!(self, (**self));
}

/// An observer of any kind.
impl<H: Observe + ?Sized> Observe for Box<H> {
    observe_by!(self, (**self));
}

/// The decision of one policy about one request.
#[derive(Clone, Copy)]
pub struct PolicyDecision<'a> {
    policy: &'a Policy,
    key: HashedKey,
    cost: u64,
    denied: Option<Denied>,
    remaining: Remaining<'a>,
    head: &'a Head<'a>,
}

/// The cells that conform at once.
#[derive(Clone, Copy)]
enum Remaining<'a> {
    /// As the meter has it.
    InMeter(&'a LaneAsk<'a>),
    /// As a store elsewhere reported it.
    Reported(u64),
}

impl<'a> PolicyDecision<'a> {
    #[inline]
    pub(crate) fn new(ask: &'a LaneAsk<'a>, head: &'a Head<'a>) -> Self {
        Self {
            policy: ask.policy(),
            key: ask.ticket.key,
            cost: ask.cost,
            denied: ask.denied,
            remaining: Remaining::InMeter(ask),
            head,
        }
    }

    /// The decision of a store elsewhere.
    pub(crate) fn of_store(
        policy: &'a Policy,
        (key, cost): (HashedKey, u64),
        denied: Option<Denied>,
        remaining: u64,
        head: &'a Head<'a>,
    ) -> Self {
        Self {
            policy,
            key,
            cost,
            denied,
            remaining: Remaining::Reported(remaining),
            head,
        }
    }

    /// Returns the name of the policy.
    #[must_use]
    pub fn policy(&self) -> &'a str {
        self.policy.name()
    }

    /// Returns the name of the tier, `default` if there is one.
    #[must_use]
    pub fn tier(&self) -> &'a str {
        self.policy.tier()
    }

    /// Returns how many cells the request costs.
    #[must_use]
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Returns the time until the request conforms to this policy; `None` if it was not denied, or never conforms.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        let ns = self.denied?.wait_ns()?;
        Some(Duration::from_nanos(ns))
    }

    /// Returns how many cells conform at once; reads the meter. For a store elsewhere, the number that its answer reported, or 0 if it reported none.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        match self.remaining {
            Remaining::InMeter(ask) => ask.lane.meters.remaining(ask.ticket),
            Remaining::Reported(remaining) => remaining,
        }
    }

    /// Returns a hash of the key. It is the same for one key as long as the process runs, and does not reveal the key.
    #[must_use]
    pub fn key_hash(&self) -> u64 {
        self.key.0
    }

    /// Returns the head of the request.
    #[must_use]
    pub fn head(&self) -> Head<'a> {
        *self.head
    }
}

impl fmt::Debug for PolicyDecision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyDecision")
            .field("policy", &self.policy())
            .field("tier", &self.tier())
            .field("cost", &self.cost())
            .field("wait", &self.wait())
            .finish_non_exhaustive()
    }
}
