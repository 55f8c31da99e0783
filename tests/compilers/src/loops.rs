//! The loop that a kernel spends its time in, and what it holds.
//!
//! A loop is what lies between a branch backwards and the instruction that it goes to, whether the
//! condition stands at its beginning or, where the compiler turned it round, at its end. Branches
//! back to one place are one loop. An instruction belongs to the innermost loop around it: a loop
//! over tiles that holds a loop over workgroup memory has its loads, but not the inner arithmetic.
//! Of all loops the one with the most loads counts; among those with as many, the one that loads
//! the most bytes, then the first.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::assembly::{Instruction, Program};
use crate::descriptors;

/// Loads of each lane from memory, by their widths.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Loads {
    pub b128: u64,
    pub b96: u64,
    pub b64: u64,
    pub b32: u64,
    /// Of 8 and of 16 bits.
    pub narrow: u64,
}

impl Loads {
    fn add(&mut self, bytes: u64) {
        match bytes {
            16 => self.b128 += 1,
            12 => self.b96 += 1,
            8 => self.b64 += 1,
            4 => self.b32 += 1,
            _ => self.narrow += 1,
        }
    }

    fn all(&self) -> u64 {
        self.b128 + self.b96 + self.b64 + self.b32 + self.narrow
    }
}

/// One turn of a loop, without the loops inside of it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Loop {
    pub loads: Loads,
    /// Vector instructions other than accesses to memory.
    pub arithmetic: u64,
    /// Bytes that a lane loads from memory.
    pub bytes: u64,
    /// Bytes of those that come in loads of 16 bytes from the binding of weights.
    pub weights: u64,
    /// Accesses to workgroup memory.
    pub lds: u64,
}

/// The loop that counts, and nothing where no loop loads from memory. `weights` is the number of the
/// weights' binding.
pub fn busiest(program: &Program, weights: Option<u32>) -> Result<Option<Loop>> {
    let bindings = descriptors::bindings(program)?;
    let loops = loops(program)?;
    let mut found = vec![Loop::default(); loops.len()];
    for (at, instruction) in program.instructions.iter().enumerate() {
        let around = (0..loops.len()).filter(|&i| loops[i].contains(&at));
        let Some(innermost) = around.min_by_key(|&i| loops[i].end() - loops[i].start()) else {
            continue;
        };
        let is_weights = weights.is_some() && bindings[at] == weights;
        found[innermost].add(instruction, is_weights)?;
    }
    let mut best: Option<Loop> = None;
    for one in found {
        let rank = |l: &Loop| (l.loads.all(), l.bytes);
        if rank(&one) > best.as_ref().map_or((0, 0), rank) {
            best = Some(one);
        }
    }
    Ok(best)
}

/// First and last instructions of all loops, in the order of the text.
fn loops(program: &Program) -> Result<Vec<RangeInclusive<usize>>> {
    let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
    for (at, instruction) in program.instructions.iter().enumerate() {
        if let Some(start) = program.target(instruction)?.filter(|&start| start <= at) {
            ends.insert(start, at);
        }
    }
    Ok(ends.into_iter().map(|(start, end)| start..=end).collect())
}

impl Loop {
    fn add(&mut self, instruction: &Instruction, is_weights: bool) -> Result<()> {
        self.arithmetic += u64::from(instruction.is_vector_arithmetic());
        self.lds += u64::from(instruction.is_workgroup_memory());
        let Some(bytes) = instruction.load()? else {
            return Ok(());
        };
        self.loads.add(bytes);
        self.bytes += bytes;
        if bytes == 16 && is_weights {
            self.weights += bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
