//! Which adapters the machine has, and which of them to use.

use wgpu::{Backend, Backends, DeviceType, InstanceDescriptor, InstanceFlags, PowerPreference};

use crate::error::{Error, Result};

/// The adapter that the user asks for.
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

/// The type of an adapter in words, such as `discrete GPU`.
pub fn type_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete GPU",
        DeviceType::IntegratedGpu => "integrated GPU",
        DeviceType::VirtualGpu => "virtual GPU",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

/// All adapters, best first: discrete, integrated, virtual, then software. `WGPU_BACKEND` leaves
/// out backends, `WGPU_POWER_PREF=low` puts integrated GPUs first.
pub async fn list() -> Vec<wgpu::Adapter> {
    let mut description = InstanceDescriptor::new_without_display_handle();
    let native = Backends::VULKAN | Backends::METAL | Backends::DX12;
    description.backends = native | Backends::BROWSER_WEBGPU;
    if let Some(asked) = Backends::from_env() {
        description.backends &= asked;
    }
    let low_power = PowerPreference::from_env() == Some(PowerPreference::LowPower);
    // Validating an indirect dispatch costs a dispatch of its own, which is what skipping a
    // cycle is meant to save. Every count is written by the engine's own `exit` kernel.
    description.flags = InstanceFlags::from_build_config()
        .difference(InstanceFlags::VALIDATION_INDIRECT_CALL)
        .with_env();
    let instance = wgpu::Instance::new(description);
    let mut adapters = instance.enumerate_adapters(Backends::all()).await;
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        DeviceType::IntegratedGpu if low_power => 0,
        DeviceType::DiscreteGpu => 1,
        DeviceType::IntegratedGpu => 2,
        DeviceType::VirtualGpu => 3,
        DeviceType::Other => 4,
        DeviceType::Cpu => 5,
    });
    adapters
}

/// The adapter that `choice` names, or `None` where the machine has none and none was named.
/// `WGPU_ADAPTER_NAME` names one where `choice` does not.
///
/// # Errors
/// [`Error::NoAdapter`] when something was named that is not there.
pub async fn choose(choice: &AdapterChoice) -> Result<Option<wgpu::Adapter>> {
    let adapters = list().await;
    let by_variable = std::env::var("WGPU_ADAPTER_NAME").ok();
    let wanted_name = choice.name.as_deref().or(by_variable.as_deref());
    // A number that is no index may be part of a name, such as `4090`.
    let index = wanted_name.and_then(|name| name.parse().ok());
    let index = index.filter(|&i: &usize| i < adapters.len());
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
        None if wanted_name.is_none() && choice.backend.is_none() => Ok(None),
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
