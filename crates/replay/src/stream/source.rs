//! Reads each input by itself, and compares it to the rest.

use super::BLOCK;
use super::spool::SortedRun;
use super::survey::Survey;
use crate::Error;
use crate::by::By;
use crate::event::Event;
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
    /// The options that could read the first input without an event.
    pub(super) advice: String,
}

/// An input that is being read.
#[derive(Debug)]
pub(super) struct OpenInput {
    name: String,
    /// The number of the input, in the order in which inputs were named.
    pub(super) number: u32,
    reader: Reader,
    /// The events that were read last, and how many of them have been returned.
    block: Vec<Event>,
    at: usize,
    /// Number of events that are read at once: one if the input is still growing, since the next may take hours to come.
    most: usize,
    events: u64,
    grain: Grain,
    /// The number of bad lines before it.
    bad: u64,
}

/// Events in order.
#[derive(Debug)]
pub(super) enum EventSource {
    /// A file in order that is not yet due.
    Due(Input, Survey),
    /// A file in order that is being read, with the time of its last event.
    Open(Box<OpenInput>, Survey, i64),
    Run(SortedRun),
    /// A file that was read to its end and closed.
    Done,
}

impl Context {
    pub(super) fn new(options: Options, progress: Progress, inputs: Vec<Input>) -> Self {
        Self {
            options,
            progress,
            inputs,
            first: None,
            read: Vec::new(),
            empty: Vec::new(),
            advice: String::new(),
        }
    }

    pub(super) fn open(&self, input: &Input, limit: Option<u64>, collected: &Collected) -> Result<OpenInput, Error> {
        let number = self.inputs.iter().position(|other| other == input).unwrap_or_default();
        let reader = Reader::open(input, limit, &self.options, &self.progress)?;
        Ok(OpenInput::new(reader, input.name(), number, BLOCK, collected))
    }

    /// Checks that the events of all inputs are of the same kind.
    #[cold]
    fn compare(&mut self, open: &OpenInput) -> Result<(), Error> {
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

impl OpenInput {
    pub(super) fn new(reader: Reader, name: String, number: usize, most: usize, collected: &Collected) -> Self {
        Self {
            name,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            reader,
            block: Vec::new(),
            at: 0,
            most,
            events: 0,
            grain: Grain::default(),
            bad: collected.bad.count(),
        }
    }

    /// Checks at the end of a file that it was as its survey found it. Stamps coarser than those of the beginning, such as whole minutes, are known
    /// only at the end.
    fn is_as_surveyed(&self, survey: &Survey) -> Result<(), Error> {
        match survey.is_whole {
            true if self.events != survey.events => Err(self.changed()),
            false if self.resolution() != survey.unit => Err(self.not_as_assumed()),
            _ => Ok(()),
        }
    }

    #[cold]
    fn changed(&self) -> Error {
        Error::Changed {
            path: self.name.clone(),
        }
    }

    #[cold]
    fn not_as_assumed(&self) -> Error {
        Error::NotAsAssumed {
            path: self.name.clone(),
        }
    }

    pub(super) fn resolution(&self) -> Resolution {
        self.grain.resolution().unwrap_or_default().min(self.reader.coarsest())
    }

    #[inline]
    pub(super) fn next(&mut self, collected: &mut Collected, context: &mut Context) -> Result<Option<Event>, Error> {
        if self.at == self.block.len() {
            self.fill(collected, context)?;
        }
        let event = self.block.get(self.at).copied();
        self.at += usize::from(event.is_some());
        Ok(event)
    }

    /// Reads the next events.
    #[cold]
    fn fill(&mut self, collected: &mut Collected, context: &mut Context) -> Result<(), Error> {
        self.block.clear();
        self.at = 0;
        self.reader.fill(self.most, collected, &mut self.block)?;
        if self.block.is_empty() {
            context.read.push(InputFacts {
                name: self.name.clone(),
                format: self.reader.format(),
                resolution: self.grain.resolution().map(|unit| unit.min(self.reader.coarsest())),
            });
            if self.events == 0 && collected.bad.count() == self.bad {
                context.empty.push(self.name.clone());
            } else if self.events == 0 && context.advice.is_empty() {
                context.advice = self.reader.advice();
            }
            return Ok(());
        }
        if self.events == 0 {
            context.compare(self)?;
        }
        self.events = self.events.saturating_add(self.block.len() as u64);
        self.block.iter().for_each(|event| self.grain.see(event.time));
        let unit = self.resolution();
        for event in &mut self.block {
            event.unit = unit;
            event.place.input = self.number;
        }
        Ok(())
    }
}

impl EventSource {
    #[inline]
    pub(super) fn next(&mut self, collected: &mut Collected, context: &mut Context) -> Result<Option<Event>, Error> {
        self.open(collected, context)?;
        match self {
            Self::Run(run) => Ok(run.next()),
            Self::Open(open, survey, last) => {
                let event = open.next(collected, context)?;
                let event = event.map(|event| checked(open, survey, last, event)).transpose()?;
                if event.is_none() {
                    open.is_as_surveyed(survey)?;
                    *self = Self::Done;
                }
                Ok(event)
            }
            Self::Due(..) | Self::Done => Ok(None),
        }
    }

    /// Adds the next events of a file to `block`, if it is open and has more.
    pub(super) fn fill(
        &mut self,
        collected: &mut Collected,
        context: &mut Context,
        block: &mut Vec<Event>,
    ) -> Result<(), Error> {
        self.open(collected, context)?;
        let Self::Open(open, survey, last) = self else {
            return Ok(());
        };
        if open.at == open.block.len() {
            open.fill(collected, context)?;
        }
        if open.block.is_empty() {
            open.is_as_surveyed(survey)?;
            *self = Self::Done;
            return Ok(());
        }
        for &event in &open.block[open.at..] {
            block.push(checked(open, survey, last, event)?);
        }
        open.at = open.block.len();
        Ok(())
    }

    /// Opens a file that is due.
    #[inline]
    fn open(&mut self, collected: &Collected, context: &Context) -> Result<(), Error> {
        if let Self::Due(input, survey) = self {
            let open = context.open(input, Some(survey.bytes), collected)?;
            *self = Self::Open(Box::new(open), *survey, i64::MIN);
        }
        Ok(())
    }
}

/// Checks the next event of a file that was surveyed, and returns it with the resolution of the whole file. The merge relies on the first reading of
/// the file, so the file must not have changed.
#[inline]
fn checked(open: &OpenInput, survey: &Survey, last: &mut i64, event: Event) -> Result<Event, Error> {
    let is_in_order = *last <= event.time;
    let is_as_assumed = survey.is_whole || is_in_order && event.unit >= survey.unit;
    if !is_as_assumed {
        return Err(open.not_as_assumed());
    }
    let is_first = *last == i64::MIN;
    if !is_in_order || is_first && survey.span.is_none_or(|(first, _)| first != event.time) {
        return Err(open.changed());
    }
    *last = event.time;
    Ok(Event {
        unit: survey.unit,
        ..event
    })
}
