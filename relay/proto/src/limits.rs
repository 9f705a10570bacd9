//! Every bound of the relay logic, with the answer when it is reached. No queue or table exists without one.

/// Bounds of one shard. Tests and the simulator make them small.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Sessions on one shard. Beyond: disconnect `OVERLOADED`.
    pub sessions: usize,
    /// Frames waiting in one outbox. Beyond: disconnect `SLOW_READER`.
    pub outbox_frames: usize,
    /// Bytes waiting in one outbox. Beyond: disconnect `SLOW_READER`.
    pub outbox_bytes: usize,
    /// Ephemeral frames in one outbox, which may also take a quarter of its bytes. Beyond: dropped.
    pub outbox_ephemeral: usize,
    /// Subscriptions of one session. Beyond: refusal `TOO_MANY`.
    pub subscriptions: usize,
    /// Store requests under way for one session. Beyond: refusal `TOO_MANY`.
    pub requests: usize,
    /// Resume entries in Hello. Beyond: refusal `TOO_MANY`.
    pub resume: usize,
    /// Watched conversations of one session. Beyond: refusal `TOO_MANY`.
    pub watched_conversations: usize,
    /// Watched users of one session. Beyond: refusal `TOO_MANY`.
    pub watched_users: usize,
    /// People one session is kept apart from by blocks. Beyond: it is shown nothing ephemeral of anybody.
    pub apart: usize,
    /// Publishes of one session that wait for their ack. Beyond: refusal `BUSY`.
    pub publishes: usize,
    /// Pages under way for what one session is behind with. Beyond: they wait.
    pub pages: usize,
    /// Standings one shard remembers. Beyond: the oldest is asked for again.
    pub standings: usize,
    /// Appends under way on one home shard. Beyond: refusal `BUSY`.
    pub appends: usize,
    /// Appends under way of one conversation. Beyond: refusal `BUSY`.
    pub conversation_appends: usize,
    /// Publications kept in memory per followed conversation, for those who catch up. Beyond: the oldest goes.
    pub tail_publications: usize,
    /// Publications held back per conversation while a gap is repaired or members are looked up. Beyond: read again from the store.
    pub held_publications: usize,
    /// Largest body of a message, in bytes. Beyond: refusal `TOO_LARGE`.
    pub body_bytes: usize,
    /// Largest body of a signal, in bytes. Beyond: refusal `TOO_LARGE`.
    pub signal_bytes: usize,
    /// Entries of one page from the store.
    pub page: u32,
    /// Largest page a client may ask for; larger ones are cut to it.
    pub page_max: u32,
    /// How far behind the head a subscription may begin. Beyond: refusal `TOO_FAR_BEHIND`.
    pub behind: u64,
    /// Durable publishes of one user per window. Beyond: refusal `RATE_LIMITED`.
    pub publish_limit: u32,
    /// The window, in seconds.
    pub publish_window_s: u32,
    /// Ephemeral events of one session per second. Beyond: dropped.
    pub ephemeral_per_s: u32,
    /// Refused or undecodable frames of one session per minute. Beyond: disconnect `ABUSIVE`.
    pub refusals_per_min: u32,
    /// Hello must come within this, in milliseconds. Beyond: disconnect `HANDSHAKE_TIMEOUT`.
    pub hello_ms: u64,
    /// Silence of a session, in milliseconds. Beyond: disconnect `IDLE_TIMEOUT`.
    pub idle_ms: u64,
    /// How long a home waits for a missing offset before it reads the store, in milliseconds.
    pub gap_ms: u64,
    /// How often homes compare their heads with the store while the bus between nodes is away or silent, in milliseconds;
    /// 0: never.
    pub heads_ms: u64,
    /// The same while the bus is sound, for single hints that were lost.
    pub heads_sound_ms: u64,
    /// Members above which typing and shared cursors become counts.
    pub individual_members: u32,
    /// How long typing and cursor events are gathered before they go out, in milliseconds.
    pub coalesce_ms: u64,
    /// A presence lease, in milliseconds.
    pub lease_ms: u64,
    /// How long the relay waits before it repeats a failed request of its own, in milliseconds.
    pub retry_ms: u64,
    /// Whether typing is passed on at all.
    pub typing: bool,
    /// Whether presence is passed on at all.
    pub presence: bool,
    /// Whether read receipts (shared cursors) are passed on at all.
    pub receipts: bool,
}

/// A stretch of the message limit's window for which what was taken from all nodes' count may be used.
const TAKEN_PARTS: u64 = 16;

impl Limits {
    /// For how long what was taken from the count of all nodes may be used, in microseconds.
    pub fn taken_us(&self) -> u64 {
        (u64::from(self.publish_window_s) * 1_000_000 / TAKEN_PARTS).max(1)
    }

    /// For how long it counts there: the window from its last use.
    pub fn shared_window_us(&self) -> u64 {
        u64::from(self.publish_window_s) * 1_000_000 + self.taken_us()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 100_000,
            outbox_frames: 2_048,
            outbox_bytes: 4 * 1024 * 1024,
            outbox_ephemeral: 256,
            subscriptions: 1_024,
            requests: 64,
            resume: 256,
            watched_conversations: 64,
            watched_users: 256,
            apart: 1_024,
            publishes: 1_024,
            pages: 4,
            standings: 65_536,
            appends: 16_384,
            conversation_appends: 4_096,
            tail_publications: 128,
            held_publications: 1_024,
            body_bytes: 64 * 1024,
            signal_bytes: 16 * 1024,
            page: 500,
            page_max: 200,
            behind: 10_000,
            publish_limit: 100,
            publish_window_s: 60,
            ephemeral_per_s: 20,
            refusals_per_min: 120,
            hello_ms: 10_000,
            idle_ms: 90_000,
            gap_ms: 100,
            heads_ms: 1_000,
            heads_sound_ms: 5_000,
            individual_members: 100,
            coalesce_ms: 250,
            lease_ms: 30_000,
            retry_ms: 250,
            typing: true,
            presence: true,
            receipts: true,
        }
    }
}
