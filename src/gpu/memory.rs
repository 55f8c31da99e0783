//! How much memory an adapter has, as far as that can be known.

use wgpu::{Adapter, DeviceType};

use crate::files::MIB;

/// For tests: MiB that adapters have, whatever they say.
const VARIABLE: &str = "ZTT_ADAPTER_MEMORY";

/// Bytes that everything on an adapter can take together at most; `None` where nobody says.
pub(super) fn of(adapter: &Adapter) -> Option<u64> {
    let planted = std::env::var(VARIABLE).ok();
    let planted = planted.and_then(|text| text.parse::<u64>().ok());
    if let Some(n) = planted {
        return Some(n.saturating_mul(MIB));
    }
    let kind = adapter.get_info().device_type;
    match kind {
        // Such drivers name a size that they do not keep to: their memory is the host's.
        DeviceType::Cpu => host(),
        _ => heaps(adapter).and_then(|heaps| most(kind, &heaps)),
    }
}

/// A heap of memory.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(any(target_os = "linux", target_os = "windows", target_os = "android")),
    allow(dead_code)
)]
struct Heap {
    n_bytes: u64,
    /// Whether it is the adapter's own.
    is_local: bool,
}

/// Of a card, its own memory: a second heap of its own is a window on the first one. Others share
/// the host's.
fn most(kind: DeviceType, heaps: &[Heap]) -> Option<u64> {
    match kind {
        DeviceType::DiscreteGpu => {
            let local = heaps.iter().filter(|heap| heap.is_local);
            local.map(|heap| heap.n_bytes).max()
        }
        _ => {
            let sizes = heaps.iter().map(|heap| heap.n_bytes);
            sizes.reduce(u64::saturating_add)
        }
    }
}

/// The heaps that Vulkan names; `None` of other backends.
#[cfg(any(target_os = "linux", target_os = "windows", target_os = "android"))]
fn heaps(adapter: &Adapter) -> Option<Vec<Heap>> {
    /// `VK_MEMORY_HEAP_DEVICE_LOCAL_BIT`
    const LOCAL: u32 = 1;
    // SAFETY: the adapter is only looked at, and neither it nor its instance is destroyed here.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = hal.shared_instance().raw_instance();
    let device = hal.raw_physical_device();
    // SAFETY: the physical device is of this instance, which lives as long as the adapter.
    let memory = unsafe { instance.get_physical_device_memory_properties(device) };
    let heaps = memory.memory_heaps.iter();
    let heaps = heaps.take(memory.memory_heap_count as usize);
    let heaps = heaps.map(|heap| Heap {
        n_bytes: heap.size,
        is_local: heap.flags.as_raw() & LOCAL != 0,
    });
    Some(heaps.collect())
}

/// Other backends say nothing that can be relied on.
#[cfg(not(any(target_os = "linux", target_os = "windows", target_os = "android")))]
fn heaps(_: &Adapter) -> Option<Vec<Heap>> {
    None
}

/// All memory of the machine, the one on disks included.
#[cfg(target_os = "linux")]
fn host() -> Option<u64> {
    host_of(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

#[cfg(not(target_os = "linux"))]
fn host() -> Option<u64> {
    None
}

/// What `/proc/meminfo` says.
#[cfg(any(target_os = "linux", test))]
fn host_of(text: &str) -> Option<u64> {
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let swap = kib("SwapTotal:").unwrap_or(0);
    Some(kib("MemTotal:")?.saturating_add(swap).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_its_own_memory_and_others_share_the_hosts() {
        let heap = |n_bytes, is_local| Heap { n_bytes, is_local };
        let heaps = [heap(24, true), heap(64, false), heap(1, true)];
        assert_eq!(most(DeviceType::DiscreteGpu, &heaps), Some(24));
        assert_eq!(most(DeviceType::IntegratedGpu, &heaps), Some(89));
        assert_eq!(most(DeviceType::DiscreteGpu, &[heap(64, false)]), None);
        assert_eq!(most(DeviceType::IntegratedGpu, &[]), None);
    }

    #[test]
    fn the_host_says_how_much_it_has() {
        let text = "MemTotal:       24684132 kB\nMemFree: 1 kB\nSwapTotal:        1024 kB\n";
        assert_eq!(host_of(text), Some(1024 * (24_684_132 + 1024)));
        assert_eq!(host_of("MemFree: 1 kB"), None);
    }
}
