//! How a profile is shown: as a table for people, as JSON for programs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::{Phase, Profile};

/// A profile of some passes together with the time they took by the host's clock.
pub struct Timed<'a> {
    pub profile: &'a Profile,
    pub wall: Duration,
    pub n_tokens: usize,
}

/// A line of the table: name, seconds, dispatches (0 where there is none).
type Part = (String, f64, usize);

impl Timed<'_> {
    /// Time the host spent on anything but waiting for the device.
    fn host_seconds(&self) -> f64 {
        self.wall.saturating_sub(self.profile.waited).as_secs_f64()
    }

    /// Waiting that no dispatch accounts for: submission and reading back.
    fn latency_seconds(&self) -> f64 {
        self.profile.waited.as_secs_f64() - self.profile.device_seconds()
    }

    /// Head, each cycle, tail, logits, host.
    fn phases(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for entry in &self.profile.entries {
            let name = match entry.phase {
                Phase::Head => "head".to_string(),
                Phase::Cycle(c) => format!("cycle {}", c + 1),
                Phase::Tail => "tail".to_string(),
                Phase::Logits => "logits".to_string(),
            };
            add(&mut parts, name, entry.seconds, entry.n_dispatches);
        }
        parts.push(("host".to_string(), self.host_seconds(), 0));
        parts
    }

    /// Every kernel, by its role where that says more, longest first.
    fn kernels(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for entry in &self.profile.entries {
            let name = match entry.kernel == entry.role {
                true => entry.kernel.to_string(),
                false => format!("{} {}", entry.kernel, entry.role),
            };
            add(&mut parts, name, entry.seconds, entry.n_dispatches);
        }
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        parts
    }

    /// A table for people. `what` names the passes.
    pub fn table(&self, what: &str) -> String {
        let wall = self.wall.as_secs_f64();
        let n = self.n_tokens.max(1) as f64;
        let mut out = format!(
            "\nprofile  {what}: {} tokens in {:.2} s; {}\n{:32} {:>10} {:>7} {:>10}\n",
            self.n_tokens,
            wall,
            self.profile.timestamps.description(),
            "",
            "ms/token",
            "share",
            "dispatches",
        );
        let mut line = |(name, seconds, dispatches): &Part| {
            let dispatches = match dispatches {
                0 => String::new(),
                d => format!("{:.1}", *d as f64 / n),
            };
            let share = 100.0 * seconds / wall.max(1e-9);
            let row = format!(
                "{name:32} {:>10.3} {share:>5.1} % {dispatches:>10}",
                1e3 * seconds / n
            );
            out += row.trim_end();
            out += "\n";
        };
        self.phases().iter().for_each(&mut line);
        line(&(
            "submission, read-back".to_string(),
            self.latency_seconds(),
            0,
        ));
        line(&("kernels".to_string(), self.profile.device_seconds(), 0));
        for (name, seconds, dispatches) in self.kernels() {
            line(&(format!("  {name}"), seconds, dispatches));
        }
        out
    }

    /// The profile as JSON, for programs.
    pub fn json(&self) -> Value {
        let list = |parts: Vec<Part>| -> Value {
            let item = |(name, seconds, dispatches): Part| json!({"name": name, "seconds": seconds, "dispatches": dispatches});
            parts.into_iter().map(item).collect()
        };
        json!({
            "clock": self.profile.timestamps.description(),
            "tokens": self.n_tokens,
            "wall_seconds": self.wall.as_secs_f64(),
            "phases": list(self.phases()),
            "latency_seconds": self.latency_seconds(),
            "kernels": list(self.kernels()),
        })
    }
}

fn add(parts: &mut Vec<Part>, name: String, seconds: f64, dispatches: usize) {
    match parts.iter_mut().find(|(known, _, _)| *known == name) {
        Some(part) => {
            part.1 += seconds;
            part.2 += dispatches;
        }
        None => parts.push((name, seconds, dispatches)),
    }
}
