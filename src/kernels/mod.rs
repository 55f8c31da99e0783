//! The kernels: one small module a shader, with its parameters, its bindings and its grid.
//!
//! A kernel's name is its file's name in `shaders/`, and its label everywhere. Binding 0 is the
//! uniform block `Params`; the other resources follow in the order of [`Kernel::bindings`].

pub mod attention;
pub mod chunk_max;
pub mod draw;
pub mod embed;
pub mod exit;
pub mod kv_copy;
pub mod layer_norm;
pub mod linear;
pub mod pack_rows;
pub mod probes;
pub mod qkv_store;
pub mod random_weights;
pub mod repeat_penalty;
pub mod rms_norm;
mod text;
pub mod top_k;

pub use text::compose;

use crate::gpu::{Access, Binding, Kernel};

/// Every kernel of the engine, for the tests that look at all of them.
pub static KERNELS: &[&Kernel] = &[
    &attention::gpu::KERNEL,
    &attention::gpu::MERGE,
    &attention::software::SCORES,
    &attention::software::TEXTURE,
    &attention::software::VALUES,
    &chunk_max::KERNEL,
    &draw::KERNEL,
    &embed::KERNEL,
    &embed::TEXTURE,
    &exit::KERNEL,
    &kv_copy::KERNEL,
    &kv_copy::TEXTURE,
    &layer_norm::KERNEL,
    &linear::MATMUL,
    &linear::MATMUL_TEXTURE,
    &linear::MATVEC,
    &linear::MATVEC_SUBGROUP,
    &linear::MATVEC_TEXTURE,
    &linear::QKV_MATMUL,
    &linear::QKV_MATMUL_TEXTURE,
    &linear::QKV_MATVEC,
    &linear::QKV_MATVEC_SUBGROUP,
    &linear::QKV_MATVEC_TEXTURE,
    &pack_rows::KERNEL,
    &qkv_store::KERNEL,
    &qkv_store::TEXTURE,
    &random_weights::KERNEL,
    &repeat_penalty::KERNEL,
    &rms_norm::KERNEL,
    &top_k::KERNEL,
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

/// Invocations of a workgroup.
pub const LANES: u32 = 64;

/// Invocations of a workgroup of kernels that work on textures: a vector of a software adapter.
/// Small workgroups spread the work over its cores.
pub const TEXTURE_LANES: u32 = 8;

/// How the rows of a batch belong together, which decides how kernels share them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    OneRow,
    /// Many rows of one sequence.
    OneSequence,
    /// Rows of several sequences, which share no keys.
    SeveralSequences,
}

/// How an element of the key-value cache is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvType {
    F32,
    F16,
}

impl KvType {
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
        }
    }

    /// Bytes of one element.
    pub fn n_bytes(self) -> usize {
        match self {
            KvType::F32 => 4,
            KvType::F16 => 2,
        }
    }

    /// The value of the shaders' `KV_FORMAT`.
    fn constant(self) -> (&'static str, u32) {
        ("KV_FORMAT", u32::from(self == KvType::F16))
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

/// Declares a kernel's `Params`: all members are 4 bytes, in the shader's order.
macro_rules! params {
    ($($(#[$meta:meta])* $name:ident: $ty:ty,)*) => {
        /// The uniform block; see the shader for what each member means.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            $($(#[$meta])* pub $name: $ty,)*
        }

        const FIELDS: &[(&str, usize)] = &[
            $((stringify!($name), std::mem::offset_of!(Params, $name)),)*
        ];
    };
}
use params;
