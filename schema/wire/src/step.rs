//! The eight steps of a message's life: one word each, the same in files, spans, metrics and dashboards.

/// A step of a message's life, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Step {
    Decode,
    Admit,
    Authorise,
    Append,
    FanOut,
    Forward,
    Deliver,
    Ack,
}

impl Step {
    /// All steps in the order a message meets them.
    pub const ALL: [Step; 8] = [
        Step::Decode,
        Step::Admit,
        Step::Authorise,
        Step::Append,
        Step::FanOut,
        Step::Forward,
        Step::Deliver,
        Step::Ack,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Step::Decode => "decode",
            Step::Admit => "admit",
            Step::Authorise => "authorise",
            Step::Append => "append",
            Step::FanOut => "fan_out",
            Step::Forward => "forward",
            Step::Deliver => "deliver",
            Step::Ack => "ack",
        }
    }
}
