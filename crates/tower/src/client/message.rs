//! Requests and responses as the client layers see them.

use http::header::HOST;
use http::{HeaderMap, Method, Request, Response, StatusCode};

/// A request that a client sends: `http::Request` with a body that can be cloned, or `reqwest::Request`.
pub trait ClientRequest: Sized {
    /// Returns scheme and authority; `None` if the request names none.
    fn origin(&self) -> Option<String>;

    /// Returns the method.
    fn method(&self) -> &Method;

    /// Returns a request to be sent again, if its body can be.
    fn try_clone(&self) -> Option<Self>;
}

/// A response that a client gets.
pub trait ClientResponse {
    /// Returns the status.
    fn status(&self) -> StatusCode;

    /// Returns the header fields.
    fn headers(&self) -> &HeaderMap;

    /// Returns the origin that answered, if it is known to be another than that of the request: after redirects.
    fn origin(&self) -> Option<String> {
        None
    }
}

impl<B: Clone> ClientRequest for Request<B> {
    fn origin(&self) -> Option<String> {
        let authority = match self.uri().authority() {
            Some(authority) => authority.as_str(),
            None => self.headers().get(HOST)?.to_str().ok()?,
        };
        let scheme = self.uri().scheme_str().unwrap_or("http");
        Some(format!("{scheme}://{}", authority.to_ascii_lowercase()))
    }

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
impl ClientRequest for reqwest::Request {
    fn origin(&self) -> Option<String> {
        Some(self.url().origin().ascii_serialization())
    }

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
