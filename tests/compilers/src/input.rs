//! The folder of pipelines that the product's tests write: `NAME.wgsl` of each kernel, and
//! `pipelines.jsonl`, a line for each set of constants that the host gives it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::cards::{CARDS, Card};

/// Values of a kernel's `override` constants.
pub type Constants = BTreeMap<String, Number>;

/// A line of `pipelines.jsonl`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    pub kernel: String,
    pub constants: Constants,
    /// The smallest and the largest subgroup of the adapter that the host chose constants for.
    pub subgroup: [u32; 2],
    /// The models and the weights that the pipeline is made for.
    pub uses: Vec<String>,
    /// Bytes of different weights that a lane works through in one turn of its loop, scales left
    /// out. Without it they are the bytes of the loop's 16-byte loads from `weights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<u64>,
}

impl Pipeline {
    /// The kernel and its constants, as messages name them.
    pub fn name(&self) -> String {
        with_constants(&self.kernel, &self.constants)
    }
}

/// A kernel's name and its constants, as rows of the table have them.
pub fn with_constants(kernel: &str, constants: &Constants) -> String {
    constants
        .iter()
        .fold(kernel.to_string(), |mut text, (name, value)| {
            let _ = write!(text, " {name}={value}");
            text
        })
}

/// A folder of pipelines.
pub struct Input {
    folder: PathBuf,
    pipelines: Vec<Pipeline>,
}

impl Input {
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("pipelines.jsonl");
        let text = read(&file)?;
        let lines = (1..).zip(text.lines()).filter(|line| !line.1.is_empty());
        let pipelines: Vec<_> = lines
            .map(|(number, line)| {
                parse(line).with_context(|| format!("`{}`, line {number}", file.display()))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            folder: folder.to_path_buf(),
            pipelines,
        })
    }

    /// The pipelines that a card is given.
    pub fn of(&self, card: &Card) -> Result<Vec<&Pipeline>> {
        let all = self.pipelines.iter();
        let of_card: Vec<_> = all.filter(|p| p.subgroup == card.subgroup).collect();
        ensure!(
            !of_card.is_empty(),
            "`{}` has no pipeline for {}, whose subgroups are {:?}",
            self.folder.display(),
            card.name,
            card.subgroup
        );
        Ok(of_card)
    }

    /// The text of a kernel.
    pub fn source(&self, kernel: &str) -> Result<String> {
        read(&self.folder.join(kernel).with_extension("wgsl"))
    }
}

fn parse(line: &str) -> Result<Pipeline> {
    let pipeline: Pipeline = serde_json::from_str(line)?;
    ensure!(
        CARDS.iter().any(|card| card.subgroup == pipeline.subgroup),
        "expected subgroups of a card that is tested, found {:?}",
        pipeline.subgroup
    );
    Ok(pipeline)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))
}
