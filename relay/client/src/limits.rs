//! Every bound and deadline of the client. No queue exists without one.

use std::time::Duration;

/// Commands waiting for the driver. Beyond: the caller waits.
pub const COMMANDS: usize = 64;

/// Publishes neither acked nor refused. Beyond: the caller of `publish` waits. The relay takes 64 requests of a
/// session at once; the rest of them is left to calls and subscriptions.
pub const IN_FLIGHT: usize = 32;

/// Calls (recover, cursor, watch …) sent and not answered. Beyond: they wait their turn.
pub const CALLS_IN_FLIGHT: usize = 12;

/// Subscriptions asked for and not answered. Beyond: they wait their turn.
pub const SUBSCRIBES_IN_FLIGHT: usize = 12;

/// Events waiting for the program. Beyond: the connection is not read.
pub const EVENTS: usize = 1_024;

/// Events not yet handed to the queue above which ephemeral ones are dropped.
pub const EVENTS_EPHEMERAL: usize = 64;

/// Frames read and not yet handled. Beyond: the connection is not read.
pub const INCOMING: usize = 64;

/// Frames waiting to be written. Beyond: no command is taken.
pub const OUTGOING: usize = 128;

/// Deliveries of one conversation held back while an earlier one is missing. Beyond: dropped, and asked for again.
pub const EARLY: usize = 1_024;

/// Acked publishes remembered so that they can be published again after a rewind. Beyond: the oldest goes.
pub const REMEMBERED: usize = 256;

/// Resume entries in Hello; further conversations are subscribed after Welcome.
pub const RESUME: usize = 256;

/// Largest frame taken from the relay, in bytes: a page of 200 bodies of 64 KiB and their envelopes.
pub const SERVER_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// Largest body until Welcome says otherwise, in bytes.
pub const BODY_BYTES: usize = 64 * 1024;

/// Largest body of a signal, in bytes. Beyond: refused.
pub const SIGNAL_BYTES: usize = 16 * 1024;

/// Server streams of one QUIC connection.
pub const LANES: u32 = 64;

/// Length of `Hello.agent`, in bytes.
pub const AGENT_BYTES: usize = 64;

/// Handshakes up to an open link.
pub const CONNECT: Duration = Duration::from_secs(10);

/// QUIC handshake when WebSocket is there to fall back to.
pub const QUIC_TRIAL: Duration = Duration::from_millis(1_500);

/// From Hello to Welcome.
pub const WELCOME: Duration = Duration::from_secs(10);

/// Silence from this side after which a Ping goes out.
pub const PING_EVERY: Duration = Duration::from_secs(25);

/// Silence from the relay after a Ping. Beyond: the connection counts as lost.
pub const PONG_WITHIN: Duration = Duration::from_secs(10);

/// How long a missing delivery is waited for before the conversation is subscribed again; doubles up to
/// [`GAP_MAX`] while nothing comes.
pub const GAP: Duration = Duration::from_secs(2);

/// Longest wait for a missing delivery.
pub const GAP_MAX: Duration = Duration::from_secs(60);

/// First and longest delay between connection attempts (exponential, full jitter).
pub const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// Delay before a retriable refusal is tried again when the refusal names none.
pub const RETRY: Duration = Duration::from_millis(500);

/// A retriable refusal that asks for more patience than this is handed to the caller.
pub const RETRY_MAX: Duration = Duration::from_secs(180);

/// Flushing and the closing handshake.
pub const CLOSE: Duration = Duration::from_secs(2);

/// Time left of a token at which a fresh one is sent, at the latest.
pub const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// An HTTP request to the account API.
pub const API_REQUEST: Duration = Duration::from_secs(20);

/// Largest answer taken from the account API, in bytes.
pub const API_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes of the deliveries held back in one conversation. Beyond: dropped, and asked for again.
pub const EARLY_BYTES: usize = 4 * 1024 * 1024;

/// Wait before leaving a draining relay whose notice never came.
pub const LEAVE: Duration = Duration::from_secs(1);

/// A session that lasted this long counts as a success: the next attempt comes soon again.
pub const STEADY: Duration = Duration::from_secs(5);

/// Shortest delay before a refused publish is tried again; doubles with each refusal in a row, up to 64 times.
pub const RETRY_MIN: Duration = Duration::from_millis(50);

/// Largest publish limit that is kept to by counting; beyond it, refusals set the pace.
pub const PACED: usize = 4_096;
