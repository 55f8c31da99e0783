//! Caches that grow with their texts: the bits of caches that were large from the start, and a text
//! that stays usable where the device has no memory for more.

use std::ops::ControlFlow;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::Error;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{DeviceModel, DeviceStats, Drafts, Engine, Logits, Options, Row, Wants};
use ztt_wgpu::generate::{StopRules, generate};
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;
use ztt_wgpu::model::config::{ExitRule, KvPolicy};
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::reference::Output;

use crate::adapter;
use crate::compare::same;
use crate::fixtures::path;

pub fn trials() -> Vec<Trial> {
    let mut trials = adapter::trials_by_class("growth::of_one_text", one_text);
    trials.extend(adapter::trials_by_class("growth::of_several", several));
    trials.extend(adapter::trials_by_class("growth::under_way", under_way));
    trials.extend(adapter::trials_by_class(NO_MEMORY, no_memory));
    trials
}

const NO_MEMORY: &str = "growth::no_memory";

/// More positions than the embedded model was trained for.
const N_CTX: usize = 1000;

/// Room that texts have at first where no other is asked for.
const FIRST_ROOM: usize = 256;

struct Fixture {
    model: Model,
    device_model: Arc<DeviceModel>,
    /// The tokens of a text, as many as fit the context.
    ids: Vec<u32>,
}

impl Fixture {
    fn new(gpu: Arc<Gpu>) -> Result<Self> {
        let mut model = Model::open(BUILTIN, Fetch::Never)?;
        model.config.max_positions = N_CTX;
        let text = std::fs::read_to_string(path("classics-val.txt"))?;
        let text: String = text.chars().take(6000).collect();
        let mut ids = model.tokenizer()?.encode(&text)?;
        ensure!(ids.len() >= N_CTX, "{} tokens", ids.len());
        ids.truncate(N_CTX);
        let mut ignored = |_| {};
        let upload = DeviceModel::upload(gpu, &model, &mut ignored);
        let device_model = Arc::new(pollster::block_on(upload)?);
        Ok(Self {
            model,
            device_model,
            ids,
        })
    }

    /// An engine whose sequences have this room at first, or the usual one.
    fn engine(&self, case: Case, room: Option<usize>) -> Result<Engine<'_>> {
        let options = Options {
            cap: None,
            exit: ExitRule {
                kv: case.kv,
                ..self.model.config.exit()
            },
            n_sequences: case.n_sequences,
            n_ctx: N_CTX,
            kv_type: case.kv_type,
            logits: Logits::All,
            drafts: Drafts::NONE,
        };
        let mut engine = Engine::on_device(&self.model, &self.device_model, &options)?;
        if let Some(room) = room {
            pollster::block_on(engine.set_room(room))?;
            same("room", &[engine.room()], &[room])?;
        }
        Ok(engine)
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    kv: KvPolicy,
    kv_type: KvType,
    n_sequences: usize,
}

/// Both policies and both types, of so many sequences.
fn cases(n_sequences: usize) -> [Case; 2] {
    let of = |kv, kv_type| Case {
        kv,
        kv_type,
        n_sequences,
    };
    [
        of(KvPolicy::Propagate, KvType::F16),
        of(KvPolicy::Share, KvType::F32),
    ]
}

fn run(engine: &mut Engine, ids: &[u32]) -> Result<Vec<Output>> {
    Ok(pollster::block_on(engine.forward(ids, Logits::All))?)
}

fn same_bits(what: &str, found: &[Output], expected: &[Output]) -> Result<()> {
    same(what, &[found.len()], &[expected.len()])?;
    let mut pairs = found.iter().zip(expected);
    let other = pairs.position(|(found, expected)| found != expected);
    ensure!(other.is_none(), "{what}: position {other:?} differs");
    Ok(())
}

/// A text over two growths, cut and continued after them, against one in a large cache.
fn one_text(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    const N: usize = 560;
    let ids = &fixture.ids[..N];
    for case in cases(1) {
        let mut large = fixture.engine(case, Some(N_CTX))?;
        let expected = run(&mut large, ids)?;
        let mut small = fixture.engine(case, None)?;
        same("room", &[small.room()], &[FIRST_ROOM])?;
        let found = run(&mut small, ids)?;
        same("room", &[small.room()], &[N_CTX])?;
        same_bits(&format!("{case:?}"), &found, &expected)?;
        // The control: what was copied is read.
        let mut changed = ids.to_vec();
        changed[0] = (changed[0] + 1) % 2048;
        let changed = run(&mut fixture.engine(case, None)?, &changed)?;
        ensure!(changed[N - 1] != expected[N - 1], "{case:?}: no change");
        // Rows one by one go through other kernels than a prompt does.
        for engine in [&mut small, &mut large] {
            engine.truncate(200);
        }
        for &id in &fixture.ids[300..305] {
            let (found, expected) = (run(&mut small, &[id])?, run(&mut large, &[id])?);
            same_bits("after a cut", &found, &expected)?;
        }
        // Memory that is given back takes no position with it.
        pollster::block_on(small.set_room(1))?;
        same("room", &[small.room()], &[205])?;
        let (found, expected) = (run(&mut small, &ids[..60])?, run(&mut large, &ids[..60])?);
        same_bits("after giving back", &found, &expected)?;
    }
    Ok(())
}

/// Texts of several lengths side by side, each of which moves when there is room for more.
fn several(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    for case in cases(3) {
        let mut small = fixture.engine(case, Some(20))?;
        let mut large = fixture.engine(case, Some(N_CTX))?;
        let rule = small.rules().prompt();
        for batch in 0..6 {
            // The second text grows fastest, the third one is never longer than the first room.
            let n_rows = [7 + batch, 40, usize::from(batch < 3)];
            let mut rows = Vec::new();
            for (sequence, n) in n_rows.into_iter().enumerate() {
                let first = 100 * sequence + small.positions_of(sequence);
                let row = |&id| Row {
                    sequence,
                    id: Some(id),
                    rule,
                    wants: Wants::LOGITS,
                };
                rows.extend(fixture.ids[first..first + n].iter().map(row));
            }
            let found = pollster::block_on(small.run(&rows))?;
            let expected = pollster::block_on(large.run(&rows))?;
            same_bits(&format!("{case:?} batch {batch}"), &found, &expected)?;
            if batch == 3 {
                for engine in [&mut small, &mut large] {
                    engine.truncate_sequence(1, 90);
                }
            }
        }
        let lengths = [0, 1, 2].map(|sequence| small.positions_of(sequence));
        same("lengths", &lengths, &[57, 170, 3])?;
        same("room", &[small.room()], &[320])?;
    }
    Ok(())
}

/// Tokens that are drawn ahead while caches grow, and the work that is counted for them.
fn under_way(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    let case = cases(1)[0];
    let mut texts: Vec<(Vec<u32>, DeviceStats)> = Vec::new();
    for room in [30, N_CTX] {
        let mut engine = fixture.engine(case, Some(room))?;
        engine.set_ahead(3);
        let sampling = SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        };
        let rules = StopRules {
            interrupt: Default::default(),
            max_tokens: 120,
            eos: Vec::new(),
            strings: Vec::new(),
        };
        let mut tokens = Vec::new();
        let prompt = &fixture.ids[..25];
        let summary = pollster::block_on(generate(
            &mut engine,
            None,
            prompt,
            &mut Sampler::new(sampling, prompt),
            &rules,
            |token| {
                tokens.push(token.id);
                ControlFlow::Continue(())
            },
        ))?;
        ensure!(tokens.len() == 120, "{} tokens", tokens.len());
        texts.push((tokens, summary.work));
    }
    same("tokens", &texts[0].0, &texts[1].0)?;
    same("work", &[texts[0].1], &[texts[1].1])
}

/// The variable by which a process plants a fault.
const FAULT: &str = "ZTT_FAULT";

/// Runs itself anew with a fault in the first thing that grows, and in a later one.
fn no_memory(gpu: Arc<Gpu>) -> Result<()> {
    if std::env::var_os(FAULT).is_some() {
        return without_memory(gpu);
    }
    let name = format!("{NO_MEMORY}::{}", gpu.target.class.name());
    for n in [1, 3] {
        let mut program = Command::new(std::env::current_exe()?);
        program.args([name.as_str(), "--exact"]);
        let done = program.env(FAULT, format!("room:{n}")).output()?;
        let said = String::from_utf8_lossy(&done.stdout);
        let is_run = said.contains("1 passed");
        ensure!(done.status.success() && is_run, "room:{n}: {said}");
    }
    Ok(())
}

fn without_memory(gpu: Arc<Gpu>) -> Result<()> {
    let fixture = Fixture::new(gpu)?;
    let case = cases(2)[1];
    let mut engine = fixture.engine(case, None)?;
    let mut found = run(&mut engine, &fixture.ids[..250])?;
    // Sixteen rows fit no more.
    let refused = run(&mut engine, &fixture.ids[250..266]);
    let error = refused.err().context("nothing is refused")?;
    let is_device = matches!(error.downcast_ref::<Error>(), Some(Error::Device { .. }));
    ensure!(
        is_device && error.to_string().contains("no memory"),
        "{error}"
    );
    same("room", &[engine.room()], &[FIRST_ROOM])?;
    same("positions", &[engine.n_positions()], &[250])?;
    // Six do, and after them the device has memory again.
    found.extend(run(&mut engine, &fixture.ids[250..256])?);
    found.extend(run(&mut engine, &fixture.ids[256..280])?);
    let mut expected = Vec::new();
    let mut large = fixture.engine(case, Some(N_CTX))?;
    for piece in [0..250, 250..256, 256..280] {
        expected.extend(run(&mut large, &fixture.ids[piece])?);
    }
    same_bits("without memory", &found, &expected)
}
