//! Filling a page of a log: dense, in either direction, with stretches for what is gone or was never the reader's to
//! read. The same for every store; where rows come from is theirs.

use schema_wire::Generation;
use schema_wire::Offset;
use schema_wire::record::{Entry, Page};
use schema_wire::v1::GoneReason;

/// Most offsets one page covers with messages.
const PAGE_OFFSETS_MAX: u32 = 512;
/// Bodies of one page end after this many bytes (the entry that crosses it is still in).
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// A stretch of offsets, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    pub from: u64,
    pub to: u64,
}

/// A log as a reader finds it.
#[derive(Clone, Debug)]
pub struct Log {
    pub generation: Generation,
    pub members_version: u64,
    /// What may be read, rising and apart.
    pub readable: Vec<Stretch>,
    pub head: u64,
}

/// Which way, from where (backwards from 0: from the newest), how far.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub from: u64,
    pub limit: u32,
    pub backwards: bool,
}

/// What there is to read for somebody who never could.
pub fn unreadable(generation: Generation) -> Page {
    let (entries, head, next) = (Vec::new(), Offset(0), Offset(0));
    Page { generation, entries, head, next, members_version: 0, readable: false }
}

/// Stays as (first, last offset if it ended), rising: stretches that may be read, and whether all of them ended
/// (`None`: there were none).
pub fn stretches(
    stays: impl Iterator<Item = (u64, Option<u64>)>,
    newest: u64,
) -> (Vec<Stretch>, Option<bool>) {
    let (mut stretches, mut left): (Vec<Stretch>, _) = (Vec::new(), None);
    for (from, end) in stays {
        left = Some(left.unwrap_or(true) && end.is_some());
        let to = end.unwrap_or(newest);
        match stretches.last_mut() {
            Some(last) if from <= last.to + 1 => last.to = last.to.max(to),
            _ if from <= to => stretches.push(Stretch { from, to }),
            _ => {}
        }
    }
    (stretches, left)
}

impl Log {
    /// The page. `rows` hands over the entries of a stretch, rising, until it is told to stop.
    pub fn page<E>(
        &self,
        wish: Wish,
        rows: impl FnMut(Stretch, &mut dyn FnMut(Entry) -> bool) -> Result<(), E>,
    ) -> Result<Page, E> {
        let page = Page {
            generation: self.generation,
            entries: Vec::new(),
            head: Offset(self.head),
            next: Offset(0),
            members_version: self.members_version,
            readable: true,
        };
        let offsets_left = u64::from(wish.limit.clamp(1, PAGE_OFFSETS_MAX));
        let pager = Pager { log: self, rows, page, offsets_left, bytes_left: PAGE_BYTES_MAX };
        if wish.backwards { pager.down(self.first(wish)) } else { pager.up(self.first(wish)) }
    }

    /// The stretches that `page` will ask for at most.
    pub fn stretches(&self, wish: Wish) -> Vec<Stretch> {
        let mut asked = Vec::new();
        let filled = self.page::<std::convert::Infallible>(wish, |stretch, take| {
            asked.push(stretch);
            for n in stretch.from..=stretch.to {
                take(Entry::Gone { from: Offset(n), to: Offset(n), reason: GoneReason::Expired });
            }
            Ok(())
        });
        let Ok(_) = filled;
        asked
    }

    fn first(&self, wish: Wish) -> u64 {
        match wish {
            Wish { from: 0, backwards: true, .. } => self.head,
            Wish { from, backwards: true, .. } => from.min(self.head),
            Wish { from, .. } => from.max(1),
        }
    }
}

/// Fills one page.
struct Pager<'a, R> {
    log: &'a Log,
    rows: R,
    page: Page,
    offsets_left: u64,
    bytes_left: usize,
}

impl<E, R: FnMut(Stretch, &mut dyn FnMut(Entry) -> bool) -> Result<(), E>> Pager<'_, R> {
    fn up(mut self, from: u64) -> Result<Page, E> {
        let (head, mut at) = (self.page.head.0, from);
        while at <= head && self.offsets_left > 0 && self.bytes_left > 0 {
            match self.log.readable.iter().find(|s| s.to >= at) {
                Some(s) if s.from <= at => {
                    let to = s.to.min(at.saturating_add(self.offsets_left - 1)).min(head);
                    at = self.fill_up(Stretch { from: at, to })?;
                }
                beyond => {
                    let to = beyond.map_or(head, |s| s.from - 1).min(head);
                    push_gone(&mut self.page, at, to, GoneReason::NotMember);
                    at = to + 1;
                }
            }
        }
        self.page.next = Offset(at);
        Ok(self.page)
    }

    fn down(mut self, from: u64) -> Result<Page, E> {
        let mut at = from;
        while at >= 1 && self.offsets_left > 0 && self.bytes_left > 0 {
            match self.log.readable.iter().rev().find(|s| s.from <= at) {
                Some(s) if s.to >= at => {
                    let from = s.from.max(at.saturating_sub(self.offsets_left - 1));
                    at = self.fill_down(Stretch { from, to: at })?;
                }
                below => {
                    let from = below.map_or(1, |s| s.to + 1);
                    push_gone(&mut self.page, from, at, GoneReason::NotMember);
                    at = from - 1;
                }
            }
        }
        self.page.next = Offset(at);
        Ok(self.page)
    }

    /// Covers a readable stretch from its beginning; returns the first offset not covered.
    fn fill_up(&mut self, stretch: Stretch) -> Result<u64, E> {
        let mut at = stretch.from;
        let Self { rows, page, bytes_left, .. } = self;
        rows(stretch, &mut |entry| {
            let (from, to) = ends(&entry);
            // Rows that were pruned: their lifetime had run out.
            if from > at {
                push_gone(page, at, from - 1, GoneReason::Expired);
            }
            at = to + 1;
            push(page, bytes_left, entry);
            *bytes_left > 0
        })?;
        if self.bytes_left > 0 && at <= stretch.to {
            push_gone(&mut self.page, at, stretch.to, GoneReason::Expired);
            at = stretch.to + 1;
        }
        self.offsets_left = self.offsets_left.saturating_sub(at - stretch.from);
        Ok(at)
    }

    /// Covers a readable stretch from its end; returns the last offset not covered.
    fn fill_down(&mut self, stretch: Stretch) -> Result<u64, E> {
        let mut entries = Vec::new();
        (self.rows)(stretch, &mut |entry| {
            entries.push(entry);
            true
        })?;
        let mut at = stretch.to;
        for entry in entries.into_iter().rev() {
            let (from, to) = ends(&entry);
            if to < at {
                push_gone(&mut self.page, to + 1, at, GoneReason::Expired);
            }
            at = from - 1;
            push(&mut self.page, &mut self.bytes_left, entry);
            if self.bytes_left == 0 {
                break;
            }
        }
        if self.bytes_left > 0 && at >= stretch.from {
            push_gone(&mut self.page, stretch.from, at, GoneReason::Expired);
            at = stretch.from - 1;
        }
        self.offsets_left = self.offsets_left.saturating_sub(stretch.to - at);
        Ok(at)
    }
}

fn push(page: &mut Page, bytes_left: &mut usize, entry: Entry) {
    match entry {
        Entry::Gone { from, to, reason } => push_gone(page, from.0, to.0, reason),
        Entry::Message(message) => {
            *bytes_left = bytes_left.saturating_sub(message.body.len());
            page.entries.push(Entry::Message(message));
        }
    }
}

fn push_gone(page: &mut Page, from: u64, to: u64, reason: GoneReason) {
    if let Some(Entry::Gone { from: f, to: t, reason: r }) = page.entries.last_mut()
        && *r == reason
        && (t.0 + 1 == from || to + 1 == f.0)
    {
        (f.0, t.0) = (f.0.min(from), t.0.max(to));
        return;
    }
    page.entries.push(Entry::Gone { from: Offset(from), to: Offset(to), reason });
}

fn ends(entry: &Entry) -> (u64, u64) {
    match entry {
        Entry::Message(m) => (m.offset.0, m.offset.0),
        Entry::Gone { from, to, .. } => (from.0, to.0),
    }
}
