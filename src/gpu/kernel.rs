//! What the device has to know of a kernel, and of a call of it.

use super::cost::Cost;

/// A shader and what the host side knows of it.
#[derive(Debug)]
pub struct Kernel {
    pub name: &'static str,
    /// The shader's text, imports not yet resolved.
    pub source: &'static str,
    /// Resolves the imports of `source`.
    pub compose: fn(&str) -> String,
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
    /// Nothing: the call has no use for the binding.
    Unused,
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
