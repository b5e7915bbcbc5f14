//! The code that the law tests share: an exact bucket, a checker of windows, a lock-based twin and traffic. Only `clock`, `keyed`, `subject` and
//! `ticking` use the crate. All remaining modules compute the right results independently, and share neither code nor types nor number format with the
//! crate.
#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses the part it needs"
)]

pub(crate) mod clock;
pub(crate) mod exponential;
#[cfg(feature = "keyed")]
pub(crate) mod keyed;
pub(crate) mod limit;
pub(crate) mod oracle;
pub(crate) mod subject;
pub(crate) mod threads;
pub(crate) mod ticking;
pub(crate) mod time;
pub(crate) mod traffic;
pub(crate) mod twin;
pub(crate) mod verb;
pub(crate) mod window;
