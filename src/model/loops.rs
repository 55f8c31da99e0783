//! Which layers run in cycles, how often, and what makes the scores by which positions leave.

use super::family::LoopKeys;
use super::json::Object;
use super::sizes::MAX_LAYERS;
use crate::error::{Error, Result};

/// The most cycles of a model that stores nothing by cycle: it may run more than its config says.
pub const MOST_CYCLES: usize = 64;

/// Which layers run in cycles, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loops {
    /// `h`: layers before the cycled ones. All of them where no layer is cycled.
    pub head_layers: usize,
    /// `t`: layers after them.
    pub tail_layers: usize,
    /// `N`: how often the middle layers run; 1 where there are none.
    pub cycles: usize,
    /// Every cycle ends with the final norm of the residual stream, which replaces it.
    pub norm: bool,
}

/// What makes the scores of cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreSource {
    /// The softmax weights on the zero tokens of a pool.
    ZeroAttention,
    /// A learned gate on the residual stream at the end of a cycle.
    Gate,
}

impl ScoreSource {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            ScoreSource::ZeroAttention => "zero attention",
            ScoreSource::Gate => "learned gate",
        }
    }

    /// The threshold of rows that are asked to leave at `asked`. A gate's chance of 1 or more is
    /// never reached, whatever rounding does.
    pub fn threshold(self, asked: Option<f64>) -> Option<f64> {
        match self {
            ScoreSource::ZeroAttention => asked,
            ScoreSource::Gate => asked.filter(|&chance| chance < 1.0),
        }
    }
}

impl Loops {
    /// Every layer runs once.
    pub fn none(n_layers: usize) -> Self {
        Self {
            head_layers: n_layers,
            tail_layers: 0,
            cycles: 1,
            norm: false,
        }
    }

    /// Layers `first` to `last` of `n_layers` run `cycles` times.
    ///
    /// # Errors
    /// [`Error::Option`] where there are no such layers, or too many cycles.
    pub fn of_layers(first: usize, last: usize, cycles: usize, n_layers: usize) -> Result<Self> {
        let error = |expected: String, found: String| Error::Option {
            option: "--loop",
            expected,
            found,
        };
        if first > last || last >= n_layers {
            let expected = format!("layers from 0 to {}, as the model has", n_layers - 1);
            return Err(error(expected, format!("{first}-{last}")));
        }
        let most = most_cycles(last - first + 1);
        if !(1..=most).contains(&cycles) {
            return Err(error(format!("1 to {most} cycles"), cycles.to_string()));
        }
        Ok(Self {
            head_layers: first,
            tail_layers: n_layers - last - 1,
            cycles,
            norm: false,
        })
    }

    /// Reads the fields of a family whose layers all run in cycles.
    pub(super) fn parse(json: &Object, keys: &LoopKeys, n_layers: usize) -> Result<Self> {
        let weights = keys.weights.and_then(|key| Some((key, json.asked(key)?)));
        let last = keys.last_cycle.map_or(Ok(None), |key| json.whole(key))?;
        let (field, cycles) = match (weights, keys.last_cycle.zip(last)) {
            (_, Some((key, last))) => (key, last.saturating_add(1)),
            (Some((key, weights)), None) => {
                let list = weights.as_array();
                let list =
                    list.ok_or_else(|| json.error(key, "a list of numbers", "something else"))?;
                (key, list.len() + 1)
            }
            (None, None) => {
                let cycles = json.whole_from(keys.cycles, 1, Some(keys.default_cycles))?;
                (keys.cycles, cycles)
            }
        };
        let most = most_cycles(n_layers);
        if cycles > most {
            let expected = format!("at most {most} cycles");
            return Err(json.error(field, &expected, &cycles.to_string()));
        }
        let skips_norm = keys
            .skip_norm
            .map_or(Ok(false), |key| json.flag(key, false))?;
        Ok(Self {
            head_layers: 0,
            tail_layers: 0,
            cycles,
            norm: !skips_norm,
        })
    }
}

/// The most cycles of `n_middle` layers.
pub fn most_cycles(n_middle: usize) -> usize {
    MOST_CYCLES.min(MAX_LAYERS / n_middle)
}
