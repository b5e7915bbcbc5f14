//! P1 to P7 of docs/fields.md, for random quotas.
