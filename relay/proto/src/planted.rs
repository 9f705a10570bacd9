//! Named mutations of the logic that the simulator must find. Without the feature `planted` every question answers
//! "no" at compile time and nothing of this is left in the product.

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident,)*) => {
        /// A wrong turn the logic can be told to take. Each breaks a promise that an observer from outside can see.
        #[allow(clippy::enum_variant_names)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Fault { $($(#[$doc])* $variant,)* }

        #[cfg(feature = "planted")]
        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant,)*];
        }
    };
}

faults! {
    /// A publish is acknowledged when it reaches its home, before the store answered.
    AckBeforeDurable,
    /// A publish is acknowledged although the store failed.
    AckOnFault,
    /// A duplicate is acknowledged with the head in place of its first offset.
    DuplicateGetsNewOffset,
    /// A duplicate is fanned out again.
    DuplicateFannedOut,
    /// The publishing session gets its own message.
    DeliverToOrigin,
    /// A home delivers past a missing offset.
    GapIgnored,
    /// A gap is never repaired from the store.
    GapNeverRepaired,
    /// Publications held back are delivered newest first.
    HeldOrderSwapped,
    /// Going on from the tail repeats its last publication.
    TailOffByOne,
    /// Going on from the tail leaves its first publication out.
    TailSkipsOne,
    /// A newer membership version does not make anybody look.
    MembersVersionIgnored,
    /// A member who left keeps the subscription.
    LeftMemberServed,
    /// A cursor that did not move is shown all the same, at the older place.
    CursorShownBack,
    /// An outbox never overflows.
    OutboxUnbounded,
    /// A drained shard never says so.
    DrainNeverEnds,
    /// A draining shard takes publishes.
    PublishWhileDraining,
    /// A subscriber beyond the head is not told.
    RewoundNotTold,
    /// A new generation does not make live subscriptions look at their position.
    GenerationIgnored,
    /// A recovered page loses its last entry.
    RecoverSkipsEntry,
    /// A deleted message stays in the tail.
    DeletedStaysInTail,
    /// An expired message is delivered from the tail.
    ExpiredServed,
    /// A subscription begins where the home begins to send, whatever it missed before.
    FollowStartsLate,
    /// Leaving one subscription unfollows the conversation for all.
    UnfollowTooEarly,
    /// A session outlives its token.
    TokenExpiryIgnored,
    /// A suspension does not close live sessions.
    SuspendedNotCut,
    /// A revoked device keeps its session.
    RevokedDeviceServed,
    /// The message limit of a user is not applied.
    RateLimitIgnored,
    /// Typing goes to everybody who follows.
    TypingToEverybody,
    /// A signal comes back to the session that sent it.
    SignalToSender,
    /// A signal goes to every session of a shard that follows.
    SignalToStranger,
    /// A block between two people does not reach their live sessions.
    BlockIgnored,
    /// A block between a newcomer and somebody who follows already does not reach live sessions.
    NewcomerBlockIgnored,
    /// What a newcomer shows is passed on before anybody looked whether there is a block.
    NewcomerNotLookedAt,
    /// A first contact that was not accepted carries typing, cursors and signals.
    RequestHeard,
    /// The older session of a device is not closed.
    OlderSessionKept,
    /// The user's stream skips an event when it goes on.
    UserEventSkipped,
    /// User events are read again from the start of each page.
    UserEventRepeated,
    /// A silent session is never closed.
    IdleIgnored,
    /// The message limit counts on each node alone.
    SharedLimitIgnored,
    /// What the node said itself on the bus is taken for another node's.
    OwnFrameTaken,
    /// An ephemeral frame of another node is taken however old it is.
    OvertakenTaken,
    /// Heads are never compared: what a silent bus kept back stays unknown.
    HeadsNotCompared,
    /// What a user shows on another node stays for ever.
    LeaseIgnored,
    /// Nobody asks what a user shows on other nodes.
    PresenceNotAsked,
    /// What a device shows is dropped beyond the limit, like typing.
    PresenceDropped,
    /// When acquaintances may have changed, only those are asked about who are seen already.
    AcquaintanceMissed,
    /// Whom somebody may see is never asked again once the store could not say it.
    WatchNotRepeated,
    /// Sessions go on although the change log forgot what nobody had read.
    MissedIgnored,
}

/// Whether the fault lets publications arrive out of their turn, so that `deliver` has to let them pass.
#[inline]
pub(crate) fn shuffles(planted: Option<Fault>) -> bool {
    cfg!(feature = "planted")
        && matches!(planted, Some(Fault::DuplicateFannedOut | Fault::GapIgnored | Fault::HeldOrderSwapped))
}
