//! Where access tokens come from: the program gives them, the client asks when it connects and before one runs out.

use std::future::Future;
use std::pin::Pin;

/// What the client needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenNeed {
    /// Any token that should still be valid.
    Current,
    /// A newer one than before: the relay refused the last one, or it runs out soon.
    Fresh,
}

/// No token.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TokenError {
    /// What went wrong, for a person.
    pub message: String,
    /// Asking again is pointless: the client closes for good instead of trying again.
    pub definite: bool,
}

/// The answer to [`TokenSource::token`].
pub type TokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send + 'a>>;

/// Gives access tokens. Called from the client's driver; never twice at once.
pub trait TokenSource: Send + Sync + 'static {
    /// An access token (JWT).
    fn token(&self, need: TokenNeed) -> TokenFuture<'_>;
}

/// One token that is never renewed: the session ends with it.
pub struct StaticToken(pub String);

impl TokenSource for StaticToken {
    fn token(&self, need: TokenNeed) -> TokenFuture<'_> {
        let none = || TokenError {
            message: "there is no newer token than the one given".to_owned(),
            definite: true,
        };
        let token = if need == TokenNeed::Current { Ok(self.0.clone()) } else { Err(none()) };
        Box::pin(async { token })
    }
}

impl<T: TokenSource + ?Sized> TokenSource for std::sync::Arc<T> {
    fn token(&self, need: TokenNeed) -> TokenFuture<'_> {
        (**self).token(need)
    }
}
