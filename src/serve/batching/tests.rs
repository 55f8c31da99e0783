//! The batcher over a backend that only counts.

mod fake;

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::engine::sampling::SamplingOptions;
use crate::engine::{Drafts, Row};
use crate::error::{Error, Result};
use crate::generate::{Finish, StopRules};
use crate::model::tokenizer::Tokenizer;
use crate::model::{BUILTIN, Fetch, Model};
use crate::serve::health::Health;
use crate::serve::metrics::Metrics;
use fake::{Fake, N_CTX, RULES, next_id};

/// The state shared with a batcher, and the backend's batches.
struct Fixture {
    tokenizer: Tokenizer,
    queue: Queue,
    health: Health,
    metrics: Metrics,
    batches: Arc<Mutex<Vec<Vec<Row>>>>,
}

type Events = UnboundedReceiver<(usize, Event)>;

impl Fixture {
    fn new(n_waiting: usize, n_sequences: usize) -> Self {
        let model = Model::open(BUILTIN, Fetch::Never).unwrap();
        Self {
            tokenizer: model.tokenizer().unwrap(),
            queue: Queue::new(n_waiting, n_sequences),
            health: Health::default(),
            metrics: Metrics::new(3, n_sequences),
            batches: Arc::default(),
        }
    }

    fn batcher<F: FnMut() -> Result<Fake>>(&self, fake: Fake, open: F) -> Batcher<'_, Fake, F> {
        let fake = Fake {
            batches: Arc::clone(&self.batches),
            ..fake
        };
        let time = Arc::clone(&fake.time);
        let (queue, health) = (&self.queue, &self.health);
        Batcher::new(fake, open, &self.tokenizer, queue, health, &self.metrics)
            .with_clock(move || *time.lock().unwrap())
    }

    fn push(&self, prompt: &[u32], max_tokens: usize) -> Events {
        let (job, events) = job(prompt, max_tokens);
        self.queue.push(vec![job]).unwrap();
        events
    }

    /// Tokens of each sequence in the last pass.
    fn last_batch(&self, n_sequences: usize) -> Vec<usize> {
        let batches = self.batches.lock().unwrap();
        let mut counts = vec![0; n_sequences];
        let last = batches.last().unwrap();
        last.iter().for_each(|next| counts[next.sequence] += 1);
        counts
    }
}

fn no_other() -> Result<Fake> {
    panic!("another backend is asked for")
}

fn job(prompt: &[u32], max_tokens: usize) -> (Job, Events) {
    let (events, received) = unbounded_channel();
    let job = Job {
        prompt: prompt.to_vec(),
        sampling: SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        },
        rules: StopRules {
            max_tokens,
            eos: Vec::new(),
            strings: Vec::new(),
            interrupt: Arc::default(),
        },
        depth: RULES,
        drafts: Drafts::NONE,
        n_top: None,
        choice: 0,
        events,
        since: Instant::now(),
    };
    (job, received)
}

/// The events that have come so far: the tokens, and how the text ended.
fn received(events: &mut Events) -> (Vec<u32>, Option<Outcome>, Option<String>) {
    let (mut ids, mut outcome, mut failure) = (Vec::new(), None, None);
    while let Ok((_, event)) = events.try_recv() {
        match event {
            Event::Started => {}
            Event::Pieces(pieces) => ids.extend(pieces.iter().map(|piece| piece.id)),
            Event::Ended(end) => outcome = Some(end),
            Event::Failed(message) => failure = Some(message),
        }
    }
    (ids, outcome, failure)
}

/// The text that follows a prompt.
fn expected(prompt: &[u32], n: usize) -> Vec<u32> {
    let mut ids = prompt.to_vec();
    (0..n).for_each(|_| ids.push(next_id(&ids)));
    ids.split_off(prompt.len())
}

/// The fake model's texts repeat after four tokens.
#[test]
fn guesses_change_no_text_and_save_passes() {
    let fixture = Fixture::new(8, 2);
    let drafts = Drafts {
        ngrams: true,
        depth: None,
        tokens: Some(3),
    };
    let fake = Fake {
        drafts,
        ..Fake::new(2)
    };
    let mut batcher = fixture.batcher(fake, no_other);
    // What begins the prompts comes again, and goes on otherwise.
    let prompts = [[52, 164, 9, 15], [236, 52, 9, 3]];
    let mut texts: Vec<Events> = Vec::new();
    for prompt in &prompts {
        let (mut job, events) = job(prompt, 30);
        job.drafts = drafts;
        fixture.queue.push(vec![job]).unwrap();
        texts.push(events);
    }
    (0..30).for_each(|_| batcher.step());
    for (prompt, text) in prompts.iter().zip(&mut texts) {
        let (ids, outcome, failure) = received(text);
        assert_eq!((ids, failure), (expected(prompt, 30), None));
        let counts = outcome.unwrap().drafts.unwrap();
        let (drafted, accepted) = counts.totals();
        assert!(drafted > accepted && accepted > 12, "{counts:?}");
    }
    let batches = fixture.batches.lock().unwrap();
    assert!(batches.len() < 24, "{} passes", batches.len());
    assert!(batches.iter().all(|rows| rows.len() <= 1 + Drafts::MOST));
}

#[test]
fn texts_are_extended_together_and_not_mixed() {
    let fixture = Fixture::new(8, 2);
    let mut batcher = fixture.batcher(Fake::new(2), no_other);
    let prompts: Vec<Vec<u32>> = (1..6).map(|i| (i..2 * i + 2).collect()).collect();
    let mut texts: Vec<Events> = prompts.iter().map(|p| fixture.push(p, 6)).collect();
    batcher.step();
    assert_eq!(fixture.last_batch(2), [3, 4]);
    batcher.step();
    assert_eq!(fixture.last_batch(2), [1, 1]);
    (0..30).for_each(|_| batcher.step());
    for (prompt, events) in prompts.iter().zip(&mut texts) {
        let (ids, outcome, _) = received(events);
        assert_eq!(ids, expected(prompt, 6));
        let outcome = outcome.unwrap();
        assert_eq!((outcome.finish, outcome.n_generated), (Finish::Length, 6));
        // The last token is given out without a pass of its own.
        assert_eq!(outcome.exits.by_cycles(), [0, prompt.len() + 5]);
    }
    assert_eq!(fixture.queue.lengths(), (0, 0));
}

#[test]
fn a_long_prompt_does_not_stop_the_others() {
    let fixture = Fixture::new(8, 2);
    let mut batcher = fixture.batcher(Fake::new(2), no_other);
    let long: Vec<u32> = (0..300).collect();
    let mut first = fixture.push(&[1, 2], 9);
    batcher.step();
    let mut second = fixture.push(&long, 2);
    // The pass is longer each time, as far as texts may wait for it.
    for rest in [16, 32, 64, 64, 64, 60] {
        batcher.step();
        assert_eq!(fixture.last_batch(2), [1, rest]);
    }
    (0..5).for_each(|_| batcher.step());
    assert_eq!(received(&mut first).0, expected(&[1, 2], 9));
    assert_eq!(received(&mut second).0, expected(&long, 2));
    // Alone it has the whole pass.
    let mut third = fixture.push(&[&[9], &long[..]].concat(), 1);
    batcher.step();
    assert_eq!(fixture.last_batch(2).iter().sum::<usize>(), 128);
    (0..2).for_each(|_| batcher.step());
    assert!(received(&mut third).1.is_some());
}

#[test]
fn a_short_prompt_waits_for_no_long_one() {
    let fixture = Fixture::new(8, 4);
    let mut slow = Fake::new(4);
    slow.token_time = Duration::from_millis(20);
    let time = Arc::clone(&slow.time);
    let mut batcher = fixture.batcher(slow, no_other);
    let prompts: Vec<Vec<u32>> = (0..3).map(|i| (i..i + 390).collect()).collect();
    let mut long: Vec<Events> = prompts.iter().map(|p| fixture.push(p, 2)).collect();
    (0..3).for_each(|_| batcher.step());
    let came = *time.lock().unwrap();
    let prompt = [7, 8, 9, 10, 11, 12];
    let mut short = fixture.push(&prompt, 2);
    while received(&mut short).0.is_empty() {
        batcher.step();
        assert!(*time.lock().unwrap() - came < Duration::from_secs(1));
    }
    // Short ones that come all the time do not keep the oldest from its end.
    let end = *time.lock().unwrap() + Duration::from_secs(20);
    let mut others = Vec::new();
    let (mut ids, mut outcome) = (Vec::new(), None);
    while outcome.is_none() {
        others.push(fixture.push(&prompt, 1));
        batcher.step();
        let (new, end_of_it, _) = received(&mut long[0]);
        ids.extend(new);
        outcome = end_of_it;
        assert!(*time.lock().unwrap() < end);
    }
    assert_eq!(ids, expected(&prompts[0], 2));
    drop(others);
    (0..100).for_each(|_| batcher.step());
    for (prompt, events) in prompts.iter().zip(&mut long).skip(1) {
        assert_eq!(received(events).0, expected(prompt, 2));
    }
}

#[test]
fn requests_take_turns() {
    let fixture = Fixture::new(20, 1);
    let jobs = |n: usize, token: u32| (0..n).map(move |_| job(&[token], 1)).unzip();
    let (first, _kept): (Vec<Job>, Vec<Events>) = jobs(5, 1);
    let (second, _kept_too): (Vec<Job>, Vec<Events>) = jobs(2, 2);
    let (third, _kept_as_well): (Vec<Job>, Vec<Events>) = jobs(1, 3);
    [first, second, third]
        .into_iter()
        .for_each(|jobs| fixture.queue.push(jobs).unwrap());
    let taken = fixture
        .queue
        .take(6)
        .into_iter()
        .chain(fixture.queue.take(9));
    let order: Vec<u32> = taken.map(|job| job.prompt[0]).collect();
    assert_eq!(order, [1, 2, 3, 1, 2, 1, 1, 1]);
    assert_eq!(fixture.queue.lengths(), (0, 8));
}

#[test]
fn one_request_has_half_of_all_places() {
    for (n_waiting, n_sequences, most) in [(64, 4, 34), (0, 4, 4), (1, 1, 1), (0, 1, 1), (9, 2, 5)]
    {
        assert_eq!(Queue::new(n_waiting, n_sequences).most_of_one(), most);
    }
}

#[test]
fn a_text_that_begins_with_nothing_takes_no_sequence() {
    let fixture = Fixture::new(2, 1);
    let mut batcher = fixture.batcher(Fake::new(1), no_other);
    let mut empty = fixture.push(&[], 5);
    let mut other = fixture.push(&[1, 2], 1);
    (0..2).for_each(|_| batcher.step());
    let (_, outcome, failure) = received(&mut empty);
    assert!(outcome.is_none() && failure.unwrap().contains("at least one token"));
    assert_eq!(received(&mut other).0, expected(&[1, 2], 1));
    assert_eq!(fixture.queue.lengths(), (0, 0));
}

#[test]
fn a_full_context_ends_a_text() {
    let fixture = Fixture::new(1, 1);
    let mut batcher = fixture.batcher(Fake::new(1), no_other);
    let prompt = vec![3; N_CTX - 2];
    let mut text = fixture.push(&prompt, 50);
    (0..10).for_each(|_| batcher.step());
    let (ids, outcome, _) = received(&mut text);
    assert_eq!(ids, expected(&prompt, 3));
    assert_eq!(outcome.unwrap().finish, Finish::Context);
}

#[test]
fn a_text_takes_the_sequence_that_begins_alike() {
    let fixture = Fixture::new(8, 3);
    let mut batcher = fixture.batcher(Fake::new(3), no_other);
    let prompts: [&[u32]; 3] = [&[1, 2, 3, 4], &[1, 2, 5, 6], &[8, 9]];
    let mut texts = prompts.map(|prompt| fixture.push(prompt, 2));
    (0..3).for_each(|_| batcher.step());
    texts
        .iter_mut()
        .for_each(|text| assert!(received(text).1.is_some()));
    let mut run = |prompt: &[u32]| {
        let mut text = fixture.push(prompt, 2);
        batcher.step();
        let sequence = fixture.batches.lock().unwrap().last().unwrap()[0].sequence;
        batcher.step();
        let (ids, outcome, _) = received(&mut text);
        assert_eq!(ids, expected(prompt, 2));
        (sequence, outcome.unwrap().n_cached)
    };
    assert_eq!(run(&[1, 2, 5, 7]), (1, 3));
    // The last token is run again.
    assert_eq!(run(&[8, 9]), (2, 1));
    // Nothing in common: the sequence that was left alone longest.
    assert_eq!(run(&[20, 21]), (0, 0));
}

#[test]
fn who_goes_away_frees_a_sequence_within_a_step() {
    let fixture = Fixture::new(2, 1);
    let mut batcher = fixture.batcher(Fake::new(1), no_other);
    let first = fixture.push(&[1, 2], 50);
    let waiting = fixture.push(&[3, 4], 50);
    let mut last = fixture.push(&[5, 6], 2);
    let (job, _events) = job(&[7], 1);
    assert_eq!(fixture.queue.push(vec![job]), Err(Refused::Full));
    batcher.step();
    drop(first);
    drop(waiting);
    batcher.step();
    batcher.step();
    assert_eq!(received(&mut last).0, expected(&[5, 6], 2));
    assert_eq!(fixture.queue.lengths(), (0, 0));
}

#[test]
fn jobs_are_taken_all_or_none() {
    let fixture = Fixture::new(2, 1);
    let jobs = |n| (0..n).map(|_| job(&[1], 1)).unzip::<_, _, Vec<_>, Vec<_>>();
    let (four, _kept) = jobs(4);
    assert_eq!(fixture.queue.push(four), Err(Refused::Full));
    assert_eq!(fixture.queue.lengths(), (0, 0));
    let (three, _kept) = jobs(3);
    assert_eq!(fixture.queue.push(three), Ok(()));
    // One may have a sequence now, which makes no more room.
    assert_eq!(fixture.queue.take(1).len(), 1);
    let (one, _kept_too) = jobs(1);
    assert_eq!(fixture.queue.push(one), Err(Refused::Full));
    fixture.queue.close();
    let (one, _kept_too) = jobs(1);
    assert_eq!(fixture.queue.push(one), Err(Refused::Closed));
}

#[test]
fn after_a_fault_another_backend_serves() {
    let fixture = Fixture::new(8, 2);
    let mut failing = Fake::new(2);
    failing.n_good = 2;
    let mut n_opened = 0;
    let open = || {
        n_opened += 1;
        match n_opened {
            1 => Err(Error::Device {
                adapter: "fake".to_string(),
                message: "is gone".to_string(),
            }),
            _ => Ok(Fake::new(2)),
        }
    };
    let mut first = [fixture.push(&[1, 2], 9), fixture.push(&[3, 4], 9)];
    let batcher = fixture.batcher(failing, open);
    thread::scope(|scope| {
        scope.spawn(|| batcher.run());
        let ends = |events: &mut Events| loop {
            match events.blocking_recv() {
                Some((_, Event::Failed(message))) => return Err(message),
                Some((_, Event::Ended(outcome))) => return Ok(outcome),
                Some(_) => {}
                None => return Err("dropped".to_string()),
            }
        };
        for events in &mut first {
            let message = ends(events).unwrap_err();
            assert!(message.contains("position 5"), "{message}");
        }
        // A job that waits while there is no backend is told so; the next one is served.
        let mut results = Vec::new();
        while !results.last().is_some_and(Result::is_ok) {
            results.push(ends(&mut fixture.push(&[1, 2, 3], 4)));
        }
        assert_eq!(fixture.health.fault(), None);
        assert!(results.len() <= 2, "{results:?}");
        fixture.queue.close();
    });
    assert_eq!(n_opened, 2);
}
