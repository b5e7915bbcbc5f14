//! Requests, responses and errors, as the client layers see them.

use core::error::Error;
use core::fmt;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use std::time::Duration;

/// The error of a call that has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientError<E> {
    /// The wait would be longer than the layer's patience; nothing was sent.
    Impatient {
        /// The wait, as it stands now. [`Duration::MAX`] if too many requests wait already, or the deadline of a `Patience` has passed.
        wait: Duration,
    },
    /// The inner service failed.
    Inner(E),
}

/// The inner service's error has its own text, and its source is the [`source`](Error::source) here. To get the error itself, match on
/// [`Inner`](Self::Inner).
impl<E: fmt::Display> fmt::Display for ClientError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impatient { wait: Duration::MAX } => {
                f.write_str("not sent: too many requests wait already, or the deadline has passed")
            }
            Self::Impatient { wait } => write!(
                f,
                "not sent: the server is to be asked again in {wait:?} only, which is past the patience"
            ),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for ClientError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Impatient { .. } => None,
            Self::Inner(error) => error.source(),
        }
    }
}

/// A request whose destination is known: `http::Request` with any body, or `reqwest::Request`.
pub trait FindOrigin {
    /// Returns scheme, host and port, the port only if it is not the scheme's; `None` if the request names no host.
    fn origin(&self) -> Option<String>;
}

/// A request that a client may send again: `http::Request` with a body that can be cloned, or `reqwest::Request`. For other bodies, see [`Once`].
pub trait ClientRequest: FindOrigin + Sized {
    /// Returns the method.
    fn method(&self) -> &Method;

    /// Returns a request to be sent again, if its body can be.
    fn try_clone(&self) -> Option<Self>;
}

/// A request with a body that cannot be cloned, such as a stream or the body of tonic. A [`PoliteLayer`](crate::PoliteLayer) makes it wait for its server,
/// and sends it once, so the caller gets a denial as it is.
///
/// ```
/// use ratelimit_meter_tower::{Once, PoliteLayer};
/// use tonic_health::pb::health_client::HealthClient;
/// use tower::ServiceBuilder;
///
/// # async {
/// let channel = tonic::transport::Channel::from_static("http://[::1]:50051").connect().await?;
/// let channel = ServiceBuilder::new()
///     .map_request(Once)
///     .layer(PoliteLayer::new())
///     .map_request(|Once(request)| request)
///     .service(channel);
/// let client = HealthClient::new(channel);
/// # Ok::<(), Box<dyn std::error::Error>>(()) };
/// ```
///
/// The requests of tonic name no host, so make a `PoliteLayer` for each of its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once<Q>(pub Q);

impl<Q: FindOrigin> FindOrigin for Once<Q> {
    fn origin(&self) -> Option<String> {
        self.0.origin()
    }
}

impl<B> ClientRequest for Once<Request<B>> {
    fn method(&self) -> &Method {
        self.0.method()
    }

    fn try_clone(&self) -> Option<Self> {
        None
    }
}

/// A response that a client gets.
pub trait ClientResponse {
    /// Returns the status.
    fn status(&self) -> StatusCode;

    /// Returns the header fields.
    fn headers(&self) -> &HeaderMap;

    /// Returns the origin that answered, if it is known to differ from the request's origin, as after redirects.
    fn origin(&self) -> Option<String> {
        None
    }
}

impl<B> FindOrigin for Request<B> {
    fn origin(&self) -> Option<String> {
        let authority = match self.uri().authority() {
            Some(authority) => authority.clone(),
            None => Authority::try_from(self.headers().get(HOST)?.as_bytes()).ok()?,
        };
        let scheme = self.uri().scheme_str().unwrap_or("http");
        let host = authority.host().to_ascii_lowercase();
        let default_port = if scheme == "https" { 443 } else { 80 };
        match authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => Some(format!("{scheme}://{host}:{port}")),
            None => Some(format!("{scheme}://{host}")),
        }
    }
}

impl<B: Clone> ClientRequest for Request<B> {
    fn method(&self) -> &Method {
        Self::method(self)
    }

    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

impl<B> ClientResponse for Response<B> {
    fn status(&self) -> StatusCode {
        Self::status(self)
    }

    fn headers(&self) -> &HeaderMap {
        Self::headers(self)
    }
}

#[cfg(feature = "reqwest")]
impl FindOrigin for reqwest::Request {
    fn origin(&self) -> Option<String> {
        Some(self.url().origin().ascii_serialization())
    }
}

#[cfg(feature = "reqwest")]
impl ClientRequest for reqwest::Request {
    fn method(&self) -> &Method {
        Self::method(self)
    }

    fn try_clone(&self) -> Option<Self> {
        Self::try_clone(self)
    }
}

#[cfg(feature = "reqwest")]
impl ClientResponse for reqwest::Response {
    fn status(&self) -> StatusCode {
        Self::status(self)
    }

    fn headers(&self) -> &HeaderMap {
        Self::headers(self)
    }

    fn origin(&self) -> Option<String> {
        Some(self.url().origin().ascii_serialization())
    }
}
