//! How much of prompts a step takes, so that no step keeps others waiting for long.

use std::time::Duration;

use crate::engine::MAX_BATCH;

/// How long a step with tokens of prompts is to take at most, as far as that can be foreseen: a
/// request that comes meanwhile waits for it.
const STEP: Duration = Duration::from_millis(400);

/// Tokens of the first step.
const FIRST: usize = 16;

/// Tokens of a step in any case.
const LEAST: usize = 4;

/// Tokens of prompts that a step takes, by the time that the steps before it took.
pub(super) struct Room {
    n: usize,
}

impl Room {
    pub fn new() -> Self {
        Self { n: FIRST }
    }

    /// Tokens of prompts for the next step.
    pub fn tokens(&self) -> usize {
        self.n
    }

    /// Takes in that a step of `n_tokens`, of which `n_prompt` were of prompts, took `time`. A slow
    /// one leaves less room for the next, a quick one that was full leaves more.
    pub fn learn(&mut self, n_tokens: usize, n_prompt: usize, time: Duration) {
        if n_prompt == 0 {
            return;
        }
        let share = STEP.as_secs_f64() / time.as_secs_f64().max(1e-6);
        let fits = (n_tokens as f64 * share) as usize;
        if time > STEP {
            self.n = fits.clamp(LEAST, self.n);
        } else if n_prompt >= self.n {
            self.n = fits.clamp(self.n, (2 * self.n).min(MAX_BATCH));
        }
    }
}

/// Deals out `room` to prompts by the tokens `left` of each, oldest first. The oldest one gets
/// half, so that it ends however many others come; the rest goes to those with the least left, so
/// that a short one need not wait for long ones.
pub(super) fn deal(left: &[usize], mut room: usize) -> Vec<usize> {
    let mut dealt = vec![0; left.len()];
    let mut give = |i: usize, most: usize, room: &mut usize| {
        let n = (left[i] - dealt[i]).min(most).min(*room);
        dealt[i] += n;
        *room -= n;
    };
    if !left.is_empty() {
        give(0, room.div_ceil(2), &mut room);
    }
    let mut shortest: Vec<usize> = (0..left.len()).collect();
    shortest.sort_by_key(|&i| left[i]);
    for i in shortest {
        give(i, usize::MAX, &mut room);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_prompt_gets_half_and_the_shortest_one_the_rest() {
        assert_eq!(deal(&[], 8), [0; 0]);
        assert_eq!(deal(&[100], 8), [8]);
        assert_eq!(deal(&[100, 6], 8), [4, 4]);
        assert_eq!(deal(&[100, 90, 6], 16), [8, 2, 6]);
        assert_eq!(deal(&[2, 90, 6], 16), [2, 8, 6]);
        assert_eq!(deal(&[100, 2], 16), [14, 2]);
        assert_eq!(deal(&[3, 4], 0), [0, 0]);
        assert_eq!(deal(&[3, 4], 1), [1, 0]);
        // Of equals the older one.
        assert_eq!(deal(&[9, 9, 9], 8), [8, 0, 0]);
    }

    #[test]
    fn steps_become_as_long_as_they_may_take() {
        let mut room = Room::new();
        // A millisecond a token: 128 of them take less than a step may.
        for _ in 0..9 {
            let n = room.tokens();
            room.learn(n, n, Duration::from_millis(n as u64));
        }
        assert_eq!(room.tokens(), MAX_BATCH);
        // A hundred.
        for _ in 0..2 {
            let n = room.tokens();
            room.learn(n, n, Duration::from_millis(100 * n as u64));
        }
        assert_eq!(room.tokens(), LEAST);
        // A quick pass that was not full tells nothing.
        room.learn(1, 1, Duration::ZERO);
        assert_eq!(room.tokens(), LEAST);
        room.learn(9, 0, Duration::from_secs(9));
        assert_eq!(room.tokens(), LEAST);
    }
}
