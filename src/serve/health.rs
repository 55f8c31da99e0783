//! Whether the model can be used.

use std::sync::{Mutex, PoisonError};

/// The fault of the model, if there is one.
#[derive(Default)]
pub struct Health(Mutex<Option<String>>);

impl Health {
    /// `None` is well; else the reason, in one line.
    pub fn set_fault(&self, fault: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    pub fn fault(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
