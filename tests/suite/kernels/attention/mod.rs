//! Attention in all of its forms.

mod data;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use ztt_wgpu::gpu::{Gpu, KernelClass, Target};
use ztt_wgpu::kernels::{BatchKind, KvType};

use super::{KV_TYPES, target};
use crate::adapter;
use crate::compare::same;
use crate::thorough;
use data::{CYCLE, Data};

/// Heads, KV heads, dimensions of a head. A KV head with more than eight heads needs several
/// tiles, and the last of 18 over 2 are not full.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 2),
    (3, 3, 8),
    (4, 2, 12),
    (9, 3, 16),
    (9, 1, 20),
    (12, 1, 64),
    (6, 2, 80),
    (4, 2, 128),
    (2, 1, 256),
    (18, 2, 8),
    (4, 2, 40),
    (4, 2, 96),
];

/// Positions that hold a key. They come in blocks of 64.
const CONTEXTS: [usize; 6] = [1, 5, 63, 64, 65, 130];

/// All before a row; or so few that whole blocks of a long context are skipped.
const WINDOWS: [u32; 4] = [u32::MAX, 1, 7, 65];

const LISTED: [usize; 4] = [1, 2, 5, 9];

/// The zero token's heads: for each layer one, one a KV head, or one a head. `Value` says that
/// its value is not zeros.
const ZEROS: [Zero; 6] = [
    Zero::None,
    Zero::Key(Pool::One),
    Zero::Value(Pool::One),
    Zero::Value(Pool::KvHeads),
    Zero::Value(Pool::Heads),
    Zero::Key(Pool::Heads),
];

/// One of so many cases is run, a prime: each compiles kernels of its own.
const SAMPLE: usize = 13;

/// A cap that bends most scores, and that large ones reach.
const SOFT_CAP: f32 = 5.0;

/// Positions of a context whose keys `attention_subgroup` splits, and keys that fill two splits.
const MANY_KEYS: usize = 600;
const MORE_KEYS: usize = 257;

/// How attention is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// In buffers, rows in tiles: prefill.
    Tiled,
    /// In buffers, every row in a tile of its own, for rows of several sequences.
    Apart,
    /// In buffers, keys split and merged (split-K): decode.
    Split,
    /// In buffers, a lane for an octet of the head, rows in tiles: prefill.
    LanesTiled,
    /// The same with the tiles for subgroups that always have 64 lanes.
    LanesTiledSmall,
    /// A lane for an octet of the head: decode, keys not split.
    Lanes,
    /// The keys split and merged.
    LanesSplit,
    /// Rows of several sequences.
    LanesApart,
    Textures,
    TexturesApart,
    /// In textures, for a row that is alone, with as many lanes as the adapter allows.
    TexturesAlone,
    /// In textures, for a row that is alone, counting on four lanes of a subgroup.
    TexturesAloneFour,
}

impl Form {
    fn class(self) -> KernelClass {
        match self {
            Form::Tiled | Form::Apart | Form::Split => KernelClass::Workgroup,
            Form::LanesTiled
            | Form::LanesTiledSmall
            | Form::Lanes
            | Form::LanesSplit
            | Form::LanesApart => KernelClass::Subgroup,
            _ => KernelClass::Software,
        }
    }

    /// `octets`: of a head.
    fn target(self, gpu: &Gpu, octets: u32) -> Target {
        let lanes = match self {
            Form::TexturesAloneFour => 4,
            _ if self.class() == KernelClass::Subgroup => u32::MAX,
            _ => 8,
        };
        let mut target = target(gpu, self.class(), lanes);
        if self == Form::LanesTiledSmall && octets.next_power_of_two() <= target.subgroup[0] {
            target.subgroup = [64, 64];
        }
        target
    }

    fn kind(self) -> BatchKind {
        match self {
            Form::Tiled | Form::LanesTiled | Form::LanesTiledSmall | Form::Textures => {
                BatchKind::OneSequence
            }
            Form::Apart | Form::TexturesApart | Form::LanesApart => BatchKind::SeveralSequences,
            Form::Split
            | Form::Lanes
            | Form::LanesSplit
            | Form::TexturesAlone
            | Form::TexturesAloneFour => BatchKind::OneRow,
        }
    }

    /// A case with a context that the form is chosen for.
    fn case(self, case: Case) -> Case {
        match self {
            Form::LanesSplit => Case {
                context: case.context + MORE_KEYS,
                n_ctx: case.n_ctx + MORE_KEYS + MANY_KEYS,
                ..case
            },
            _ => case,
        }
    }

    fn takes_several_sequences(self) -> bool {
        self.kind() != BatchKind::OneSequence
    }
}

const FORMS: [(&str, Form); 12] = [
    ("tiled", Form::Tiled),
    ("apart", Form::Apart),
    ("split", Form::Split),
    ("lanes_tiled", Form::LanesTiled),
    ("lanes_tiled::two", Form::LanesTiledSmall),
    ("lanes", Form::Lanes),
    ("lanes_split", Form::LanesSplit),
    ("lanes_apart", Form::LanesApart),
    ("textures", Form::Textures),
    ("textures_apart", Form::TexturesApart),
    ("textures_alone", Form::TexturesAlone),
    ("textures_alone::four_lanes", Form::TexturesAloneFour),
];

pub fn trials() -> Vec<Trial> {
    let every_case = |(name, form): (&str, Form)| {
        let class = Some(form.class());
        adapter::trial_of(class, format!("kernels::attention::{name}"), move |gpu| {
            for case in cases() {
                let case = form.case(case);
                Data::new(&case, form.takes_several_sequences()).check(&gpu, form)?;
            }
            Ok(())
        })
    };
    let mut trials: Vec<Trial> = FORMS.map(every_case).into();
    for (together, apart) in [
        (Form::Tiled, Form::Apart),
        (Form::Textures, Form::TexturesApart),
    ] {
        let name = format!("kernels::attention::rows_do_not_mix::{together:?}");
        trials.push(adapter::trial_of(
            Some(together.class()),
            name,
            move |gpu| {
                for case in cases() {
                    let data = Data::new(&case, false);
                    let (together, apart) = (data.run(&gpu, together)?, data.run(&gpu, apart)?);
                    same(&format!("{case:?}"), &together[0], &apart[0])?;
                    same(
                        &format!("{case:?}, zero attention"),
                        &together[1],
                        &apart[1],
                    )?;
                }
                Ok(())
            },
        ));
    }
    let control_of = |(name, form): (&str, Form)| {
        let name = format!("kernels::controls::attention::{name}");
        adapter::trial_of(Some(form.class()), name, move |gpu| control(&gpu, form))
    };
    trials.extend(FORMS.map(control_of));
    trials
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Pool {
    One,
    KvHeads,
    Heads,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Zero {
    None,
    Key(Pool),
    Value(Pool),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    context: usize,
    /// Positions that a sequence has room for.
    n_ctx: usize,
    n_listed: usize,
    kv_type: KvType,
    zero: Zero,
    /// Keys that a row sees.
    window: u32,
    soft_cap: Option<f32>,
    zeros: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, &(n_heads, n_kv_heads, head_dim)) in SHAPES.iter().enumerate() {
        for (j, context) in CONTEXTS.into_iter().enumerate() {
            for (k, zero) in ZEROS.into_iter().enumerate() {
                // Half of all pairs of context and zero token for a shape.
                if (i + j + k) % 2 == 0 {
                    continue;
                }
                // A software adapter takes long to compile large heads: these take turns.
                let kv_types = match head_dim {
                    0..80 => KV_TYPES.to_vec(),
                    _ => vec![KV_TYPES[i % KV_TYPES.len()]],
                };
                cases.extend(kv_types.into_iter().map(|kv_type| Case {
                    n_heads,
                    n_kv_heads,
                    head_dim,
                    context,
                    n_ctx: context + 3 * (k % 2),
                    n_listed: LISTED[(i + j + k / 2) % LISTED.len()],
                    kv_type,
                    zero,
                    window: WINDOWS[(i + k / 2) % WINDOWS.len()],
                    soft_cap: ((i + k) % 3 == 1).then_some(SOFT_CAP),
                    zeros: (i + k) % 4 != 0,
                }));
            }
        }
    }
    thorough::one_of(SAMPLE, cases)
}

/// Where the first KV head's key of position 1 of a sequence begins.
fn a_key(data: &Data) -> usize {
    let start = data.listing.cache_starts[data.listing.listed[0]] as usize;
    data.layout.word([CYCLE, 0, 0, start + 1])
}

/// A wrong key, a wrong zero token, a missing cap, or a row too many must be found.
fn control(gpu: &Gpu, form: Form) -> Result<()> {
    let of_type = |kv_type| Case {
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 16,
        context: 65,
        n_ctx: 65,
        n_listed: 5,
        kv_type,
        zero: Zero::Value(Pool::Heads),
        window: u32::MAX,
        soft_cap: None,
        zeros: true,
    };
    let case = form.case(of_type(KvType::F32));
    let fails_in = |case: &Case, plant: fn(&mut Data)| {
        let mut data = Data::new(case, form.takes_several_sequences());
        data.check(gpu, form)?;
        plant(&mut data);
        anyhow::Ok(data.check(gpu, form).is_err())
    };
    let fails = |plant: fn(&mut Data)| fails_in(&case, plant);
    ensure!(
        fails(|data| {
            let at = a_key(data);
            data.kv[at] = (f32::from_bits(data.kv[at]) + 0.3).to_bits();
        })?,
        "a wrong key passes"
    );
    let of_q8_0 = form.case(of_type(KvType::Q8_0));
    ensure!(
        fails_in(&of_q8_0, |data| {
            let at = a_key(data);
            data.kv[at] ^= 0x4040_4040;
        })?,
        "wrong numbers pass"
    );
    ensure!(
        fails_in(&of_q8_0, |data| {
            // After 16 numbers.
            let at = a_key(data) + 4;
            data.kv[at] ^= 0x0400;
        })?,
        "a wrong scale passes"
    );
    ensure!(
        fails(|data| data.pool[data.zero_key] += 0.3)?,
        "a wrong zero key passes"
    );
    ensure!(
        fails(|data| {
            data.expected_zeros.pieces.pop();
        })?,
        "a row too many passes"
    );
    let capped = Case {
        soft_cap: Some(SOFT_CAP),
        ..case
    };
    let mut data = Data::new(&capped, form.takes_several_sequences());
    data.check(gpu, form)?;
    data.attention.soft_cap = None;
    ensure!(data.check(gpu, form).is_err(), "a missing cap passes");
    Ok(())
}
