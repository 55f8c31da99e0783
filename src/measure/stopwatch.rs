//! Timing work on the device: many repetitions a sample, several samples.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use wgpu::ComputePassDescriptor;

use super::report::Clock;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::gpu::{Timestamps, timer::Timer};

/// Takes samples on one device.
pub struct Stopwatch<'g> {
    pub gpu: &'g Gpu,
    pub n_samples: usize,
    /// The time that a sample should take: long against the cost of a submission.
    pub sample_time: Duration,
    timer: Option<Timer>,
    /// Repetitions in a sample, by test, once they are known.
    repetitions: RefCell<HashMap<String, usize>>,
}

/// Seconds of one repetition, sample by sample.
pub struct Timing {
    pub clock: Clock,
    /// Seconds of each sample by `clock`.
    pub seconds: Vec<f64>,
    /// Seconds of each sample by the host's clock.
    pub wall: Vec<f64>,
}

impl Timing {
    /// The times of `1 / n` of the work: all divided by `n`.
    pub fn divided(mut self, n: f64) -> Self {
        let all = self.seconds.iter_mut().chain(&mut self.wall);
        all.for_each(|seconds| *seconds /= n);
        self
    }

    /// Adds samples. Where the clocks differ, the host's has the last word.
    pub fn extend(&mut self, other: Timing) {
        if self.clock != other.clock {
            self.clock = Clock::Wall;
            self.seconds = self.wall.clone();
        }
        self.seconds.extend(match self.clock {
            Clock::Wall => &other.wall,
            Clock::Gpu => &other.seconds,
        });
        self.wall.extend(other.wall);
    }
}

/// Repetitions in a submission at most: commands take memory.
const MAX_REPETITIONS: usize = 8192;

impl<'g> Stopwatch<'g> {
    pub fn new(gpu: &'g Gpu, n_samples: usize) -> Self {
        let has_timestamps = gpu.timestamps() != Timestamps::None;
        Self {
            gpu,
            n_samples: n_samples.max(1),
            sample_time: Duration::from_millis(40),
            timer: has_timestamps.then(|| Timer::new(gpu, 2)),
            repetitions: RefCell::default(),
        }
    }

    /// Times `encode`, which encodes its `i`-th repetition into a pass. The first run, which
    /// compiles pipelines, is not counted. All samples of `test` have as many repetitions.
    pub fn time(
        &self,
        test: &str,
        mut encode: impl FnMut(&mut wgpu::ComputePass<'_>, usize),
    ) -> Result<Timing> {
        self.sample(1, &mut encode)?;
        let known = self.repetitions.borrow().get(test).copied();
        let n = match known {
            Some(n) => n,
            None => {
                let n = self.enough(&mut encode)?;
                self.repetitions.borrow_mut().insert(test.to_string(), n);
                n
            }
        };
        let mut wall = Vec::new();
        let mut device = Vec::new();
        for _ in 0..self.n_samples {
            let (by_host, by_device) = self.sample(n, &mut encode)?;
            wall.push(by_host / n as f64);
            device.extend(by_device.map(|seconds| seconds / n as f64));
        }
        // A sample is long against a submission, so both clocks must say nearly the same.
        let agrees = |(device, wall): (&f64, &f64)| (0.5..1.1).contains(&(device / wall));
        let works = device.len() == wall.len() && device.iter().zip(&wall).all(agrees);
        Ok(match works {
            true => Timing {
                clock: Clock::Gpu,
                seconds: device,
                wall,
            },
            false => Timing {
                clock: Clock::Wall,
                seconds: wall.clone(),
                wall,
            },
        })
    }

    /// How many repetitions take the time of a sample.
    fn enough(&self, encode: &mut impl FnMut(&mut wgpu::ComputePass<'_>, usize)) -> Result<usize> {
        let mut n = 1;
        loop {
            let (wall, _) = self.sample(n, encode)?;
            let wanted = self.sample_time.as_secs_f64();
            if wall > wanted / 4.0 || n == MAX_REPETITIONS {
                n = (n as f64 * wanted / wall).ceil() as usize;
                return Ok(n.clamp(1, MAX_REPETITIONS));
            }
            n = (4 * n).min(MAX_REPETITIONS);
        }
    }

    /// Times `work` by the host's clock: it does `n` repetitions and waits for them.
    pub fn time_on_host(
        &self,
        n: usize,
        mut work: impl FnMut(usize) -> Result<()>,
    ) -> Result<Timing> {
        work(n)?;
        let mut wall = Vec::new();
        for _ in 0..self.n_samples {
            let start = Instant::now();
            work(n)?;
            wall.push(start.elapsed().as_secs_f64() / n as f64);
        }
        Ok(Timing {
            clock: Clock::Wall,
            seconds: wall.clone(),
            wall,
        })
    }

    /// Seconds of `n` repetitions in one pass, by the host's clock and by the device's.
    fn sample(
        &self,
        n: usize,
        encode: &mut impl FnMut(&mut wgpu::ComputePass<'_>, usize),
    ) -> Result<(f64, Option<f64>)> {
        let gpu = self.gpu;
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&ComputePassDescriptor {
            label: None,
            timestamp_writes: self.timer.as_ref().map(|timer| timer.around(0)),
        });
        (0..n).for_each(|i| encode(&mut pass, i));
        drop(pass);
        if let Some(timer) = &self.timer {
            timer.resolve(&mut encoder, 2);
        }
        let commands = encoder.finish();
        let start = Instant::now();
        gpu.queue.submit([commands]);
        pollster::block_on(gpu.wait())?;
        let wall = start.elapsed().as_secs_f64();
        let device = match &self.timer {
            Some(timer) => pollster::block_on(timer.read(gpu, 2))?.last().copied(),
            None => None,
        };
        Ok((wall, device))
    }
}
