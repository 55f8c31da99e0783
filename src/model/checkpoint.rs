//! The safetensors files of a checkpoint, memory-mapped: names to typed bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{
    Dtype as StoredDtype, Metadata, SafeTensorError, TensorInfo, TensorView,
};

use super::json::{Object, parse_object};
use super::names;
use super::quant::Quant;
use super::tensor::{Dtype, Tensor};
use crate::error::{Error, Result, first_line};

/// One or more safetensors files with their headers read.
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Where a tensor is, by its name without what training programs put before it.
    places: HashMap<String, Place>,
}

/// Where a tensor is: the shard, and its name there.
struct Place {
    shard: usize,
    stored: String,
}

struct Shard {
    /// How errors name the file.
    name: String,
    bytes: Bytes,
    header: Metadata,
    data_start: usize,
}

enum Bytes {
    Mapped(Mmap),
    Embedded(&'static [u8]),
    Owned(Vec<u8>),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl Shard {
    fn map(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        if meta.is_dir() {
            return Err(Error::file(name, "a safetensors file", "a folder"));
        }
        if meta.len() == 0 {
            return Err(Error::file(name, "a safetensors file", "an empty file"));
        }
        // SAFETY: the map is read-only and private to this process. A file that another program
        // truncates meanwhile faults, as it does in every program that maps its weights.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io(path, e))?;
        Self::parse(name, Bytes::Mapped(map))
    }

    fn parse(name: String, bytes: Bytes) -> Result<Self> {
        let (header_bytes, header) =
            SafeTensors::read_metadata(&bytes).map_err(|e| header_error(&name, &bytes, e))?;
        Ok(Self {
            name,
            bytes,
            header,
            data_start: 8 + header_bytes,
        })
    }
}

fn header_error(name: &str, bytes: &[u8], error: SafeTensorError) -> Error {
    if bytes.starts_with(b"version https://git-lfs") {
        let found = "a Git LFS pointer: fetch the weights with `git lfs pull`";
        return Error::file(name, "a safetensors file", found);
    }
    let declared = bytes
        .first_chunk::<8>()
        .map(|b| u64::from_le_bytes(*b))
        .unwrap_or(0);
    let (expected, found) = match &error {
        SafeTensorError::HeaderTooSmall => (
            "a safetensors file of at least 8 bytes".to_string(),
            format!("{} bytes", bytes.len()),
        ),
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => (
            "a safetensors header that ends inside the file".to_string(),
            format!(
                "a header of {declared} bytes in a file of {} bytes",
                bytes.len()
            ),
        ),
        SafeTensorError::MetadataIncompleteBuffer => (
            "tensors that cover the file exactly".to_string(),
            format!(
                "a file of {} bytes that is cut short or has bytes left over",
                bytes.len()
            ),
        ),
        other => ("a valid safetensors header".to_string(), first_line(other)),
    };
    Error::file(name, expected, found)
}

impl Checkpoint {
    /// Maps one safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_shards(vec![Shard::map(path)?])
    }

    /// A safetensors file in memory; `name` stands for it in errors.
    pub fn in_memory(name: &str, bytes: Vec<u8>) -> Result<Self> {
        let shard = Shard::parse(name.to_string(), Bytes::Owned(bytes))?;
        Self::from_shards(vec![shard])
    }

    /// A safetensors file in a memory map; `name` stands for it in errors.
    pub fn mapped(name: &str, map: Mmap) -> Result<Self> {
        let shard = Shard::parse(name.to_string(), Bytes::Mapped(map))?;
        Self::from_shards(vec![shard])
    }

    /// Maps the shards that an index (`model.safetensors.index.json`) names.
    pub fn open_index(path: &Path) -> Result<Self> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let names = shards_in_index(&file, &text)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let shards: Result<Vec<_>> = names
            .iter()
            .map(|name| Shard::map(&folder.join(name)))
            .collect();
        Self::from_shards(shards?)
    }

    /// Reads a checkpoint that is part of the program.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        let shard = Shard::parse(name.to_string(), Bytes::Embedded(bytes))?;
        Self::from_shards(vec![shard])
    }

    fn from_shards(shards: Vec<Shard>) -> Result<Self> {
        if shards.is_empty() {
            return Err(Error::file("the index", "at least one shard", "none"));
        }
        let mut places: HashMap<String, Place> = HashMap::new();
        for (i, shard) in shards.iter().enumerate() {
            let mut names: Vec<_> = shard.header.tensors().into_keys().collect();
            names.sort_unstable();
            for stored in names {
                let name = names::bare(&stored);
                if let Some(other) = places.get(&name).filter(|other| other.stored != stored) {
                    return Err(Error::Tensor {
                        file: shard.name.clone(),
                        tensor: name,
                        expected: "one tensor of that name".to_string(),
                        found: format!("`{}` and `{stored}`", other.stored),
                    });
                }
                places.insert(name, Place { shard: i, stored });
            }
        }
        Ok(Self { shards, places })
    }

    /// How errors name the (first) file.
    pub fn file(&self) -> &str {
        &self.shards[0].name
    }

    /// A text from the first file's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let metadata = self.shards[0].header.metadata().as_ref()?;
        metadata.get(key).map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.places.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The shard that holds the tensor `name`, and what its header says of it.
    fn find(&self, name: &str) -> Option<(&Shard, &TensorInfo)> {
        let place = self.places.get(name)?;
        let shard = &self.shards[place.shard];
        Some((shard, shard.header.info(&place.stored)?))
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.find(name).map(|(_, info)| info.shape.as_slice())
    }

    /// The tensor `name`, which must have the given shape.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is missing, has another shape, or a type that is not read.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>> {
        let (stored, bytes) = self.stored(name, shape)?;
        let Some(dtype) = read_dtype(stored) else {
            let found = format!("{stored}");
            return Err(self.tensor_error(name, "F32, F16 or BF16", &found));
        };
        Ok(Tensor {
            name: name.to_string(),
            dtype,
            shape: shape.to_vec(),
            bytes: Cow::Borrowed(bytes),
        })
    }

    /// The matrix `name` `[n_out, n_in]`, which must be stored as rows of blocks.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is missing, has another shape, or does not hold bytes.
    pub fn quantized(
        &self,
        name: &str,
        [n_out, n_in]: [usize; 2],
        quant: Quant,
    ) -> Result<Tensor<'_>> {
        let (stored, bytes) = self.stored(name, &[n_out, quant.n_bytes(n_in)])?;
        if stored != StoredDtype::U8 {
            let expected = format!("U8, blocks of {}", quant.name());
            return Err(self.tensor_error(name, &expected, &stored.to_string()));
        }
        Ok(Tensor {
            name: name.to_string(),
            dtype: Dtype::Quantized(quant),
            shape: vec![n_out, n_in],
            bytes: Cow::Borrowed(bytes),
        })
    }

    /// The type and the bytes of the tensor `name`, which must be stored with the given shape.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<(StoredDtype, &[u8])> {
        let expected = format!("shape {shape:?}");
        let Some((shard, info)) = self.find(name) else {
            return Err(self.tensor_error(name, &expected, "no such tensor"));
        };
        if info.shape != shape {
            let found = format!("shape {:?}", info.shape);
            return Err(self.tensor_error(name, &expected, &found));
        }
        let (start, end) = info.data_offsets;
        let bytes = &shard.bytes[shard.data_start + start..shard.data_start + end];
        Ok((info.dtype, bytes))
    }

    /// What the headers say of every tensor.
    pub fn infos(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        let names = self.places.keys();
        names.filter_map(|name| Some((name.as_str(), self.find(name)?.1)))
    }

    /// Every tensor as it is stored, of whatever type, under its name without what training
    /// programs put before it.
    ///
    /// # Errors
    /// [`Error::File`] when a header contradicts itself.
    pub fn views(&self) -> Result<Vec<(String, TensorView<'_>)>> {
        let mut views = Vec::with_capacity(self.places.len());
        for name in self.names() {
            let Some((shard, info)) = self.find(name) else {
                continue;
            };
            let (start, end) = info.data_offsets;
            let bytes = &shard.bytes[shard.data_start + start..shard.data_start + end];
            let view = TensorView::new(info.dtype, info.shape.clone(), bytes)
                .map_err(|e| header_error(&shard.name, &shard.bytes, e))?;
            views.push((name.to_string(), view));
        }
        Ok(views)
    }

    /// The name that the tensor `name` is stored with, for messages.
    pub fn stored_name<'n>(&'n self, name: &'n str) -> &'n str {
        let place = self.places.get(name);
        place.map_or(name, |place| place.stored.as_str())
    }

    /// An error about the tensor `name`, naming the file it is or should be in.
    pub fn tensor_error(&self, name: &str, expected: &str, found: &str) -> Error {
        let shard = self.places.get(name).map_or(0, |place| place.shard);
        Error::Tensor {
            file: self.shards[shard].name.clone(),
            tensor: self.stored_name(name).to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }
}

/// The names of the files that the `text` of an index names, each once; `file` names it in errors.
pub fn shards_in_index(file: &str, text: &str) -> Result<Vec<String>> {
    let fields = parse_object(file, text)?;
    let json = Object::new(file, &fields);
    let Some(serde_json::Value::Object(map)) = json.get("weight_map") else {
        return Err(json.error("weight_map", "an object", "none"));
    };
    let names = map.values().map(|name| name.as_str().map(str::to_string));
    let Some(mut names) = names.collect::<Option<Vec<_>>>() else {
        return Err(json.error("weight_map", "names of files", "something else"));
    };
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn read_dtype(dtype: StoredDtype) -> Option<Dtype> {
    match dtype {
        StoredDtype::F32 => Some(Dtype::F32),
        StoredDtype::F16 => Some(Dtype::F16),
        StoredDtype::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}
