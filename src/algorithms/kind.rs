use core::fmt;

/// Which algorithm a meter has, as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Kind {
    /// [`GCRA`](crate::GCRA).
    #[cfg_attr(feature = "serde", serde(rename = "GCRA"))]
    Gcra,
    /// [`LeakyBucket`](crate::LeakyBucket).
    LeakyBucket,
    /// [`Exponential`](crate::Exponential), which counts what it admits.
    Exponential,
    /// [`Exponential::strict`](crate::Exponential::strict), which counts what it refuses too.
    StrictExponential,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gcra => "GCRA",
            Self::LeakyBucket => "LeakyBucket",
            Self::Exponential => "Exponential",
            Self::StrictExponential => "strict Exponential",
        })
    }
}
