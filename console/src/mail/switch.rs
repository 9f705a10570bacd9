//! Where letters go at present: another sink may be set while letters wait.

use std::sync::{Arc, PoisonError, RwLock};

use super::letter::Letter;
use super::sink::{MailSink, Sending};

/// The sink in use. A letter that is on its way stays with the one it began with.
pub struct Switch(RwLock<Arc<dyn MailSink>>);

impl Switch {
    /// Beginning with this one.
    pub fn new(sink: Arc<dyn MailSink>) -> Self {
        Self(RwLock::new(sink))
    }

    /// The next letter goes there.
    pub fn turn_to(&self, sink: Arc<dyn MailSink>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = sink;
    }
}

impl MailSink for Switch {
    fn send(&self, letter: Letter) -> Sending<'_> {
        let sink = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { sink.send(letter).await })
    }
}
