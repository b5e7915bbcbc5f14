//! Limits, and the cells that they ask of their meters.

mod asked;
mod builder;
mod lane;
mod limiter;
#[cfg(test)]
mod model;

pub use asked::{Asked, Reason};
pub(crate) use asked::{Denial, LaneAsk, Plain};
pub(crate) use builder::{outside, settings};
pub use lane::OnNoKey;
pub(crate) use lane::{After, BASE_TIER, HeadFn, Lane, Rules};
pub(crate) use limiter::KEYLESS;
pub use limiter::{ByKey, Everyone, Limiter, PerKey, Shared, Target, TierName, content_length};

use crate::head::Head;
use core::fmt;
use std::sync::Arc;

/// A limit or several, which ask meters for the cost of a request: [`Shared`](crate::Shared), [`PerKey`](crate::PerKey), a tuple or list of limits.
///
/// An implementation of your own chooses between limits:
///
/// ```
/// use ratelimit_meter_tower::{Asked, Head, Limit, PeerIp, PerKey, Shared};
///
/// /// Uploads share one limit; everything else has one per address.
/// struct ByRoute { uploads: Shared, others: PerKey<PeerIp> }
///
/// impl Limit for ByRoute {
///     fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
///         match head.uri().path() {
///             "/upload" => self.uploads.ask(head, asked),
///             _ => self.others.ask(head, asked),
///         }
///     }
/// }
/// ```
pub trait Limit: Send + Sync {
    /// Adds the cells that the request asks for.
    fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>);

    /// Writes the limit for Debug output of a [`BoxLimit`]; by default the name of this type.
    ///
    /// # Errors
    ///
    /// The errors of the formatter.
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::any::type_name::<Self>())
    }

    /// Returns the meter and the key if the request asks for a single cell of a single meter, and nothing is to be settled later. Returns `None`
    /// otherwise, and `ask` decides. Requests take this shorter way if they can.
    #[doc(hidden)]
    #[inline]
    fn plain(&self, _head: &Head<'_>) -> Option<Plain<'_>> {
        None
    }

    /// Returns `true` if it may give requests a [`Charge`](crate::Charge). A limit of a user's own may ask late limits.
    #[doc(hidden)]
    fn is_late(&self) -> bool {
        true
    }
}

/// A limit of any kind.
pub type BoxLimit = Box<dyn Limit>;

impl fmt::Debug for dyn Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.describe(f)
    }
}

/// Debug output of a limit of any type.
struct LimitDebug<'a, L: ?Sized>(&'a L);

impl<L: Limit + ?Sized> fmt::Debug for LimitDebug<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}

macro_rules! pointers {
    ($($(#[$doc:meta])* $pointer:ident),*) => {$(
        $(#[$doc])*
        impl<L: Limit + ?Sized> Limit for $pointer<L> {
            fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
                (**self).ask(head, asked);
            }

            fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).describe(f)
            }

            fn plain(&self, head: &Head<'_>) -> Option<Plain<'_>> {
                (**self).plain(head)
            }

            fn is_late(&self) -> bool {
                (**self).is_late()
            }
        }
    )*};
}

pointers!(
    Box,
    /// One limit in several layers or lists: they share its meters.
    Arc
);

macro_rules! lists {
    ($($(#[$doc:meta])* $list:ident),*) => {$(
        $(#[$doc])*
        impl<L: Limit> Limit for $list<L> {
            fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
                self.iter().for_each(|limit| limit.ask(head, asked));
            }

            fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list().entries(self.iter().map(LimitDebug)).finish()
            }

            fn is_late(&self) -> bool {
                self.iter().any(Limit::is_late)
            }
        }
    )*};
}

lists!(
    /// No limit, or the limit that is there.
    Option,
    /// All of them, or none.
    Vec
);

macro_rules! tuples {
    ($($limit:ident $index:tt),*) => {
        /// All of them, or none.
        impl<$($limit: Limit),*> Limit for ($($limit,)*) {
            fn ask<'a>(&'a self, head: &Head<'_>, asked: &mut Asked<'a>) {
                $(self.$index.ask(head, asked);)*
            }

            fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_list()$(.entry(&LimitDebug(&self.$index)))*.finish()
            }

            fn is_late(&self) -> bool {
                $(self.$index.is_late())||*
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);
tuples!(A 0, B 1, C 2, D 3, E 4);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuples!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
