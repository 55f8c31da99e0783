//! Which adapters the machine has, and which of them to use.

use wgpu::{Backend, Backends, DeviceType, InstanceDescriptor, InstanceFlags};

use crate::error::{Error, Result};

/// What the user asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdapterChoice {
    /// A part of the adapter's name, or its index in [`list`]; `None` takes the first.
    pub name: Option<String>,
    /// Only adapters of this backend.
    pub backend: Option<Backend>,
}

/// The backends the engine runs on, by the names flags use.
pub const BACKENDS: &[(&str, Backend)] = &[
    ("vulkan", Backend::Vulkan),
    ("metal", Backend::Metal),
    ("dx12", Backend::Dx12),
];

/// All adapters, best first: discrete, integrated, virtual, then software.
pub async fn list() -> Vec<wgpu::Adapter> {
    let mut description = InstanceDescriptor::new_without_display_handle();
    description.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    // Validating an indirect dispatch costs a dispatch of its own, which is what skipping a
    // cycle is meant to save. Every count is written by the engine's own `exit` kernel.
    description.flags = InstanceFlags::from_build_config()
        .difference(InstanceFlags::VALIDATION_INDIRECT_CALL)
        .with_env();
    let instance = wgpu::Instance::new(description);
    let mut adapters = instance.enumerate_adapters(Backends::all()).await;
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    });
    adapters
}

/// The adapter that `choice` names, or `None` where the machine has none and none was named.
///
/// # Errors
/// [`Error::NoAdapter`] when something was named that is not there.
pub async fn choose(choice: &AdapterChoice) -> Result<Option<wgpu::Adapter>> {
    let adapters = list().await;
    let wanted_name = choice.name.as_deref();
    let index = wanted_name.and_then(|name| name.parse::<usize>().ok());
    let matches = |i: usize, info: &wgpu::AdapterInfo| {
        let by_name = match (wanted_name, index) {
            (None, _) => true,
            (_, Some(index)) => i == index,
            (Some(name), None) => info.name.to_lowercase().contains(&name.to_lowercase()),
        };
        by_name && choice.backend.is_none_or(|b| b == info.backend)
    };
    let found: Vec<String> = adapters
        .iter()
        .map(|a| {
            let info = a.get_info();
            format!("`{}` ({})", info.name, info.backend)
        })
        .collect();
    let chosen = adapters
        .into_iter()
        .enumerate()
        .find(|(i, adapter)| matches(*i, &adapter.get_info()));
    match chosen {
        Some((_, adapter)) => Ok(Some(adapter)),
        None if *choice == AdapterChoice::default() => Ok(None),
        None => Err(Error::NoAdapter {
            wanted: [
                wanted_name.map(|name| format!("`{name}`")),
                choice.backend.map(|backend| format!("backend {backend}")),
            ]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" with "),
            found: match found.is_empty() {
                true => "none (`--adapter cpu` runs without one)".to_string(),
                false => found.join(", "),
            },
        }),
    }
}
