//! Keys and values of the positions seen so far.

use crate::kv_type::KvType;
use crate::model::config::Config;
use crate::rope::unpaired;

/// The key and the value of a position, each `[n_kv_heads * head_dim]`.
#[derive(Clone)]
pub(super) struct KeyValue {
    pub key: Vec<f64>,
    pub value: Vec<f64>,
}

/// Keys and values, `[parameter layer][cycle][position]`.
pub(super) struct Cache(Vec<Vec<Vec<KeyValue>>>);

impl Cache {
    pub fn new(n_layers: usize, n_cycles: usize) -> Self {
        Self(vec![vec![Vec::new(); n_cycles]; n_layers])
    }

    /// Those of the positions of a layer in a cycle.
    pub fn rows(&self, layer: usize, cycle: usize) -> &[KeyValue] {
        &self.0[layer][cycle]
    }

    /// Keeps the key and value of a position, be it in the place of others.
    pub fn keep(&mut self, layer: usize, cycle: usize, position: usize, row: KeyValue) {
        let rows = &mut self.0[layer][cycle];
        rows.truncate(position);
        rows.push(row);
    }

    /// Forgets all positions from `n` on.
    pub fn truncate(&mut self, n: usize) {
        let rows = self.0.iter_mut().flatten();
        rows.for_each(|rows| rows.truncate(n));
    }
}

/// How a device rounds the heads of keys and values.
pub(super) struct Rounding {
    kv_type: KvType,
    head_dim: usize,
    rotary_dim: usize,
}

impl Rounding {
    pub fn new(kv_type: KvType, config: &Config) -> Self {
        Self {
            kv_type,
            head_dim: config.head_dim,
            rotary_dim: config.rotary_dim(),
        }
    }

    /// Rounds in the order of the device, where blocks of keys have rotary pairs side by side.
    pub fn round(&self, row: &mut KeyValue) {
        let padded = self.head_dim.next_multiple_of(8);
        for (values, rotary_dim) in [(&mut row.key, self.rotary_dim), (&mut row.value, 0)] {
            for head in values.chunks_mut(self.head_dim) {
                let at = |d: usize| unpaired(d, rotary_dim);
                let ordered = (0..self.head_dim).map(|d| head[at(d)] as f32);
                let mut ordered: Vec<f32> = ordered.collect();
                ordered.resize(padded, 0.0);
                let rounded = self.kv_type.rounded(&ordered);
                for (d, value) in rounded.into_iter().take(self.head_dim).enumerate() {
                    head[at(d)] = f64::from(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_rounded_in_pairs_and_values_as_they_are() {
        let rounding = |rotary_dim| Rounding {
            kv_type: KvType::Q8_0,
            head_dim: 40,
            rotary_dim,
        };
        let row = KeyValue {
            // In its pairs' order the outlier, dimension 39, is the last of the second block.
            key: (0..40).map(|d| if d == 39 { 127.0 } else { 0.3 }).collect(),
            value: (0..40).map(|d| if d == 20 { 127.0 } else { 0.3 }).collect(),
        };
        let mut rounded = row.clone();
        rounding(40).round(&mut rounded);
        let is_fine = |v: f64| (v - 0.3).abs() < 2e-3;
        for (d, key) in rounded.key.into_iter().enumerate() {
            // Pairs 0 to 15 are in the first block.
            let expected = if d == 39 { 127.0 } else { 0.0 };
            assert_eq!(is_fine(key), d % 20 < 16, "{d} {key}");
            assert!(is_fine(key) || key == expected, "{d} {key}");
        }
        for (d, value) in rounded.value.into_iter().enumerate() {
            let expected = if d == 20 { 127.0 } else { 0.0 };
            assert_eq!(is_fine(value), d >= 32, "{d} {value}");
            assert!(is_fine(value) || value == expected, "{d} {value}");
        }
    }
}
