//! The scripts' arguments and replies.

use ratelimit_meter_store::{Ask, Level, Micros, Reply, State, StoreError, StoreLimit, Verb};
use redis::{Cmd, Script, Value};
use std::sync::LazyLock;

/// The largest number of cells that is sent: beyond it doubles skip whole numbers.
const MOST_CELLS: u64 = 1 << 53;

pub(crate) static FAST: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("../lua/fast.lua")));
pub(crate) static METER: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("../lua/meter.lua")));

/// A script and its hash.
pub(crate) struct Code {
    pub(crate) text: &'static str,
    hash: String,
}

impl Code {
    fn new(text: &'static str) -> Self {
        let hash = Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }
}

/// One call of a script that is ready to be sent, by hash or with its text.
pub(crate) struct ScriptCall {
    code: &'static Code,
    keys: Vec<String>,
    args: Vec<String>,
}

impl ScriptCall {
    /// Returns the call of fast.lua that decides this, if that script can.
    pub(crate) fn fast(verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Option<Self> {
        let ([ask], Verb::Check, None) = (asks, verb, at) else {
            return None;
        };
        let StoreLimit::Bucket(units) = ask.limit else {
            return None;
        };
        if units.tick_us() > 0 || ask.n > units.max_batch().into() {
            return None;
        }
        let numbers = [units.drain(), units.burst(), ask.n * units.cell()];
        let mut args = vec![ask.limit.scale().to_string()];
        args.extend(numbers.map(|n| n.to_string()));
        Some(Self {
            code: &FAST,
            keys: vec![ask.key.to_owned()],
            args,
        })
    }

    /// Returns the call of meter.lua that decides this.
    pub(crate) fn general(verb: Verb, at: Option<Micros>, asks: &[Ask<'_>]) -> Self {
        let extra = match verb {
            Verb::Lease { at_most } => at_most.to_string(),
            Verb::Cancel { drawn } => drawn.to_string(),
            _ => String::new(),
        };
        let mut args = vec![
            verb.name().to_owned(),
            at.map_or_else(String::new, |at| at.to_string()),
            extra,
        ];
        for ask in asks {
            args.push(ask.limit.scale().to_string());
            match ask.limit {
                StoreLimit::Bucket(units) => {
                    args.extend([units.drain(), units.cell(), units.burst(), units.tick_us()].map(|n| n.to_string()));
                }
                StoreLimit::Average(average) => {
                    args.extend([average.period_us(), average.share()].map(|n| n.to_string()));
                    args.extend([average.max_batch().to_string(), "0".to_owned()]);
                }
            }
            args.push(ask.n.min(MOST_CELLS).to_string());
        }
        Self {
            code: &METER,
            keys: asks.iter().map(|ask| ask.key.to_owned()).collect(),
            args,
        }
    }

    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.code.hash)
    }

    pub(crate) fn with_text(&self) -> Cmd {
        self.command("EVAL", self.code.text)
    }

    pub(crate) fn command(&self, name: &str, script: &str) -> Cmd {
        let mut cmd = redis::cmd(name);
        cmd.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        cmd
    }
}

/// Returns the reply of fast.lua; `None` if that script did nothing.
pub(crate) fn fast_reply(value: &Value, ask: &Ask<'_>) -> Result<Option<Reply>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::Array(items) if items.len() == 3 => {
            let clock = time(&items[1])?;
            let state = State {
                time: clock,
                level: level(&items[2], ask.limit)?,
            };
            let cells = if whole(&items[0])? == 1 { ask.n } else { 0 };
            Ok(Some(Reply {
                cells: Some(cells),
                clock,
                states: vec![state],
            }))
        }
        other => Err(unexpected(other)),
    }
}

/// Returns the reply of meter.lua.
pub(crate) fn reply(value: &Value, asks: &[Ask<'_>]) -> Result<Reply, StoreError> {
    let Value::Array(items) = value else {
        return Err(unexpected(value));
    };
    if items.len() != 2 + 2 * asks.len() {
        return Err(unexpected(value));
    }
    let cells = match items[0] {
        Value::Int(-1) => None,
        _ => Some(whole(&items[0])?),
    };
    let states = items[2..].chunks_exact(2).zip(asks).map(|(state, ask)| {
        Ok(State {
            time: time(&state[0])?,
            level: level(&state[1], ask.limit)?,
        })
    });
    Ok(Reply {
        cells,
        clock: time(&items[1])?,
        states: states.collect::<Result<_, StoreError>>()?,
    })
}

fn whole(value: &Value) -> Result<u64, StoreError> {
    match value {
        Value::Int(n) => u64::try_from(*n).map_err(|_| unexpected(value)),
        _ => Err(unexpected(value)),
    }
}

fn time(value: &Value) -> Result<Micros, StoreError> {
    Micros::new(whole(value)?).ok_or_else(|| unexpected(value))
}

fn level(value: &Value, limit: &StoreLimit) -> Result<Level, StoreError> {
    match limit {
        StoreLimit::Bucket(_) => whole(value).map(Level::Units),
        StoreLimit::Average(_) => {
            let text: String = redis::from_redis_value_ref(value).map_err(|_| unexpected(value))?;
            let share: f64 = text.parse().map_err(|_| unexpected(value))?;
            if share.is_finite() {
                Ok(Level::Share(share))
            } else {
                Err(unexpected(value))
            }
        }
    }
}

fn unexpected(value: &Value) -> StoreError {
    StoreError::Protocol(format!("{value:?}"))
}
