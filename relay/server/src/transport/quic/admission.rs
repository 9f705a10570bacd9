//! Who may begin a handshake: refuses beyond the bounds, asks for proof of address (Retry, RFC 9000
//! section 8.1.2) while many handshakes are half-open.
//!
//! quinn-proto lets one full packet pass the threefold amplification bound for each unproven address;
//! Retry keeps that from being useful in bulk, since a Retry packet is shorter than what asks for it.

use super::config::QuicLimits;
use quinn_proto::Incoming;

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Accept,
    Retry,
    Refuse,
}

/// The facts an attempt is judged by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: usize,
    pub(super) handshakes: usize,
    /// While draining, and to banned addresses.
    pub(super) closed: bool,
}

/// Judges one attempt.
pub(super) fn admit(incoming: &Incoming, load: Load, limits: &QuicLimits) -> Admission {
    judge(incoming.remote_address_validated(), incoming.may_retry(), load, limits)
}

fn judge(proven: bool, may_retry: bool, load: Load, limits: &QuicLimits) -> Admission {
    if load.closed || load.connections >= limits.connections_max {
        return Admission::Refuse;
    }
    // Retry costs no state, so even a full house answers an unproven address with it.
    if !proven && may_retry && load.handshakes >= limits.handshakes_before_retry {
        return Admission::Retry;
    }
    if load.handshakes >= limits.handshakes_max { Admission::Refuse } else { Admission::Accept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proof_is_asked_for_under_load_and_bounds_hold() {
        let limits = QuicLimits {
            connections_max: 10,
            handshakes_max: 4,
            handshakes_before_retry: 2,
            ..QuicLimits::default()
        };
        let load = |connections, handshakes| Load { connections, handshakes, closed: false };
        assert_eq!(judge(false, true, load(1, 1), &limits), Admission::Accept);
        assert_eq!(judge(false, true, load(2, 2), &limits), Admission::Retry);
        assert_eq!(judge(true, true, load(3, 3), &limits), Admission::Accept);
        assert_eq!(judge(true, true, load(4, 4), &limits), Admission::Refuse);
        assert_eq!(judge(false, true, load(4, 4), &limits), Admission::Retry);
        assert_eq!(judge(true, true, load(10, 0), &limits), Admission::Refuse);
        let closed = Load { closed: true, ..load(0, 0) };
        assert_eq!(judge(true, true, closed, &limits), Admission::Refuse);
    }
}
