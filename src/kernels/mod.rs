//! The kernels: one small module a shader, with its parameters, its bindings and its grid.
//!
//! A kernel's name is its file's name in `shaders/`, and its label everywhere. Binding 0 is the
//! uniform block `Params`; the other resources follow in the order of [`Kernel::bindings`].

pub mod attention;
pub mod chunk_max;
mod cost;
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
pub mod top_k;

pub use cost::{Cost, Moved};

/// Every kernel of the engine, for the tests that look at all of them.
pub static KERNELS: &[&Kernel] = &[
    &attention::KERNEL,
    &attention::MERGE,
    &attention::SCORES,
    &attention::TEXTURE,
    &attention::VALUES,
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

/// A shader and what the host side knows of it.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// The shader's text, imports not yet resolved.
    pub source: &'static str,
    /// Storage buffers and textures, from binding 1 on.
    pub bindings: &'static [Binding],
    /// Members of `Params` with their offsets in bytes.
    pub params: &'static [(&'static str, usize)],
    /// Features that the shader uses beyond the core of WebGPU.
    pub needs: wgpu::Features,
}

/// A storage buffer or texture of a kernel.
#[derive(Debug)]
pub struct Binding {
    pub name: &'static str,
    pub access: Access,
}

/// How a kernel uses what is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    ReadWrite,
    /// The beginning of a buffer, up to [`UNIFORM_BYTES`], bound as a uniform one.
    Uniform,
    /// A two-dimensional storage texture of `vec4<u32>`, read.
    Texture,
    /// A two-dimensional storage texture of `vec4<f32>`, read.
    FloatTexture,
    /// A two-dimensional storage texture of `vec4<f32>`, written.
    WriteTexture,
    /// An array of two-dimensional storage textures of `vec4<u32>`, read.
    TextureArray,
    /// An array of two-dimensional storage textures of `vec4<u32>`, written.
    WriteTextureArray,
    /// A two-dimensional texture of `vec4<u32>` that is read as one to be sampled.
    SampledTexture,
}

/// Bytes that every device can bind as a uniform buffer.
pub const UNIFORM_BYTES: u64 = 64 << 10;

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

/// A kernel ready to be dispatched over listed rows.
pub struct Call<'a> {
    pub kernel: &'static Kernel,
    pub constants: Vec<(&'static str, u32)>,
    /// The bytes of `Params`.
    pub params: Vec<u8>,
    /// Resources in the order of the kernel's bindings.
    pub resources: Vec<Resource<'a>>,
    /// Workgroups in the first dimension.
    pub x: u32,
    /// Listed rows that one workgroup of the second dimension stands for.
    pub rows_per_group: u32,
    /// The cost that the dispatch cannot avoid.
    pub cost: Cost,
}

/// A buffer or texture that a binding is bound to.
#[derive(Clone, Copy)]
pub enum Resource<'a> {
    Buffer(&'a wgpu::Buffer),
    Uniform(&'a wgpu::Buffer),
    Texture(&'a wgpu::TextureView),
}

/// Buffers as resources.
pub fn on_buffers<'a>(buffers: &[&'a wgpu::Buffer]) -> Vec<Resource<'a>> {
    buffers.iter().map(|&b| Resource::Buffer(b)).collect()
}

impl Call<'_> {
    /// This call on other resources.
    pub fn on<'b>(&self, resources: Vec<Resource<'b>>) -> Call<'b> {
        Call {
            kernel: self.kernel,
            constants: self.constants.clone(),
            params: self.params.clone(),
            resources,
            x: self.x,
            rows_per_group: self.rows_per_group,
            cost: self.cost,
        }
    }
}

/// Bytes of `n` values of 4 bytes.
const fn words(n: u32) -> u64 {
    4 * n as u64
}

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
