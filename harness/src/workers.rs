//! Threads that judge states side by side. Each has a ground of its own: a seam, a launcher and the checks, on a CPU of
//! its own. Who hands in work gets a ticket for its result; taking results in the order of the tickets, nothing that is
//! told of a campaign depends on how many threads there are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

use crate::cpus;
use crate::error::Error;
use crate::ground::GroundSeed;
use crate::prepare::{Known, Prepared, PreparedPhase};

/// Work is done by one of the threads, on what that one has prepared, or is told why nothing could be.
type Work = Box<dyn FnOnce(Result<&mut Prepared, Error>) + Send>;

struct Job {
    work: Work,
    /// Nobody waits for it any more once this is gone.
    wanted: Weak<()>,
}

/// Jobs that wait or are under way, for each thread: enough that one slow job does not idle the others.
const WINDOW_PER_WORKER: usize = 16;
const NARROW_WINDOW_PER_WORKER: usize = 3;

/// The threads.
#[derive(Debug)]
pub struct Workers {
    /// None only while they are being let go.
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// Where the result of a job arrives. Dropped before the job has begun, the job is left undone.
#[derive(Debug)]
pub struct Ticket<T> {
    result: Receiver<Result<T, Error>>,
    _wanted: Arc<()>,
}

impl<T> Ticket<T> {
    /// Waits for the result.
    pub fn wait(self) -> Result<T, Error> {
        self.result.recv().unwrap_or(Err(Error::WorkerPanicked))
    }
}

impl Workers {
    /// Starts so many threads on grounds like the one that is there. Where mounts can't be had for each thread alone, it
    /// is one, since paths must be the same. The calling thread may use every CPU from now on.
    pub fn start(prepared: &mut Prepared, allowed: &[usize], wanted: usize) -> Result<Self, Error> {
        let seed = prepared.ground.seed()?;
        let known: Vec<Known> = prepared.phases.iter().map(|phase| phase.known.clone()).collect();
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        cpus::bind(allowed)?;
        let number = if seed.has_private_mounts() { wanted.max(1) } else { 1 };
        let threads = (0..number)
            .map(|index| {
                let (seed, known, waiting) = (seed.clone(), known.clone(), Arc::clone(&waiting));
                let cpu = allowed[index % allowed.len()];
                Builder::new()
                    .name(format!("worker-{index}"))
                    .spawn(move || serve(&waiting, || prepare(seed, known, cpu)))
                    .map_err(Error::Worker)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// How many jobs should be under way or wait, at most.
    pub fn window(&self) -> usize {
        self.threads.len() * WINDOW_PER_WORKER
    }

    /// The same for jobs whose results are large.
    pub fn narrow_window(&self) -> usize {
        self.threads.len() * NARROW_WINDOW_PER_WORKER
    }

    /// Hands in a job.
    pub fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Prepared) -> Result<T, Error> + Send + 'static,
    ) -> Ticket<T> {
        let (sender, result): (SyncSender<Result<T, Error>>, _) = sync_channel(1);
        let wanted = Arc::new(());
        let work: Work = Box::new(move |prepared| {
            // Who no longer waits for it does not need it.
            let _ = sender.send(prepared.and_then(work));
        });
        if let Some(jobs) = &self.jobs {
            // Where no thread is left, the wait for the result says so.
            let _ = jobs.send(Job { work, wanted: Arc::downgrade(&wanted) });
        }
        Ticket { result, _wanted: wanted }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic was told as the result of its job.
            let _ = thread.join();
        }
    }
}

fn prepare(seed: GroundSeed, known: Vec<Known>, cpu: usize) -> Result<Prepared, Error> {
    let mut ground = seed.grow(cpu)?;
    let phases =
        known.into_iter().map(|known| PreparedPhase::on(&mut ground, known)).collect::<Result<_, _>>()?;
    Ok(Prepared { phases, ground })
}

/// Does jobs until there are no more, or one of them panics.
fn serve(jobs: &Mutex<Receiver<Job>>, prepare: impl FnOnce() -> Result<Prepared, Error>) {
    let mut prepared = catch_unwind(AssertUnwindSafe(prepare)).unwrap_or(Err(Error::WorkerPanicked));
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { work, wanted }) = job else { return };
        if wanted.strong_count() == 0 {
            continue;
        }
        let done = match &mut prepared {
            Ok(prepared) => catch_unwind(AssertUnwindSafe(|| work(Ok(prepared)))),
            // The first job is told why; the campaign ends with that.
            failed => {
                let why = std::mem::replace(failed, Err(Error::WorkerPanicked)).map(|_| ());
                catch_unwind(AssertUnwindSafe(|| work(Err(why.err().unwrap_or(Error::WorkerPanicked)))))
            }
        };
        if done.is_err() {
            return;
        }
    }
}
