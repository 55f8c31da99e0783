//! Chats: templates against transformers, and sessions on the real binary.

mod hostile;
mod jinja;
mod lines;
pub mod model;
mod sessions;
mod smollm2;
mod templates;
#[cfg(unix)]
mod terminal;
#[cfg(unix)]
mod typed_ahead;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(hostile::trials());
    trials.extend(jinja::trials());
    trials.extend(lines::trials());
    trials.extend(sessions::trials());
    trials.push(smollm2::trial());
    trials.extend(templates::trials());
    #[cfg(unix)]
    trials.extend(terminal::trials());
    #[cfg(unix)]
    trials.extend(typed_ahead::trials());
    trials
}
