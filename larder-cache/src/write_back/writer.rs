//! The thread that writes the log, so that nobody else waits for a disk: what comes while it syncs is written together,
//! by one call, and synced together.

use super::log::{Log, Record};
use std::sync::mpsc;
use tokio::sync::oneshot;

/// What is written in one frame, about.
const GROUP_MAX: usize = 4 << 20;

struct Job {
    records: Vec<Record>,
    done: Option<oneshot::Sender<Result<(), String>>>,
    /// The log is closed after it.
    is_last: bool,
}

/// A handle on the thread; it ends with the last one.
#[derive(Clone)]
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    pub(super) fn start(mut log: Log) -> std::io::Result<Writer> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let write = move || {
            while let Ok(first) = inbox.recv() {
                let mut size = first.size();
                let mut group = vec![first];
                while size < GROUP_MAX
                    && let Ok(next) = inbox.try_recv()
                {
                    size += next.size();
                    group.push(next);
                }
                let records: Vec<Record> = group.iter_mut().flat_map(|job| job.records.drain(..)).collect();
                let outcome = log.append(&records).map_err(|error| error.to_string());
                let is_last = group.iter().any(|job| job.is_last);
                if is_last {
                    // Before anybody is told: the file is free for the next one.
                    drop(log);
                    group
                        .into_iter()
                        .filter_map(|job| job.done)
                        .for_each(|done| _ = done.send(outcome.clone()));
                    return;
                }
                for done in group.into_iter().filter_map(|job| job.done) {
                    // Who has gone need not be told.
                    let _ = done.send(outcome.clone());
                }
            }
        };
        std::thread::Builder::new().name("write-back log".to_owned()).spawn(write)?;
        Ok(Writer { jobs })
    }

    /// Writes records, and waits until they are as safe as the log makes them.
    pub(super) async fn write(&self, records: Vec<Record>) -> Result<(), String> {
        self.send(records, false).await
    }

    /// Closes the log after all that was sent before.
    pub(super) async fn close(&self) {
        // What could not be written has been told to those who wanted it.
        let _ = self.send(Vec::new(), true).await;
    }

    async fn send(&self, records: Vec<Record>, is_last: bool) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let closed = || Err("it is closed".to_owned());
        match self.jobs.send(Job { records, done: Some(done), is_last }) {
            Ok(()) => outcome.await.unwrap_or_else(|_| closed()),
            Err(_) => closed(),
        }
    }

    /// Writes records that may be lost: what they say is then found out again.
    pub(super) fn note(&self, records: Vec<Record>) {
        if !records.is_empty() {
            let _ = self.jobs.send(Job { records, done: None, is_last: false });
        }
    }
}

impl Job {
    fn size(&self) -> usize {
        self.records.iter().map(Record::size).sum()
    }
}
