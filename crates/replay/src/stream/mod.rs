//! Joins the events of all inputs into one stream.
//!
//! [`Order::AsIs`] reads the inputs one after the other, once. [`Order::Sort`] merges ordered files by time, side by side. Files out of order, and
//! inputs that cannot be read twice (standard input, pipes), are kept in memory. They are packed to a few bytes an event, and merged with the rest.
//!
//! Most files are in order and have stamps of one resolution. So at first both are assumed from the beginning of a file, and each file is read once. If
//! the assumption fails, the replay starts over, and each file is read in advance to find out.
//!
//! Events with the same stamp stay in the order of their lines. Between two inputs, the input that begins earlier goes first (then the input that
//! ends earlier, then that named earlier). The boundary between the files of a rotated log may fall within a second. Even then, the order of the
//! files' names does not change the result.

mod merge;
mod source;
mod spool;
mod spread;
mod survey;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::bad::BadLines;
use crate::by::By;
use crate::event::{Event, Keys};
use crate::follow::Tail;
use crate::input::{Collected, Input, Options, Reader};
use crate::progress::Progress;
use crate::proxies::Proxies;
use crate::select::Select;
use crate::stamp::{FirstYear, Resolution};
use crate::trace::{Back, Order, Trace, Unit};
use merge::Merge;
use source::{Context, EventSource, OpenInput};
use spool::Spool;
pub use spread::Spreader;
use survey::{SAMPLE, Survey, survey};

/// Maximum number of events in a block. A block and its verdicts fit in the second cache.
pub const BLOCK: usize = 1 << 10;

/// The events of any number of inputs, one after the other.
#[derive(Debug)]
pub struct Stream {
    flow: Flow,
    collected: Collected,
    trace: Trace,
    context: Context,
    /// True if the stamps of any input are coarser than a nanosecond, as far as that is known before events are read.
    may_be_coarse: bool,
}

/// Returns whether all keys are private addresses, their networks, or local sockets.
fn are_ours(keys: &Keys) -> bool {
    let ours = Proxies::default();
    let is_ours = |name: &[u8]| {
        let address = name.split(|&byte| byte == b'/').next().unwrap_or_default();
        // The network of `::1` begins with `::`.
        ours.has(address) || address == b"::"
    };
    !keys.is_empty() && keys.ids().all(|key| is_ours(keys.name(key)))
}

/// Returns whether a key is empty, or a dash.
fn has_missing(keys: &Keys) -> bool {
    keys.ids().any(|key| matches!(keys.name(key), b"" | b"-"))
}

#[derive(Debug)]
enum Flow {
    /// The input being read, and the inputs after it in reverse order.
    AsIs(Option<Box<OpenInput>>, Vec<Input>),
    Sorted(Merge<EventSource>),
    Made(std::vec::IntoIter<Event>),
}

/// The span of an input, and the sources of its events, each with the time of its first event.
type File = ((i64, i64), Vec<(i64, EventSource)>);

impl Stream {
    /// Opens all inputs, and with [`Order::Sort`] reads each once in advance.
    ///
    /// # Errors
    ///
    /// An input cannot be read, or does not fit the options or the other inputs.
    pub fn open(paths: &[PathBuf], order: Order, options: Options, progress: Progress) -> Result<Self, Error> {
        Self::open_with(paths, order, false, options, progress)
    }

    /// Opens all inputs as [`Order::Sort`], without reading each in advance: files are assumed to be like their beginning.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). If the assumption fails, [`next_event`](Self::next_event) returns [`Error::NotAsAssumed`].
    pub fn open_assuming_order(paths: &[PathBuf], options: Options, progress: Progress) -> Result<Self, Error> {
        Self::open_with(paths, Order::Sort, true, options, progress)
    }

    fn open_with(
        paths: &[PathBuf],
        order: Order,
        assumes: bool,
        options: Options,
        progress: Progress,
    ) -> Result<Self, Error> {
        let inputs: Vec<Input> = paths.iter().map(|path| Input::of(path)).collect();
        if inputs.iter().filter(|&input| *input == Input::Stdin).count() > 1 {
            return Err(Error::StdinTwice);
        }
        let bad = if options.anonymise {
            BadLines::without_text()
        } else {
            BadLines::default()
        };
        let mut stream = Self {
            flow: Flow::AsIs(None, Vec::new()),
            collected: Collected {
                keys: options.most_keys.map_or_else(Keys::default, Keys::at_most),
                bad,
                ..Collected::default()
            },
            trace: Trace {
                order,
                ..Trace::default()
            },
            context: Context::new(options, progress, inputs.clone()),
            may_be_coarse: order == Order::AsIs,
        };
        let mut sizes = Vec::new();
        for input in &inputs {
            let size = input.len_if_rereadable();
            sizes.push(size.map_err(|source| Error::read(&input.name(), source))?);
        }
        let bytes = sizes.iter().flatten().sum();
        stream.flow = match order {
            Order::AsIs => Flow::AsIs(None, inputs.into_iter().rev().collect()),
            Order::Sort => {
                if !assumes {
                    stream.context.progress.begin("looking through", bytes);
                }
                let inputs: Vec<_> = inputs.into_iter().zip(sizes).collect();
                Flow::Sorted(stream.sort(&inputs, assumes)?)
            }
        };
        stream.context.progress.begin("replaying", bytes);
        Ok(stream)
    }

    /// Creates a stream of made-up events, which are in order.
    #[must_use]
    pub fn made(events: Vec<Event>, keys: Keys, by: By) -> Self {
        let mut context = Context::new(Options::default(), Progress::hidden(), Vec::new());
        context.first = Some((by, Unit::Requests, String::new()));
        Self {
            flow: Flow::Made(events.into_iter()),
            collected: Collected {
                keys,
                ..Collected::default()
            },
            trace: Trace::default(),
            context,
            may_be_coarse: false,
        }
    }

    /// Returns the events of a growing input, in the order of its lines.
    ///
    /// # Errors
    ///
    /// The input does not fit the options.
    pub fn tail(tail: Tail, input: Input, mut options: Options) -> Result<Self, Error> {
        options
            .stamps
            .year
            .get_or_insert_with(|| FirstYear::Growing(input.last_written()));
        let waits = tail.waits();
        let reader = Reader::of(tail, &input.name(), &options)?;
        // ORDERING: relaxed. The flag carries no other data.
        waits.store(false, Ordering::Relaxed);
        let mut stream = Self::open(&[], Order::AsIs, options, Progress::hidden())?;
        let open = OpenInput::new(reader, input.name(), 0, 1, &stream.collected);
        stream.context.inputs.push(input);
        stream.flow = Flow::AsIs(Some(Box::new(open)), Vec::new());
        Ok(stream)
    }

    /// Returns whether the stamps of any event may be coarser than a nanosecond. `false` is certain.
    #[must_use]
    pub fn may_be_coarse(&self) -> bool {
        self.may_be_coarse
    }

    fn sort(&mut self, inputs: &[(Input, Option<u64>)], assumes: bool) -> Result<Merge<EventSource>, Error> {
        let surveys = self.surveys(inputs, assumes)?;
        let mut files = Vec::new();
        for ((input, _), surveyed) in inputs.iter().zip(surveys) {
            files.push(match surveyed {
                // A file without an event is read again for its bad lines.
                Some(survey) => {
                    self.may_be_coarse |= survey.unit > Resolution::Nanosecond;
                    let span = survey.span.unwrap_or_default();
                    (span, vec![(span.0, EventSource::Due(input.clone(), survey))])
                }
                None => self.spool(input)?,
            });
        }
        // Stable: the file named earlier goes first.
        files.sort_by_key(|(span, _)| *span);
        let streams = files.into_iter().flat_map(|(_, sources)| sources);
        Ok(Merge::new(streams))
    }

    /// Reads each file in advance, or with `assumes` its beginning; `None` for an input that is not in order, or cannot be read twice.
    fn surveys(&self, inputs: &[(Input, Option<u64>)], assumes: bool) -> Result<Vec<Option<Survey>>, Error> {
        let Context { options, progress, .. } = &self.context;
        let read = |most: u64, (input, size): &(Input, Option<u64>), progress: &Progress| match size {
            Some(bytes) => survey(most, input, *bytes, options, progress),
            None => Ok(None),
        };
        let whole = |input| read(u64::MAX, input, progress);
        if !assumes {
            return inputs.iter().map(whole).collect();
        }
        let sampled = |input| read(SAMPLE, input, &Progress::hidden());
        let mut surveys = inputs.iter().map(sampled).collect::<Result<Vec<_>, _>>()?;
        // Of two files that begin at one stamp, the file that ends earlier goes first.
        let mut firsts = HashMap::new();
        for survey in surveys.iter().flatten() {
            *firsts.entry(survey.span.map(|(first, _)| first)).or_insert(0) += 1;
        }
        for (survey, input) in surveys.iter_mut().zip(inputs) {
            if let Some(Survey {
                is_whole: false, span, ..
            }) = survey
            {
                if firsts
                    .get(&span.map(|(first, _)| first))
                    .is_some_and(|&files| files > 1)
                {
                    *survey = whole(input)?;
                }
            }
        }
        Ok(surveys)
    }

    /// Reads all of an input that is not in order, or that cannot be read twice.
    fn spool(&mut self, input: &Input) -> Result<File, Error> {
        let mut open = self.context.open(input, None, &self.collected)?;
        let mut back = Back::default();
        let Options { plan, places, .. } = &self.context.options;
        let mut spool = if *places || plan.is_some() {
            Spool::with_places(open.number)
        } else {
            Spool::default()
        };
        let mut span: Option<(i64, i64)> = None;
        while let Some(event) = open.next(&mut self.collected, &mut self.context)? {
            back.see(event.time);
            let (first, last) = span.unwrap_or((event.time, event.time));
            span = Some((first.min(event.time), last.max(event.time)));
            spool.push(event);
        }
        self.trace.back.add(&back);
        self.may_be_coarse |= open.resolution() > Resolution::Nanosecond;
        let runs = spool
            .into_runs(open.resolution())
            .into_iter()
            .map(|(first, run)| (first, EventSource::Run(run)))
            .collect();
        Ok((span.unwrap_or_default(), runs))
    }

    /// Returns the next event; `None` at the end.
    ///
    /// # Errors
    ///
    /// An input cannot be read further, has changed since it was first read, or does not fit the other inputs.
    #[inline]
    pub fn next_event(&mut self) -> Result<Option<Event>, Error> {
        let Self {
            flow,
            collected,
            trace,
            context,
            ..
        } = self;
        let event = match flow {
            Flow::AsIs(open, rest) => loop {
                if let Some(reading) = open {
                    let event = reading.next(collected, context)?;
                    if let Some(event) = &event {
                        trace.back.see(event.time);
                        break Some(*event);
                    }
                    *open = None;
                }
                match rest.pop() {
                    Some(input) => *open = Some(Box::new(context.open(&input, None, collected)?)),
                    None => break None,
                }
            },
            Flow::Sorted(merge) => merge.next_with(|source| source.next(collected, context))?,
            Flow::Made(events) => events.next(),
        };
        if let Some(event) = &event {
            trace.see(event);
        }
        Ok(event)
    }

    /// Replaces the events of `block` by the next ones, at most [`BLOCK`]; by none at the end.
    ///
    /// # Errors
    ///
    /// As [`next_event`](Self::next_event).
    pub fn next_block(&mut self, block: &mut Vec<Event>) -> Result<(), Error> {
        block.clear();
        if let Flow::Sorted(merge) = &mut self.flow {
            if let Some(source) = merge.last() {
                source.fill(&mut self.collected, &mut self.context, block)?;
                block.iter().for_each(|event| self.trace.see(event));
            }
        }
        // One event at a time, if the next may be of another input.
        while block.len() < BLOCK {
            match self.next_event()? {
                Some(event) => block.push(event),
                None => break,
            }
        }
        Ok(())
    }

    /// Returns the keys of the events so far.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.collected.keys
    }

    /// Returns the plans of the events so far; `None` if plans are not read.
    #[must_use]
    pub fn plans(&self) -> Option<&Keys> {
        self.context.options.plan.is_some().then_some(&self.collected.plans)
    }

    /// Returns the facts about all events.
    ///
    /// # Errors
    ///
    /// [`Error::AllBad`] or [`Error::NoRequests`] if there were none.
    pub fn finish(self) -> Result<Trace, Error> {
        let Self {
            collected:
                Collected {
                    keys,
                    bad,
                    notices,
                    is_cut,
                    ..
                },
            mut trace,
            context,
            ..
        } = self;
        context.progress.end();
        match (context.first, bad.quoted().first()) {
            (Some((by, unit, _)), _) => (trace.by, trace.unit) = (by, unit),
            _ if context.options.select != Select::default() => {
                let names: Vec<String> = context.inputs.iter().map(Input::name).collect();
                return Err(Error::NoneSelected {
                    names: names.join(", "),
                });
            }
            (None, Some(first)) => {
                return Err(Error::AllBad {
                    count: bad.count(),
                    first: Box::new(first.clone()),
                    format: context
                        .read
                        .first()
                        .map_or_else(String::new, |input| input.format.clone()),
                    advice: context.advice,
                });
            }
            (None, None) => {
                return Err(Error::NoRequests {
                    names: context.empty.join(", "),
                });
            }
        }
        (trace.empty, trace.inputs) = (context.empty, context.read);
        (trace.keys, trace.bad) = (keys, bad);
        (trace.notices, trace.is_cut) = (notices, is_cut);
        if trace.order == Order::AsIs && trace.back.lines > 0 {
            let notice = "the lines are not in the order of time: denials may come from their order (--order sort replays by time)";
            trace.notices.push(notice.to_owned());
        }
        if context.options.by.is_none() && trace.by == By::Ip && trace.unit == Unit::Requests && are_ours(&trace.keys) {
            let notice = "every client has a private or local address, as a proxy has: if these are proxies, --by xff takes the client from the list of \
                          forwarded addresses";
            trace.notices.push(notice.to_owned());
        }
        if has_missing(&trace.keys) {
            let notice = format!(
                "some requests have no `{}` (empty or -): they share one meter",
                trace.by
            );
            trace.notices.push(notice);
        }
        if context.options.anonymise {
            trace.keys.anonymise();
        }
        Ok(trace)
    }
}
