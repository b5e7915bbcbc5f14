//! The processor's instruction that begins to fetch a cache line.

/// Begins to fetch the cache line of `place`, and does not wait for it.
///
/// Unlike a load, the instruction also begins before an earlier locked instruction has ended.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
#[expect(unsafe_code, reason = "the instruction has no safe form")]
pub(crate) fn prefetch<T>(place: &T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: PREFETCHT0 is part of SSE, which every x86-64 has. It is a hint: it changes neither memory nor registers, and faults at no address. Test:
    // `a_fetch_of_any_address_is_harmless`, where a load would fault.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(place).cast()) };
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) const fn prefetch<T>(_: &T) {}

/// True if [`prefetch`] does something.
pub(crate) const IS_SUPPORTED: bool = cfg!(all(target_arch = "x86_64", not(miri)));

#[cfg(test)]
mod tests {
    use super::prefetch;

    /// A reference to an empty value may have any address that is aligned, so a load from it could fault.
    #[test]
    fn a_fetch_of_any_address_is_harmless() {
        let lines = vec![7_u64; 1 << 12];
        lines.iter().for_each(prefetch);
        assert!(lines.iter().all(|line| *line == 7));
        // The address of an empty box is its alignment, which is in no page of the process.
        let empty = Box::new([0_u64; 0]);
        assert!(core::ptr::from_ref(&*empty).addr() < 4096);
        prefetch(&*empty);
    }
}
