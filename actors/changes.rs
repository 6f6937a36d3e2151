//! The board on which writers note what they changed, and where whoever looks keeps their own place. Knows the domain only.
//!
//! There is one list for everybody, bounded, and a reader is no more than a place in it: two hundred readers cost two hundred
//! numbers, and a slow one holds nobody up. It learns that it missed something, and reads again what it shows.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::domain::Change;

/// How many changes stay on the board, for readers that come back: about 1.5 MB of them.
pub const KEPT: usize = 16_384;

/// The board. Cheap to clone; all clones are the same board.
#[derive(Debug, Clone)]
pub struct Board(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    boot: String,
    list: Mutex<List>,
    /// How many changes there were so far.
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct List {
    /// The newest of them, oldest first.
    kept: VecDeque<Change>,
    /// How many there were so far; the last of `kept` has this number.
    count: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self::of("0")
    }
}

impl Board {
    /// An empty board of this start of the service. Places of another start mean nothing on it.
    #[must_use]
    pub fn of(boot: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            boot: boot.into(),
            list: Mutex::default(),
            latest: watch::Sender::new(0),
        }))
    }

    /// Notes changes, after they were committed. Never waits for a reader.
    pub fn note(&self, changes: impl IntoIterator<Item = Change>) {
        let mut list = self.list();
        let before = list.count;
        for change in changes {
            if list.kept.len() == KEPT {
                list.kept.pop_front();
            }
            list.kept.push_back(change);
            list.count += 1;
        }
        let count = list.count;
        drop(list);
        if count > before {
            self.0.latest.send_if_modified(|latest| {
                let newer = count > *latest;
                *latest = count.max(*latest);
                newer
            });
        }
    }

    /// A reader of what changes from now on.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let news = self.0.latest.subscribe();
        let at = self.list().count;
        Reader {
            board: self.clone(),
            news,
            at,
        }
    }

    /// A reader that goes on behind the change of this id; nothing when that cannot be done without a gap: the id is of
    /// another start of the service, too old, or no id at all.
    #[must_use]
    pub fn reader_after(&self, id: &str) -> Option<Reader> {
        let (boot, number) = id.rsplit_once('-')?;
        let at: u64 = number.parse().ok()?;
        let news = self.0.latest.subscribe();
        let there = self.list().reaches(at);
        (boot == self.0.boot && there).then(|| Reader {
            board: self.clone(),
            news,
            at,
        })
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Whoever panicked while noting left at worst a shorter list.
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Whether everything behind this place is still there.
    fn reaches(&self, at: u64) -> bool {
        at <= self.count && self.count - at <= self.kept.len() as u64
    }
}

/// Somebody's place on the board.
#[derive(Debug)]
pub struct Reader {
    board: Board,
    news: watch::Receiver<u64>,
    at: u64,
}

/// What a reader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// What changed, each thing once, with the id to go on behind; and whether there is more already.
    Changed {
        /// The changes in their order, each with its id.
        changes: Vec<(String, Change)>,
        /// There is more to read at once.
        more: bool,
    },
    /// The reader was too slow: changes are gone that it has not read. It stands behind the newest one now.
    Missed,
}

impl Reader {
    /// The id of this place: whoever comes back with it goes on here.
    #[must_use]
    pub fn place(&self) -> String {
        self.id(self.at)
    }

    /// Waits until there is something, and reads on; at most `most` places of the list. Dropped before it completes, it
    /// has read nothing. Never completes when the board is gone.
    pub async fn next(&mut self, most: usize) -> News {
        loop {
            // Marked as seen before it is looked at: what is noted in between wakes us again.
            self.news.borrow_and_update();
            if let Some(news) = self.read(most) {
                return news;
            }
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn read(&mut self, most: usize) -> Option<News> {
        let list = self.board.list();
        if self.at == list.count {
            return None;
        }
        if !list.reaches(self.at) {
            let count = list.count;
            drop(list);
            self.at = count;
            return Some(News::Missed);
        }
        let unread = usize::try_from(list.count - self.at).unwrap_or(KEPT);
        let first = list.kept.len() - unread;
        let taken = unread.min(most.max(1));
        let found: Vec<Change> = list.kept.range(first..first + taken).cloned().collect();
        drop(list);
        let before = self.at;
        self.at += taken as u64;
        // Of a thing that changed several times, the last time counts: whoever comes back behind an id has then heard of
        // everything before it.
        let mut heard = HashSet::with_capacity(found.len());
        let mut changes: Vec<(String, Change)> = Vec::with_capacity(found.len());
        for (change, number) in found.iter().rev().zip((before + 1..=self.at).rev()) {
            if heard.insert(change) {
                changes.push((self.id(number), change.clone()));
            }
        }
        changes.reverse();
        Some(News::Changed {
            changes,
            more: taken < unread,
        })
    }

    fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.board.0.boot)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::ChangeKind;

    fn run(n: usize) -> Change {
        Change::of(ChangeKind::Run, n.to_string())
    }

    fn read(reader: &mut Reader, most: usize) -> News {
        reader.next(most).now_or_never().expect("there is something")
    }

    fn ids(news: News) -> Vec<String> {
        match news {
            News::Changed { changes, .. } => changes.into_iter().map(|(_, change)| change.id).collect(),
            News::Missed => panic!("nothing was missed"),
        }
    }

    #[test]
    fn a_reader_hears_what_changes_from_now_on_and_each_thing_once() {
        let board = Board::of("b");
        board.note([run(1)]);
        let mut reader = board.reader();
        assert!(reader.next(10).now_or_never().is_none(), "what was before is not news");
        board.note([run(2), run(3)]);
        board.note([run(2)]);
        let News::Changed { changes, more } = read(&mut reader, 10) else {
            panic!("nothing was missed")
        };
        assert_eq!(changes, [("b-3".to_owned(), run(3)), ("b-4".to_owned(), run(2))]);
        assert!(!more);
        assert_eq!(reader.place(), "b-4");
    }

    #[test]
    fn whoever_comes_back_goes_on_without_a_gap_and_without_a_repetition() {
        let board = Board::of("b");
        board.note((0..10).map(run));
        let mut back = board.reader_after("b-7").expect("it is there");
        assert_eq!(ids(read(&mut back, 2)), ["7", "8"]);
        assert_eq!(ids(read(&mut back, 2)), ["9"]);
        assert!(board.reader_after("b-10").is_some(), "the newest place is one");
        for id in ["b-11", "other-7", "b", "7", "", "b--1", "b-x", "b-18446744073709551615"] {
            assert!(board.reader_after(id).is_none(), "{id:?}");
        }
    }

    #[test]
    fn a_slow_reader_learns_that_it_missed_something_and_the_board_does_not_grow() {
        let board = Board::of("b");
        let mut slow = board.reader();
        board.note((0..KEPT).map(run));
        assert_eq!(ids(read(&mut slow, 3)), ["0", "1", "2"], "all of it is still there");
        board.note((0..4).map(run));
        assert_eq!(read(&mut slow, 3), News::Missed);
        assert!(slow.next(3).now_or_never().is_none());
        board.note([run(9)]);
        assert_eq!(ids(read(&mut slow, 3)), ["9"]);
        assert_eq!(board.list().kept.len(), KEPT);
        assert!(board.reader_after("b-1").is_none(), "too old");
    }

    #[actix_rt::test]
    async fn a_reader_that_waits_is_woken_in_another_thread() {
        let board = Board::of("b");
        let mut reader = board.reader();
        let writer = board.clone();
        let thread = std::thread::spawn(move || writer.note([run(1)]));
        assert_eq!(ids(reader.next(10).await), ["1"]);
        thread.join().expect("it noted");
    }

    proptest! {
        #[test]
        fn readers_that_break_off_and_come_back_hear_of_everything(
            notes in proptest::collection::vec(0_usize..20, 1..200),
            steps in proptest::collection::vec(1_usize..30, 1..50),
        ) {
            let board = Board::of("b");
            let mut place = board.reader().place();
            board.note(notes.iter().copied().map(run));
            let mut heard = HashSet::new();
            for most in steps.iter().copied().cycle() {
                let mut reader = board.reader_after(&place).expect("kept");
                let Some(news) = reader.next(most).now_or_never() else { break };
                let News::Changed { changes, .. } = news else { panic!("nothing was missed") };
                for (id, change) in changes {
                    heard.insert(change.id);
                    place = id;
                }
            }
            prop_assert_eq!(heard, notes.iter().map(ToString::to_string).collect::<HashSet<_>>());
        }
    }
}
