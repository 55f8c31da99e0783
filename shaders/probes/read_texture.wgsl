// Reads a texture that could be sampled: see `shared/read_texels`.

#import shared/probe_params

@group(0) @binding(1) var data: texture_2d<u32>;

fn texel(x: u32, y: u32) -> vec4<u32> {
    return textureLoad(data, vec2<u32>(x, y), 0);
}

#import shared/read_texels
