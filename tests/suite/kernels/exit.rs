//! `exit`: the rows that leave after a cycle, and the sizes of the dispatches that follow.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::exit::{Grid, Params, call};

use super::{Listing, POISON, bits, buffer, run};
use crate::adapter;
use crate::compare::same;
use crate::random::Random;

/// Listed rows; a workgroup has 64 lanes. Dispatched even when nobody is left.
const LISTED: [usize; 6] = [0, 1, 63, 64, 65, 130];

const N_CYCLES: usize = 4;
/// Dispatches before and after those that the call sizes.
const OTHER_GRIDS: usize = 2;

pub fn trials() -> Vec<Trial> {
    vec![
        adapter::trial("kernels::exit", |gpu| {
            for (i, n_listed) in LISTED.into_iter().enumerate() {
                for (k, leave) in LEAVE.into_iter().enumerate() {
                    for cycle in 0..N_CYCLES - 1 {
                        let case = Case {
                            n_listed,
                            leave,
                            cycle,
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

/// Which rows leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leave {
    Nobody,
    /// Each row has a rule of its own: a threshold, fewest and most cycles.
    Some,
    All,
    /// Every row has the score that is its threshold, which is reached.
    Reached,
    /// Every row has run its most cycles.
    Done,
    /// Without scores, some rows have run their most cycles.
    NoScores,
}

const LEAVE: [Leave; 6] = [
    Leave::Nobody,
    Leave::Some,
    Leave::All,
    Leave::Reached,
    Leave::Done,
    Leave::NoScores,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    n_listed: usize,
    leave: Leave,
    cycle: usize,
    n_grids: usize,
}

/// The inputs of a case, and its expected outputs.
struct Data {
    case: Case,
    params: Params,
    grids: Vec<Grid>,
    rows: Vec<u32>,
    progress: Vec<u32>,
    dispatches: Vec<u32>,
    expected_rows: Vec<u32>,
    expected_progress: Vec<u32>,
    expected_dispatches: Vec<u32>,
}

impl Data {
    fn new(case: &Case) -> Self {
        let random = &mut Random::new((case.n_listed * 100 + case.n_grids) as u64);
        let mut listing = Listing::new(case.n_listed);
        let n_rows = listing.n_rows();
        let n_run = case.cycle + 1;
        let mut progress = match case.cycle {
            0 => vec![POISON; n_rows * (1 + N_CYCLES)],
            _ => bits(&[N_CYCLES as f32, 0.25, 0.5, -1.0, -1.0]).repeat(n_rows),
        };
        let mut scores = vec![0.0; n_rows];
        for row in 0..n_rows {
            scores[row] = random.unit() as f32;
            progress[row * (1 + N_CYCLES) + n_run] = scores[row].to_bits();
            let any = |random: &mut Random| 1 + random.below(N_CYCLES);
            let (threshold, fewest, most) = match case.leave {
                Leave::Nobody => (1.5, 1, N_CYCLES),
                Leave::All => (0.0, 1, N_CYCLES),
                Leave::Reached => (scores[row], 1, N_CYCLES),
                Leave::Done => (0.0, 1, n_run),
                Leave::Some => (random.unit() as f32, any(random), any(random)),
                Leave::NoScores => (0.0, 1, any(random)),
            };
            listing.rules[row] = [7, fewest as u32, most as u32, threshold.to_bits(), 0];
        }
        // 0 stays, 1 leaves, 2 has run its most cycles.
        let decision = |row: usize| {
            let [_, fewest, most, threshold, _] = listing.rules[row];
            let reached = scores[row] >= f32::from_bits(threshold);
            match () {
                _ if n_run >= most as usize => 2,
                _ if case.leave == Leave::NoScores => 0,
                _ => usize::from(n_run >= fewest as usize && reached),
            }
        };

        // Two lists more, one after the other, to be written.
        let mut rows = listing.values();
        let staying = rows.len();
        let leaving = staying + 1 + n_rows;
        rows.resize(leaving + 1 + n_rows, POISON);
        let mut expected_rows = rows.clone();
        let mut expected_progress = progress.clone();
        let mut counts = [0; 3];
        for &row in &listing.listed {
            let at = row * (1 + N_CYCLES);
            let decided = decision(row);
            if case.cycle == 0 {
                expected_progress[at] = (N_CYCLES as f32).to_bits();
                expected_progress[at + 2..at + 1 + N_CYCLES].fill((-1f32).to_bits());
            }
            if decided > 0 {
                expected_progress[at] = (n_run as f32).to_bits();
            }
            counts[decided] += 1;
            if decided < 2 {
                let list = [staying, leaving][decided];
                expected_rows[list + counts[decided]] = row as u32;
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
        let params = Params {
            cycle: case.cycle as u32,
            n_cycles: N_CYCLES as u32,
            has_score: u32::from(case.leave != Leave::NoScores),
            list: listing.list(),
            staying: staying as u32,
            leaving: leaving as u32,
            first_grid: OTHER_GRIDS as u32,
            n_grids: case.n_grids as u32,
        };
        Self {
            case: *case,
            params,
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
        let grids = buffer(gpu, &self.grids);
        let (rows, progress) = (buffer(gpu, &self.rows), buffer(gpu, &self.progress));
        let dispatches = buffer(gpu, &self.dispatches);
        let call = call(self.params, [&grids, &rows, &progress, &dispatches]);
        let out = run(gpu, call, 1, &[&rows, &progress, &dispatches])?;
        let what = format!("{:?}", self.case);
        same(&format!("{what} lists"), &out[0], &self.expected_rows)?;
        same(
            &format!("{what} dispatches"),
            &out[2],
            &self.expected_dispatches,
        )?;
        same(
            &format!("{what} progress"),
            &out[1],
            &self.expected_progress,
        )
    }
}

/// A wrong score must be found, and a wrong rule.
fn control(gpu: &Gpu) -> Result<()> {
    let case = Case {
        n_listed: 65,
        leave: Leave::Nobody,
        cycle: 1,
        n_grids: 5,
    };
    let planted = |plant: &dyn Fn(&mut Data)| {
        let mut data = Data::new(&case);
        data.check(gpu)?;
        plant(&mut data);
        anyhow::Ok(data.check(gpu).err().map(|e| e.to_string()))
    };
    // Row 1 is the first of the list.
    let score = |data: &mut Data| data.progress[1 + N_CYCLES + 2] = 2f32.to_bits();
    let complaint = planted(&score)?.context("a wrong score passes")?;
    ensure!(complaint.contains("lists"), "{complaint}");
    let most = |data: &mut Data| data.rows[super::ROW_WORDS + 4] = 2;
    let complaint = planted(&most)?.context("a wrong rule passes")?;
    ensure!(complaint.contains("lists"), "{complaint}");
    Ok(())
}
