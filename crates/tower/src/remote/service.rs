//! The service that asks the store before it calls an inner one.

use super::charge::RemoteCharge;
use super::limit::{Distributed, OnStoreFailure, StoreAsk};
use super::meter::{Answer, RemoteMeter, StoreFailed};
use super::settle::{Settler, Unsettled};
use crate::after::Then;
use crate::fields::{Announcement, Position};
use crate::head::Head;
use crate::key::Key;
use crate::layer::RateLimitLayer;
use crate::limit::{Asked, Denial, Reason};
use crate::meters::{Denied, Standing};
use crate::observe::{Observe, PolicyDecision};
use crate::respond::{Respond, status};
use crate::service::{RateLimit, Reserved, ResponseFuture};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use http::{Request, Response, StatusCode};
use std::sync::Arc;
use tower_service::Service;

/// The result for one request.
enum Conclusion<B> {
    Admitted(Admission),
    Denied(Response<B>),
}

/// The admission of a request.
struct Admission {
    /// The work that is left when the response is there.
    then: Then,
    /// The state of the key, if the store reported it.
    standing: Option<Standing>,
    /// Set if the response may change the count in the store.
    is_open: bool,
}

impl<K: Key + 'static, M: RemoteMeter, R, H: Observe + 'static> RateLimitLayer<Distributed<K, M>, R, H> {
    /// Returns the cells that a request asks for; `None` if the limit does not apply to it, or the status of a rejection.
    fn plan(&self, head: &Head<'_>) -> Result<Option<StoreAsk>, StatusCode> {
        if self.settings().is_exempt(head) {
            return Ok(None);
        }
        let limit = self.limits();
        limit.plan(head, || self.observer().no_key(limit.policy().name(), head))
    }

    fn conclude<B, C>(
        &self,
        request: &mut Request<B>,
        ask: &StoreAsk,
        answer: Result<Answer, StoreFailed>,
    ) -> Conclusion<C>
    where
        R: Respond<C>,
    {
        let Ok(answer) = answer else {
            return self.without_store(request, ask);
        };
        let (policy, rules) = (&self.limits().tier_for(ask).policy, &self.limits().rules);
        let remaining = answer.standing.unwrap_or_default().remaining;
        let head = Head::of(request);
        let event = PolicyDecision::of_store(policy, (ask.hash, ask.cost), answer.denied, remaining, &head);
        let Some(denied) = answer.denied else {
            self.observer().admitted(&event);
            return Conclusion::Admitted(self.admitted_by_store(request, ask, answer));
        };
        let reason = match denied {
            Denied::For(_) => Reason::Quota,
            Denied::Never => Reason::Never,
            Denied::Full(_) => Reason::Store,
        };
        match reason {
            Reason::Store => self.observer().store_failed(policy.name(), &head),
            _ if rules.dry_run => self.observer().would_deny(&event),
            _ => self.report_denied(&event, denied),
        }
        if rules.dry_run {
            return Conclusion::Admitted(self.admitted_by_store(request, ask, answer));
        }
        let position = Position {
            policy,
            standing: answer.standing.unwrap_or_default(),
            denied: Some(denied),
        };
        let announced = if rules.is_announced() {
            core::slice::from_ref(&position)
        } else {
            &[]
        };
        let wait_ns = denied.wait_ns();
        let status = status(reason, policy.counts_bytes(), self.settings().status_of_quota());
        let denial = Denial { wait_ns, reason };
        // Without a standing there is nothing to announce.
        let stands = announced.iter().copied().filter(|_| answer.standing.is_some());
        let fields = self.settings().announce(stands);
        Conclusion::Denied(self.answer_with(&head, status, denial, announced, &fields))
    }

    /// Returns the admission of a request that the store has decided, or that a limit on trial would deny.
    fn admitted_by_store<B>(&self, request: &mut Request<B>, ask: &StoreAsk, answer: Answer) -> Admission {
        let standing = answer.standing;
        let then = self.announced(ask, standing, answer.denied);
        self.settings().lend_nothing(request);
        self.lend(request, || RemoteCharge::of(self.settler(), ask));
        // A trial counts the requests that it would admit.
        let is_open = answer.denied.is_none();
        Admission {
            then,
            standing,
            is_open,
        }
    }

    /// Returns the fields of the response to an admitted request; none without a standing.
    fn announced(&self, ask: &StoreAsk, standing: Option<Standing>, denied: Option<Denied>) -> Then {
        let limit = self.limits();
        let position = standing
            .filter(|_| limit.rules.is_announced())
            .map(|standing| Position {
                policy: &limit.tier_for(ask).policy,
                standing,
                denied,
            });
        let (fields, nearest) = self.settings().fields_after();
        Then::Announce(Announcement::of(fields, nearest, position.into_iter()))
    }

    fn without_store<B, C>(&self, request: &mut Request<B>, ask: &StoreAsk) -> Conclusion<C>
    where
        R: Respond<C>,
    {
        let (limit, head) = (self.limits(), Head::of(request));
        self.observer().store_failed(limit.policy().name(), &head);
        match &limit.on_failure {
            OnStoreFailure::Closed if !limit.rules.dry_run => {
                let denial = Denial {
                    wait_ns: None,
                    reason: Reason::Store,
                };
                Conclusion::Denied(self.answer(&head, StatusCode::SERVICE_UNAVAILABLE, denial, &[]))
            }
            OnStoreFailure::Local(local) if !limit.rules.dry_run => {
                let mut asked = Asked::default();
                match self.decide_by(&**local, &head, &mut asked) {
                    Ok(()) => {
                        self.lend(request, || RemoteCharge::of_local(&asked));
                        Conclusion::Admitted(Admission {
                            then: self.settings().admitted(&asked, request),
                            standing: None,
                            is_open: false,
                        })
                    }
                    Err(denial) => Conclusion::Denied(self.deny(&head, &asked, denial)),
                }
            }
            _ => {
                self.lend(request, || RemoteCharge::of(self.settler(), ask));
                Conclusion::Admitted(Admission {
                    then: self.settings().lend_nothing(request),
                    standing: None,
                    is_open: true,
                })
            }
        }
    }

    fn settler(&self) -> Settler<K, M, H> {
        Settler::new(self.shared_limits(), self.observer())
    }

    /// Puts a charge into the extensions of a request, if the limit is late.
    fn lend<B>(&self, request: &mut Request<B>, charge: impl FnOnce() -> RemoteCharge) {
        if self.limits().rules.late {
            charge().lend(request);
        }
    }
}

impl<S, K, M, R, H, B, C> Service<Request<B>> for RateLimit<S, Distributed<K, M>, R, H>
where
    S: Service<Request<B>, Response = Response<C>, Future: Send> + Clone + Send + 'static,
    S::Error: Send,
    K: Key + 'static,
    M: RemoteMeter,
    R: Respond<C> + 'static,
    H: Observe + 'static,
    B: Send + 'static,
    C: Send + 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<C>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.get_mut().poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut inner = Reserved::take(self.get_mut());
        let layer = Arc::clone(self.shared_layer());
        Box::pin(async move {
            let limit = layer.limits();
            let ask = match layer.plan(&Head::of(&request)) {
                Ok(Some(ask)) => ask,
                Ok(None) => {
                    let then = layer.settings().lend_nothing(&mut request);
                    layer.lend(&mut request, RemoteCharge::nothing);
                    return ResponseFuture::admitted(inner.call(request), then).await;
                }
                Err(status) => {
                    return Ok(layer.answer(&Head::of(&request), status, Denial::of_no_key(), &[]));
                }
            };
            let answer = inner.wait(limit.ask(&ask)).await;
            let Admission {
                mut then,
                standing,
                is_open,
            } = match layer.conclude(&mut request, &ask, answer) {
                Conclusion::Denied(response) => return Ok(response),
                Conclusion::Admitted(admission) => admission,
            };
            if !is_open || !limit.counts_after() {
                return ResponseFuture::admitted(inner.call(request), then).await;
            }
            let is_counted = answer.is_ok_and(|answer| answer.is_counted);
            let unsettled = Unsettled::new(layer.settler(), ask, is_counted);
            let mut result = inner.call(request).await;
            if let Some(settlement) = unsettled.by_result(&result) {
                if let Some(ask) = settlement.start(layer.settler()).await {
                    let numbers = limit.tier_for(&ask).policy.numbers();
                    let charged = standing.map(|standing| numbers.charged(standing, ask.cost));
                    then = layer.announced(&ask, charged, None);
                }
            }
            then.finish(&mut result);
            result
        })
    }
}
