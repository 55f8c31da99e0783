//! Where the time of passes goes, dispatch by dispatch.

use std::time::Duration;

use web_time::Instant;

use crate::engine::pass::recorder::{Note, Pass, Phase};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::plan::Plan;
use crate::gpu::{Timestamps, timer::Timer};

/// Times of passes, dispatch by dispatch.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How dispatches were timed.
    pub timestamps: Timestamps,
    /// Entries sorted by phase, then in the order of the pass.
    pub entries: Vec<Entry>,
    /// The time that the host waited for submissions and results; the dispatches run in it.
    pub waited: Duration,
}

/// The dispatches of one kernel in one role and phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub phase: Phase,
    pub kernel: &'static str,
    pub role: &'static str,
    pub n_dispatches: usize,
    pub seconds: f64,
}

impl Profile {
    fn new(timestamps: Timestamps) -> Self {
        Self {
            timestamps,
            entries: Vec::new(),
            waited: Duration::ZERO,
        }
    }

    /// Seconds of all dispatches.
    pub fn device_seconds(&self) -> f64 {
        self.entries.iter().map(|e| e.seconds).sum()
    }

    fn add(&mut self, note: &Note, seconds: f64) {
        let same =
            |e: &&mut Entry| (e.phase, e.kernel, e.role) == (note.phase, note.kernel, note.role);
        match self.entries.iter_mut().find(same) {
            Some(entry) => {
                entry.n_dispatches += 1;
                entry.seconds += seconds;
            }
            None => self.entries.push(Entry {
                phase: note.phase,
                kernel: note.kernel,
                role: note.role,
                n_dispatches: 1,
                seconds,
            }),
        }
    }
}

/// Times the dispatches of passes.
pub struct Profiler {
    timestamps: Timestamps,
    /// Timers that are not in use.
    idle: Vec<Timer>,
    profile: Profile,
    /// The parts of the pass under way.
    pending: Vec<Pending>,
}

/// A part of a pass under way.
struct Pending {
    /// `None` where the host's clock took the times.
    timer: Option<Timer>,
    /// Its dispatches, with their seconds where the host's clock took them.
    dispatches: Vec<(Note, f64)>,
}

impl Profiler {
    pub fn new(timestamps: Timestamps) -> Self {
        Self {
            timestamps,
            idle: Vec::new(),
            profile: Profile::new(timestamps),
            pending: Vec::new(),
        }
    }

    /// Whether dispatches run in submissions of their own, before the pass is submitted.
    pub fn is_one_by_one(&self) -> bool {
        self.timestamps == Timestamps::None
    }

    /// Encodes a part of a pass so that its dispatches can be timed; where the device has no timestamps,
    /// the dispatches run here and now. Returns how many there are.
    pub async fn encode(
        &mut self,
        gpu: &Gpu,
        pass: &Pass,
        encoder: &mut wgpu::CommandEncoder,
        counts: &[u32],
    ) -> Result<usize> {
        let (timer, dispatches) = if self.timestamps == Timestamps::None {
            (None, pass.plan.run_one_by_one(gpu, counts).await?)
        } else {
            let needed = pass.plan.max_stamps();
            let fitting = self.idle.iter().position(|t| t.n_stamps() >= needed);
            let timer = match fitting {
                Some(i) => self.idle.swap_remove(i),
                None => Timer::new(gpu, needed),
            };
            let encoded = pass
                .plan
                .encode_timed(encoder, counts, &timer, self.timestamps);
            (Some(timer), encoded.into_iter().map(|i| (i, 0.0)).collect())
        };
        let noted = |(i, seconds): (usize, f64)| (pass.notes[i], seconds);
        let dispatches: Vec<(Note, f64)> = dispatches.into_iter().map(noted).collect();
        let n = dispatches.len();
        self.pending.push(Pending { timer, dispatches });
        Ok(n)
    }

    /// Takes the times of the pass that was submitted at this time, once it has run.
    pub async fn collect(&mut self, gpu: &Gpu, submitted: Instant) -> Result<()> {
        for mut part in std::mem::take(&mut self.pending) {
            if let Some(timer) = part.timer {
                let n = part.dispatches.len();
                let times = Plan::times(gpu, &timer, self.timestamps, n).await?;
                for ((_, seconds), time) in part.dispatches.iter_mut().zip(times) {
                    *seconds = time;
                }
                self.idle.push(timer);
            }
            for (note, seconds) in &part.dispatches {
                self.profile.add(note, *seconds);
            }
        }
        self.profile.waited += submitted.elapsed();
        Ok(())
    }

    /// The profile so far; the next one begins empty.
    pub fn take(&mut self) -> Profile {
        let mut profile = std::mem::replace(&mut self.profile, Profile::new(self.timestamps));
        profile.entries.sort_by_key(|e| e.phase);
        profile
    }
}
