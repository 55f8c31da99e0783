//! The kernels: one module a family of shaders, with their parameters, bindings, tiles and grids.
//!
//! A kernel's name is its file's name in `shaders/`, and its label everywhere. Binding 0 is the
//! uniform block `Params`; the other resources follow in the order of [`Kernel::bindings`].

pub mod adjust_logits;
pub mod attention;
pub mod cap_logits;
pub mod chunk_max;
pub mod draw;
pub mod embed;
pub mod exit;
pub mod gate_score;
pub mod gather_rows;
pub mod kv_copy;
pub mod layer_norm;
pub mod linear;
pub mod next_rows;
pub mod norm_add;
pub mod pack_rows;
pub mod probes;
pub mod qkv_store;
pub mod random_weights;
pub mod repeat_penalty;
pub mod rms_norm;
mod text;
pub mod tiles;
pub mod top_k;
pub mod zero_score;

pub use crate::kv_type::{KV_TYPES, KvType};
pub use text::compose;

use crate::gpu::{Access, Binding, Call, Cost, Kernel, Target, on_buffers};
use crate::model::quant::Quant;
use crate::model::tensor::Dtype;

/// Every kernel of the engine, for the tests that look at all of them.
pub static KERNELS: &[&Kernel] = &[
    &adjust_logits::KERNEL,
    &attention::KERNEL,
    &attention::MERGE,
    &attention::SCORES,
    &attention::SUBGROUP,
    &attention::TEXTURE,
    &attention::VALUES,
    &cap_logits::KERNEL,
    &chunk_max::KERNEL,
    &draw::KERNEL,
    &embed::KERNEL,
    &embed::TEXTURE,
    &exit::KERNEL,
    &gate_score::KERNEL,
    &gather_rows::KERNEL,
    &kv_copy::KERNEL,
    &kv_copy::TEXTURE,
    &layer_norm::KERNEL,
    &linear::MATMUL,
    &linear::MATMUL_TEXTURE,
    &linear::MATVEC,
    &linear::MATVEC_SUBGROUP,
    &linear::MATVEC_TEXTURE,
    &next_rows::KERNEL,
    &norm_add::KERNEL,
    &pack_rows::KERNEL,
    &qkv_store::KERNEL,
    &qkv_store::TEXTURE,
    &random_weights::KERNEL,
    &repeat_penalty::KERNEL,
    &rms_norm::KERNEL,
    &top_k::KERNEL,
    &zero_score::KERNEL,
];

const fn bound(name: &'static str, access: Access) -> Binding {
    Binding { name, access }
}

const fn read(name: &'static str) -> Binding {
    bound(name, Access::Read)
}

const fn read_write(name: &'static str) -> Binding {
    bound(name, Access::ReadWrite)
}

/// Invocations of a workgroup of kernels whose tile says no other.
pub const WORKGROUP_SIZE: u32 = 64;

/// Invocations of a workgroup of kernels that work on textures: a vector of a software adapter.
/// Small workgroups spread the work over its cores.
pub const TEXTURE_WORKGROUP_SIZE: u32 = 8;

/// How the rows of a batch belong together, which decides how kernels share them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    OneRow,
    /// A few rows, of one sequence or of several, which linear maps take in tiles of so many: 2, 4,
    /// and in textures 8. Each has the bits of a row alone.
    FewRows(u32),
    /// Many rows of one sequence.
    OneSequence,
    /// Rows of several sequences, which share no keys.
    SeveralSequences,
}

impl BatchKind {
    /// The kind of a batch of `n` rows, of one sequence or several.
    pub fn of(target: &Target, n: usize, of_one_sequence: bool) -> Self {
        match n {
            1 => BatchKind::OneRow,
            n if n <= target.few_rows() => {
                let most = if target.uses_textures() { 8 } else { 4 };
                BatchKind::FewRows(n.next_power_of_two().min(most) as u32)
            }
            _ if of_one_sequence => BatchKind::OneSequence,
            _ => BatchKind::SeveralSequences,
        }
    }

    /// Whether rows are so few that linear maps take them as they take a row alone.
    pub fn is_few(self) -> bool {
        matches!(self, BatchKind::OneRow | BatchKind::FewRows(_))
    }
}

/// The heads of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    pub n_heads: u32,
    pub n_kv_heads: u32,
    /// Octets of a head's dimensions, padding counted.
    pub octets: u32,
}

/// The shaders' defaults.
impl Default for Heads {
    fn default() -> Self {
        Self {
            n_heads: 1,
            n_kv_heads: 1,
            octets: 8,
        }
    }
}

impl Heads {
    /// The values of the shaders' `N_HEADS`, `N_KV_HEADS` and `HEAD_OCTETS`.
    fn constants(self) -> [(&'static str, u32); 3] {
        [
            ("N_HEADS", self.n_heads),
            ("N_KV_HEADS", self.n_kv_heads),
            ("HEAD_OCTETS", self.octets),
        ]
    }
}

/// The value of the shaders' `WEIGHT_FORMAT`.
fn weight_format(dtype: Dtype) -> (&'static str, u32) {
    let format = match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 2,
        Dtype::Quantized(Quant::Q8_0) => 3,
        Dtype::Quantized(Quant::Q4_0) => 4,
    };
    ("WEIGHT_FORMAT", format)
}

/// The value of the shaders' `KV_FORMAT`.
fn kv_format(kv_type: KvType) -> (&'static str, u32) {
    let format = match kv_type {
        KvType::F32 => 0,
        KvType::F16 => 1,
        KvType::Q8_0 => 2,
    };
    ("KV_FORMAT", format)
}

/// A call of a kernel without constants, one workgroup for each row of the grid.
fn row_call<'a>(
    kernel: &'static Kernel,
    params: Vec<u8>,
    buffers: &[&'a wgpu::Buffer],
    cost: Cost,
) -> Call<'a> {
    Call {
        kernel,
        constants: Vec::new(),
        params,
        resources: on_buffers(buffers),
        x: 1,
        rows_per_group: 1,
        cost,
    }
}

/// Bytes of `n` values of 4 bytes.
const fn words(n: u32) -> u64 {
    4 * n as u64
}

/// The kernel of `shaders/FOLDER/NAME.wgsl`: folder, name, the fields of its `Params`, what it needs
/// of a device, its bindings.
macro_rules! kernel {
    ($folder:literal, $name:literal, $params:expr, $needs:expr, $bindings:expr) => {
        crate::gpu::Kernel {
            name: $name,
            source: include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/shaders/",
                $folder,
                "/",
                $name,
                ".wgsl"
            )),
            compose: crate::kernels::compose,
            bindings: $bindings,
            params: $params,
            needs: $needs,
        }
    };
}
use kernel;

/// Declares the uniform block of a kernel: all members are 4 bytes, in the shader's order, and the
/// shader says what each means.
macro_rules! params {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $ty:ty,)* }) => {
        /// The uniform block; the shader says what each member means.
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name {
            $(pub $field: $ty,)*
        }

        impl $name {
            /// Members with their offsets in bytes.
            pub const FIELDS: &[(&str, usize)] = &[
                $((stringify!($field), std::mem::offset_of!($name, $field)),)*
            ];

            /// The block as it is uploaded.
            pub fn bytes(&self) -> Vec<u8> {
                bytemuck::bytes_of(self).to_vec()
            }
        }
    };
}
use params;

/// Fields as kernels on textures name them: `kv_places` is a logarithm there.
const fn on_textures<const N: usize>(
    fields: &[(&'static str, usize)],
) -> [(&'static str, usize); N] {
    let mut named = [("", 0); N];
    let mut i = 0;
    while i < N {
        named[i] = match fields[i].0.as_bytes() {
            b"kv_places" => ("kv_places_log2", fields[i].1),
            _ => fields[i],
        };
        i += 1;
    }
    named
}
