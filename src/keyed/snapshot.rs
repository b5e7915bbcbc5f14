//! Snapshots: the debts of all keys, as a stream of bytes that outlives the process.
//!
//! All numbers are little-endian. A snapshot is a head, blocks of keys, and an end.
//!
//! - The head is the magic, the version, and the meaning of the words. The meaning is the time of the snapshot (on the time line and the wall clock),
//!   the number of slots, and a known hash. It also has the number of bits of a word, and each tier's limit as text.
//! - A block has the number of its keys and the number of their bucket. For each key it has the id, with the tier above the id, and the word.
//! - The end is a block of no keys.
//!
//! Each of these is followed by a checksum of all bytes so far.

use super::KeyedMeter;
use super::bucket::HashBucket;
use super::hash::{KeyHash, KeyHasher, KeyHashes};
use super::limits::{Limits, Superseded};
use super::slot::{Form, MOST_LIMITS};
use crate::algorithm::{Algorithm, Decide};
use crate::clock::Clock;
use crate::meter::MeterKind;
use crate::schedule::{NotStored, Schedule};
use crate::snapshot::{elapsed, limit_of, still_owed, wall_ns};
use crate::store::Store;
use crate::time::{Instant, SystemTime};
use crate::units::Nanos;
use core::error::Error;
use core::fmt;
use core::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};
use std::sync::PoisonError;

const MAGIC: [u8; 8] = *b"RLMKEYS\n";
/// Version 1 hashed keys in another way, and had ids of 59 bits.
const VERSION: u32 = 2;

/// Longer than the text of any limit.
const LONGEST_LIMIT: usize = 256;

/// The text whose hash shows whether two tables hash alike.
const PROBE: &str = "the same hash for the same key";

/// The hash of keys with the same seed everywhere: damage to a piece of 32 bytes is missed with a probability of 2^-64.
const CHECK: KeyHashes = KeyHashes::with_seed([0x9e37_79b9_7f4a_7c15, 0xf39c_c060_5ced_c834, 0x1082_276b_f3a2_7251]);

impl<K: ?Sized, M: MeterKind, S: BuildHasher> KeyedMeter<K, M, S> {
    /// Writes the debts of all keys that are live now, tied to the wall clock, and returns the number of those keys.
    ///
    /// Keys are read one after the other, each in one read, while decisions go on. The snapshot holds the hashes of keys and their debts, 16 bytes
    /// for each key. It does not hold the seed of the hashes, so keep the seed beside the snapshot ([`KeyHashes::with_seed`]). Use a buffered writer.
    ///
    /// # Errors
    ///
    /// The errors of `out`. Also an error of kind [`Other`](io::ErrorKind::Other) if a quota of the table is changed meanwhile: write the snapshot again.
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, Quota, keyed::{KeyedBuilder, KeyHashes}};
    ///
    /// let seed = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0]; // from the configuration
    /// let table = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let like = GCRA::from_quota("5/h".parse::<Quota>()?)?;
    ///     Ok(KeyedBuilder::new(like).hashes(KeyHashes::with_seed(seed)).with_capacity::<str>(1000)?)
    /// };
    /// let before = table()?;
    /// before.check_n("alice", 5)?;
    /// let mut file = Vec::new();
    /// assert_eq!(before.snapshot_to(&mut file)?, 1);
    ///
    /// let after = table()?; // in the next process
    /// assert_eq!(after.restore_from(&file[..])?, 1);
    /// assert!(after.check("alice").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot_to(&self, out: impl Write) -> io::Result<u64> {
        // The wall clock comes last, so that time that passes in between does not count as drained.
        let at = self.clock.now_exactly();
        self.snapshot_to_at(out, (at, SystemTime::now()))
    }

    /// Writes the debts of all keys that are live at a time, given by both clocks; see [`snapshot_to`](Self::snapshot_to).
    ///
    /// # Errors
    ///
    /// As [`snapshot_to`](Self::snapshot_to).
    pub fn snapshot_to_at(&self, out: impl Write, (at, wall): (Instant, SystemTime)) -> io::Result<u64> {
        let (table, limits) = (&*self.table, self.table.latest.get());
        let at = limits.schedule(0).time_line.position(at);
        let mut out = Checksummed::new(out);
        out.put(&MAGIC)?;
        out.put(&VERSION.to_le_bytes())?;
        out.put(&at.get().to_le_bytes())?;
        out.put(&wall_ns(wall).to_le_bytes())?;
        out.put(&(table.slots() as u64).to_le_bytes())?;
        out.put(&KeyHash::spread(self.hashes.hash_one(PROBE)).0.to_le_bytes())?;
        out.put_length(limits.tiers())?;
        out.put(&u64::from(limits.form().bits()).to_le_bytes())?;
        for limit in limit_texts(&limits) {
            out.put_length(limit.len())?;
            out.put(limit.as_bytes())?;
        }
        out.put_checksum()?;
        let mut keys = 0;
        for (number, bucket) in (0_u64..).zip(&table.buckets) {
            let mut live = Vec::new();
            for (id, state) in bucket.residents() {
                if limits.is_live(state, at).map_err(changed)? {
                    live.push((id, limits.read(state).map_err(changed)?));
                }
            }
            if live.is_empty() {
                continue;
            }
            keys += live.len() as u64;
            out.put_length(live.len())?;
            out.put(&number.to_le_bytes())?;
            for (id, (tier, word)) in live {
                out.put(&(u64::from(tier) << KeyHash::ID_BITS | id).to_le_bytes())?;
                out.put(&word.to_le_bytes())?;
            }
            out.put_checksum()?;
        }
        out.put_length(0)?;
        out.put_checksum()?;
        out.stream.flush()?;
        Ok(keys)
    }

    /// Restores the debts of all keys of a snapshot, less the volume drained since by the wall clock, and returns the number of those keys. Keys that
    /// are not in the snapshot do not change.
    ///
    /// Use a buffered reader. A change of quota waits until the snapshot is restored; no decision does.
    ///
    /// # Errors
    ///
    /// [`RestoreKeysError`], and nothing has changed, unless the error holds a number of restored keys.
    pub fn restore_from(&self, input: impl Read) -> Result<u64, RestoreKeysError> {
        // The wall clock comes first, so that time that passes in between does not count as drained.
        let wall = SystemTime::now();
        self.restore_from_at(input, (self.clock.now_exactly(), wall))
    }

    /// Restores the debts that all keys of a snapshot still have at a time, given by both clocks; see [`restore_from`](Self::restore_from).
    ///
    /// # Errors
    ///
    /// As [`restore_from`](Self::restore_from).
    pub fn restore_from_at(&self, input: impl Read, time: (Instant, SystemTime)) -> Result<u64, RestoreKeysError> {
        self.restore(input, time, false)
    }

    /// Restores a snapshot of a table whose tiers had other quotas, and returns the number of keys. Each key keeps its available cells and its debt,
    /// as with [`set_quota`](Self::set_quota). Time since the snapshot is credited at the old rates.
    ///
    /// Everything else is as with [`restore_from`](Self::restore_from): the algorithm, the number of tiers, the capacity and the hashes must be those
    /// of the snapshot.
    ///
    /// # Errors
    ///
    /// As [`restore_from`](Self::restore_from).
    ///
    /// ```
    /// use ratelimit_meter::{GCRA, KeyedMeter, Quota, keyed::{KeyedBuilder, KeyHashes}};
    ///
    /// let table = |quota: &str| -> Result<KeyedMeter<str>, Box<dyn std::error::Error>> {
    ///     let like = GCRA::from_quota(quota.parse::<Quota>()?)?;
    ///     Ok(KeyedBuilder::new(like).hashes(KeyHashes::with_seed([2024, 11, 28])).with_capacity(1000)?)
    /// };
    /// let before = table("100/h burst 20")?;
    /// before.check_n("alice", 15)?;
    /// let mut file = Vec::new();
    /// before.snapshot_to(&mut file)?;
    ///
    /// let after = table("600/h burst 50")?; // with a new configuration
    /// assert!(after.restore_from(&file[..]).is_err());
    /// assert_eq!(after.restore_changed_from(&file[..])?, 1);
    /// assert_eq!(after.key("alice").status().remaining(), 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn restore_changed_from(&self, input: impl Read) -> Result<u64, RestoreKeysError> {
        let wall = SystemTime::now();
        self.restore_changed_from_at(input, (self.clock.now_exactly(), wall))
    }

    /// Restores a snapshot of a table whose tiers had other quotas, at a time given by both clocks; see
    /// [`restore_changed_from`](Self::restore_changed_from).
    ///
    /// # Errors
    ///
    /// As [`restore_from`](Self::restore_from).
    pub fn restore_changed_from_at(
        &self,
        input: impl Read,
        time: (Instant, SystemTime),
    ) -> Result<u64, RestoreKeysError> {
        self.restore(input, time, true)
    }

    /// Restores a snapshot, which may be of tiers with other quotas if `takes_other_quotas`.
    fn restore(
        &self,
        input: impl Read,
        (at, wall): (Instant, SystemTime),
        takes_other_quotas: bool,
    ) -> Result<u64, RestoreKeysError> {
        // The lock keeps quotas from changing meanwhile. A panic while it was held would have left valid limits.
        let _changing = self.table.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (limits, buckets) = (self.table.latest.get(), self.table.buckets.len());
        let at = limits.schedule(0).time_line.position(at);
        let mut input = Checksummed::new(input);
        let head = self.read_head(&mut input, &limits, wall, takes_other_quotas)?;
        let (mut restored, mut left_out) = (0, 0);
        loop {
            let damaged = |error| RestoreKeysError::at_key(error, restored);
            let keys = input.get_length_to(HashBucket::SLOTS).map_err(damaged)?;
            let bucket = if keys > 0 { input.get_u64().map_err(damaged)? } else { 0 };
            let pairs: Result<Vec<(u64, u64)>, io::Error> =
                (0..keys).map(|_| Ok((input.get_u64()?, input.get_u64()?))).collect();
            let pairs = pairs.map_err(damaged)?;
            if !input.is_whole().map_err(damaged)? {
                return Err(RestoreKeysError::Damaged { restored });
            }
            if keys == 0 {
                if !input.is_over().map_err(damaged)? {
                    return Err(RestoreKeysError::BytesAfterEnd { restored });
                }
                return match left_out {
                    0 => Ok(restored),
                    _ => Err(RestoreKeysError::LeftOut { restored, left_out }),
                };
            }
            for (id, word) in pairs {
                let damaged = RestoreKeysError::Damaged { restored };
                let tier = u8::try_from(id >> KeyHash::ID_BITS).ok();
                let tier = tier.filter(|tier| usize::from(*tier) < limits.tiers());
                let (Some(tier), Some(key)) = (tier, KeyHash::with_id(id, bucket, buckets)) else {
                    return Err(damaged);
                };
                // The words of the snapshot have the units of this schedule.
                let was = head.schedules.get(usize::from(tier)).ok_or(damaged)?;
                let owed = still_owed(was, was.offset(word, was.drained(head.at)), head.elapsed_ns);
                let step = self.entry(key, Some(tier)).update(at, |schedule, _, drained| {
                    let was_drained = was.drained(at);
                    let word = was.word_at(owed, was_drained).ok_or(NotStored::Never)?;
                    if was.quota == schedule.quota && was.scale == schedule.scale {
                        return Ok((word, ()));
                    }
                    let next = &schedule.algorithm;
                    Ok((was.algorithm.carry(word, was_drained, 0, next, drained).0, ()))
                });
                match step {
                    Ok(()) => restored += 1,
                    Err(_) => left_out += 1,
                }
            }
        }
    }

    /// Reads the head of a snapshot.
    fn read_head(
        &self,
        input: &mut Checksummed<impl Read>,
        own: &Limits<M::Algorithm>,
        wall: SystemTime,
        takes_other_quotas: bool,
    ) -> Result<SnapshotHead<M::Algorithm>, RestoreKeysError> {
        let table = &*self.table;
        if input.get::<8>()? != MAGIC {
            return Err(RestoreKeysError::NotKeys);
        }
        let version = u32::from_le_bytes(input.get()?);
        if version != VERSION {
            return Err(RestoreKeysError::UnknownVersion(version));
        }
        let was_at = Nanos::clamped(input.get_u64()?);
        let was_wall_ns = i128::from_le_bytes(input.get()?);
        let [slots, probe] = [input.get_u64()?, input.get_u64()?];
        let mut limits = Vec::new();
        let tiers = input.get_length_to(MOST_LIMITS)?;
        let bits = input.get_u64()?;
        for _ in 0..tiers {
            let mut text = vec![0; input.get_length_to(LONGEST_LIMIT)?];
            input.fill(&mut text)?;
            limits.push(String::from_utf8_lossy(&text).into_owned());
        }
        if !input.is_whole()? {
            return Err(RestoreKeysError::Damaged { restored: 0 });
        }
        if slots != table.slots() as u64 {
            let table = table.slots() as u64;
            return Err(RestoreKeysError::AnotherShape { snapshot: slots, table });
        }
        let texts = limit_texts(own);
        let is_alike = limits == texts || takes_other_quotas && limits.len() == texts.len();
        let tiers = (0..).zip(&limits);
        let schedules = || {
            tiers
                .map(|(tier, text)| schedule_of(own.schedule(tier), text, bits))
                .collect()
        };
        let schedules: Option<Vec<_>> = is_alike.then(schedules).flatten();
        let schedules = schedules.ok_or_else(|| RestoreKeysError::AnotherLimit {
            snapshot: limits.join(", "),
            table: texts.join(", "),
        })?;
        if probe != KeyHash::spread(self.hashes.hash_one(PROBE)).0 {
            return Err(RestoreKeysError::AnotherHash);
        }
        Ok(SnapshotHead {
            at: was_at,
            elapsed_ns: elapsed(was_wall_ns, wall),
            schedules,
        })
    }
}

/// The meaning of the words in a snapshot.
struct SnapshotHead<A> {
    /// The time of the snapshot, on the time line of its table.
    at: Nanos,
    /// The time since then, by the wall clock.
    elapsed_ns: u128,
    /// The schedules of the snapshot's tiers, in words of the snapshot's length.
    schedules: Vec<Schedule<A>>,
}

/// Returns the schedule of a tier in a snapshot, in words of `bits` bits. `own` is the table's schedule of the tier, which must have the same algorithm.
fn schedule_of<A: Algorithm>(own: &Schedule<A>, text: &str, bits: u64) -> Option<Schedule<A>> {
    let limit = text
        .strip_prefix(&own.algorithm.kind().to_string())?
        .strip_prefix(' ')?;
    let form = Form::with_bits(u32::try_from(bits).ok()?)?;
    if limit == limit_of(own).to_string() {
        return own.below(form.end());
    }
    own.with_quota(limit.parse().ok()?).ok()?.below(form.end())
}

fn limit_texts(limits: &Limits<impl Algorithm>) -> Vec<String> {
    let text = |tier| {
        let schedule = limits.schedule(tier);
        format!("{} {}", schedule.algorithm.kind(), limit_of(schedule))
    };
    (0..).take(limits.tiers()).map(text).collect()
}

/// Reports that a quota was changed while a snapshot was being written.
fn changed(_: Superseded) -> io::Error {
    io::Error::other("a quota of the table was changed while the snapshot was being written: write it again")
}

/// A stream with the checksum of all bytes that went through it.
struct Checksummed<T> {
    stream: T,
    sum: KeyHasher,
}

impl<T> Checksummed<T> {
    fn new(stream: T) -> Self {
        let sum = CHECK.build_hasher();
        Self { stream, sum }
    }
}

impl<W: Write> Checksummed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.write(bytes);
        self.stream.write_all(bytes)
    }

    fn put_length(&mut self, length: usize) -> io::Result<()> {
        self.put(&(length as u64).to_le_bytes())
    }

    fn put_checksum(&mut self) -> io::Result<()> {
        let sum = self.sum.finish();
        self.stream.write_all(&sum.to_le_bytes())
    }
}

impl<R: Read> Checksummed<R> {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.stream.read_exact(bytes)?;
        self.sum.write(bytes);
        Ok(())
    }

    fn get<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn get_u64(&mut self) -> io::Result<u64> {
        self.get().map(u64::from_le_bytes)
    }

    /// Reads the number of items that follow; fails if it is above `most`.
    fn get_length_to(&mut self, most: usize) -> io::Result<usize> {
        let length = usize::try_from(self.get_u64()?);
        // Handled as if the input were cut off here.
        length
            .ok()
            .filter(|length| *length <= most)
            .ok_or(io::ErrorKind::UnexpectedEof.into())
    }

    /// Returns whether the input has ended.
    fn is_over(&mut self) -> io::Result<bool> {
        loop {
            match self.stream.read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map(|bytes| bytes == 0),
            }
        }
    }

    /// Returns whether the checksum that follows belongs to the bytes before it.
    fn is_whole(&mut self) -> io::Result<bool> {
        let sum = self.sum.finish();
        let mut bytes = [0; 8];
        self.stream.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes) == sum)
    }
}

/// The reason why a table cannot restore a snapshot of keys.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreKeysError {
    /// The snapshot could not be read. The keys before the error were restored.
    Io {
        /// The reason.
        error: io::Error,
        /// The number of keys that were restored.
        restored: u64,
    },
    /// The input is not a snapshot of keys.
    NotKeys,
    /// The snapshot was written by another version of this crate, whose hashes or words differ.
    ///
    /// Start with an empty table: its keys begin with their full burst.
    UnknownVersion(u32),
    /// The snapshot is of a table with another number of slots. Tables of the same capacity have the same number.
    AnotherShape {
        /// The slots of the snapshot.
        snapshot: u64,
        /// The slots of the table.
        table: u64,
    },
    /// The snapshot is of a table with other limits, so its words have no meaning here.
    AnotherLimit {
        /// The limits of the snapshot.
        snapshot: String,
        /// The limits of the table.
        table: String,
    },
    /// The snapshot is of a table that hashes keys in another way, or with another seed.
    AnotherHash,
    /// The snapshot was cut off or changed. The keys before the damage were restored.
    Damaged {
        /// The number of keys that were restored.
        restored: u64,
    },
    /// The snapshot is followed by further bytes, so the input is more than the output of [`snapshot_to`](crate::KeyedMeter::snapshot_to). All keys
    /// were restored. If the input holds more on purpose, pass only the part with the snapshot (`Read::take`).
    BytesAfterEnd {
        /// The number of keys that were restored.
        restored: u64,
    },
    /// Some keys could not be restored; all remaining keys were. There are two reasons. The live keys of this table left no slot for them, and
    /// [`WhenFull`](super::WhenFull) is not `Forgive`. Or their debt reaches past the end of the time line.
    LeftOut {
        /// The number of keys that were restored.
        restored: u64,
        /// The number of keys that were not restored.
        left_out: u64,
    },
}

impl RestoreKeysError {
    /// Converts a read error after `restored` keys.
    pub(super) fn at_key(error: io::Error, restored: u64) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Damaged { restored },
            _ => Self::Io { error, restored },
        }
    }
}

impl From<io::Error> for RestoreKeysError {
    fn from(error: io::Error) -> Self {
        Self::at_key(error, 0)
    }
}

impl fmt::Display for RestoreKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { error, restored } => {
                write!(
                    f,
                    "the snapshot could not be read after {restored} keys, which were restored: {error}"
                )
            }
            Self::NotKeys => f.write_str("not a snapshot of keys"),
            Self::UnknownVersion(version) => write!(
                f,
                "the snapshot has format version {version}, this crate restores version {VERSION}: start with an empty table"
            ),
            Self::AnotherShape { snapshot, table } => {
                write!(
                    f,
                    "the snapshot is of a table of {snapshot} slots, and this one has {table}: build it for as many keys"
                )
            }
            Self::AnotherLimit { snapshot, table } => {
                write!(
                    f,
                    "the snapshot is of a table for {snapshot}, and this one is for {table}: restore_changed_from takes other quotas, in as many tiers of the same algorithm"
                )
            }
            Self::AnotherHash => {
                f.write_str("the snapshot is of a table with other hashes: restore with the same seed")
            }
            Self::Damaged { restored } => {
                write!(f, "the snapshot is damaged after {restored} keys, which were restored")
            }
            Self::BytesAfterEnd { restored } => write!(
                f,
                "further bytes follow the snapshot, of which all {restored} keys were restored"
            ),
            Self::LeftOut { restored, left_out } => {
                write!(
                    f,
                    "{left_out} keys of the snapshot found no slot or owe more than a word can record, {restored} were restored"
                )
            }
        }
    }
}

impl Error for RestoreKeysError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { error, .. } => error.source(),
            _ => None,
        }
    }
}
