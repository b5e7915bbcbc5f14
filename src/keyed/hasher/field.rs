//! The field of 2^61 - 1 elements: products are reduced by a shift and an addition.

pub(super) const P: u64 = (1 << 61) - 1;

/// A number of the same residue, of so many bits less: the least of which are what was above the 61st.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "masked; and below 2^125, shifted by 61")]
pub(super) const fn folded(n: u128) -> u64 {
    (n as u64 & P) + (n >> 61) as u64
}

#[inline]
pub(super) const fn wide(a: u64, b: u64) -> u128 {
    a as u128 * b as u128
}

/// A product of the field.
#[expect(clippy::cast_possible_truncation, reason = "less than P")]
pub(super) const fn product(a: u64, b: u64) -> u64 {
    (wide(a, b) % P as u128) as u64
}
