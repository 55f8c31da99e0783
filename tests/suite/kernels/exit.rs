//! `exit`: scores, the rows that exit, and the sizes of the dispatches that follow.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::exit::{Grid, Params, call, reduce_constant};
use ztt_wgpu::model::config::Reduce;

use super::{Expected, Listing, POISON, Within, bits, buffer, run};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

/// Listed rows; a workgroup has 64 lanes. Dispatched even when nobody is left.
const LISTED: [usize; 6] = [0, 1, 63, 64, 65, 130];
const REDUCES: [Reduce; 5] = [
    Reduce::Mean,
    Reduce::Max,
    Reduce::Min,
    Reduce::First,
    Reduce::Last,
];

/// Layers and heads.
const SHAPES: [(usize, usize); 4] = [(1, 1), (2, 9), (5, 12), (3, 4)];

const N_CYCLES: usize = 4;
/// Dispatches before and after those that the call sizes.
const OTHER_GRIDS: usize = 2;

/// Scores are below 1 and made of a few sums: up to 1e-7.
const TOLERANCE: f64 = 3e-7;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::exit", |gpu| {
            for (i, n_listed) in LISTED.into_iter().enumerate() {
                for (j, reduce) in REDUCES.into_iter().enumerate() {
                    for (k, leave) in LEAVE.into_iter().enumerate() {
                        let case = Case {
                            shape: SHAPES[(i + j) % SHAPES.len()],
                            n_listed,
                            reduce,
                            leave,
                            // The last cycle decides nothing.
                            cycle: match leave {
                                Leave::Undecided => [0, N_CYCLES - 1][j % 2],
                                _ => (i + k) % (N_CYCLES - 1),
                            },
                            // More than there are lanes.
                            n_grids: [5, 70, 1, 0][(i + k) % 4],
                        };
                        Data::new(&case).check(&gpu)?;
                    }
                }
            }
            Ok(())
        }),
        adapter::trial("kernels::controls::exit", |gpu| control(&gpu)),
    ]
}

/// Which rows exit.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    Undecided,
    Nobody,
    /// The rows with scores above a gap between two scores.
    Some,
    All,
    /// Scores are exact, and that of the first row is the threshold itself, which is reached.
    Reached,
}

const LEAVE: [Leave; 5] = [
    Leave::Undecided,
    Leave::Nobody,
    Leave::Some,
    Leave::All,
    Leave::Reached,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    shape: (usize, usize),
    n_listed: usize,
    reduce: Reduce,
    leave: Leave,
    cycle: usize,
    n_grids: usize,
}

/// The inputs of a case, and its expected outputs.
struct Data {
    case: Case,
    params: Params,
    zeros: Vec<f32>,
    grids: Vec<Grid>,
    rows: Vec<u32>,
    progress: Vec<u32>,
    dispatches: Vec<u32>,
    expected_rows: Vec<u32>,
    expected_progress: Expected,
    expected_dispatches: Vec<u32>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let random = &mut Random::new((case.n_listed * 100 + case.n_grids) as u64);
        let listing = Listing::new(case.n_listed);
        let n_rows = listing.n_rows();
        // Sixteenths, their means, one head: every score is exact.
        let (n_layers, n_heads) = match case.leave {
            Leave::Reached => (2, 1),
            _ => case.shape,
        };
        let mut zeros = vec![f32::NAN; n_rows * n_layers * n_heads];
        for &row in &listing.listed {
            for value in &mut zeros[row * n_layers * n_heads..][..n_layers * n_heads] {
                *value = match case.leave {
                    Leave::Reached => random.below(17) as f32 / 16.0,
                    _ => random.unit() as f32,
                };
            }
        }
        let scores: Vec<f64> = listing
            .listed
            .iter()
            .map(|&row| {
                let layers = zeros[row * n_layers * n_heads..]
                    .chunks(n_heads)
                    .take(n_layers);
                let layers = layers.map(|l| l.iter().map(|&p| f64::from(p)).sum::<f64>());
                let layers: Vec<f64> = layers.map(|sum| sum / n_heads as f64).collect();
                reduced(&layers, case.reduce)
            })
            .collect();
        let threshold = match case.leave {
            Leave::Undecided | Leave::All => 0.0,
            Leave::Nobody => 1.5,
            Leave::Some => middle_of_a_gap(&scores),
            Leave::Reached => scores.first().copied().unwrap_or(0.5),
        };
        let decides = case.leave != Leave::Undecided;
        let leaves = |score: f64| decides && score >= threshold;

        // Two lists more, one after the other, to be written.
        let mut rows = listing.values();
        let staying = rows.len();
        let leaving = staying + 1 + n_rows;
        rows.resize(leaving + 1 + n_rows, POISON);
        let mut expected_rows = rows.clone();
        let progress: Vec<u32> = match case.cycle {
            0 => vec![POISON; n_rows * (1 + N_CYCLES)],
            _ => bits(&[N_CYCLES as f32, 0.25, 0.5, -1.0, -1.0]).repeat(n_rows),
        };
        let mut expected_progress = Expected::new(&progress);
        let mut counts = [0; 2];
        for (&row, &score) in listing.listed.iter().zip(&scores) {
            let at = row * (1 + N_CYCLES);
            let cycles = if leaves(score) {
                case.cycle + 1
            } else {
                N_CYCLES
            };
            expected_progress.put(at, vec![cycles as f64]);
            expected_progress.put(at + 1 + case.cycle, vec![score]);
            if case.cycle == 0 {
                expected_progress.put(at + 2, vec![-1.0; N_CYCLES - 1]);
            }
            let (list, count) = match leaves(score) {
                true => (leaving, &mut counts[1]),
                false => (staying, &mut counts[0]),
            };
            *count += 1;
            if decides {
                expected_rows[list + *count] = row as u32;
            }
        }
        let n_all = case.n_grids + 2 * OTHER_GRIDS;
        let grids: Vec<Grid> = (0..n_all)
            .map(|i| Grid {
                x: 1 + i as u32 * 3,
                rows_per_group: [1, 4, 2, 8, 3][i % 5],
                of_leaving: i as u32 / 2 % 2,
                unused: 0,
            })
            .collect();
        let dispatches = vec![POISON; 3 * n_all];
        let mut expected_dispatches = dispatches.clone();
        if decides {
            expected_rows[staying] = counts[0] as u32;
            expected_rows[leaving] = counts[1] as u32;
            for i in OTHER_GRIDS..OTHER_GRIDS + case.n_grids {
                let n = counts[grids[i].of_leaving as usize] as u32;
                let size = match n {
                    0 => [0, 0, 0],
                    _ => [grids[i].x, n.div_ceil(grids[i].rows_per_group), 1],
                };
                expected_dispatches[3 * i..][..3].copy_from_slice(&size);
            }
        }
        let params = Params {
            n_middle_layers: n_layers as u32,
            n_heads: n_heads as u32,
            reduce: reduce_constant(case.reduce),
            cycle: case.cycle as u32,
            n_cycles: N_CYCLES as u32,
            decides: decides.into(),
            threshold: threshold as f32,
            list: listing.list(),
            staying: staying as u32,
            leaving: leaving as u32,
            first_grid: OTHER_GRIDS as u32,
            n_grids: case.n_grids as u32,
        };
        Self {
            case: *case,
            params,
            zeros,
            grids,
            rows,
            progress,
            dispatches,
            expected_rows,
            expected_progress,
            expected_dispatches,
        }
    }

    fn check(&self, gpu: &Gpu) -> Result<()> {
        let (zeros, grids) = (buffer(gpu, &self.zeros), buffer(gpu, &self.grids));
        let (rows, progress) = (buffer(gpu, &self.rows), buffer(gpu, &self.progress));
        let dispatches = buffer(gpu, &self.dispatches);
        let call = call(self.params, [&zeros, &grids, &rows, &progress, &dispatches]);
        let out = run(gpu, call, 1, &[&rows, &progress, &dispatches])?;
        let what = format!("{:?}", self.case);
        same(&format!("{what} lists"), &out[0], &self.expected_rows)?;
        same(
            &format!("{what} dispatches"),
            &out[2],
            &self.expected_dispatches,
        )?;
        let what = format!("{what} progress");
        match self.case.n_listed {
            0 => same(&what, &out[1], &self.progress),
            _ => self
                .expected_progress
                .check(&what, &out[1], Within::Absolute(TOLERANCE)),
        }
    }
}

/// The score of a row from those of its layers.
fn reduced(layers: &[f64], reduce: Reduce) -> f64 {
    match reduce {
        Reduce::Mean => layers.iter().sum::<f64>() / layers.len() as f64,
        Reduce::Max => layers.iter().copied().fold(f64::MIN, f64::max),
        Reduce::Min => layers.iter().copied().fold(f64::MAX, f64::min),
        Reduce::First => layers[0],
        Reduce::Last => layers[layers.len() - 1],
    }
}

/// A threshold that rounding moves no score across: in the widest gap of the middle half.
fn middle_of_a_gap(scores: &[f64]) -> f64 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quarter = sorted.len() / 4;
    let pairs = sorted[quarter..sorted.len() - quarter].windows(2);
    let widest = pairs.max_by(|a, b| (a[1] - a[0]).total_cmp(&(b[1] - b[0])));
    widest.map_or(0.5, |pair| (pair[0] + pair[1]) / 2.0)
}

/// A wrong score must be found, whether or not a row exits for it.
fn control(gpu: &Gpu) -> Result<()> {
    let case = Case {
        shape: (2, 9),
        n_listed: 65,
        reduce: Reduce::Mean,
        leave: Leave::Some,
        cycle: 1,
        n_grids: 5,
    };
    let planted = |error: f32| {
        let mut data = Data::new(&case);
        data.check(gpu)?;
        // Row 1 is the first of the list.
        data.zeros[2 * 9] += error;
        anyhow::Ok(data.check(gpu).err().map(|e| e.to_string()))
    };
    let complaint = planted(1e-3)?.context("a wrong score passes")?;
    ensure!(complaint.contains("progress"), "{complaint}");
    // Far above the threshold, or far below.
    let mut complaints = [planted(100.0)?, planted(-100.0)?].into_iter().flatten();
    ensure!(
        complaints.any(|c| c.contains("lists")),
        "a wrong list passes"
    );
    Ok(())
}
