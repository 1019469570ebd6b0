//! The clauses about counters. A device without them answers `Unsupported`, and that is a clause.

use super::clauses::{Named, can, ensure, expect_kind, show};
use super::{Bench, Clause};
use crate::error::ErrorKind;
use crate::key::{Capabilities, CounterRef, KeyBlob, KeyId};

/// Every clause.
pub(super) const ALL: &[Named] = &[
    ("without counters every counter verb is unsupported", absent_counters),
    ("a counter rises and is read as it is", counter_rises),
    ("a counter outlives closing and opening", counter_survives),
    ("counters do not disturb each other", counters_are_apart),
    ("no value is given twice to concurrent calls", increments_are_distinct),
    ("an id has one counter", id_has_one_counter),
    ("a counter is refused under another id", id_is_bound),
    ("an altered counter blob is refused", altered_blob),
    ("a foreign counter blob is refused", foreign_blob),
    ("a destroyed counter is gone, by id alone too", destroyed_counter),
];

/// Threads and increments of each, where a device takes several at once.
const THREADS: usize = 4;
const INCREMENTS: usize = 10;

struct Counter {
    id: KeyId,
    blob: KeyBlob,
    first: u64,
}

impl Counter {
    fn create(bench: &Bench<'_>) -> Result<Self, String> {
        let id = bench.id();
        let made = bench.instance.counter_create(id);
        let (blob, first) = made.map_err(|error| format!("counter_create: {error}"))?;
        Ok(Self { id, blob, first })
    }

    fn as_ref(&self) -> CounterRef<'_> {
        CounterRef { id: self.id, blob: &self.blob.0 }
    }

    fn increment(&self, bench: &Bench<'_>) -> Result<u64, String> {
        let raised = bench.instance.counter_increment(self.as_ref());
        raised.map_err(|error| format!("counter_increment: {error}"))
    }

    fn read(&self, bench: &Bench<'_>) -> Result<u64, String> {
        let read = bench.instance.counter_read(self.as_ref());
        read.map_err(|error| format!("counter_read: {error}"))
    }

    fn destroy(&self, bench: &Bench<'_>) -> Clause {
        let gone = bench.instance.counter_destroy(self.as_ref());
        gone.map_err(|error| format!("counter_destroy: {error}"))
    }
}

fn absent_counters(bench: &Bench<'_>) -> Clause {
    if can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let unsupported = &[ErrorKind::Unsupported];
    let counter = CounterRef { id: bench.id(), blob: b"blob" };
    expect_kind(bench.instance.counter_create(counter.id), unsupported)?;
    expect_kind(bench.instance.counter_increment(counter), unsupported)?;
    expect_kind(bench.instance.counter_read(counter), unsupported)?;
    expect_kind(bench.instance.counter_destroy(counter), unsupported)
}

fn counter_rises(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let counter = Counter::create(bench)?;
    ensure(counter.read(bench)? == counter.first, "the first value is not read back")?;
    let mut last = counter.first;
    for _ in 0..3 {
        let raised = counter.increment(bench)?;
        ensure(raised > last, "it did not rise")?;
        ensure(counter.read(bench)? == raised, "another value is read than was given")?;
        ensure(counter.read(bench)? == raised, "reading changed it")?;
        last = raised;
    }
    counter.destroy(bench)
}

fn counter_survives(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let counter = Counter::create(bench)?;
    let before = counter.increment(bench)?;
    let (settings, secrets) = (bench.setup.device)();
    let opened = bench.plugin.open(&settings, &secrets, Some(&bench.identity));
    let (instance, _identity) = opened.map_err(show)?;
    let read = instance.counter_read(counter.as_ref()).map_err(show)?;
    ensure(read == before, "it has another value after opening")?;
    let raised = instance.counter_increment(counter.as_ref()).map_err(show)?;
    ensure(raised > before, "it did not rise after opening")?;
    drop(instance);
    ensure(counter.increment(bench)? > raised, "it fell after closing")?;
    counter.destroy(bench)
}

fn counters_are_apart(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let (one, two) = (Counter::create(bench)?, Counter::create(bench)?);
    let still = one.read(bench)?;
    (0..3).try_for_each(|_| two.increment(bench).map(drop))?;
    ensure(one.read(bench)? == still, "raising one raised the other")?;
    two.destroy(bench)?;
    ensure(one.read(bench)? == still, "destroying one changed the other")?;
    one.destroy(bench)
}

fn increments_are_distinct(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let threads = usize::try_from(bench.instance.info().map_err(show)?.concurrency);
    let threads = threads.unwrap_or(1).clamp(1, THREADS);
    let counter = Counter::create(bench)?;
    let instance = &bench.instance;
    let given = std::thread::scope(|scope| {
        let raise = || {
            let raise = |_| instance.counter_increment(counter.as_ref()).map_err(show);
            (0..INCREMENTS).map(raise).collect::<Result<Vec<_>, String>>()
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(raise)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<u64>, String>>| {
            thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
        };
        running.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let mut values = given.concat();
    let rises = given.iter().all(|values| values.is_sorted());
    ensure(rises, "a thread saw it fall")?;
    values.sort_unstable();
    values.dedup();
    ensure(values.len() == threads * INCREMENTS, "a value was given twice")?;
    ensure(values.first().is_some_and(|least| *least > counter.first), "the first came again")?;
    ensure(values.last() == Some(&counter.read(bench)?), "the last value is not the greatest")?;
    counter.destroy(bench)
}

fn id_has_one_counter(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let counter = Counter::create(bench)?;
    expect_kind(bench.instance.counter_create(counter.id), &[ErrorKind::KeyExists])?;
    ensure(counter.read(bench)? == counter.first, "the refusal changed it")?;
    counter.destroy(bench)
}

fn id_is_bound(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let counter = Counter::create(bench)?;
    let other = CounterRef { id: bench.id(), ..counter.as_ref() };
    expect_kind(bench.instance.counter_increment(other), &[ErrorKind::InvalidParameter])?;
    expect_kind(bench.instance.counter_read(other), &[ErrorKind::InvalidParameter])?;
    ensure(counter.read(bench)? == counter.first, "a refused call raised it")?;
    counter.destroy(bench)
}

fn altered_blob(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let counter = Counter::create(bench)?;
    for position in 0..counter.blob.0.len() {
        let mut blob = counter.blob.0.clone();
        if let Some(byte) = blob.get_mut(position) {
            *byte ^= 0x04;
        }
        let altered = CounterRef { blob: &blob, ..counter.as_ref() };
        // A provider may ignore a byte, but never count with another counter.
        if let Ok(value) = bench.instance.counter_read(altered) {
            let same = value == counter.first;
            ensure(same, &format!("byte {position} flipped, and another counter was read"))?;
        }
    }
    for length in 0..counter.blob.0.len() {
        let blob = counter.blob.0.get(..length).unwrap_or_default();
        let cut = bench.instance.counter_increment(CounterRef { blob, ..counter.as_ref() });
        expect_kind(cut, &[ErrorKind::Integrity, ErrorKind::InvalidParameter])
            .map_err(|seen| format!("cut to {length} bytes: {seen}"))?;
    }
    ensure(counter.read(bench)? == counter.first, "a refused call raised it")?;
    counter.destroy(bench)
}

fn foreign_blob(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let (settings, secrets) = (bench.setup.other_device)();
    let (other, _identity) = bench.plugin.open(&settings, &secrets, None).map_err(show)?;
    let id = bench.id();
    let (KeyBlob(blob), _first) = other.counter_create(id).map_err(show)?;
    let foreign = CounterRef { id, blob: &blob };
    let refused = &[ErrorKind::WrongDevice, ErrorKind::Integrity];
    expect_kind(bench.instance.counter_read(foreign), refused)?;
    expect_kind(bench.instance.counter_increment(foreign), refused)?;
    other.counter_destroy(foreign).map_err(show)
}

fn destroyed_counter(bench: &Bench<'_>) -> Clause {
    if !can(bench, Capabilities::COUNTER)? {
        return Ok(());
    }
    let gone = &[ErrorKind::KeyNotFound];
    let counter = Counter::create(bench)?;
    counter.destroy(bench)?;
    expect_kind(bench.instance.counter_read(counter.as_ref()), gone)?;
    expect_kind(bench.instance.counter_increment(counter.as_ref()), gone)?;
    counter.destroy(bench).map_err(|seen| format!("second time: {seen}"))?;
    let unfinished = Counter::create(bench)?;
    let by_id = CounterRef { blob: &[], ..unfinished.as_ref() };
    bench.instance.counter_destroy(by_id).map_err(|error| format!("by id: {error}"))?;
    expect_kind(bench.instance.counter_read(unfinished.as_ref()), gone)
}
