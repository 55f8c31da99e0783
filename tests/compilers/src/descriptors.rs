//! Which of a pipeline's buffers a load reads.
//!
//! The driver keeps a descriptor of 16 bytes for every buffer, in the order of their bindings, and
//! a load names four scalar registers that one was fetched into. From the fetches it follows what
//! the registers hold wherever a load stands: along all ways that lead there, by the fixed point of
//! a forward analysis. Where ways disagree the answer is unknown.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use crate::assembly::{Instruction, Program};

const DESCRIPTOR_BYTES: u32 = 16;

/// Bindings by the first of the four scalar registers that their descriptors are in.
type Registers = BTreeMap<u32, u32>;

/// For every instruction the binding that it reads or writes, where it is known.
pub fn bindings(program: &Program) -> Result<Vec<Option<u32>>> {
    let blocks = Blocks::of(program)?;
    let mut at_start: Vec<Option<Registers>> = vec![None; blocks.starts.len()];
    at_start[0] = Some(Registers::new());
    let mut waiting = vec![0];
    while let Some(block) = waiting.pop() {
        let mut registers = at_start[block].clone().unwrap_or_default();
        for instruction in &program.instructions[blocks.range(block)] {
            follow(instruction, &mut registers);
        }
        for &next in &blocks.successors[block] {
            let merged = match &at_start[next] {
                None => registers.clone(),
                Some(before) => {
                    let both = before.iter().filter(|(k, v)| registers.get(k) == Some(v));
                    both.map(|(k, v)| (*k, *v)).collect()
                }
            };
            if at_start[next].as_ref() != Some(&merged) {
                at_start[next] = Some(merged);
                waiting.push(next);
            }
        }
    }
    let mut found = Vec::with_capacity(program.instructions.len());
    for (block, registers) in at_start.into_iter().enumerate() {
        let mut registers = registers.unwrap_or_default();
        for instruction in &program.instructions[blocks.range(block)] {
            found.push(binding(instruction, &registers));
            follow(instruction, &mut registers);
        }
    }
    Ok(found)
}

fn binding(instruction: &Instruction, registers: &Registers) -> Option<u32> {
    if !instruction.name.starts_with("buffer_") {
        return None;
    }
    let mut groups = instruction.operands().filter_map(scalar_registers);
    registers.get(&groups.find(|(_, n)| *n == 4)?.0).copied()
}

/// What the registers hold after an instruction.
fn follow(instruction: &Instruction, registers: &mut Registers) {
    let mut operands = instruction.operands();
    let Some((first, n)) = operands.next().and_then(scalar_registers) else {
        return;
    };
    registers.retain(|&at, _| at + 4 <= first || first + n <= at);
    if !instruction.name.starts_with("s_load_") || n % 4 != 0 {
        return;
    }
    let Some(offset) = operands.nth(1).and_then(constant_offset) else {
        return;
    };
    if offset.is_multiple_of(DESCRIPTOR_BYTES) {
        let held = (0..n / 4).map(|i| (first + 4 * i, offset / DESCRIPTOR_BYTES + i));
        registers.extend(held);
    }
}

/// The first register and the count of `s5` or `s[8:11]`.
fn scalar_registers(operand: &str) -> Option<(u32, u32)> {
    let registers = operand.strip_prefix('s')?;
    if let Ok(register) = registers.parse() {
        return Some((register, 1));
    }
    let (first, last) = registers.strip_prefix('[')?.split_once(':')?;
    let (first, last): (u32, u32) = (first.parse().ok()?, last.strip_suffix(']')?.parse().ok()?);
    Some((first, (last + 1).checked_sub(first)?))
}

/// An offset that no register has a part in.
fn constant_offset(operand: &str) -> Option<u32> {
    if operand == "null" {
        return Some(0);
    }
    let number = operand.strip_prefix("null offset:").unwrap_or(operand);
    match number.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => number.parse().ok(),
    }
}

/// Runs of instructions that are entered at their beginning and left at their end.
struct Blocks {
    starts: Vec<usize>,
    end: usize,
    successors: Vec<Vec<usize>>,
}

impl Blocks {
    fn of(program: &Program) -> Result<Self> {
        let end = program.instructions.len();
        let mut starts: BTreeSet<usize> = program.labelled().filter(|&at| at < end).collect();
        starts.insert(0);
        let mut branches = BTreeMap::new();
        for (at, instruction) in program.instructions.iter().enumerate() {
            if let Some(target) = program.target(instruction)? {
                branches.insert(at, target);
                starts.insert(at + 1);
            }
        }
        starts.remove(&end);
        let starts: Vec<usize> = starts.into_iter().collect();
        let block_at = |at: usize| starts.binary_search(&at).ok();
        let ends = starts.iter().skip(1).copied().chain([end]);
        let successors = ends
            .map(|next| {
                let last = program.instructions[next - 1].name;
                let goes_on = last != "s_branch" && last != "s_endpgm";
                let target = branches.get(&(next - 1)).copied();
                let all = target.into_iter().chain(goes_on.then_some(next));
                all.filter_map(block_at).collect()
            })
            .collect();
        Ok(Self {
            starts,
            end,
            successors,
        })
    }

    fn range(&self, block: usize) -> std::ops::Range<usize> {
        self.starts[block]..self.starts.get(block + 1).copied().unwrap_or(self.end)
    }
}
