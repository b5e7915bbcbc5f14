//! Reads each input by itself, and compares it to the rest.

use super::spool::Run;
use super::survey::Survey;
use crate::Error;
use crate::by::By;
use crate::event::{Event, Place};
use crate::input::{Collected, Input, Options, Reader};
use crate::progress::Progress;
use crate::stamp::{Grain, Resolution};
use crate::trace::{InputFacts, Unit};

/// The options for every input, and the facts to compare inputs by.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: Options,
    pub(super) progress: Progress,
    /// All inputs, in the order in which they were named.
    pub(super) inputs: Vec<Input>,
    /// The key and the unit of the first input, and its name.
    pub(super) first: Option<(By, Unit, String)>,
    /// The inputs that were read to their end.
    pub(super) read: Vec<InputFacts>,
    /// Inputs that had neither an event nor a bad line.
    pub(super) empty: Vec<String>,
}

/// An input that is being read.
#[derive(Debug)]
pub(super) struct Open {
    name: String,
    /// The number of the input, in the order in which inputs were named.
    pub(super) number: u32,
    reader: Reader,
    events: u64,
    grain: Grain,
    /// The number of bad lines before it.
    bad: u64,
}

/// Events in order.
#[derive(Debug)]
pub(super) enum Source {
    /// A file in order that is not yet due.
    Due(Input, Survey),
    /// A file in order that is being read, with the time of its last event.
    Open(Box<Open>, Survey, i64),
    Run(Run),
    /// A file that was read to its end and closed.
    Done,
}

impl Context {
    pub(super) fn open(&self, input: &Input, limit: Option<u64>, collected: &Collected) -> Result<Open, Error> {
        let number = self.inputs.iter().position(|other| other == input).unwrap_or_default();
        let reader = Reader::open(input, limit, &self.options, &self.progress)?;
        Ok(Open::new(reader, input.name(), number, collected))
    }

    /// Checks that the events of all inputs are of the same kind.
    #[cold]
    fn compare(&mut self, open: &Open) -> Result<(), Error> {
        let (by, unit) = (open.reader.by(), open.reader.unit());
        match &self.first {
            None => self.first = Some((by.clone(), unit, open.name.clone())),
            Some((first_by, first_unit, first)) => {
                let (first, other) = (first.clone(), open.name.clone());
                if unit != *first_unit {
                    return Err(Error::MixedUnits { first, other });
                }
                if by != first_by {
                    return Err(Error::Mixed { first, other });
                }
            }
        }
        Ok(())
    }
}

impl Open {
    pub(super) fn new(reader: Reader, name: String, number: usize, collected: &Collected) -> Self {
        Self {
            name,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            reader,
            events: 0,
            grain: Grain::default(),
            bad: collected.bad.count(),
        }
    }

    pub(super) fn resolution(&self) -> Resolution {
        self.grain.resolution().unwrap_or_default().min(self.reader.coarsest())
    }

    #[inline]
    pub(super) fn next(&mut self, collected: &mut Collected, context: &mut Context) -> Result<Option<Event>, Error> {
        let mut event = self.reader.next(collected)?;
        if let Some(event) = &mut event {
            if self.events == 0 {
                context.compare(self)?;
            }
            self.events += 1;
            self.grain.see(event.time);
            event.unit = self.resolution();
            event.plan = collected.plan;
            event.place = Place {
                input: self.number,
                line: self.reader.line(),
            };
            return Ok(Some(*event));
        }
        context.read.push(InputFacts {
            name: self.name.clone(),
            format: self.reader.format(),
            resolution: self.grain.resolution().map(|unit| unit.min(self.reader.coarsest())),
        });
        if self.events == 0 && collected.bad.count() == self.bad {
            context.empty.push(self.name.clone());
        }
        Ok(None)
    }
}

impl Source {
    pub(super) fn next(&mut self, collected: &mut Collected, context: &mut Context) -> Result<Option<Event>, Error> {
        if let Self::Due(input, survey) = self {
            let open = context.open(input, Some(survey.bytes), collected)?;
            *self = Self::Open(Box::new(open), *survey, i64::MIN);
        }
        match self {
            Self::Run(run) => Ok(run.next()),
            Self::Open(open, survey, last) => {
                let mut event = open.next(collected, context)?;
                // The merge relies on the first reading of the file, so the file must not have changed.
                let is_same = match &event {
                    Some(event) if open.events == 1 => survey.span.is_some_and(|(first, _)| first == event.time),
                    Some(event) => *last <= event.time,
                    None => open.events == survey.events || !survey.is_whole,
                };
                // Stamps coarser than those of the beginning, such as whole minutes, are known only at the end.
                let is_as_assumed = survey.is_whole
                    || match &event {
                        Some(event) => *last <= event.time && event.unit >= survey.unit,
                        None => open.resolution() == survey.unit,
                    };
                if !is_as_assumed {
                    return Err(Error::NotAsAssumed {
                        path: open.name.clone(),
                    });
                }
                if !is_same {
                    return Err(Error::Changed {
                        path: open.name.clone(),
                    });
                }
                match &mut event {
                    // The survey knows this of the whole file, `open` only of the part it has read.
                    Some(event) => (*last, event.unit) = (event.time, survey.unit),
                    None => *self = Self::Done,
                }
                Ok(event)
            }
            Self::Due(..) | Self::Done => Ok(None),
        }
    }
}
