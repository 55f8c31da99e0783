//! The safetensors files of a checkpoint: names to typed bytes.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::Mmap;
use safetensors::tensor::{Dtype as StoredDtype, TensorInfo};

use super::index;
use super::names;
use super::quant::Quant;
use super::shard::Shard;
use super::stored::StoredTensor;
use super::tensor::{Bytes, Dtype, Tensor};
use crate::error::{Error, Result};
use crate::files::FileId;

/// One or more safetensors files with their headers read.
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Where a tensor is, by its name without the prefixes of training programs.
    places: HashMap<String, Place>,
}

/// Where a tensor is: the shard, and its name there.
struct Place {
    shard: usize,
    stored: String,
    /// Its bytes, as long as somebody holds them who shares them with others.
    shared: Mutex<Weak<Vec<u8>>>,
}

/// How much of a tensor is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// No bytes: name, shape and type alone are of interest.
    None,
    All,
    /// All, in memory that everybody shares who asks for it so.
    Shared,
    Rows(Range<usize>),
}

impl Checkpoint {
    /// Opens one safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_shards(vec![Shard::open(path)?])
    }

    /// A safetensors file in memory; `name` stands for it in errors.
    pub fn in_memory(name: &str, bytes: Vec<u8>) -> Result<Self> {
        Self::from_shards(vec![Shard::in_memory(name, bytes)?])
    }

    /// A safetensors file in a memory map with no file behind it; `name` stands for it in errors.
    pub fn mapped(name: &str, map: Mmap) -> Result<Self> {
        Self::from_shards(vec![Shard::mapped(name, map)?])
    }

    /// Opens the shards that an index (`model.safetensors.index.json`) names.
    pub fn open_index(path: &Path) -> Result<Self> {
        let names = index::shards(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let shards: Result<Vec<_>> = names
            .iter()
            .map(|name| Shard::open(&folder.join(name)))
            .collect();
        Self::from_shards(shards?)
    }

    /// Reads a checkpoint that is part of the program.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Result<Self> {
        Self::from_shards(vec![Shard::embedded(name, bytes)?])
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
                let shared = Mutex::default();
                places.insert(
                    name,
                    Place {
                        shard: i,
                        stored,
                        shared,
                    },
                );
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

    /// The shard that holds the tensor `name`, and the tensor's entry in its header.
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
    /// [`Error::Tensor`] when it is missing, has another shape, or a type that is not read;
    /// [`Error::Io`] and [`Error::File`] when its bytes cannot be read.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>> {
        self.part(name, shape, &Part::All)
    }

    /// The given part of the tensor `name`, which must have the given shape.
    pub(super) fn part(&self, name: &str, shape: &[usize], part: &Part) -> Result<Tensor<'_>> {
        let (stored, bytes) = self.stored(name, shape, part)?;
        let Some(dtype) = read_dtype(stored) else {
            let found = format!("{stored}");
            return Err(self.tensor_error(name, "F32, F16 or BF16", &found));
        };
        Ok(tensor(name, dtype, shape, bytes, part))
    }

    /// The given part of the matrix `name` `[n_out, n_in]`, which must be stored as rows of blocks.
    ///
    /// # Errors
    /// [`Error::Tensor`] when it is missing, has another shape, or does not hold bytes.
    pub(super) fn quantized(
        &self,
        name: &str,
        [n_out, n_in]: [usize; 2],
        quant: Quant,
        part: &Part,
    ) -> Result<Tensor<'_>> {
        let (stored, bytes) = self.stored(name, &[n_out, quant.n_bytes(n_in)], part)?;
        if stored != StoredDtype::U8 {
            let expected = format!("U8, blocks of {}", quant.name());
            return Err(self.tensor_error(name, &expected, &stored.to_string()));
        }
        let dtype = Dtype::Quantized(quant);
        Ok(tensor(name, dtype, &[n_out, n_in], bytes, part))
    }

    /// The type and bytes of the tensor `name`, which must be stored with the given shape.
    fn stored(&self, name: &str, shape: &[usize], part: &Part) -> Result<(StoredDtype, Bytes<'_>)> {
        let expected = format!("shape {shape:?}");
        let Some((shard, info)) = self.find(name) else {
            return Err(self.tensor_error(name, &expected, "no such tensor"));
        };
        if info.shape != shape {
            let found = format!("shape {:?}", info.shape);
            return Err(self.tensor_error(name, &expected, &found));
        }
        let (first, end) = info.data_offsets;
        let bytes = match part {
            Part::None => Bytes::Borrowed(&[]),
            Part::All => shard.piece(info, 0, end - first)?,
            Part::Shared => self.shared(name, shard, info)?,
            Part::Rows(rows) => {
                let n_rows = shape.first().copied().unwrap_or(1);
                let row_bytes = (end - first) / n_rows.max(1);
                shard.piece(info, rows.start * row_bytes, rows.len() * row_bytes)?
            }
        };
        Ok((info.dtype, bytes))
    }

    /// All bytes of a tensor, read unless somebody has read them so and holds them still.
    fn shared<'c>(&'c self, name: &str, shard: &'c Shard, info: &TensorInfo) -> Result<Bytes<'c>> {
        let (first, end) = info.data_offsets;
        let read = || shard.piece(info, 0, end - first);
        let Some(place) = self.places.get(name) else {
            return read();
        };
        let mut shared = place.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = shared.upgrade() {
            return Ok(Bytes::Shared(bytes));
        }
        Ok(match read()? {
            Bytes::Owned(bytes) => {
                let bytes = Arc::new(bytes);
                *shared = Arc::downgrade(&bytes);
                Bytes::Shared(bytes)
            }
            other => other,
        })
    }

    /// The name of every tensor, with its entry in the header.
    pub fn infos(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        let names = self.places.keys();
        names.filter_map(|name| Some((name.as_str(), self.find(name)?.1)))
    }

    /// Every tensor as it is stored, of any type, under its name without the prefixes of training
    /// programs; sorted by these names. Nothing is read yet.
    pub fn all_stored(&self) -> Vec<StoredTensor<'_>> {
        let names = self.names().into_iter();
        let found = names.filter_map(|name| {
            let (shard, info) = self.find(name)?;
            Some(StoredTensor::in_shard(name, shard, info))
        });
        found.collect()
    }

    /// Refuses files that were written to since they were opened.
    ///
    /// # Errors
    /// [`Error::File`] that names one.
    pub fn check_unchanged(&self) -> Result<()> {
        self.shards.iter().try_for_each(Shard::check_unchanged)
    }

    /// The files, and how errors name them.
    pub(super) fn files(&self) -> impl Iterator<Item = (FileId, &str)> {
        let files = self.shards.iter();
        files.filter_map(|shard| Some((shard.id()?, shard.name.as_str())))
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

fn tensor<'a>(
    name: &str,
    dtype: Dtype,
    shape: &[usize],
    bytes: Bytes<'a>,
    part: &Part,
) -> Tensor<'a> {
    let mut shape = shape.to_vec();
    if let (Part::Rows(rows), Some(n_rows)) = (part, shape.first_mut()) {
        *n_rows = rows.len();
    }
    Tensor {
        name: name.to_string(),
        dtype,
        shape,
        bytes,
    }
}

fn read_dtype(dtype: StoredDtype) -> Option<Dtype> {
    match dtype {
        StoredDtype::F32 => Some(Dtype::F32),
        StoredDtype::F16 => Some(Dtype::F16),
        StoredDtype::BF16 => Some(Dtype::Bf16),
        _ => None,
    }
}
