//! Which faults a drill consists of, and which comes next.

use crate::outside::Calamity;
use crate::random::Random;

/// Of a hundred faults, how many happen outside the nodes, where nothing else was asked for.
const OUTSIDE_PERCENT: u64 = 45;

/// How many of each must happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub kills: u64,
    pub postgres_kills: u64,
    pub redis_kills: u64,
    pub partitions: u64,
    pub disk_full: u64,
}

impl Counts {
    /// What is asked for outside the nodes, with one way of it or several.
    fn outside(&self) -> [(&'static [Calamity], u64); 4] {
        [
            (&[Calamity::PostgresKilled], self.postgres_kills),
            (&[Calamity::RedisKilled], self.redis_kills),
            (&[Calamity::PostgresCutOff, Calamity::RedisCutOff], self.partitions),
            (&[Calamity::DiskFull], self.disk_full),
        ]
    }

    /// Whether anything is asked for that only several nodes have around them.
    pub fn any_outside(&self) -> bool {
        self.outside().iter().any(|(_, count)| *count > 0)
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Kill,
    Drain,
    Pause,
    Client,
    Outside(Calamity),
}

impl Fault {
    /// As the history names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill9",
            Self::Drain => "term",
            Self::Pause => "pause",
            Self::Client => "client",
            Self::Outside(calamity) => calamity.name(),
        }
    }
}

/// The faults still to come.
#[derive(Debug)]
pub struct Order {
    /// Kinds asked for, the ways of each, and how many are left.
    left: Vec<(Vec<Fault>, u64)>,
    /// Of what surrounds the nodes, what did not happen yet.
    due: Vec<Calamity>,
    /// What can happen around the nodes.
    around: Vec<Calamity>,
    only: bool,
}

impl Order {
    /// `around`: what can happen outside the nodes. `only`: nothing happens but what is counted; otherwise all of
    /// `around` does at least once, and drains, pauses and crashes of clients are mixed in.
    pub fn of(counts: Counts, around: Vec<Calamity>, only: bool) -> Self {
        let outside = counts.outside().map(|(ways, count)| {
            (ways.iter().map(|calamity| Fault::Outside(*calamity)).collect::<Vec<_>>(), count)
        });
        let left = [(vec![Fault::Kill], counts.kills)].into_iter().chain(outside).collect();
        let due = if only { Vec::new() } else { around.clone() };
        Self { left, due, around, only }
    }

    /// Whether everything that must happen did.
    pub fn is_done(&self) -> bool {
        self.asked() == 0 && self.due.is_empty()
    }

    fn asked(&self) -> u64 {
        self.left.iter().map(|(_, count)| count).sum()
    }

    /// What comes next.
    pub fn next(&mut self, random: &mut Random) -> Fault {
        if self.only {
            return self.take(random);
        }
        if random.chance(OUTSIDE_PERCENT)
            && let Some(any) = random.pick(&self.around).copied()
        {
            return Fault::Outside(self.due.pop().unwrap_or(any));
        }
        match random.below(100) {
            0..=69 => self.take(random),
            70..=77 => Fault::Drain,
            78..=85 => Fault::Pause,
            _ => Fault::Client,
        }
    }

    /// One of what was asked for; once all that happened, a client crashes.
    fn take(&mut self, random: &mut Random) -> Fault {
        let mut place = random.below(self.asked().max(1));
        for (ways, left) in &mut self.left {
            if place < *left {
                *left -= 1;
                return *random.pick(ways).expect("each kind has a way");
            }
            place -= *left;
        }
        Fault::Client
    }
}
