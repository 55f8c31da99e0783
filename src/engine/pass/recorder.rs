//! Recording a pass: calls in order, and the dispatches that the device sizes.
//!
//! A call over rows that continue or exit is dispatched indirectly, or else for all rows, of which
//! those that are not listed return at once ([`Skip`]). An indirect size is written by the
//! `exit` kernel before it, which needs a table of the calls that follow until the next decision:
//! [`Recorder`] keeps that table while the calls are recorded.

use wgpu::BufferUsages;

use crate::engine::memory::rows::BATCH_ROWS;
use crate::gpu::plan::{Plan, Rows};
use crate::gpu::{Call, Cost, Gpu, Skip};
use crate::kernels::exit::{self, Grid};

/// A list of rows, and how dispatches over it are sized.
#[derive(Clone, Copy)]
pub struct RowList {
    pub list: u32,
    pub size: Size,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Size {
    /// Rows that the host counts: the index of their count.
    Counted(usize),
    /// The rows that continue after a cycle; their number is written by `exit`.
    Staying,
    /// The rows that exit after a cycle; their number is written by `exit`.
    Leaving,
}

/// Buffers of the dispatches that `exit` sizes.
pub struct DispatchSizes {
    /// The dispatches to be sized: [`Grid`]s.
    pub grids: wgpu::Buffer,
    /// The sizes, u32 `[grid][x, y, z]`.
    pub dispatches: wgpu::Buffer,
    n_grids: usize,
}

impl DispatchSizes {
    /// Room for every cycle's grids: calls of the same grid share one, so ten are usual.
    pub fn new(gpu: &Gpu, n_cycles: usize) -> Self {
        let n_grids = 64 * n_cycles;
        let bytes = |each: usize| (each * n_grids) as u64;
        let storage = BufferUsages::STORAGE;
        Self {
            grids: gpu.buffer(
                "grids",
                bytes(size_of::<Grid>()),
                storage | BufferUsages::COPY_DST,
            ),
            dispatches: gpu.buffer("dispatches", bytes(12), storage | BufferUsages::INDIRECT),
            n_grids,
        }
    }
}

/// A part of the forward pass, by which a profile groups dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The head layers, the embedding included.
    Head,
    /// A cycle, its score and the filling of the KV caches of skipped cycles included.
    Cycle(usize),
    Tail,
    /// The final norm, the output projection, and drawing a token from it.
    Logits,
}

/// The purpose and the cost of a dispatch.
#[derive(Clone, Copy)]
pub struct Note {
    pub phase: Phase,
    pub kernel: &'static str,
    /// The task of the dispatch in the layer, such as `qkv_proj`.
    pub role: &'static str,
    pub size: Size,
    pub cost: Cost,
}

/// A plan with a note on each of its dispatches.
pub struct Pass {
    pub plan: Plan,
    pub notes: Vec<Note>,
}

/// The calls recorded so far.
pub struct Recorder<'a> {
    calls: Vec<(Call<'a>, Rows)>,
    notes: Vec<Note>,
    phase: Phase,
    grids: Vec<Grid>,
    /// The latest `exit`: its call and its parameters.
    latest_exit: Option<(usize, exit::Params)>,
    skip: Skip,
}

impl<'a> Recorder<'a> {
    /// `skip`: how calls are passed over that have no rows.
    pub fn new(skip: Skip) -> Self {
        Self {
            skip,
            calls: Vec::new(),
            notes: Vec::new(),
            phase: Phase::Head,
            grids: Vec::new(),
            latest_exit: None,
        }
    }

    /// Begins `phase`: the calls recorded from here on belong to it.
    pub fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Records a call over listed rows.
    pub fn push(&mut self, role: &'static str, call: Call<'a>, over: RowList) {
        let rows = match over.size {
            Size::Counted(i) => Rows::Counted(i),
            Size::Staying | Size::Leaving if self.skip == Skip::EarlyReturn => {
                Rows::Counted(BATCH_ROWS)
            }
            size => Rows::Indirect(self.grid(&call, size)),
        };
        self.note(role, &call, over.size);
        self.calls.push((call, rows));
    }

    /// Records a call of one workgroup for all rows of the batch.
    pub fn push_whole(&mut self, role: &'static str, call: Call<'a>) {
        self.note(role, &call, Size::Counted(BATCH_ROWS));
        self.calls.push((call, Rows::One));
    }

    /// Records an `exit`, which sizes the indirect calls from here to the next one.
    pub fn push_exit(
        &mut self,
        params: exit::Params,
        buffers: [&'a wgpu::Buffer; 4],
        over: RowList,
    ) {
        self.close_exit();
        let first_grid = self.grids.len() as u32;
        let params = exit::Params {
            first_grid,
            ..params
        };
        let call = exit::call(params, buffers);
        self.note("exit", &call, over.size);
        self.calls.push((call, Rows::One));
        self.latest_exit = Some((self.calls.len() - 1, params));
    }

    fn note(&mut self, role: &'static str, call: &Call, size: Size) {
        self.notes.push(Note {
            phase: self.phase,
            kernel: call.kernel.name,
            role,
            size,
            cost: call.cost,
        });
    }

    /// The index of the dispatch size for `call`, shared by all calls of the same grid.
    fn grid(&mut self, call: &Call, size: Size) -> u32 {
        let grid = Grid {
            x: call.x,
            rows_per_group: call.rows_per_group,
            of_leaving: u32::from(size == Size::Leaving),
            unused: 0,
        };
        let first = self
            .latest_exit
            .map_or(0, |(_, params)| params.first_grid as usize);
        let known = self.grids[first..].iter().position(|g| *g == grid);
        let index = known.map_or(self.grids.len(), |i| first + i);
        if known.is_none() {
            self.grids.push(grid);
        }
        index as u32
    }

    /// Tells the latest `exit` how many grids it sizes.
    fn close_exit(&mut self) {
        if let Some((call, mut params)) = self.latest_exit.take() {
            params.n_grids = self.grids.len() as u32 - params.first_grid;
            self.calls[call].0.params = params.bytes();
        }
    }

    /// The calls recorded, each with its note.
    pub fn calls(&self) -> impl Iterator<Item = (&Call<'a>, &Note)> {
        self.calls.iter().map(|(call, _)| call).zip(&self.notes)
    }

    /// Makes the plan.
    pub fn finish(mut self, gpu: &Gpu, sizes: &DispatchSizes) -> Pass {
        self.close_exit();
        assert!(self.grids.len() <= sizes.n_grids, "too many grids");
        gpu.queue
            .write_buffer(&sizes.grids, 0, bytemuck::cast_slice(&self.grids));
        Pass {
            plan: Plan::new(gpu, &self.calls, &sizes.dispatches),
            notes: self.notes,
        }
    }
}
