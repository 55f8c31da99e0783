//! How much of their work tests with hundreds of cases do.

/// With this set, they run every case; without it, a sample.
const VARIABLE: &str = "ZTT_ALL_CASES";

/// Cases from one that a sample has to the next. Prime, so that the sample has every value of each
/// list that the cases are combinations of.
const STEP: usize = 7;

/// Whether every case is run.
pub fn is_on() -> bool {
    std::env::var_os(VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// All of `cases`, or a sample of them.
pub fn sample<T>(cases: Vec<T>) -> Vec<T> {
    one_of(STEP, cases)
}

/// All of `cases`, or one of every `step`, a prime.
pub fn one_of<T>(step: usize, cases: Vec<T>) -> Vec<T> {
    let step = if is_on() { 1 } else { step };
    cases.into_iter().step_by(step).collect()
}

/// `n` repetitions of something random, or a share of them.
pub fn repetitions(n: usize) -> usize {
    if is_on() { n } else { n.div_ceil(STEP) }
}

/// Says on standard error which cases are left out.
pub fn tell() {
    if !is_on() {
        eprintln!(
            "note: tests of kernels, texts and corrupt files run a sample of their cases; \
             {VARIABLE}=1 runs them all"
        );
    }
}
