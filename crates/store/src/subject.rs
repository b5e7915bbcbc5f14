//! Shortens subjects before a store gets them.
//!
//! A subject is often a client's choice, such as the value of a header field. PostgreSQL indexes no text above 2,704 bytes and stores none with a
//! zero byte. If such a subject were an error, a client could choose one so that `OnFailure` decides, and could open the breaker for all clients. Long
//! subjects would also fill the memory of the store and of the local layer.

use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

/// The longest subject that is kept as it is, in bytes.
pub(crate) const LONGEST: usize = 512;

/// The beginning of every digest, and of no other subject.
const DIGEST: &str = "sha256:";

/// Returns a subject as the store gets it: itself, or `sha256:` and its digest if it is long, has a zero byte, or looks like a digest.
///
/// Different subjects stay different, as far as SHA-256 has no collisions.
pub(crate) fn stored(subject: &str) -> Cow<'_, str> {
    if subject.len() <= LONGEST && !subject.contains('\0') && !subject.starts_with(DIGEST) {
        return Cow::Borrowed(subject);
    }
    Cow::Owned(digest(subject))
}

#[cold]
fn digest(subject: &str) -> String {
    let mut text = DIGEST.to_owned();
    for byte in Sha256::digest(subject) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_subjects_are_stored_as_they_are() {
        for subject in ["", "alice", "é", "a b\n", &"k".repeat(512)] {
            assert_eq!(stored(subject), subject);
        }
    }

    #[test]
    fn other_subjects_are_stored_as_digests() {
        let long = "k".repeat(513);
        assert_eq!(
            stored("\0"),
            "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        for subject in [&*long, "a\0b", "sha256:", &stored(&long)] {
            let digest = stored(subject);
            assert_eq!(digest.len(), 71);
            assert_ne!(digest, subject);
        }
    }
}
