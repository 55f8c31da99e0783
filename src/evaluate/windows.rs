//! A text longer than the context, cut into windows that overlap by half.

use std::ops::Range;

use crate::error::{Error, Result};

/// A stretch of the text that runs as one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens of the text.
    pub tokens: Range<usize>,
    /// The first token scored; those before it are context.
    pub first_scored: usize,
}

impl Window {
    /// Positions that run: the last token is only predicted.
    pub fn n_positions(&self) -> usize {
        self.tokens.len() - 1
    }
}

/// Cuts `n_tokens` into windows of at most `n_ctx`, each half a window after the one before.
///
/// Every token but the first is scored once: the first window scores all it predicts, a later one
/// the tokens that the window before it did not reach, which have at least half a window of
/// context. The last window ends with the text.
///
/// # Errors
/// [`Error::TooFewTokens`] below two tokens, [`Error::Option`] below two positions: nothing is
/// predicted then.
pub fn windows(n_tokens: usize, n_ctx: usize) -> Result<Vec<Window>> {
    const LEAST: usize = 2;
    if n_tokens < LEAST {
        return Err(Error::TooFewTokens {
            least: LEAST,
            found: n_tokens,
        });
    }
    if n_ctx < LEAST {
        return Err(Error::Option {
            option: "--ctx",
            expected: format!("at least {LEAST}, a token and the one it predicts"),
            found: n_ctx.to_string(),
        });
    }
    let stride = n_ctx / 2;
    let mut windows = vec![Window {
        tokens: 0..n_ctx.min(n_tokens),
        first_scored: 1,
    }];
    let mut end = n_ctx;
    while end < n_tokens {
        let start = end + stride - n_ctx;
        let next = end + stride;
        windows.push(Window {
            tokens: start..next.min(n_tokens),
            first_scored: end,
        });
        end = next;
    }
    Ok(windows)
}

/// Positions that run to score `n_tokens` once, context included.
///
/// # Errors
/// Those of [`windows`].
pub fn n_positions(n_tokens: usize, n_ctx: usize) -> Result<usize> {
    let windows = windows(n_tokens, n_ctx)?;
    Ok(windows.iter().map(Window::n_positions).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_after_the_first_is_scored_once() {
        for n_ctx in 2..40 {
            for n_tokens in 2..160 {
                let windows = windows(n_tokens, n_ctx).unwrap();
                let scored: Vec<usize> = windows
                    .iter()
                    .flat_map(|w| w.first_scored..w.tokens.end)
                    .collect();
                let expected: Vec<usize> = (1..n_tokens).collect();
                assert_eq!(scored, expected, "{n_tokens} tokens, context {n_ctx}");
            }
        }
    }

    #[test]
    fn later_windows_have_half_a_window_of_context() {
        for n_ctx in 2..40 {
            for n_tokens in [n_ctx + 1, 2 * n_ctx, 5 * n_ctx + 3] {
                for (index, window) in windows(n_tokens, n_ctx).unwrap().iter().enumerate() {
                    assert!(window.tokens.len() <= n_ctx);
                    assert!(window.tokens.len() > 1);
                    let context = window.first_scored - window.tokens.start;
                    assert!(index == 0 || 2 * context >= n_ctx, "{window:?}");
                }
            }
        }
    }

    #[test]
    fn what_predicts_nothing_is_refused() {
        assert!(matches!(
            windows(1, 8),
            Err(Error::TooFewTokens { found: 1, .. })
        ));
        assert!(matches!(windows(9, 1), Err(Error::Option { .. })));
        assert_eq!(n_positions(9, 8).unwrap(), 7 + 4);
    }
}
