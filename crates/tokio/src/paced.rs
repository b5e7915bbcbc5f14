//! Streams and sinks in which each item waits for a cell.

use crate::shared::SharedQueue;
use crate::source::Source;
use crate::wait_queue::POLL_INTERVAL;
use crate::waiting::{AcquireOwned, Held, Waiting};
use core::fmt;
use futures_core::Stream;
use futures_sink::Sink;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep};

impl<S: Source> Waiting<S> {
    /// Returns a stream of the same items, in which each item waits for a cell.
    ///
    /// One item is taken ahead. The end of the stream does not wait, and no cell is taken while there is no item. If a cell never comes, because of a
    /// debt past the end of the meter's time line, its item waits until the debt is cancelled. The stream notices that within a second.
    ///
    /// ```
    /// use futures_util::{StreamExt, stream};
    /// use ratelimit_meter_tokio::RateLimiter;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = RateLimiter::builder().build(); // one every 100 ms
    /// let start = tokio::time::Instant::now();
    /// let items: Vec<_> = limiter.pace_stream(stream::iter(1..=3)).collect().await;
    /// assert_eq!((items, start.elapsed().as_millis()), (vec![1, 2, 3], 300));
    /// # }
    /// ```
    pub fn pace_stream<T: Stream>(&self, stream: T) -> PacedStream<T, S> {
        PacedStream {
            stream,
            item: None,
            limiter: self.clone(),
            wait: None,
        }
    }

    /// Returns a sink for the same items, in which each item waits for a cell: it is ready when `sink` is ready and a cell is there. If the sink is
    /// dropped before the item comes, the cell is given back. If the cell never comes, the item waits as in [`pace_stream`](Self::pace_stream).
    ///
    /// ```
    /// use futures_util::{SinkExt, sink};
    /// use ratelimit_meter_tokio::RateLimiter;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
    /// let limiter = RateLimiter::builder().build(); // one every 100 ms
    /// let start = tokio::time::Instant::now();
    /// let mut sink = limiter.pace_sink(sink::drain());
    /// for item in 1..=3 {
    ///     sink.send(item).await.unwrap();
    /// }
    /// assert_eq!(start.elapsed().as_millis(), 300);
    /// # }
    /// ```
    pub fn pace_sink<T>(&self, sink: T) -> PacedSink<T, S> {
        PacedSink {
            sink,
            limiter: self.clone(),
            wait: None,
            cell: None,
        }
    }
}

pin_project! {
    /// The stream of [`Waiting::pace_stream`].
    #[must_use = "streams do nothing unless polled"]
    pub struct PacedStream<T: Stream, S: Source> {
        #[pin]
        stream: T,
        // The next item, which waits.
        item: Option<T::Item>,
        limiter: Waiting<S>,
        wait: Option<CellWait<S>>,
    }
}

pin_project! {
    /// The sink of [`Waiting::pace_sink`].
    #[must_use = "sinks do nothing unless polled"]
    pub struct PacedSink<T, S: Source> {
        #[pin]
        sink: T,
        limiter: Waiting<S>,
        wait: Option<CellWait<S>>,
        // The cell for the next item.
        cell: Option<Held<Arc<SharedQueue<S>>, S>>,
    }
}

/// The wait for one cell.
enum CellWait<S: Source> {
    Queued(AcquireOwned<S>),
    /// The meter's time line ends before the cell comes. Its debt may be cancelled, so the cell is asked for again after a while.
    NeverYet(Pin<Box<Sleep>>),
}

/// Waits for a cell.
fn poll_cell<S: Source>(limiter: &Waiting<S>, wait: &mut Option<CellWait<S>>, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        match wait.get_or_insert_with(|| CellWait::Queued(limiter.acquire_owned(1_u8))) {
            CellWait::Queued(acquire) => {
                let acquired = ready!(acquire.0.poll::<S::Never>(cx, |_| Ok(())));
                *wait = None;
                if acquired.is_ok() {
                    return Poll::Ready(());
                }
                *wait = Some(CellWait::NeverYet(Box::pin(sleep(POLL_INTERVAL))));
            }
            CellWait::NeverYet(pause) => {
                ready!(pause.as_mut().poll(cx));
                *wait = None;
            }
        }
    }
}

impl<T: Stream, S: Source> PacedStream<T, S> {
    /// Returns the stream inside.
    pub const fn get_ref(&self) -> &T {
        &self.stream
    }

    /// Returns the stream inside. An item that was taken ahead is no longer in it.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.stream
    }

    /// Returns the stream inside, and the item that was taken ahead, if any. Its place in the queue is given back.
    pub fn into_inner(self) -> (T, Option<T::Item>) {
        (self.stream, self.item)
    }
}

impl<T, S: Source> PacedSink<T, S> {
    /// Returns the sink inside.
    pub const fn get_ref(&self) -> &T {
        &self.sink
    }

    /// Returns the sink inside. An item that is sent to it directly does not wait.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.sink
    }

    /// Returns the sink inside. A cell that was taken for the next item is given back.
    pub fn into_inner(self) -> T {
        self.sink
    }
}

impl<T: Stream, S: Source> Stream for PacedStream<T, S> {
    type Item = T::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        let this = self.project();
        if this.item.is_none() {
            match ready!(this.stream.poll_next(cx)) {
                None => return Poll::Ready(None),
                item => *this.item = item,
            }
        }
        ready!(poll_cell(this.limiter, this.wait, cx));
        Poll::Ready(this.item.take())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ahead = usize::from(self.item.is_some());
        let (least, most) = self.stream.size_hint();
        (
            least.saturating_add(ahead),
            most.and_then(|most| most.checked_add(ahead)),
        )
    }
}

impl<T: Sink<I>, I, S: Source> Sink<I> for PacedSink<T, S> {
    type Error = T::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        let this = self.project();
        ready!(this.sink.poll_ready(cx))?;
        if this.cell.is_none() {
            ready!(poll_cell(this.limiter, this.wait, cx));
            *this.cell = Some(Held::new(Arc::clone(&this.limiter.queue), 1));
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, item: I) -> Result<(), T::Error> {
        let this = self.project();
        if let Some(cell) = this.cell.take() {
            cell.use_up();
        }
        this.sink.start_send(item)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().sink.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().sink.poll_close(cx)
    }
}

/// Sends without waiting, for a stream that is also a sink, such as a web socket.
impl<T: Stream + Sink<I>, I, S: Source> Sink<I> for PacedStream<T, S> {
    type Error = T::Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().stream.poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, item: I) -> Result<(), T::Error> {
        self.project().stream.start_send(item)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.project().stream.poll_close(cx)
    }
}

/// Receives without waiting, for a sink that is also a stream, such as a web socket.
impl<T: Stream, S: Source> Stream for PacedSink<T, S> {
    type Item = T::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T::Item>> {
        self.project().sink.poll_next(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.sink.size_hint()
    }
}

impl<T: Stream + fmt::Debug, S: Source + fmt::Debug> fmt::Debug for PacedStream<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedStream")
            .field("stream", &self.stream)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug, S: Source + fmt::Debug> fmt::Debug for PacedSink<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacedSink")
            .field("sink", &self.sink)
            .field("limiter", &self.limiter)
            .finish_non_exhaustive()
    }
}
