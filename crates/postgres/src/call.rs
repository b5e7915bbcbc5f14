//! A decision as a statement, and its row as a reply: pure.

use ratelimit_meter_store::{Ask, Average, Level, Micros, Reply, State, StoreError, StoreLimit, Units, Verb};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

/// A statement with the values and types of its parameters: the types are sent along, so that the statement needs no name.
pub(crate) struct Statement {
    pub(crate) sql: &'static str,
    params: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Statement {
    pub(crate) const fn new(sql: &'static str) -> Self {
        Self {
            sql,
            params: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> Self {
        self.params.push((Box::new(value), of));
        self
    }

    pub(crate) fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params
            .iter()
            .map(|(value, of)| (&**value as _, of.clone()))
            .collect()
    }
}

/// A decision: its statement, and the columns of the row that answers.
pub(crate) struct Call {
    pub(crate) statement: Statement,
    shape: Shape,
}

/// The columns of the row that answers.
enum Shape {
    /// `admitted boolean, clock, t, level bigint`, for this number of cells.
    Check { n: u64 },
    /// `admitted boolean, clock, t bigint, level double precision`, for this number of cells.
    CheckAverage { n: u64 },
    /// `admitted, clock bigint, ts, levels bigint[], loads double precision[]`; the asks were sorted into this order.
    Decide { order: Vec<usize> },
}

/// Decides `cost` units on one bucket in one update.
const CHECK: &str = "SELECT admitted, clock, t, level FROM meter.check($1, $2, $3, $4, $5, $6)";

/// Decides some cells on one average in one update.
const CHECK_AVERAGE: &str = "SELECT admitted, clock, t, level FROM meter.check_average($1, $2, $3, $4, $5)";

/// Decides everything else.
const DECIDE: &str = "SELECT admitted, clock, ts, levels, loads \
    FROM meter.decide($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

impl Call {
    /// Returns the call that decides `verb` on `asks`.
    pub(crate) fn of(verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Self {
        match (verb, at, asks) {
            (Verb::Check, None, [ask]) if (1..=u64::from(ask.limit.max_batch())).contains(&ask.n) => match ask.limit {
                StoreLimit::Bucket(units) => Self::check(ask, units),
                StoreLimit::Average(average) => Self::check_average(ask, average),
            },
            _ => Self::decide(verb, at, asks),
        }
    }

    fn check(ask: &Ask<'_>, units: &Units) -> Self {
        let numbers = [
            ask.n * units.cell(),
            units.drain(),
            units.one(),
            units.burst(),
            units.tick_us(),
        ];
        let statement = Statement::new(CHECK).with(ask.key.to_owned(), Type::TEXT);
        Self {
            statement: numbers.into_iter().fold(statement, |statement, number| {
                statement.with(bigint(number), Type::INT8)
            }),
            shape: Shape::Check { n: ask.n },
        }
    }

    fn check_average(ask: &Ask<'_>, average: &Average) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 2^32")]
        let n = ask.n as f64;
        Self {
            statement: Statement::new(CHECK_AVERAGE)
                .with(ask.key.to_owned(), Type::TEXT)
                .with(n, Type::FLOAT8)
                .with(average.period_us(), Type::FLOAT8)
                .with(average.share(), Type::FLOAT8)
                .with(average.is_strict(), Type::BOOL),
            shape: Shape::CheckAverage { n: ask.n },
        }
    }

    fn decide(verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Self {
        let mut order: Vec<usize> = (0..asks.len()).collect();
        // All callers lock in one order, that of the keys' bytes.
        order.sort_by_key(|&i| asks[i].key);
        let (name, a) = match verb {
            Verb::Check => ("check", 0),
            Verb::Peek => ("peek", 0),
            Verb::UpTo => ("upto", 0),
            Verb::Lease { at_most } => ("lease", i64::from(at_most)),
            Verb::Charge => ("charge", 0),
            Verb::Refund => ("refund", 0),
            Verb::Cancel { drawn } => ("cancel", bigint(drawn.get())),
            Verb::Reset => ("reset", 0),
        };
        let sorted = || order.iter().map(|&i| &asks[i]);
        let bigints = |of: fn(&StoreLimit) -> Option<u64>| -> Vec<Option<i64>> {
            sorted().map(|ask| of(ask.limit).map(bigint)).collect()
        };
        let averages =
            |of: fn(&Average) -> f64| -> Vec<Option<f64>> { sorted().map(|ask| average(ask.limit).map(of)).collect() };
        let bursts = |limit: &StoreLimit| Some(units(limit).map_or_else(|| limit.max_batch().into(), Units::burst));
        let keys: Vec<_> = sorted().map(|ask| ask.key.to_owned()).collect();
        let ns: Vec<_> = sorted().map(|ask| bigint(ask.n)).collect();
        let strict: Vec<_> = sorted().map(|ask| average(ask.limit).map(Average::is_strict)).collect();
        Self {
            statement: Statement::new(DECIDE)
                .with(name, Type::TEXT)
                .with(keys, Type::TEXT_ARRAY)
                .with(ns, Type::INT8_ARRAY)
                .with(bigints(|limit| units(limit).map(Units::drain)), Type::INT8_ARRAY)
                .with(bigints(|limit| units(limit).map(Units::one)), Type::INT8_ARRAY)
                .with(bigints(|limit| units(limit).map(Units::cell)), Type::INT8_ARRAY)
                .with(bigints(bursts), Type::INT8_ARRAY)
                .with(bigints(|limit| units(limit).map(Units::tick_us)), Type::INT8_ARRAY)
                .with(a, Type::INT8)
                .with(at.map(|at| bigint(at.get())), Type::INT8)
                .with(averages(Average::period_us), Type::FLOAT8_ARRAY)
                .with(averages(Average::share), Type::FLOAT8_ARRAY)
                .with(strict, Type::BOOL_ARRAY),
            shape: Shape::Decide { order },
        }
    }

    /// Returns the reply that the row holds.
    pub(crate) fn reply(&self, row: &Row) -> Result<Reply, StoreError> {
        match &self.shape {
            Shape::Check { n } => single(row, *n, Level::Units(whole(get(row, 3)?)?)),
            Shape::CheckAverage { n } => single(row, *n, Level::Share(get(row, 3)?)),
            Shape::Decide { order } => several(row, order),
        }
    }
}

fn single(row: &Row, n: u64, level: Level) -> Result<Reply, StoreError> {
    let admitted: bool = get(row, 0)?;
    Ok(Reply {
        cells: Some(if admitted { n } else { 0 }),
        clock: micros(get(row, 1)?)?,
        states: vec![State {
            time: micros(get(row, 2)?)?,
            level,
        }],
    })
}

fn several(row: &Row, order: &[usize]) -> Result<Reply, StoreError> {
    let cells: Option<i64> = get(row, 0)?;
    let times: Vec<i64> = get(row, 2)?;
    let levels: Vec<Option<i64>> = get(row, 3)?;
    let loads: Vec<Option<f64>> = get(row, 4)?;
    let mut states = vec![None; order.len()];
    for (&i, ((time, level), load)) in order.iter().zip(times.into_iter().zip(levels).zip(loads)) {
        let level = match (level, load) {
            (Some(level), None) => Level::Units(whole(level)?),
            (None, Some(load)) => Level::Share(load),
            _ => {
                return Err(StoreError::Protocol(
                    "a limit has neither or both kinds of level".into(),
                ));
            }
        };
        states[i] = Some(State {
            time: micros(time)?,
            level,
        });
    }
    Ok(Reply {
        cells: cells.map(whole).transpose()?,
        clock: micros(get(row, 1)?)?,
        states: states
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| StoreError::Protocol("a reply lacks a limit".into()))?,
    })
}

fn units(limit: &StoreLimit) -> Option<&Units> {
    match limit {
        StoreLimit::Bucket(units) => Some(units),
        StoreLimit::Average(_) => None,
    }
}

fn average(limit: &StoreLimit) -> Option<&Average> {
    match limit {
        StoreLimit::Average(average) => Some(average),
        StoreLimit::Bucket(_) => None,
    }
}

/// Converts a number, at most `i64::MAX`. The numbers of a limit are below 2^53, and more cells than that exceed any burst.
pub(crate) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn whole(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Protocol(format!("a number below zero: {number}")))
}

fn micros(number: i64) -> Result<Micros, StoreError> {
    Micros::new(whole(number)?).ok_or(StoreError::WrongTime)
}

pub(crate) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column)
        .map_err(|error| StoreError::Protocol(error.to_string()))
}
