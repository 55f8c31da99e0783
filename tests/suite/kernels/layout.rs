//! Where the elements of a KV cache lie.

use wgpu::TextureFormat;
use ztt_wgpu::gpu::Gpu;
use ztt_wgpu::kernels::KvType;

use super::image::Image;

/// A KV cache `[cycle][key, value][kv head][place]` of rows of a head: the order of a buffer.
#[derive(Clone, Copy)]
pub struct Layout {
    pub n_cycles: usize,
    pub n_kv_heads: usize,
    pub n_places: usize,
    /// Elements of a head's row: whole octets.
    pub stride: usize,
    pub kv_type: KvType,
}

/// Places of a head that lie side by side in a texture, 2 to this power.
const PLACES_LOG2: u32 = 5;

impl Layout {
    /// The kernels' `kv_places`.
    pub fn kv_places(&self, in_texture: bool) -> u32 {
        if in_texture {
            PLACES_LOG2
        } else {
            self.n_places as u32
        }
    }

    /// Which of all heads' rows is that of a place.
    fn row(&self, [cycle, part, head, place]: [usize; 4]) -> usize {
        ((cycle * 2 + part) * self.n_kv_heads + head) * self.n_places + place
    }

    /// Index of the first element of a head's row.
    pub fn element(&self, at: [usize; 4]) -> usize {
        self.row(at) * self.stride
    }

    /// Index of the first word of a head's row.
    pub fn word(&self, at: [usize; 4]) -> usize {
        self.row(at) * self.row_words()
    }

    /// Words of all elements.
    pub fn n_words(&self) -> usize {
        self.word([self.n_cycles, 0, 0, 0])
    }

    /// Words of a head's row.
    pub fn row_words(&self) -> usize {
        self.kv_type.row_bytes(self.stride / 8) / 4
    }

    /// Words from one place to the next in a texture.
    fn texel_words(&self) -> usize {
        4 * self.kv_type.row_texels(self.stride / 8)
    }

    /// Rows of texels, and the words of one.
    fn size(&self) -> [usize; 2] {
        let columns = 1 << PLACES_LOG2;
        let height = self.n_places.div_ceil(columns) * self.n_kv_heads;
        [height, columns * self.texel_words()]
    }

    /// Where in a texture the words of each head's row lie, in a buffer's order.
    fn places(&self) -> impl Iterator<Item = usize> {
        let [height, width] = self.size();
        let layout = *self;
        (0..self.n_cycles * 2).flat_map(move |layer| {
            (0..layout.n_kv_heads).flat_map(move |head| {
                (0..layout.n_places).map(move |place| {
                    let (x, y) = (place % (1 << PLACES_LOG2), place >> PLACES_LOG2);
                    let row = layer * height + y * layout.n_kv_heads + head;
                    row * width + x * layout.texel_words()
                })
            })
        })
    }

    /// A texture of the words of a buffer, poisoned elsewhere.
    pub fn image(&self, gpu: &Gpu, words: &[u32]) -> Image {
        let [height, width] = self.size();
        let layers = 2 * self.n_cycles;
        let mut texels = vec![super::POISON; layers * height * width];
        for (row, place) in words.chunks(self.row_words()).zip(self.places()) {
            texels[place..place + row.len()].copy_from_slice(row);
        }
        let image = Image::new(gpu, TextureFormat::Rgba32Uint, [width / 4, height, layers]);
        image.write(gpu, &texels);
        image
    }

    /// The words of a buffer from the words of a texture, the inverse of [`image`](Self::image).
    pub fn words(&self, texels: &[u32]) -> Vec<u32> {
        let n = self.row_words();
        let rows = self.places().map(|place| &texels[place..place + n]);
        rows.flatten().copied().collect()
    }

    /// Words of rows as elements in f32.
    pub fn elements(&self, words: &[u32]) -> Vec<u32> {
        let decode = |row: &[u32]| self.kv_type.decode(row, self.stride / 8);
        let rows = words.chunks(self.row_words()).flat_map(decode);
        rows.map(f32::to_bits).collect()
    }

    /// Words of rows of `values`, rounded to nearest; rows that begin with a NaN have no number.
    pub fn rounded(&self, values: &[f32]) -> Vec<u32> {
        /// Two NaN in f16.
        const NANS: u32 = 0x7e00_7e00;
        let encode = |row: &[f32]| match row[0].is_nan() && self.kv_type == KvType::Q8_0 {
            true => vec![NANS; self.row_words()],
            false => self.kv_type.encode(row),
        };
        values.chunks(self.stride).flat_map(encode).collect()
    }
}
