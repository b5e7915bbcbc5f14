//! Keys that clients try to choose.
