//! The state of all keys under one limit.

use std::rc::Rc;

use crate::crowd::Crowd;
use crate::event::{Event, KeyId, Keys};
use crate::limit::RuleFile;
use crate::limit::{LimitKind, LimitSpec, Metered};
use crate::lineage::{Lineage, Maker};
use crate::model::{Model, ModelState};
#[cfg(feature = "store")]
use crate::stored::StoredMeters;
use crate::verdict::{EventVerdict, Undecided};

/// Decides the events of all keys under one limit.
pub(crate) enum EventLimiter {
    /// One meter for all keys, with the states of the keys.
    Crowd(Box<Crowd>),
    /// Meters by key.
    Lineages(Box<Maker>, Vec<Option<Lineage>>),
    /// Meters in a store.
    #[cfg(feature = "store")]
    Stored(StoredMeters),
    /// States of a model, by key.
    Model(Model, Vec<ModelState>),
    /// A limit for each key.
    PerKey(Rows),
}

/// An event, and the name that selects its row in a file of limits.
#[derive(Clone, Copy)]
pub(crate) struct NamedEvent<'a> {
    pub(crate) event: &'a Event,
    pub(crate) keys: &'a Keys,
    /// The plan of the event, if limits are looked up by plan and not by key.
    pub(crate) plan: Option<(KeyId, &'a Keys)>,
}

impl EventLimiter {
    pub(crate) fn new(limit: &LimitSpec, may_go_back: bool) -> Self {
        let metered = match limit.kind() {
            LimitKind::Metered(metered) => metered,
            #[cfg(feature = "store")]
            LimitKind::Stored(_, stored) => return Self::Stored(stored.meters()),
            LimitKind::Model(model) => return Self::Model(*model, Vec::new()),
            LimitKind::PerKey(rows) => return Self::PerKey(Rows::new(rows, may_go_back)),
        };
        let maker = Maker::new(Metered::clone(metered), may_go_back);
        match maker.lend() {
            Some(meter) => Self::Crowd(Box::new(Crowd::new(maker, meter))),
            None => Self::Lineages(Box::new(maker), Vec::new()),
        }
    }

    /// Reads the state of each event's key, so that it is in the cache when the event is decided.
    pub(crate) fn load(&self, events: &[Event]) {
        if let Self::Crowd(crowd) = self {
            crowd.load(events);
        }
    }

    #[inline]
    pub(crate) fn check(&mut self, request: NamedEvent<'_>) -> Result<EventVerdict, Undecided> {
        let event = request.event;
        match self {
            Self::Crowd(crowd) => crowd.check(event),
            Self::Lineages(maker, lineages) => {
                let lineage = seat(lineages, event.key).get_or_insert_with(|| Lineage::new(maker, event.time));
                let verdict = lineage.check(maker, event.time, event.cost);
                verdict.ok_or(Undecided::TooLong)
            }
            #[cfg(feature = "store")]
            Self::Stored(meters) => meters.check(event).map_err(|error| Undecided::Store(Box::new(error))),
            Self::Model(model, _) if is_exempt(model, request) => Ok(EventVerdict::Admitted),
            Self::Model(model, states) => Ok(model.check(seat(states, event.key), event.time, event.cost)),
            Self::PerKey(rows) => rows.check(request),
        }
    }
}

/// Returns whether a request is exempt: nginx does not limit requests with an empty key.
fn is_exempt(model: &Model, request: NamedEvent<'_>) -> bool {
    matches!(model, Model::Nginx(_)) && request.keys.name(request.event.key).is_empty()
}

/// Returns the entry of a key, and creates it for a new key.
#[inline]
fn seat<T: Default>(seats: &mut Vec<T>, key: KeyId) -> &mut T {
    let key = key.index();
    if key >= seats.len() {
        seats.resize_with(key + 1, T::default);
    }
    &mut seats[key]
}

/// The limits of a file, and the state of each key under its own.
pub(crate) struct Rows {
    rows: Rc<RuleFile>,
    /// The distinct limits of the file.
    limits: Vec<RowLimit>,
    /// The limit found for each name, by the number of the key or the plan.
    found: Vec<Option<FoundRow>>,
    seats: Vec<RowSeat>,
}

enum RowLimit {
    Meter(Box<Maker>),
    Model(Model),
}

/// The index of the limit; `None` if there is no limit.
#[derive(Clone, Copy)]
struct FoundRow(Option<usize>);

/// The state of a key. If the plan of a key changes, the state starts afresh.
#[derive(Default)]
enum RowSeat {
    #[default]
    New,
    Meter(usize, Lineage),
    Model(usize, ModelState),
}

impl Rows {
    fn new(rows: &Rc<RuleFile>, may_go_back: bool) -> Self {
        let limit = |limit: &LimitSpec| match limit.kind() {
            LimitKind::Metered(metered) => Some(RowLimit::Meter(Box::new(Maker::new(
                Metered::clone(metered),
                may_go_back,
            )))),
            LimitKind::Model(model) => Some(RowLimit::Model(*model)),
            // The parser of files accepts neither of these as the limit of a row.
            LimitKind::PerKey(_) => None,
            #[cfg(feature = "store")]
            LimitKind::Stored(..) => None,
        };
        Self {
            rows: Rc::clone(rows),
            limits: rows.limits().iter().filter_map(limit).collect(),
            found: Vec::new(),
            seats: Vec::new(),
        }
    }

    fn check(&mut self, request: NamedEvent<'_>) -> Result<EventVerdict, Undecided> {
        let event = request.event;
        let (id, names) = request.plan.unwrap_or((event.key, request.keys));
        let rows = &self.rows;
        let found = seat(&mut self.found, id).get_or_insert_with(|| FoundRow(rows.of(names.name(id))));
        let Some(row) = found.0 else {
            return Ok(EventVerdict::Admitted);
        };
        let seat = seat(&mut self.seats, event.key);
        match &self.limits[row] {
            RowLimit::Model(model) if is_exempt(model, request) => Ok(EventVerdict::Admitted),
            RowLimit::Model(model) => {
                if !matches!(seat, RowSeat::Model(last, _) if *last == row) {
                    *seat = RowSeat::Model(row, ModelState::New);
                }
                let RowSeat::Model(_, state) = seat else {
                    return Ok(EventVerdict::Admitted);
                };
                Ok(model.check(state, event.time, event.cost))
            }
            RowLimit::Meter(maker) => {
                if !matches!(seat, RowSeat::Meter(last, _) if *last == row) {
                    *seat = RowSeat::Meter(row, Lineage::new(maker, event.time));
                }
                let RowSeat::Meter(_, lineage) = seat else {
                    return Ok(EventVerdict::Admitted);
                };
                lineage.check(maker, event.time, event.cost).ok_or(Undecided::TooLong)
            }
        }
    }
}
