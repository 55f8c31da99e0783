//! The counters of a server, for Prometheus and for the last line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::batching::Queue;

/// Upper ends of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];

/// The labels of a counted request: its route and the status of the response.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    status: u16,
}

/// All counters of a server.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_time: Histogram,
    first_token_time: Histogram,
    prompt_tokens: Counter,
    cached_tokens: Counter,
    generated_tokens: Counter,
    drafted_tokens: Counter,
    accepted_tokens: Counter,
    position_cycles: Histogram,
    mean_cycles: Gauge<f64, AtomicU64>,
    /// All positions, and the cycles they ran together, for the mean.
    n_positions: AtomicU64,
    n_cycles: AtomicU64,
    queue_length: Gauge,
    sequences_in_use: Gauge,
}

impl Metrics {
    /// Of a model with `n_cycles` cycles and `n_sequences` sequences.
    pub fn new(n_cycles: usize, n_sequences: usize) -> Self {
        let depths = (1..=n_cycles).map(|cycles| cycles as f64);
        let mut metrics = Self {
            registry: Registry::with_prefix("ztt"),
            requests: Family::default(),
            request_time: Histogram::new(SECONDS),
            first_token_time: Histogram::new(SECONDS),
            prompt_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            generated_tokens: Counter::default(),
            drafted_tokens: Counter::default(),
            accepted_tokens: Counter::default(),
            position_cycles: Histogram::new(depths),
            mean_cycles: Gauge::default(),
            n_positions: AtomicU64::new(0),
            n_cycles: AtomicU64::new(0),
            queue_length: Gauge::default(),
            sequences_in_use: Gauge::default(),
        };
        metrics.register();
        let sequences = Gauge::<i64>::default();
        sequences.set(n_sequences as i64);
        let help = "Sequences that can be extended together";
        metrics.registry.register("sequences", help, sequences);
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let requests = self.requests.clone();
        r.register("requests", "Requests by route and status", requests);
        r.register_with_unit(
            "request_duration",
            "From a request to the end of its response",
            Unit::Seconds,
            self.request_time.clone(),
        );
        r.register_with_unit(
            "time_to_first_token",
            "From a request to its first token, by text",
            Unit::Seconds,
            self.first_token_time.clone(),
        );
        let help = "Tokens of prompts, cached ones included";
        r.register("prompt_tokens", help, self.prompt_tokens.clone());
        let help = "Tokens of prompts whose keys and values were cached";
        r.register("prompt_tokens_cached", help, self.cached_tokens.clone());
        let help = "Tokens generated";
        r.register("generated_tokens", help, self.generated_tokens.clone());
        let help = "Tokens guessed before they were drawn";
        r.register("drafted_tokens", help, self.drafted_tokens.clone());
        let help = "Guesses of tokens that were kept";
        r.register("accepted_tokens", help, self.accepted_tokens.clone());
        let help = "Positions by the number of cycles they ran";
        r.register("position_cycles", help, self.position_cycles.clone());
        let help = "Mean cycles of all positions";
        r.register("mean_cycles", help, self.mean_cycles.clone());
        let help = "Texts that wait for a sequence";
        r.register("queue_length", help, self.queue_length.clone());
        let help = "Sequences in which a text is being generated";
        r.register("sequences_in_use", help, self.sequences_in_use.clone());
    }

    /// Everything, in the text format of OpenMetrics.
    pub fn render(&self, queue: &Queue) -> String {
        let (n_waiting, n_active) = queue.lengths();
        self.queue_length.set(n_waiting as i64);
        self.sequences_in_use.set(n_active as i64);
        let n_positions = self.n_positions.load(Ordering::Relaxed);
        let n_cycles = self.n_cycles.load(Ordering::Relaxed);
        let mean = n_cycles as f64 / n_positions.max(1) as f64;
        self.mean_cycles.set(mean);
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// A response has ended.
    pub fn request(&self, route: &str, status: u16, since: Instant) {
        let route = route.to_string();
        let labels = RequestLabels { route, status };
        self.requests.get_or_create(&labels).inc();
        self.request_time.observe(since.elapsed().as_secs_f64());
    }

    /// A text begins.
    pub fn begin(&self, n_prompt: usize, n_cached: usize) {
        self.prompt_tokens.inc_by(n_prompt as u64);
        self.cached_tokens.inc_by(n_cached as u64);
    }

    /// A position was run.
    pub fn position(&self, cycles: usize) {
        self.position_cycles.observe(cycles as f64);
        self.n_positions.fetch_add(1, Ordering::Relaxed);
        self.n_cycles.fetch_add(cycles as u64, Ordering::Relaxed);
    }

    /// A text, asked for then, has its first token.
    pub fn first_token(&self, since: Instant) {
        self.first_token_time.observe(since.elapsed().as_secs_f64());
    }

    /// Tokens were guessed, and the first of them kept.
    pub fn drafts(&self, n: usize, n_kept: usize) {
        self.drafted_tokens.inc_by(n as u64);
        self.accepted_tokens.inc_by(n_kept as u64);
    }

    /// Tokens joined texts.
    pub fn generated(&self, n: usize) {
        self.generated_tokens.inc_by(n as u64);
    }

    /// Tokens of prompts and tokens generated so far.
    pub fn tokens(&self) -> (u64, u64) {
        (self.prompt_tokens.get(), self.generated_tokens.get())
    }
}
