//! The life of one session: Hello, Welcome, heartbeat, token refresh, leaving a draining relay.

use std::time::Duration;

use schema_wire::v1::{self, client_frame::Body};
use schema_wire::{DeviceId, Disconnect, Generation, Offset, Position, UserId};
use tokio::time::Instant;

use crate::backoff;
use crate::core::follow::{State, to_wire};
use crate::core::{Core, frame, presence};
use crate::error::ConnectError;
use crate::event::{Event, Linked};
use crate::limits;

/// What is known of the session on the current link.
#[derive(Debug)]
pub(crate) struct Session {
    /// Hello's request number.
    pub hello: u64,
    pub welcomed: bool,
    pub user: UserId,
    pub device: DeviceId,
    quic: bool,
    said_at: Instant,
    /// A Ping that is not answered yet.
    pinged_at: Option<Instant>,
    /// When a fresh token is due; `None` while one is under way.
    refresh_at: Option<Instant>,
    /// The request of a Refresh under way.
    pub refreshing: Option<u64>,
    /// When to leave a draining relay.
    leave_at: Option<Instant>,
    /// The relay's clock (unix milliseconds) at Welcome, and ours then.
    clock: (u64, Instant),
    pub alternate: Option<String>,
}

impl Session {
    fn new(now: Instant, hello: u64, quic: bool) -> Self {
        Self {
            hello,
            welcomed: false,
            user: UserId::default(),
            device: DeviceId::default(),
            quic,
            said_at: now,
            pinged_at: None,
            refresh_at: None,
            refreshing: None,
            leave_at: None,
            clock: (0, now),
            alternate: None,
        }
    }

    pub(crate) fn draining(&self) -> bool {
        self.leave_at.is_some()
    }

    /// The relay goes away: leave after the delay it asked for, spread so that not everybody comes at once.
    pub(crate) fn leave_after(&mut self, now: Instant, delay: Duration) {
        let spread = backoff::spread(delay / 2, backoff::random());
        self.leave_at.get_or_insert(now + delay + spread);
    }

    pub(crate) fn heard(&mut self) {
        self.pinged_at = None;
    }

    pub(crate) fn said(&mut self, now: Instant) {
        self.said_at = now;
    }

    /// How long until `expires_at` (unix seconds) on the relay's clock.
    pub(crate) fn left(&self, now: Instant, expires_at: u64) -> Duration {
        let (unix_ms, then) = self.clock;
        let until = Duration::from_millis(expires_at.saturating_mul(1_000).saturating_sub(unix_ms));
        until.saturating_sub(now - then)
    }

    /// The token holds for `left` from now.
    pub(crate) fn token_holds(&mut self, now: Instant, left: Duration) {
        let margin = limits::REFRESH_BEFORE.max(left / 5).min(left / 2);
        self.refresh_at = Some(now + left - margin);
        self.refreshing = None;
    }

    fn next_timeout(&self) -> Instant {
        let silence = match self.pinged_at {
            Some(at) => at + limits::PONG_WITHIN,
            None if self.welcomed => self.said_at + limits::PING_EVERY,
            None => self.said_at + limits::WELCOME,
        };
        [self.refresh_at, self.leave_at].into_iter().flatten().fold(silence, Instant::min)
    }
}

impl Core {
    /// The link stands: says Hello, with the positions to go on from.
    pub(crate) fn greet(&mut self, now: Instant, token: String, quic: bool) {
        let hello = self.numbers.next();
        let mut resume = Vec::new();
        for (conversation, follow) in &mut self.follows {
            if let Some(position) = follow.position()
                && follow.state == State::Wanted
                && resume.len() < limits::RESUME
            {
                follow.state = State::Asked(hello);
                let after = to_wire(position).into();
                resume.push(v1::Resume {
                    conversation: conversation.to_bytes(),
                    after,
                    ..Default::default()
                });
            }
        }
        let body = v1::Hello {
            versions: vec![1],
            capabilities: self.identity.capabilities.clone(),
            token,
            user_position: self.user.map(to_wire).into(),
            resume,
            agent: self.identity.agent.clone(),
            ..Default::default()
        };
        self.out.push_back(frame(hello, body.into()));
        self.session = Some(Session::new(now, hello, quic));
    }

    pub(crate) fn welcomed(&mut self, now: Instant, welcome: v1::Welcome) -> Result<(), ConnectError> {
        let user = UserId::from_slice(&welcome.user);
        let device = DeviceId::from_slice(&welcome.device);
        let (Some(session), Some(user), Some(device)) = (&mut self.session, user, device) else {
            return Err(ConnectError::Protocol("a Welcome without user or device".to_owned()));
        };
        if session.welcomed || welcome.version != 1 {
            return Err(ConnectError::Protocol(format!(
                "an unexpected Welcome (version {})",
                welcome.version
            )));
        }
        (session.welcomed, session.user, session.device) = (true, user, device);
        session.heard();
        session.clock = (welcome.now, now);
        let left = session.left(now, welcome.token_expires_at);
        session.token_holds(now, left);
        let quic = session.quic;
        self.adopt_limits(&welcome.limits);
        let generation = Generation(welcome.generation);
        let user_head = Offset(welcome.user_head);
        self.user.get_or_insert(Position { generation, offset: user_head });
        let resumed = std::mem::replace(&mut self.welcomed_before, true);
        if resumed {
            self.say_again();
        }
        self.events.push_back(Event::Connected(Linked {
            user,
            device,
            quic,
            resumed,
            generation,
            user_head,
        }));
        self.pump(now);
        Ok(())
    }

    fn adopt_limits(&mut self, limits: &v1::Limits) {
        let known = |value: u32, default: usize| if value == 0 { default } else { value as usize };
        self.body_bytes = known(limits.max_body, self.body_bytes);
        self.frame_bytes = known(limits.max_frame, self.frame_bytes);
        self.publishes.adopt_limit(limits.publish_limit, limits.publish_window_s);
        self.page = if limits.max_page == 0 { self.page } else { limits.max_page };
    }

    /// What a new session does not remember of the last one.
    fn say_again(&mut self) {
        if let Some(watch) = self.watch.clone() {
            let request = self.numbers.next();
            self.out.push_back(frame(request, watch.into()));
        }
        if let Some(state) = self.presence {
            self.out.push_back(frame(0, presence(state)));
        }
    }

    /// When [`Core::timeout`] has something to do.
    pub(crate) fn next_timeout(&mut self, now: Instant) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let follows = self.follows.values_mut().filter_map(|f| f.watch_gap(now)).min();
        let publishes = self.publishes.next_timeout(now);
        [Some(session.next_timeout()), follows, publishes].into_iter().flatten().min()
    }

    /// Time passed: pings, token, gaps, held publishes. `Err`: the link has to go.
    pub(crate) fn timeout(&mut self, now: Instant) -> Result<(), ConnectError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if session.leave_at.is_some_and(|at| at <= now) {
            return Err(ConnectError::Disconnected(Disconnect::Draining));
        }
        if session.pinged_at.is_some_and(|at| at + limits::PONG_WITHIN <= now) {
            return Err(ConnectError::Timeout(limits::PONG_WITHIN, "heartbeat"));
        }
        if !session.welcomed && session.said_at + limits::WELCOME <= now {
            return Err(ConnectError::Timeout(limits::WELCOME, "Welcome"));
        }
        let quiet = session.said_at + limits::PING_EVERY <= now;
        if session.welcomed && quiet && session.pinged_at.is_none() {
            session.pinged_at = Some(now);
            let request = self.numbers.next();
            self.out.push_back(frame(request, v1::Ping::default().into()));
        }
        for follow in self.follows.values_mut() {
            follow.watch_gap(now);
        }
        self.pump(now);
        Ok(())
    }

    /// Whether a fresh token is due; says so once.
    pub(crate) fn wants_token(&mut self, now: Instant) -> bool {
        let Some(session) = self.session.as_mut().filter(|s| s.welcomed) else { return false };
        let due = session.refresh_at.is_some_and(|at| at <= now);
        if due {
            session.refresh_at = None;
        }
        due
    }

    /// A fresh token for the running session; `None`: there was none, ask again soon.
    pub(crate) fn refresh(&mut self, now: Instant, token: Option<String>) {
        let Some(session) = self.session.as_mut().filter(|s| s.welcomed) else { return };
        match token {
            Some(token) => {
                let request = self.numbers.next();
                session.refreshing = Some(request);
                let body = Body::from(v1::Refresh { token, ..Default::default() });
                self.out.push_back(frame(request, body));
            }
            None => session.refresh_at = Some(now + backoff::spread(limits::PONG_WITHIN, backoff::random())),
        }
    }

    /// Frames went out.
    pub(crate) fn said(&mut self, now: Instant) {
        self.session.iter_mut().for_each(|s| s.said(now));
    }

    /// When to come back, and where, if the relay said that it goes away.
    pub(crate) fn take_leave(&mut self) -> Option<(Instant, Option<String>)> {
        let session = self.session.as_mut()?;
        Some((session.leave_at?, session.alternate.take()))
    }

    /// Whether the current link was welcomed.
    pub(crate) fn welcomed_now(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.welcomed)
    }
}
