//! `Exponential`: its bounds, its law of windows, and an oracle that sums impulses.

mod bounds;
mod edges;
mod model;
mod oracle;
mod window;
