//! Synthetic models without values: the shapes alone, for a device that makes its own weights.

use std::collections::HashMap;

use memmap2::MmapOptions;
use safetensors::View;
use safetensors::tensor::{Dtype as StoredDtype, Metadata, TensorInfo};
use serde_json::json;

use super::Model;
use super::checkpoint::Checkpoint;
use super::config::Config;
use super::quant::Quant;
use super::synthetic::{Cycled, Preset, Values, config, model_name, tensors};
use crate::error::{Error, Result, first_line};

impl Model {
    /// A model of `preset`'s shape whose matrices, in f16 or in the format `quant`, are zeros that
    /// take no memory. Norms, zero tokens and gates are those of [`Model::synthetic`].
    ///
    /// # Errors
    /// [`Error::Field`] when `cycled` leaves no layer to cycle, [`Error::Option`] when the preset
    /// loops by itself, [`Error::File`] when the machine has no room for the addresses.
    pub fn blank(preset: &Preset, cycled: Option<Cycled>, quant: Option<Quant>) -> Result<Self> {
        let name = model_name(preset, cycled);
        let mut config = config(preset, cycled)?;
        if let Some(quant) = quant {
            config["quantization_config"] = json!({"quant_method": quant.name()});
        }
        let text = config.to_string();
        let config = Config::parse(&name, &text)?;
        let failed = |e: String| Error::file(&name, "weights that fit in memory", e);
        let tensors = tensors(&config);
        let mut infos = Vec::with_capacity(tensors.len());
        let mut end = 0;
        for (tensor_name, values) in &tensors {
            let start = end;
            let (dtype, shape, n_bytes) = stored(values, quant);
            end += n_bytes;
            let data_offsets = (start, end);
            let info = TensorInfo {
                dtype,
                shape,
                data_offsets,
            };
            infos.push((tensor_name.clone(), info));
        }
        let metadata = HashMap::from([("config.json".to_string(), text)]);
        let header = Metadata::new(Some(metadata), infos.clone());
        let header = header.map_err(|e| failed(first_line(e)))?;
        let mut header = serde_json::to_string(&header).map_err(|e| failed(first_line(e)))?;
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let data_start = 8 + header.len();
        // Pages of the map that are never written are never there.
        let map = MmapOptions::new()
            .len(data_start + end)
            .no_reserve_swap()
            .map_anon();
        let mut map = map.map_err(|e| failed(first_line(e)))?;
        map[..8].copy_from_slice(&(header.len() as u64).to_le_bytes());
        map[8..data_start].copy_from_slice(header.as_bytes());
        for ((_, values), (_, info)) in tensors.iter().zip(&infos) {
            if !is_matrix(values) {
                let (start, end) = info.data_offsets;
                map[data_start + start..data_start + end].copy_from_slice(&values.data());
            }
        }
        let map = map.make_read_only().map_err(|e| failed(first_line(e)))?;
        Self::from_checkpoint(&name, Checkpoint::mapped(&name, map)?, None)
    }
}

fn is_matrix(values: &Values) -> bool {
    values.role.is_some_and(|role| !role.is_norm())
}

/// Type, shape and bytes of a tensor as the checkpoint has it.
fn stored(values: &Values, quant: Option<Quant>) -> (StoredDtype, Vec<usize>, usize) {
    let shape = values.shape();
    let quant = quant.and_then(|quant| values.role?.quant(quant));
    if let (Some(quant), &[n_out, n_in]) = (quant, shape)
        && quant.fits(n_in)
    {
        let row_bytes = quant.n_bytes(n_in);
        return (StoredDtype::U8, vec![n_out, row_bytes], n_out * row_bytes);
    }
    (StoredDtype::F16, shape.to_vec(), values.data_len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::role::Role;
    use crate::model::synthetic::PRESETS;
    use crate::model::weights::ByRole;

    #[test]
    fn a_blank_model_is_a_synthetic_one_without_values() {
        let cycled = Some(Cycled {
            head: 1,
            tail: 1,
            cycles: 2,
        });
        let synthetic = Model::synthetic(&PRESETS[0], cycled).unwrap();
        for quant in [None, Some(Quant::Q8_0), Some(Quant::Q4_0)] {
            let blank = Model::blank(&PRESETS[0], cycled, quant).unwrap();
            assert_eq!(blank.name, synthetic.name);
            assert_eq!(blank.quant, quant);
            assert_eq!(blank.n_parameters(), synthetic.n_parameters());
            let (blank, synthetic) = (blank.weights(), synthetic.weights());
            assert_eq!(
                blank.pool().unwrap().unwrap().key,
                synthetic.pool().unwrap().unwrap().key
            );
            let [a, b] = [&blank, &synthetic].map(|reader| reader.layer(1).unwrap());
            let weights_of = |weights: &ByRole| weights.norms[&Role::AttnNorm].weight.clone();
            assert_eq!(weights_of(&a), weights_of(&b));
            let [a, b] = [&a, &b].map(|weights| &weights.linears[&Role::MlpIn]);
            assert_eq!(a.n_out(), b.n_out());
            assert!(a.matrices[0].bytes.iter().all(|&byte| byte == 0));
        }
    }
}
