//! Chats: templates against transformers, and sessions on the real binary.

mod templates;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(templates::trials());
    trials
}
