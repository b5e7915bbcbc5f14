//! Merges ordered streams by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::Error;
use crate::event::Event;

/// A stream that is not opened before its first event is due. Of a year of rotated logs, only one or two are open at a time.
#[derive(Debug)]
struct LazyStream<S> {
    source: S,
    head: Option<Event>,
}

/// Merges ordered streams by time; of equal stamps, the stream that was given first goes first.
#[derive(Debug)]
pub(super) struct Merge<S> {
    streams: Vec<LazyStream<S>>,
    /// The time of the next event of each stream that has one, and the stream's number.
    due: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<S> Merge<S> {
    /// Merges streams, each given with the time of its first event.
    pub(super) fn new(streams: impl IntoIterator<Item = (i64, S)>) -> Self {
        let mut due = BinaryHeap::new();
        let mut sources = Vec::new();
        for (number, (time, source)) in streams.into_iter().enumerate() {
            due.push(Reverse((time, number)));
            sources.push(LazyStream { source, head: None });
        }
        Self { streams: sources, due }
    }

    /// Returns the last stream that has events left, unless its next event was already read from it.
    pub(super) fn last(&mut self) -> Option<&mut S> {
        match (self.due.len(), self.due.peek()) {
            (1, Some(Reverse((_, number)))) => {
                let stream = &mut self.streams[*number];
                stream.head.is_none().then_some(&mut stream.source)
            }
            _ => None,
        }
    }

    /// Returns the next event, which `read` reads from its stream.
    #[inline]
    pub(super) fn next_with(
        &mut self,
        mut read: impl FnMut(&mut S) -> Result<Option<Event>, Error>,
    ) -> Result<Option<Event>, Error> {
        // The last stream needs no comparison.
        if let (1, Some(Reverse((_, number)))) = (self.due.len(), self.due.peek()) {
            let stream = &mut self.streams[*number];
            let event = match stream.head.take() {
                None => read(&mut stream.source)?,
                event => event,
            };
            if event.is_none() {
                self.due.clear();
            }
            return Ok(event);
        }
        while let Some(mut top) = self.due.peek_mut() {
            let Reverse((_, number)) = *top;
            let stream = &mut self.streams[number];
            let event = match stream.head.take() {
                None => read(&mut stream.source)?,
                event => event,
            };
            stream.head = if event.is_some() {
                read(&mut stream.source)?
            } else {
                None
            };
            match stream.head {
                Some(next) => *top = Reverse((next.time, number)),
                None => {
                    PeekMut::pop(top);
                }
            }
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::KeyId;

    fn merged(streams: &[&[(i64, u64)]]) -> Vec<(i64, u64)> {
        let streams = streams.iter().map(|stream| (stream[0].0, stream.iter()));
        let mut merge = Merge::new(streams);
        let read = |stream: &mut std::slice::Iter<'_, (i64, u64)>| {
            let event = stream
                .next()
                .map(|&(time, cost)| Event::new(time, cost, KeyId::default()));
            Ok(event)
        };
        std::iter::from_fn(|| merge.next_with(read).expect("nothing fails"))
            .map(|event| (event.time, event.cost))
            .collect()
    }

    #[test]
    fn streams_merge_by_time_then_by_own_order() {
        assert_eq!(merged(&[]), []);
        let streams: [&[(i64, u64)]; 4] = [
            &[(1, 1), (5, 2)],
            &[(5, 3), (5, 4)],
            &[(5, 5), (8, 6), (9, 7)],
            &[(0, 8), (7, 9)],
        ];
        assert_eq!(
            merged(&streams),
            [(0, 8), (1, 1), (5, 2), (5, 3), (5, 4), (5, 5), (7, 9), (8, 6), (9, 7)]
        );
    }
}
