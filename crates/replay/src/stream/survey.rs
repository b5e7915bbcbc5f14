//! Reads a file, or its beginning, in advance to check whether it is in order.

use super::BLOCK;
use crate::Error;
use crate::input::{Input, Options, Reader, TimesOnly};
use crate::progress::Progress;
use crate::stamp::{Grain, Resolution};

/// Number of events from which the order and the resolution of a file are assumed: a block.
pub(super) const SAMPLE: u64 = BLOCK as u64;

/// The findings about a file in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Survey {
    /// The number of bytes it had. Later reads stop there, since a log that is still written grows meanwhile.
    pub(super) bytes: u64,
    pub(super) events: u64,
    /// True if the whole file was read; otherwise its order and its resolution are those of its beginning.
    pub(super) is_whole: bool,
    /// The first and the last stamp that were read, if there was an event.
    pub(super) span: Option<(i64, i64)>,
    /// The resolution of its stamps.
    pub(super) unit: Resolution,
}

/// Reads only the times of a file of `bytes` bytes, until about `most` events are read; `None` as soon as a time goes back.
pub(super) fn survey(
    most: u64,
    input: &Input,
    bytes: u64,
    options: &Options,
    progress: &Progress,
) -> Result<Option<Survey>, Error> {
    let mut reader = Reader::open(input, Some(bytes), options, progress)?;
    let mut survey = Survey {
        bytes,
        events: 0,
        is_whole: true,
        span: None,
        unit: Resolution::default(),
    };
    let (mut grain, mut block) = (Grain::default(), Vec::new());
    while survey.is_whole {
        block.clear();
        reader.fill(BLOCK, &mut TimesOnly, &mut block)?;
        if block.is_empty() {
            break;
        }
        for event in &block {
            survey.events += 1;
            grain.see(event.time);
            survey.span = match survey.span {
                None => Some((event.time, event.time)),
                Some((_, last)) if event.time < last => return Ok(None),
                Some((first, _)) => Some((first, event.time)),
            };
        }
        survey.is_whole = survey.events < most;
    }
    survey.unit = grain.resolution().unwrap_or_default().min(reader.coarsest());
    Ok(Some(survey))
}
