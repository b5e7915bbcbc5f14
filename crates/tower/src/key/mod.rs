//! Keys: the part of a request that selects its meter.

mod address;
mod value;

pub use address::{ClientIp, FindAddress, PeerIp};
#[cfg(feature = "axum")]
pub use value::MatchedPath;
pub use value::{BearerKey, ExtensionKey, HeaderKey, KeyFn, MethodKey, key_fn};

use crate::address::Bits;
use crate::head::Head;
use crate::meters::HashedKey;
use core::fmt;
use core::hash::{Hash, Hasher};
use ratelimit_meter::keyed::{KeyHasher, KeyHashes};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

/// Finds the key of a request in its head, and writes it down. Requests with one key share a meter.
///
/// A key is not returned but written, so that nothing is allocated: a table keeps a hash of the key, under random numbers of its own.
/// A key should be something that a client cannot choose. In particular, `head.uri().host()` is sent by the client, and only HTTP/2 has it there: in
/// HTTP/1.1 it is the `Host` field.
///
/// A tuple of keys is one key with all their parts: `(ExtensionKey::<UserId>::new(), MatchedPath::new())` limits each user on each route.
///
/// A key of your own can be the user of a request or, without a user, the address of its client:
///
/// ```
/// use ratelimit_meter_tower::{Head, Key, KeyWriter, NoKey, PeerIp, PerKey};
///
/// #[derive(Clone, Hash)]
/// struct User { name: String } // which an outer layer has found
///
/// struct UserOrAddress { address: PeerIp }
///
/// impl Key for UserOrAddress {
///     fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
///         match head.extensions().get::<User>() {
///             Some(user) => key.value(user), // as a text, a name like an address would be the key of that address in a store
///             None => self.address.find(head, key)?,
///         }
///         Ok(())
///     }
/// }
///
/// let limit = PerKey::new(UserOrAddress { address: PeerIp::new() }, "100/min".parse()?, 10_000)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Key: Send + Sync {
    /// Writes the key of a request.
    ///
    /// # Errors
    ///
    /// [`NoKey`] if the request has none; the limit's [`OnNoKey`](crate::OnNoKey) then decides.
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey>;

    /// Does the work of [`find`](Self::find) if all of it inlines; otherwise returns `None`, and `find` is asked.
    #[doc(hidden)]
    #[inline]
    fn find_at_once(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Option<Result<(), NoKey>> {
        Some(self.find(head, key))
    }

    /// Returns `true` if the key is the address of the connection, independent of forwarding fields.
    #[doc(hidden)]
    fn ignores_forwarding(&self) -> bool {
        false
    }
}

/// A request has no key: no address, no such header field, no user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKey;

impl fmt::Display for NoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request has no key")
    }
}

impl core::error::Error for NoKey {}

/// Receives the parts of a key. Also a [`Hasher`], to which any value that is [`Hash`] can be written.
///
/// The parts of a key are kept apart: `("ab", "c")` is another key than `("a", "bc")`.
pub struct KeyWriter<'a> {
    hasher: KeyHasher<&'a KeyHashes>,
    /// The key itself, for stores elsewhere.
    // A reference: a `String` here would keep the writer, and so the hasher, in memory.
    spelled: Option<&'a mut String>,
}

impl<'a> KeyWriter<'a> {
    #[inline]
    pub(crate) fn new(hashes: &'a KeyHashes) -> Self {
        Self {
            hasher: hashes.hasher(),
            spelled: None,
        }
    }

    /// A writer that appends the key to `spelled`, for stores elsewhere.
    pub(crate) fn spelling(hashes: &'a KeyHashes, spelled: &'a mut String) -> Self {
        Self {
            hasher: hashes.hasher(),
            spelled: Some(spelled),
        }
    }

    /// Writes a text.
    #[inline]
    pub fn text(&mut self, text: &str) {
        text.hash(&mut Hashing(&mut self.hasher));
        spell(self.spelled.as_deref_mut(), || text.into());
    }

    /// Writes the address of a client, or the network that stands for it. (The same address written as a [`value`](Self::value) is another key.)
    #[inline]
    pub fn address(&mut self, address: IpAddr) {
        self.network(address.into());
    }

    #[inline(always)]
    pub(crate) fn network(&mut self, address: Bits) {
        // No client has an IPv6 address that begins like the word of an IPv4 address: it would be a multicast one.
        match address.v4() {
            Some(v4) => self.hasher.write_u64(u64::from(v4) | u64::MAX << 32),
            None => address
                .halves()
                .into_iter()
                .for_each(|half| self.hasher.write_u64(half)),
        }
        spell(self.spelled.as_deref_mut(), || IpAddr::from(address).to_string().into());
    }

    /// Writes any value that implements [`Hash`]. A store elsewhere gets the bytes that the value hashes, in hexadecimal form.
    #[inline]
    pub fn value<T: Hash + ?Sized>(&mut self, value: &T) {
        value.hash(self);
    }

    #[inline]
    pub(crate) fn hashed(&self) -> HashedKey {
        HashedKey(self.hasher.finish())
    }

    #[inline]
    fn spell_bytes(&mut self, bytes: &[u8]) {
        if let Some(spelled) = &mut self.spelled {
            spell_hexadecimal(spelled, bytes);
        }
    }
}

/// Appends a part and its end, which no part contains.
// Not a method: a hasher that is only passed on here would have to be in memory.
#[inline]
fn spell<'p>(spelled: Option<&mut String>, part: impl FnOnce() -> Cow<'p, str>) {
    if let Some(spelled) = spelled {
        spell_part(spelled, part);
    }
}

// Out of line, so that a key that is only hashed inlines; as below.
#[inline(never)]
fn spell_part<'p>(spelled: &mut String, part: impl FnOnce() -> Cow<'p, str>) {
    for character in part().chars() {
        match character {
            '%' | '|' => spelled.push_str(if character == '%' { "%25" } else { "%7C" }),
            _ => spelled.push(character),
        }
    }
    spelled.push('|');
}

#[inline(never)]
fn spell_hexadecimal(spelled: &mut String, bytes: &[u8]) {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    spelled.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
}

/// Hashes short texts and bytes, such as addresses, word by word: a [`KeyHasher`] that takes only words need not be in memory.
struct Hashing<'a, 'b>(&'a mut KeyHasher<&'b KeyHashes>);

/// The bytes that are hashed by words.
const SHORT: usize = 32;

/// Integers are passed on as such, so that a value hashes the same whichever way it is written.
macro_rules! integers {
    ($($write:ident: $integer:ty),*) => {
        $(
            #[inline]
            fn $write(&mut self, n: $integer) {
                self.0.write_u64(n as u64);
            }
        )*
    };
}

impl Hasher for Hashing<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        if bytes.len() > SHORT {
            return self.0.write(bytes);
        }
        let mut rest = bytes;
        while let Some((word, more)) = rest.split_first_chunk() {
            self.0.write_u64(u64::from_le_bytes(*word));
            rest = more;
        }
        // The last word has the number of bytes in it, so that no two texts are the same words.
        let end = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.0.write_u64(end | (rest.len() as u64) << 56);
    }

    integers!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64, write_usize: usize);

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

macro_rules! spelled_integers {
    ($($write:ident: $integer:ty),*) => {
        $(
            #[inline]
            fn $write(&mut self, n: $integer) {
                Hashing(&mut self.hasher).$write(n);
                self.spell_bytes(&n.to_be_bytes());
            }
        )*
    };
}

impl Hasher for KeyWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        Hashing(&mut self.hasher).write(bytes);
        self.spell_bytes(bytes);
    }

    spelled_integers!(write_u8: u8, write_u16: u16, write_u32: u32, write_u64: u64);

    // By 64 bits, so that machines of 32 and of 64 bits spell a key alike.

    #[inline]
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    #[inline]
    fn write_isize(&mut self, n: isize) {
        self.write_i64(n as i64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hasher.finish()
    }
}

impl fmt::Debug for KeyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWriter").finish_non_exhaustive()
    }
}

/// A key of any kind, so that limits with different keys have one type.
pub type BoxKey = Box<dyn Key>;

impl<K: Key + ?Sized> Key for Box<K> {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        (**self).find(head, key)
    }

    fn ignores_forwarding(&self) -> bool {
        (**self).ignores_forwarding()
    }
}

/// One key of several limits.
impl<K: Key + ?Sized> Key for Arc<K> {
    fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
        (**self).find(head, key)
    }

    fn ignores_forwarding(&self) -> bool {
        (**self).ignores_forwarding()
    }
}

macro_rules! tuples {
    ($first:ident 0 $(, $key:ident $index:tt)*) => {
        /// All of them, in order.
        impl<$first: Key, $($key: Key),*> Key for ($first, $($key,)*) {
            fn find(&self, head: &Head<'_>, key: &mut KeyWriter<'_>) -> Result<(), NoKey> {
                self.0.find(head, key)?;
                $(self.$index.find(head, key)?;)*
                Ok(())
            }

            fn ignores_forwarding(&self) -> bool {
                self.0.ignores_forwarding() $(|| self.$index.ignores_forwarding())*
            }
        }

        /// The address that comes first.
        impl<$first: FindAddress, $($key),*> FindAddress for ($first, $($key,)*) {
            fn find_address(&self, head: &Head<'_>) -> Option<IpAddr> {
                self.0.find_address(head)
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
