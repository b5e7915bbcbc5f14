//! Layers that do a part of the work, so that the cost of the rest is the difference.

use super::case::HttpCase;
use axum::body::Body;
use axum::extract::ConnectInfo;
use core::task::{Context, Poll};
use http::Request;
use ratelimit_meter::KeyedMeter;
use std::net::{IpAddr, SocketAddr};
use tower::Service;

/// Finds the address of a request, and decides by a table if there is one. It is a layer by hand for one service, one key and one limit, without denials.
pub(super) struct HttpFloor<S> {
    inner: S,
    meters: Option<KeyedMeter<IpAddr>>,
}

impl<S> HttpFloor<S> {
    /// Only finds the address.
    pub(super) fn finding(inner: S) -> Self {
        Self { inner, meters: None }
    }

    /// Decides as well.
    pub(super) fn deciding(inner: S, case: HttpCase) -> Self {
        let (quota, keys) = case.quota();
        let meters = KeyedMeter::with_capacity(quota, keys).expect("a table of a million");
        Self {
            inner,
            meters: Some(meters),
        }
    }
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for HttpFloor<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<Body>) -> S::Future {
        let found = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let ConnectInfo(address) = found.expect("an address in each request");
        let address = core::hint::black_box(address.ip());
        if let Some(meters) = &self.meters {
            meters.check(&address).expect("a request that conforms");
        }
        self.inner.call(request)
    }
}
