//! A few threads that only read, so that a long list never holds the writer or a reactor up. Knows no table.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::fault::Fault;
use super::writer::unwound;
use crate::messages::store::{StoreError, StoreResult};
use crate::store::Pending;

/// What readers are told.
pub(super) enum Asked {
    /// Read this.
    Question(Box<dyn FnOnce(&Connection) + Send>),
    /// One of the readers is to go.
    Stop,
}

/// Queues a question. Never waits.
pub(super) fn ask<T, W>(queue: &SyncSender<Asked>, folder: &Arc<PathBuf>, work: W) -> Pending<T>
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
{
    let (to, answer) = oneshot::channel::<StoreResult<T>>();
    let folder = Arc::clone(folder);
    let question = move |db: &Connection| {
        if to.is_closed() {
            return;
        }
        let read = unwound(|| {
            // One snapshot for all statements of a question: a page and its total belong together.
            let snapshot = db.unchecked_transaction()?;
            let read = work(db)?;
            snapshot.finish()?;
            Ok(read)
        });
        // Nobody waits any more: nothing to do.
        let _ = to.send(read.map_err(|fault| fault.heard(&folder)));
    };
    match queue.try_send(Asked::Question(Box::new(question))) {
        Ok(()) => answer.map(|answer| answer.unwrap_or(Err(StoreError::Closed))).boxed(),
        Err(TrySendError::Full(_)) => futures_util::future::ready(Err(StoreError::Busy)).boxed(),
        Err(TrySendError::Disconnected(_)) => futures_util::future::ready(Err(StoreError::Closed)).boxed(),
    }
}

/// Works through questions until told to stop. Readers share one queue: whoever is free takes the next.
pub(super) fn run(db: &Connection, queue: &Mutex<Receiver<Asked>>) {
    loop {
        // The lock is held while waiting and given back before reading. A poisoned one still guards a whole receiver.
        let asked = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match asked {
            Ok(Asked::Question(question)) => question(db),
            Ok(Asked::Stop) | Err(_) => return,
        }
    }
}
