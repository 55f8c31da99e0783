//! Requests that others keep waiting.

use std::thread;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::server::{COMPLETIONS, Server};
use crate::chat::model::ChatModel;
use crate::fixtures::trial;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("serve::fairness::a_short_prompt_passes_long_ones", short),
        trial("serve::fairness::one_text_does_not_wait_for_thirty", turns),
    ]
}

fn short() -> Result<()> {
    let model = ChatModel::endless()?;
    let server = Server::start(&model.name(), &["--parallel", "4", "--ctx", "2000"])?;
    let long = json!({"prompt": vec![7; 1500], "max_tokens": 1, "temperature": 0});
    let short = json!({"prompt": "ROMEO:", "max_tokens": 1, "temperature": 0});
    thread::scope(|scope| {
        let long: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| server.ok(COMPLETIONS, &long)))
            .collect();
        server.wait_for("ztt_sequences_in_use", 3.0)?;
        server.ok(COMPLETIONS, &short)?;
        ensure!(
            !long.iter().any(|long| long.is_finished()),
            "it waited for a long one"
        );
        let mut done = long.into_iter().map(|long| long.join().expect("a thread"));
        done.try_for_each(|done| done.map(drop))
    })
}

fn turns() -> Result<()> {
    let server = Server::start("builtin", &["--parallel", "1"])?;
    let request = |n: usize| json!({"prompt": "ROMEO:", "n": n, "max_tokens": 20});
    thread::scope(|scope| {
        let many = scope.spawn(|| server.ok(COMPLETIONS, &request(30)));
        server.wait_for("ztt_sequences_in_use", 1.0)?;
        server.ok(COMPLETIONS, &request(1))?;
        let left = server.metric("ztt_queue_length")?;
        ensure!(left > 0.0, "it waited for all of the others");
        many.join().expect("a thread").map(drop)
    })
}
