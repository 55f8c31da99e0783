//! The driver's assembly as text: instructions, the labels that they branch to, and the kinds of
//! instruction that are counted. RDNA3 names widths by their bits (`buffer_load_b128`), RDNA2 and
//! GCN by words of four bytes (`buffer_load_dwordx4`).

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

pub struct Instruction<'a> {
    pub name: &'a str,
    operands: &'a str,
}

/// A program in the order of its text.
#[derive(Default)]
pub struct Program<'a> {
    pub instructions: Vec<Instruction<'a>>,
    /// The instruction that each label stands before.
    labels: HashMap<&'a str, usize>,
}

impl<'a> Program<'a> {
    pub fn parse(text: &'a str) -> Result<Self> {
        let mut program = Self::default();
        for line in text.lines() {
            let code = line.split(';').next().unwrap_or_default();
            let is_indented = code.starts_with(char::is_whitespace);
            let code = code.trim();
            if code.is_empty() {
                continue;
            }
            if !is_indented {
                let label = code.strip_suffix(':');
                let label = label.with_context(|| format!("expected a label, found `{line}`"))?;
                program.labels.insert(label, program.instructions.len());
            } else if let Some(times) = repeated(code) {
                let last = program.instructions.last();
                let last = last.context("nothing is there to be repeated")?;
                let (name, operands) = (last.name, last.operands);
                let again = (0..times).map(|_| Instruction { name, operands });
                program.instructions.extend(again);
            } else {
                program.instructions.push(Instruction::parse(code)?);
            }
        }
        ensure!(!program.instructions.is_empty(), "the assembly is empty");
        Ok(program)
    }

    /// The instruction that a branch goes to, and nothing for what is no branch.
    pub fn target(&self, instruction: &Instruction) -> Result<Option<usize>> {
        let name = instruction.name;
        if !name.starts_with("s_branch") && !name.starts_with("s_cbranch") {
            let is_jump = name.starts_with("s_setpc") || name.starts_with("s_swappc");
            ensure!(!is_jump, "`{name}` jumps to where cannot be told");
            return Ok(None);
        }
        let label = instruction.operands;
        let target = self.labels.get(label);
        Ok(Some(*target.with_context(|| {
            format!("`{name}` goes to `{label}`, which is no label")
        })?))
    }

    /// Instructions that some label stands before.
    pub fn labelled(&self) -> impl Iterator<Item = usize> {
        self.labels.values().copied()
    }
}

/// The count of a line that stands for further ones.
fn repeated(code: &str) -> Option<usize> {
    let count = code.strip_prefix("(then repeated ")?;
    count.strip_suffix(" times)")?.parse().ok()
}

impl<'a> Instruction<'a> {
    fn parse(code: &'a str) -> Result<Self> {
        let (name, operands) = code.split_once(char::is_whitespace).unwrap_or((code, ""));
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
        ensure!(is_name, "expected an instruction, found `{code}`");
        Ok(Self {
            name,
            operands: operands.trim(),
        })
    }

    /// Operands between commas.
    pub fn operands(&self) -> impl Iterator<Item = &'a str> {
        self.operands.split(',').map(str::trim)
    }

    /// An instruction that every lane carries out for itself, matrix products included.
    pub fn is_vector_arithmetic(&self) -> bool {
        self.name.starts_with("v_")
    }

    /// An access to memory by each lane, workgroup memory aside.
    pub fn is_memory(&self) -> bool {
        let spaces = [
            "buffer_", "tbuffer_", "global_", "flat_", "scratch_", "image_",
        ];
        spaces.iter().any(|space| self.name.starts_with(space))
    }

    /// An access to workgroup memory. Exchanges between lanes that take the same way are none.
    pub fn is_workgroup_memory(&self) -> bool {
        let exchanges = ["ds_bpermute", "ds_permute", "ds_swizzle"];
        self.name.starts_with("ds_") && !exchanges.iter().any(|e| self.name.starts_with(e))
    }

    /// The bytes of a load of each lane from a buffer or an address. Loads that are one for all lanes (`s_load`,
    /// `s_buffer_load`) are none.
    pub fn load(&self) -> Result<Option<u64>> {
        let name = self.name;
        if name.starts_with("image_") || name.starts_with("tbuffer_load") {
            bail!("`{name}`: loads from textures are not counted");
        }
        let spaces = ["buffer_load_", "global_load_", "flat_load_"];
        let Some(kind) = spaces.iter().find_map(|space| name.strip_prefix(space)) else {
            return Ok(None);
        };
        let bytes = match kind {
            "b128" | "dwordx4" => 16,
            "b96" | "dwordx3" => 12,
            "b64" | "dwordx2" => 8,
            "b32" | "dword" => 4,
            "u16" | "i16" | "d16_b16" | "d16_hi_b16" => 2,
            "ushort" | "sshort" | "short_d16" | "short_d16_hi" => 2,
            "u8" | "i8" | "d16_u8" | "d16_hi_u8" | "d16_i8" | "d16_hi_i8" => 1,
            "ubyte" | "sbyte" | "ubyte_d16" | "ubyte_d16_hi" | "sbyte_d16" | "sbyte_d16_hi" => 1,
            _ => bail!("`{name}`: a load of unknown width"),
        };
        Ok(Some(bytes))
    }
}
