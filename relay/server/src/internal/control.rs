//! What whoever knows the shared secret may ask of a node: close sessions, look at the change log now, drain, tell who is
//! slow. Decides from a request's head alone; every order is a POST without a body, every question a GET.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use schema_wire::{DeviceId, Disconnect, SessionId, UserId};

use crate::access::Secret;
use crate::transport::http::{self, Status};

/// Beginning of the paths of all orders.
pub const PREFIX: &str = "/control/";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Close the sessions of a user, or of one device.
    Disconnect {
        /// Whose.
        user: UserId,
        /// Only this one's.
        device: Option<DeviceId>,
        /// What they are told.
        with: Disconnect,
    },
    /// Close one session of a user, who may come back and resume.
    Close {
        /// Which.
        session: SessionId,
        /// Whose it has to be.
        user: UserId,
    },
    /// Tell who takes what is sent to them most slowly.
    Consumers,
    /// Something was revoked: look at the change log now instead of at the next poll.
    Look,
    /// Go away as after SIGTERM.
    Drain,
}

/// The order of a request, or the status that answers it.
///
/// # Errors
/// 404 without a secret or for another path, 401 without the right one, 405 for other methods, 400 for what a
/// disconnect lacks.
pub fn judge(request: &http::Request<'_, '_>, secret: Option<&Secret>) -> Result<Order, Status> {
    let secret = secret.ok_or(Status::NOT_FOUND)?;
    let shown = http::single(request, "Authorization")?.and_then(|value| value.strip_prefix(b"Bearer "));
    if shown.is_none_or(|shown| verify_slices_are_equal(shown, secret.expose()).is_err()) {
        return Err(Status::UNAUTHORIZED);
    }
    let order = match http::path(request).strip_prefix(PREFIX) {
        Some("disconnect") => disconnect(http::query(request), Disconnect::Kicked),
        Some("revoke") => disconnect(http::query(request), Disconnect::DeviceRevoked),
        Some("close") => close(http::query(request)),
        Some("consumers") => Some(Order::Consumers),
        Some("look") => Some(Order::Look),
        Some("drain") => Some(Order::Drain),
        _ => return Err(Status::NOT_FOUND),
    };
    let method = if order == Some(Order::Consumers) { "GET" } else { "POST" };
    if request.method != Some(method) {
        return Err(Status::METHOD_NOT_ALLOWED);
    }
    order.ok_or(Status::BAD_REQUEST)
}

fn disconnect(query: &str, with: Disconnect) -> Option<Order> {
    let (mut user, mut device) = (None, None);
    for pair in query.split('&') {
        match pair.split_once('=')? {
            ("user", id) if user.is_none() => user = Some(UserId::parse(id)?),
            ("device", id) if device.is_none() => device = Some(DeviceId::parse(id)?),
            _ => return None,
        }
    }
    Some(Order::Disconnect { user: user?, device, with })
}

fn close(query: &str) -> Option<Order> {
    let (session, user) = query.strip_prefix("session=")?.split_once("&user=")?;
    Some(Order::Close { session: SessionId(session.parse().ok()?), user: UserId::parse(user)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "7d1f6c0be2a94835b6c0f1d2e3a4958677685a4b3c2d1e0f9081726354453628";
    const USER: &str = "01920000-0000-7000-8000-00000000000a";

    fn ask(line: &str, shown: &str, secret: bool) -> Result<Order, u16> {
        let secret = secret.then(|| Secret::new(SECRET).unwrap());
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\nAuthorization: {shown}\r\n\r\n");
        let judged = http::parse(head.as_bytes(), |request| judge(request, secret.as_ref()));
        judged.unwrap().map_err(|status| status.code)
    }

    #[test]
    fn nothing_is_done_without_the_secret() {
        let right = format!("Bearer {SECRET}");
        assert_eq!(ask("POST /control/look", &right, true), Ok(Order::Look));
        assert_eq!(ask("POST /control/look", &right, false), Err(404), "nobody set one");
        for wrong in ["", SECRET, "Bearer ", "Bearer wrong", &right[..right.len() - 1], &format!("{right}0")]
        {
            assert_eq!(ask("POST /control/drain", wrong, true), Err(401), "{wrong:?}");
        }
        assert_eq!(ask("GET /control/drain", &right, true), Err(405));
        assert_eq!(ask("GET /control/consumers", &right, true), Ok(Order::Consumers));
        assert_eq!(ask("POST /control/consumers", &right, true), Err(405), "a question is no order");
        assert_eq!(ask("POST /control/else", &right, true), Err(404));
    }

    #[test]
    fn a_disconnect_names_whom() {
        let ask = |query: &str| ask(&format!("POST /control/{query}"), &format!("Bearer {SECRET}"), true);
        let user = UserId::parse(USER).unwrap();
        let all = Order::Disconnect { user, device: None, with: Disconnect::Kicked };
        assert_eq!(ask(&format!("disconnect?user={USER}")), Ok(all));
        let device = DeviceId::parse(USER);
        let one = Order::Disconnect { user, device, with: Disconnect::DeviceRevoked };
        assert_eq!(ask(&format!("revoke?device={USER}&user={USER}")), Ok(one));
        let session = SessionId::new(schema_wire::ShardId(1), 7);
        assert_eq!(
            ask(&format!("close?session={}&user={USER}", session.0)),
            Ok(Order::Close { session, user })
        );
        for wrong in [
            "disconnect",
            "disconnect?user=x",
            "revoke?device=x",
            "disconnect?user=1&user=2",
            "revoke?&",
            "close?session=7",
            "close?session=x&user=y",
        ] {
            assert_eq!(ask(wrong), Err(400), "{wrong}");
        }
    }
}
