//! Copies of a cycle's keys and values.

use anyhow::Result;
use ztt_wgpu::gpu::{Gpu, Resource};
use ztt_wgpu::kernels::{Heads, KvType, kv_copy};

use super::super::{bits, buffer, run_all, target, values};
use super::{Source, class_of, layout, scattered};
use crate::compare::same;
use crate::random::Random;

/// Copies cycle 1 to the two after it; `planted` is added to a word of the source.
pub fn copy(
    gpu: &Gpu,
    n_kv_heads: usize,
    head_dim: usize,
    n_listed: usize,
    kv_type: KvType,
    in_texture: bool,
    planted: u32,
) -> Result<()> {
    let (cycle, n_copies) = (1, 2);
    let random = &mut Random::new(head_dim as u64);
    let listing = scattered(n_listed);
    let layout = layout(n_kv_heads, head_dim, kv_type);
    let mut kv = bits(&values(random, layout.n_words()));
    let mut expected = kv.clone();
    let word = |at: [usize; 4]| layout.word(at);
    for &row in &listing.listed {
        let place = listing.place(row);
        for part in 0..2 {
            for head in 0..n_kv_heads {
                let from = word([cycle, part, head, place]);
                for i in 1..=n_copies {
                    let to = word([cycle + i, part, head, place]);
                    expected.copy_within(from..from + layout.row_words(), to);
                }
            }
        }
    }
    kv[word([cycle, 1, 0, listing.place(listing.listed[0])])] += planted;
    let rows = buffer(gpu, &listing.values());
    let image = layout.image(gpu, &kv);
    let kv = buffer(gpu, &kv);
    let (read, written) = (image.layers(2 * cycle, 2), image.layers(2 * cycle + 2, 4));
    let cache = kv_copy::Cache {
        kv_type,
        heads: Heads {
            n_heads: n_kv_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            octets: layout.stride as u32 / 8,
        },
        places: layout.kv_places(in_texture),
        cycle: cycle as u32,
        n_copies: n_copies as u32,
        kv: match in_texture {
            true => [&read, &written].map(Resource::Texture),
            false => [Resource::Buffer(&kv); 2],
        },
    };
    let target = target(gpu, class_of(Source::Stored(None), in_texture), 8);
    let call = kv_copy::call(&target, cache, &rows, listing.list());
    let out = run_all(gpu, vec![call], listing.n_listed() + 3, &[&kv])?.remove(0);
    let out = match in_texture {
        true => layout.words(&image.read(gpu)?),
        false => out,
    };
    same(
        &format!("{kv_type:?} {n_kv_heads} heads of {head_dim}, {n_listed} rows"),
        &out,
        &expected,
    )
}
