//! What blocks may have and the families of today do not, on the embedded model.

use super::*;
use crate::model::config::{Config, ExitRule};
use crate::model::{BUILTIN, Fetch};

/// The embedded model with its config changed.
fn model(change: impl FnOnce(&mut Config)) -> Model {
    let mut model = Model::open(BUILTIN, Fetch::Never).unwrap();
    change(&mut model.config);
    model
}

fn reference(model: &Model) -> Reference<'_> {
    let exit = ExitRule::default();
    let walk = Walk::new(&model.config, None, &exit).unwrap();
    Reference::new(model, walk).unwrap()
}

/// The logits of the last of these tokens.
fn logits(model: &Model, ids: &[u32]) -> Vec<f32> {
    let mut reference = reference(model);
    let mut logits = Vec::new();
    for &id in ids {
        logits = reference.push(id, &Rule::FULL_DEPTH, true).logits;
    }
    logits
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

const IDS: [u32; 3] = [5, 60, 700];

#[test]
fn logits_are_multiplied_and_then_capped() {
    let plain = logits(&model(|_| ()), &IDS);
    let doubled = logits(&model(|c| c.logits_multiplier = 2.0), &IDS);
    let capped = model(|c| {
        c.logits_multiplier = 2.0;
        c.logits_soft_cap = Some(3.0);
    });
    let capped = logits(&capped, &IDS);
    for ((plain, doubled), capped) in plain.iter().zip(&doubled).zip(&capped) {
        assert_eq!(*doubled, 2.0 * plain);
        assert!((capped - 3.0 * (doubled / 3.0).tanh()).abs() < 1e-5);
    }
}

#[test]
fn a_soft_cap_bounds_scores() {
    let with_cap = |cap: Option<f64>| {
        let change = |c: &mut Config| {
            let blocks = c.blocks.iter_mut();
            blocks.for_each(|block| block.attention.soft_cap = cap);
        };
        logits(&model(change), &IDS)
    };
    let plain = with_cap(None);
    assert!(largest_difference(&with_cap(Some(1e6)), &plain) < 1e-4);
    assert!(largest_difference(&with_cap(Some(0.1)), &plain) > 1e-2);
}

/// Branches that count for nothing leave the token's embedding.
#[test]
fn branches_are_multiplied() {
    let model = model(|c| {
        let blocks = c.blocks.iter_mut();
        blocks.for_each(|block| block.residual_multiplier = 0.0);
    });
    assert_eq!(logits(&model, &[5, 60, 7]), logits(&model, &[7]));
}

#[test]
fn tokens_are_multiplied() {
    let (plain, model) = (model(|_| ()), model(|c| c.embedding_multiplier = 4.0));
    let expected = reference(&plain).embed(5, 0).into_iter().map(|v| 4.0 * v);
    let expected: Vec<f64> = expected.collect();
    assert_eq!(reference(&model).embed(5, 0), expected);
}

#[test]
fn layers_without_rope_are_not_turned() {
    let with = |rope: Option<usize>, rotary_dim: Option<usize>| {
        let change = |c: &mut Config| {
            let blocks = c.blocks.iter_mut();
            blocks.for_each(|block| block.attention.rope = rope);
            c.ropes[0].rotary_dim = rotary_dim.unwrap_or(c.head_dim);
        };
        logits(&model(change), &IDS)
    };
    let none = with(None, None);
    assert_eq!(none, with(Some(0), Some(0)));
    assert!(largest_difference(&none, &with(Some(0), None)) > 1e-3);
    let part = with(Some(0), Some(2));
    assert!(largest_difference(&none, &part) > 1e-3);
    assert!(largest_difference(&with(Some(0), None), &part) > 1e-3);
}

#[test]
fn a_branch_without_a_norm_reads_the_residual_stream() {
    let model = model(|c| c.blocks[0].mlp_norms.pre = false);
    let reference = reference(&model);
    let x = reference.embed(5, 0);
    assert_eq!(reference.branch_input(0, Role::MlpNorm, &x), x);
    assert_ne!(reference.branch_input(0, Role::AttnNorm, &x), x);
}

#[test]
fn norms_after_a_branch_are_on_it_or_on_the_sum() {
    let model = model(|c| c.blocks[0].residual_multiplier = 0.5);
    let n = model.config.hidden;
    let mut reference = reference(&model);
    let weight = (0..n).map(|i| 1.0 + i as f32 / 64.0).collect();
    let norm = Norm { weight, bias: None };
    let role = Role::AttnPostNorm;
    let x: Vec<f64> = (0..n).map(|i| i as f64 - 20.0).collect();
    let branch: Vec<f64> = (0..n).map(|i| 9.0 - (i % 7) as f64).collect();
    let sum =
        |branch: &[f64]| -> Vec<f64> { x.iter().zip(branch).map(|(x, y)| x + 0.5 * y).collect() };
    let on_branch = sum(&reference.norm(&norm, &branch));
    let on_sum = reference.norm(&norm, &sum(&branch));
    let without = sum(&branch);
    reference.layers[0].norms.insert(role, norm);
    for (post, expected) in [
        (PostNorm::None, without),
        (PostNorm::OnBranch, on_branch),
        (PostNorm::OnSum, on_sum),
    ] {
        let mut found = x.clone();
        reference.add_branch(0, (post, role), branch.clone(), &mut found);
        assert_eq!(found, expected, "{post:?}");
    }
}

#[test]
fn heads_are_normed_alone_or_together() {
    let model = model(|_| ());
    let c = &model.config;
    let mut reference = reference(&model);
    let ones = |n: usize| Norm {
        weight: vec![1.0; n],
        bias: None,
    };
    let mean_square = |values: &[f64]| {
        let squares = values.iter().map(|v| v * v);
        squares.sum::<f64>() / values.len() as f64
    };
    let values = |n: usize| (0..n).map(|i| 1.0 + i as f64).collect::<Vec<_>>();
    for of_heads in [true, false] {
        let (q, kv) = match of_heads {
            true => (c.head_dim, c.head_dim),
            false => (c.q_dim(), c.kv_dim()),
        };
        let norms = &mut reference.layers[0].norms;
        norms.insert(Role::QNorm, ones(q));
        norms.insert(Role::KNorm, ones(kv));
        let (mut query, mut key) = (values(c.q_dim()), values(c.kv_dim()));
        reference.norm_qk(0, &mut query, &mut key);
        for part in query.chunks(q).chain(key.chunks(kv)) {
            assert!((mean_square(part) - 1.0).abs() < 1e-3);
        }
        let of_first_head = mean_square(&query[..c.head_dim]);
        assert_eq!((of_first_head - 1.0).abs() < 1e-3, of_heads);
    }
}
