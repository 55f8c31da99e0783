//! `serve`, on the real binary over loopback.

mod api;
mod callers;
mod clients;
mod connections;
mod cost;
mod depth;
mod end;
mod fairness;
mod faults;
mod limits;
mod load;
mod openai;
mod plain;
mod raw;
mod refusals;
pub mod server;

use libtest_mimic::Trial;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(api::trials());
    trials.extend(callers::trials());
    trials.extend(clients::trials());
    trials.extend(connections::trials());
    trials.extend(cost::trials());
    trials.extend(depth::trials());
    trials.extend(end::trials());
    trials.extend(fairness::trials());
    trials.extend(faults::trials());
    trials.extend(limits::trials());
    trials.extend(load::trials());
    trials.extend(openai::trials());
    trials.extend(plain::trials());
    trials.extend(refusals::trials());
    trials
}
