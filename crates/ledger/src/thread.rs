//! The ledger's own thread, and the one that has the disk take what was written.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tollgate_model::Timestamp;
use tollgate_telemetry::events::{LedgerStuck, LedgerUp};

use crate::chain::Chain;
use crate::prepare::{BARE_LINE_BYTES_MAX, Prepared, Role};
use crate::writer::{Down, End, Job, Queue, Writer};
use crate::{Entry, Kind, OpenCall, Outcome};

/// How often the thread looks again while entries are written.
const BEAT: Duration = Duration::from_millis(20);
/// How soon it looks again where somebody else writes.
const SHORT: Duration = Duration::from_micros(200);
/// How often what was written is signed.
const CHECKPOINT: Duration = Duration::from_secs(1);
/// How often it is tried to write again.
const RETRY: Duration = Duration::from_millis(500);
/// How long it waits at most before it is tried again to begin a segment.
const RETRY_SEGMENT_MAX: Duration = Duration::from_mins(1);
/// After how long without a slow write everybody may write again.
const CALM: Duration = Duration::from_secs(1);
/// How often the disk is asked to take what was written.
const SYNC: Duration = Duration::from_secs(1);
/// After how long such a request says that the disk hangs.
const SYNC_SLOW_MS: u64 = 500;
/// How many outcomes are tried at once where there is little room.
const FEW: usize = 64;
/// How much room is kept for outcomes, at least.
const RESERVE_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// How often it is tried to keep more.
const RESERVE: Duration = Duration::from_secs(1);

/// When what is due.
struct Due {
    checkpoint: Instant,
    retry: Instant,
    /// When a segment may begin, where the last try failed, and how long to wait after the next failure.
    segment: Instant,
    segment_pause: Duration,
    /// The number of the last entry when a checkpoint was written.
    signed: u64,
    /// The number of the last entry that was told.
    told: u64,
    /// Whether room is kept on the disk.
    has_reserve: bool,
    /// How much, and when it may be tried to keep more.
    reserve_bytes: u64,
    reserve: Instant,
    /// Whether outcomes could be written last, also where nothing else can.
    outcomes_fit: bool,
}

/// Writes what there is to be written first, and starts the threads of a writer. They end with it.
pub(crate) fn start(writer: &Arc<Writer>) -> io::Result<()> {
    let now = Instant::now();
    let mut due = Due {
        checkpoint: now,
        retry: now,
        segment: now,
        segment_pause: RETRY,
        signed: 0,
        told: 0,
        has_reserve: false,
        reserve_bytes: 0,
        reserve: now,
        outcomes_fit: true,
    };
    let begun = writer.queue().at.seq;
    let first = {
        let mut queue = writer.queue();
        queue.is_writing = true;
        queue.take()
    };
    take_turn(writer, first, &mut due, false);
    let own = Arc::clone(writer);
    let handle = thread::Builder::new().name("ledger".to_owned()).spawn(move || run(&own, due))?;
    writer.runs_on(handle.thread().clone());
    if !writer.is_power() {
        let own = Arc::downgrade(writer);
        thread::Builder::new().name("ledger-sync".to_owned()).spawn(move || sync(&own, begun))?;
    }
    Ok(())
}

fn run(writer: &Arc<Writer>, mut due: Due) {
    loop {
        let mut queue = writer.queue();
        if hangs(writer) {
            queue.slow_at = Some(Instant::now());
            queue.is_open_to_all = false;
        }
        let is_due = is_due(writer, &queue, &due);
        if is_due && !queue.is_writing {
            (queue.is_writing, queue.is_wanted, queue.is_watched) = (true, false, true);
            let jobs = queue.take();
            let ends = queue.end == End::Asked;
            drop(queue);
            take_turn(writer, jobs, &mut due, ends);
            if ends {
                return;
            }
            continue;
        }
        queue.is_wanted = is_due;
        let at = queue.at;
        let sleeps = !is_due && may_sleep(writer, &queue, &due);
        queue.is_watched = !sleeps;
        drop(queue);
        if due.told != at.seq {
            due.told = at.seq;
            writer.position.send_replace(at);
        }
        if sleeps {
            thread::park();
        } else {
            thread::park_timeout(if is_due { SHORT } else { BEAT });
        }
    }
}

/// Whether there is something to do for the thread.
fn is_due(writer: &Writer, queue: &Queue, due: &Due) -> bool {
    let now = Instant::now();
    let is_unsigned = queue.at.seq != due.signed || queue.has_gap() || !due.has_reserve;
    queue.end == End::Asked
        || match queue.down {
            Some(_) => now >= due.retry || due.outcomes_fit && !queue.waiting.is_empty(),
            None => {
                !queue.waiting.is_empty()
                    || queue.wants_segment() && now >= due.segment
                    || is_unsigned && now >= due.checkpoint
                    || wants_reserve(writer, due)
            }
        }
}

/// Whether there is to be more room for outcomes than there is: before it is used up.
fn wants_reserve(writer: &Writer, due: &Due) -> bool {
    due.has_reserve && due.reserve_bytes < reserve_for(writer) && Instant::now() >= due.reserve
}

/// How much room there should be for the outcomes that may come: twice as much as they need.
fn reserve_for(writer: &Writer) -> u64 {
    let bytes = writer.open().saturating_mul(2 * BARE_LINE_BYTES_MAX) as u64;
    bytes.max(RESERVE_BYTES_MIN)
}

/// Whether nothing will be to do until somebody says so.
fn may_sleep(writer: &Writer, queue: &Queue, due: &Due) -> bool {
    queue.down.is_none()
        && !queue.has_gap()
        && !queue.wants_segment()
        && due.has_reserve
        && queue.at.seq == due.signed
        && queue.at.seq == due.told
        && (queue.is_open_to_all || writer.is_power())
}

/// Whether the disk does not take what was written.
fn hangs(writer: &Writer) -> bool {
    let since = writer.syncing.load(Ordering::Relaxed);
    since != 0 && writer.ms().saturating_sub(since) >= SYNC_SLOW_MS
}

/// Does all that is due, as the one who writes.
fn take_turn(writer: &Arc<Writer>, mut jobs: Vec<Job>, due: &mut Due, ends: bool) {
    jobs.retain(|job| !job.is_idle());
    let mut chain = writer.chain();
    let done = work(writer, &mut chain, &mut jobs, due);
    if let Err(error) = &done {
        due.retry = Instant::now() + RETRY;
        due.outcomes_fit &= jobs.is_empty();
        writer.fail(error, &mut jobs);
    }
    if ends {
        let finished = done.and_then(|()| finish(writer, &mut chain));
        if let Err(error) = finished {
            tracing::warn!(%error, "the ledger does not end in good order: it is closed at the next start");
        }
    }
    let (at, is_full) = (chain.at(), writer.is_full(&chain));
    drop(chain);
    let mut queue = writer.queue();
    (queue.at, queue.is_full) = (at, is_full);
    queue.is_written();
    if ends {
        queue.end = End::Done;
        // Nobody waits any more for what is left.
        let left = queue.take();
        queue.is_written();
        drop(queue);
        drop(left);
        writer.position.send_replace(at);
        writer.own.release();
        writer.is_closed.send_replace(true);
        return;
    }
    if !writer.is_power() && queue.down.is_none() && !queue.is_open_to_all {
        let is_calm = queue.slow_at.is_none_or(|slow| slow.elapsed() >= CALM);
        queue.is_open_to_all = is_calm && !hangs(writer);
    }
}

fn work(writer: &Arc<Writer>, chain: &mut Chain, jobs: &mut Vec<Job>, due: &mut Due) -> io::Result<()> {
    let was_down = writer.queue().down.is_some();
    chain.repair()?;
    begin_segment(writer, chain, due, was_down)?;
    // Few at once where there is little room: some of them fit, at least.
    let few = if was_down { FEW } else { jobs.len().max(1) };
    while !jobs.is_empty() {
        let mut some: Vec<Job> = jobs.drain(..few.min(jobs.len())).collect();
        let written = write(writer, chain, &mut some, due, was_down);
        match written {
            Ok(first) => Writer::settle(&mut some, first),
            Err(error) => {
                some.append(jobs);
                *jobs = some;
                return Err(error);
            }
        }
    }
    due.outcomes_fit = true;
    if was_down && Instant::now() < due.retry {
        // Outcomes are signed meanwhile too, if that fits: a crash is not to leave more in doubt than it has to.
        _ = sign(writer, chain, due);
        return Ok(());
    }
    keep_reserve(writer, chain, due)?;
    say_what_is_lost(writer, chain)?;
    if was_down {
        watched(writer, || chain.sync())?;
        writer.queue().down = None;
        LedgerUp.emit();
    }
    sign(writer, chain, due)
}

/// Signs what was written, if that is due.
fn sign(writer: &Writer, chain: &mut Chain, due: &mut Due) -> io::Result<()> {
    let now = Instant::now();
    if now >= due.checkpoint && chain.at().seq != due.signed {
        due.checkpoint = now + CHECKPOINT;
        chain.checkpoint(&writer.keys)?;
        due.signed = chain.at().seq;
    }
    Ok(())
}

/// Begins a segment, if one is due. Where that fails and there is one, it is gone on with, for longer than it should be: what has
/// begun has to get its outcome, wherever that stands.
fn begin_segment(writer: &Arc<Writer>, chain: &mut Chain, due: &mut Due, was_down: bool) -> io::Result<()> {
    let unsure = writer.queue().unsure;
    let wants = unsure.is_some() || writer.is_full(chain);
    // What room there is, is for outcomes.
    let may_wait = Instant::now() < due.segment || was_down && unsure.is_none();
    if !wants || may_wait && chain.is_begun() {
        return Ok(());
    }
    if let Err(error) = make_room(chain, due, |chain| chain.begin_segment(&writer.keys)) {
        chain.repair()?;
        if !chain.is_begun() {
            return Err(error);
        }
        due.segment = Instant::now() + due.segment_pause;
        due.segment_pause = (due.segment_pause * 2).min(RETRY_SEGMENT_MAX);
        writer.numbers.stuck.fetch_add(1, Ordering::Relaxed);
        let reason: Arc<str> = error.to_string().into();
        let mut queue = writer.queue();
        if queue.stuck.is_none() {
            LedgerStuck { reason: &reason }.emit();
        }
        let since = queue.stuck.as_ref().map_or_else(Timestamp::now, |stuck| stuck.since);
        queue.stuck = Some(Down { reason, since });
        return Ok(());
    }
    due.segment_pause = RETRY;
    if writer.queue().stuck.take().is_some() {
        LedgerStuck::is_over();
    }
    // In a file that nothing has failed in.
    if let Some(unsure) = unsure {
        let range = [("unsynced_from", unsure.first), ("unsynced_to", unsure.last)];
        let [from, to] = range.map(|(name, seq)| (name, Value::from(seq)));
        let detail = [from, to, ("since_ms", unsure.since.as_ms().into())];
        chain.append(std::iter::once(&entry_of(Kind::Gap, detail)?))?;
        let mut queue = writer.queue();
        queue.unsure = queue.unsure.filter(|now| *now != unsure);
    }
    Ok(())
}

/// Writes entries. `outcomes_only`: for them the room is given up that is kept, and of them is written what fits there.
fn write(
    writer: &Writer,
    chain: &mut Chain,
    jobs: &mut [Job],
    due: &mut Due,
    outcomes_only: bool,
) -> io::Result<u64> {
    let shed = |jobs: &mut [Job]| jobs.iter_mut().for_each(|job| job.prepared.shed());
    if outcomes_only && !due.has_reserve {
        shed(jobs);
    }
    let written = writer.write(chain, jobs, None);
    if !outcomes_only || !has_no_room(&written) {
        return written;
    }
    shed(jobs);
    due.has_reserve &= !chain.release_reserve();
    chain.repair()?;
    writer.write(chain, jobs, None)
}

/// Keeps room for outcomes, as much as is needed.
fn keep_reserve(writer: &Writer, chain: &Chain, due: &mut Due) -> io::Result<()> {
    let had = due.has_reserve;
    if had && !wants_reserve(writer, due) {
        return Ok(());
    }
    let bytes = reserve_for(writer).next_power_of_two();
    due.reserve = Instant::now() + RESERVE;
    match chain.make_reserve(bytes) {
        Ok(()) => {
            (due.has_reserve, due.reserve_bytes) = (true, bytes);
            writer.room.store(usize::MAX, Ordering::Relaxed);
            Ok(())
        }
        // What is there is enough for so many, and no more are begun.
        Err(_) if had => {
            let room = due.reserve_bytes / BARE_LINE_BYTES_MAX as u64;
            writer.room.store(usize::try_from(room).unwrap_or(usize::MAX), Ordering::Relaxed);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Does something that needs room; where there is none, once more in the room that is kept.
fn make_room<T>(
    chain: &mut Chain,
    due: &mut Due,
    mut what: impl FnMut(&mut Chain) -> io::Result<T>,
) -> io::Result<T> {
    let done = what(chain);
    if !has_no_room(&done) || !chain.release_reserve() {
        return done;
    }
    due.has_reserve = false;
    chain.repair()?;
    what(chain)
}

/// Whether something failed for want of room.
fn has_no_room<T>(done: &io::Result<T>) -> bool {
    done.as_ref()
        .is_err_and(|error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

/// Writes how many entries could not be written, and how many calls were carried out all the same, if there are any.
fn say_what_is_lost(writer: &Writer, chain: &mut Chain) -> io::Result<()> {
    let (lost, passed_by, since) = {
        let queue = writer.queue();
        (queue.lost, queue.passed_by, queue.lost_since.filter(|_| queue.has_gap()))
    };
    let Some(since) = since else { return Ok(()) };
    let detail = [("entries", lost.into()), ("calls", passed_by.into()), ("since_ms", since.as_ms().into())];
    chain.append(std::iter::once(&entry_of(Kind::Gap, detail)?))?;
    let mut queue = writer.queue();
    (queue.lost, queue.passed_by) = (queue.lost - lost, queue.passed_by - passed_by);
    queue.lost_since = queue.has_gap().then(Timestamp::now);
    Ok(())
}

/// Ends in good order: whatever is open gets its outcome.
fn finish(writer: &Writer, chain: &mut Chain) -> io::Result<()> {
    let mut last = outcomes(chain.open(), Outcome::Stopped)?;
    let detail = [("closed", Value::from(last.len()))];
    last.push(entry_of(Kind::Stopped, detail)?);
    chain.append(last.iter())?;
    chain.checkpoint(&writer.keys)?;
    chain.sync()
}

/// An entry of this kind with this detail.
pub(crate) fn entry_of<const LEN: usize>(kind: Kind, detail: [(&str, Value); LEN]) -> io::Result<Prepared> {
    let detail: Map<String, Value> =
        detail.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry = Entry { detail: Some(detail), ..Entry::of(kind) };
    Prepared::plain(&entry, Role::Other).map_err(io::Error::other)
}

/// Outcomes for intents that get none otherwise.
pub(crate) fn outcomes<'o>(
    open: impl Iterator<Item = &'o OpenCall>,
    outcome: Outcome,
) -> io::Result<Vec<Prepared>> {
    let of = |OpenCall { seq, call, step, tenant }: &OpenCall| {
        let entry = Entry {
            call: Some(*call),
            step: *step,
            of: Some(*seq),
            tenant: tenant.as_deref().map(Into::into),
            outcome: Some(outcome),
            ..Entry::of(Kind::Outcome)
        };
        Prepared::plain(&entry, Role::Outcome(*seq)).map_err(io::Error::other)
    };
    open.map(of).collect()
}

/// Does what may hang, so that it is seen if it does.
fn watched<T>(writer: &Writer, what: impl FnOnce() -> T) -> T {
    writer.writing.store(writer.ms(), Ordering::Relaxed);
    let done = what();
    writer.writing.store(0, Ordering::Relaxed);
    done
}

/// Has the disk take what was written, now and then, where nobody waits for it. A disk that fails or hangs shows here first.
/// `synced`: the last entry of which somebody else has seen to it.
fn sync(writer: &Weak<Writer>, mut synced: u64) {
    loop {
        thread::sleep(SYNC);
        let Some(writer) = writer.upgrade() else { return };
        if *writer.is_closed.borrow() {
            return;
        }
        let at = writer.queue().at.seq;
        let owed = writer.chain.try_lock().ok().filter(|_| at != synced).map(|mut chain| chain.take_owed());
        let Some(owed) = owed else { continue };
        writer.syncing.store(writer.ms(), Ordering::Relaxed);
        let done = owed.sync();
        writer.syncing.store(0, Ordering::Relaxed);
        // The disk may have thrown away what it did not take: to ask again says nothing of it.
        if let Err(error) = done {
            writer.is_unsure(synced + 1, at, &error);
        }
        synced = at;
        writer.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::{Draft, Health, Ledger, LedgerSettings, Read, Reader};

    fn entries(folder: &std::path::Path) -> Vec<Read> {
        let mut reader = Reader::new(folder);
        std::iter::from_fn(|| reader.next_entry().expect("readable")).collect()
    }

    #[tokio::test]
    async fn what_the_disk_did_not_take_is_a_gap_in_a_new_segment() {
        let root = tempfile::tempdir().expect("a folder");
        let ledger = Ledger::open(root.path(), LedgerSettings::default()).expect("a ledger");
        let folder = ledger.folder().expect("a folder").to_owned();
        // No disk takes what is in a pipe.
        let (_end, pipe) = io::pipe().expect("a pipe");
        ledger.writer().expect("it is on").chain().owe(OwnedFd::from(pipe).into());
        ledger.note(Draft::of(Entry::of(Kind::Refusal))).await.expect("written");
        let began = Instant::now();
        let (gap, entry) = loop {
            let all = entries(&folder);
            let gap = all.into_iter().find(|read| read.entry().expect("an entry").kind == Kind::Gap);
            if let Some(gap) = gap {
                let entry: Entry<'static> = serde_json::from_slice(&gap.json).expect("an entry");
                break (gap, entry);
            }
            assert!(began.elapsed() < Duration::from_secs(20), "no gap");
            thread::sleep(Duration::from_millis(5));
        };
        // The segment's own head is before it, and everything so far is in doubt.
        assert_eq!(gap.segment, entry.seq - 1);
        let detail = entry.detail.expect("a detail");
        let [from, to] =
            ["unsynced_from", "unsynced_to"].map(|name| detail[name].as_u64().expect("a number"));
        assert_eq!(from, 1);
        assert!(to >= 3, "{detail:?}");
        while ledger.health() != Health::Up {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", ledger.health());
            thread::sleep(Duration::from_millis(5));
        }
        ledger.note(Draft::of(Entry::of(Kind::Refusal))).await.expect("written");
        ledger.close().await;
        assert_eq!(ledger.work().unsynced, 1);
        let gaps =
            entries(&folder).iter().filter(|read| read.entry().expect("an entry").kind == Kind::Gap).count();
        assert_eq!(gaps, 1, "it is said once");
    }
}
