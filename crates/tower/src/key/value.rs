//! Keys from header fields, extensions, routes and closures.

use super::{Key, KeyWriter, NoKey};
use crate::head::Head;
use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;
use http::header::{AUTHORIZATION, HeaderName};

/// The value of a header field, such as an API key. A request in which the field is absent, empty or repeated has no key.
///
/// The bytes are hashed under random numbers of the table. So a table stores no value that a client sends, and a client cannot make two values
/// collide on purpose. (A store elsewhere gets the value itself, in hexadecimal form.) A client chooses the value it sends, so put the limit
/// behind authentication, or beside a limit by address.
#[derive(Debug, Clone)]
pub struct HeaderKey(HeaderName);

impl HeaderKey {
    /// Returns the key of a header field.
    #[must_use]
    pub fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl Key for HeaderKey {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        let value = only_value(head, &self.0)
            .filter(|value| !value.is_empty())
            .ok_or(NoKey)?;
        key.value(value);
        Ok(())
    }
}

/// The token of `Authorization: Bearer`; see [`HeaderKey`].
#[derive(Debug, Clone, Copy, Default)]
pub struct BearerKey;

impl BearerKey {
    /// Returns the key.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Key for BearerKey {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        let value = only_value(head, &AUTHORIZATION).ok_or(NoKey)?;
        let (scheme, token) = value.split_at_checked(7).ok_or(NoKey)?;
        let token = token.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"bearer ") || token.is_empty() {
            return Err(NoKey);
        }
        key.value(token);
        Ok(())
    }
}

fn only_value<'a>(head: &Head<'a>, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = head.headers().get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

/// An extension that an outer layer has put into the request, such as the logged-in user.
pub struct ExtensionKey<T>(PhantomData<fn(&T)>);

impl<T> ExtensionKey<T> {
    /// Returns the key.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for ExtensionKey<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for ExtensionKey<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ExtensionKey<T> {}

impl<T> fmt::Debug for ExtensionKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExtensionKey<{}>", core::any::type_name::<T>())
    }
}

impl<T: Hash + Send + Sync + 'static> Key for ExtensionKey<T> {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        key.value(head.extensions().get::<T>().ok_or(NoKey)?);
        Ok(())
    }
}

/// The method.
#[derive(Debug, Clone, Copy, Default)]
pub struct MethodKey;

impl MethodKey {
    /// Returns the key.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Key for MethodKey {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        key.text(head.method().as_str());
        Ok(())
    }
}

/// The route that axum matched, such as `/users/{id}`. Only layers of a route know it: `Router::route_layer`, or `Router::layer` on
/// routes that were added before.
///
/// A request for a `fallback` or a `nest_service`, such as static files, matches no route. So it has no key, also in a tuple that begins with an
/// address, and [`OnNoKey`](crate::OnNoKey) decides. By default, all such requests of all clients share one meter.
#[cfg(feature = "axum")]
#[derive(Debug, Clone, Copy, Default)]
pub struct MatchedPath;

#[cfg(feature = "axum")]
impl MatchedPath {
    /// Returns the key.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

#[cfg(feature = "axum")]
impl Key for MatchedPath {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        let matched = head.extensions().get::<axum::extract::MatchedPath>().ok_or(NoKey)?;
        key.text(matched.as_str());
        Ok(())
    }
}

/// A closure as a key; see [`key_fn`].
#[derive(Clone)]
pub struct KeyFn<F>(F);

/// Returns a key that a closure finds.
///
/// The closure returns an owned value, such as a number or a `String`, because its result cannot borrow from the head. To use a part of the head
/// without an allocation, implement [`Key`].
///
/// ```
/// use ratelimit_meter_tower::{PerKey, key_fn};
///
/// #[derive(Clone)]
/// struct Session { account: u64 } // which an outer layer has found
///
/// let by_account = key_fn(|head| head.extensions().get::<Session>().map(|session| session.account));
/// let limit = PerKey::new(by_account, "100/min".parse()?, 10_000)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn key_fn<F, T>(find: F) -> KeyFn<F>
where
    F: Fn(&Head<'_>) -> Option<T> + Send + Sync,
    T: Hash,
{
    KeyFn(find)
}

impl<F, T> Key for KeyFn<F>
where
    F: Fn(&Head<'_>) -> Option<T> + Send + Sync,
    T: Hash,
{
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        key.value(&(self.0)(head).ok_or(NoKey)?);
        Ok(())
    }
}

impl<F> fmt::Debug for KeyFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFn").finish_non_exhaustive()
    }
}
