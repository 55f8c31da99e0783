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
    timer: Option<Timer>,
    profile: Profile,
    /// Dispatches of the pass under way, with their seconds where the host's clock took them.
    pending: Vec<(usize, f64)>,
}

impl Profiler {
    pub fn new(timestamps: Timestamps) -> Self {
        Self {
            timestamps,
            timer: None,
            profile: Profile::new(timestamps),
            pending: Vec::new(),
        }
    }

    /// Whether dispatches run in submissions of their own, before the pass is submitted.
    pub fn is_one_by_one(&self) -> bool {
        self.timestamps == Timestamps::None
    }

    /// Encodes the pass so that its dispatches can be timed; where the device has no timestamps,
    /// the dispatches run here and now. Returns how many there are.
    pub async fn encode(
        &mut self,
        gpu: &Gpu,
        pass: &Pass,
        encoder: &mut wgpu::CommandEncoder,
        counts: &[u32],
    ) -> Result<usize> {
        if self.timestamps == Timestamps::None {
            self.pending = pass.plan.run_one_by_one(gpu, counts).await?;
            return Ok(self.pending.len());
        }
        // Plans differ in length: the timer is made for the longest one seen.
        let needed = pass.plan.max_stamps();
        let timer = match self.timer.take().filter(|t| t.n_stamps() >= needed) {
            Some(timer) => timer,
            None => Timer::new(gpu, needed),
        };
        let encoded = pass
            .plan
            .encode_timed(encoder, counts, &timer, self.timestamps);
        self.timer = Some(timer);
        self.pending = encoded.into_iter().map(|i| (i, 0.0)).collect();
        Ok(self.pending.len())
    }

    /// Takes the times of the pass that was submitted at this time, once it has run.
    pub async fn collect(&mut self, gpu: &Gpu, pass: &Pass, submitted: Instant) -> Result<()> {
        if let Some(timer) = &self.timer {
            let n = self.pending.len();
            let times = Plan::times(gpu, timer, self.timestamps, n).await?;
            for ((_, seconds), time) in self.pending.iter_mut().zip(times) {
                *seconds = time;
            }
        }
        for (i, seconds) in self.pending.drain(..) {
            self.profile.add(&pass.notes[i], seconds);
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
