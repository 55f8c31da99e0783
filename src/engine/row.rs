//! Rows of a batch, as they are asked for.

use crate::schedule::Rule;

/// The next token of a sequence, to be run in a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Which sequence, from 0.
    pub sequence: usize,
    /// `None`: the token drawn last in that sequence, which the host need not know yet.
    pub id: Option<u32>,
    /// When the row leaves the cycles.
    pub rule: Rule,
    pub wants: Wants,
}

/// The results of a row that are asked for besides its cycles and scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The logits of the token after it.
    pub logits: bool,
    /// That token, drawn by the sequence's sampler.
    pub token: bool,
}

impl Wants {
    pub const NOTHING: Self = Self {
        logits: false,
        token: false,
    };
    pub const LOGITS: Self = Self {
        logits: true,
        token: false,
    };
    pub const TOKEN: Self = Self {
        logits: false,
        token: true,
    };

    /// Whether logits are computed.
    pub fn any(self) -> bool {
        self.logits || self.token
    }
}
