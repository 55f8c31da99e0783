// Reads a storage texture: see `shared/read_texels`.

#import shared/probe_params

@group(0) @binding(1) var data: texture_storage_2d<rgba32uint, read>;

fn texel(x: u32, y: u32) -> vec4<u32> {
    return textureLoad(data, vec2<u32>(x, y));
}

#import shared/read_texels
