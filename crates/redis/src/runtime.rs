//! The end of the runtime that carries a connection.

use tokio::task::JoinHandle;

/// A task that does nothing, and ends with its runtime: then the tasks of the connections that were made there have ended too.
pub(crate) struct RuntimeMark(JoinHandle<()>);

impl RuntimeMark {
    /// Marks the current runtime.
    pub(crate) fn current() -> Self {
        Self(tokio::spawn(std::future::pending()))
    }

    /// Returns `true` if the marked runtime has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for RuntimeMark {
    fn drop(&mut self) {
        self.0.abort();
    }
}
