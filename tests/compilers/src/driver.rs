//! The driver as a compiler: a device without a card, on which pipelines are made and then asked
//! what was made of them.

use std::ffi::CStr;

use anyhow::{Context, Result, ensure};
use ash::khr::pipeline_executable_properties;
use ash::{Device, Entry, Instance, vk};

use crate::shader::Shader;

/// The driver that the promises were measured with.
const EXPECTED: &str = "radv Mesa 25.0.";

pub struct Driver {
    /// The driver and its version.
    pub name: String,
    /// The device that it stands for.
    pub card: String,
    device: Device,
    executables: pipeline_executable_properties::Device,
    _instance: Instance,
    _entry: Entry,
}

/// The driver's answers to questions about one pipeline.
pub struct Compiled {
    statistics: Vec<(String, u64)>,
    pub assembly: String,
}

impl Compiled {
    /// One of the driver's statistics by its name.
    pub fn statistic(&self, name: &str) -> Result<u64> {
        let found = self.statistics.iter().find(|s| s.0 == name);
        Ok(found
            .with_context(|| format!("the driver has no statistic `{name}`"))?
            .1)
    }
}

impl Driver {
    /// Opens the first device of the first driver. Meant for processes that end soon: nothing is
    /// ever destroyed.
    pub fn open() -> Result<Self> {
        // SAFETY: the library is Vulkan's loader, and each call below is given what the
        // specification asks for; objects live as long as the process.
        unsafe {
            let entry = Entry::load().context("no Vulkan loader")?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&app);
            let instance = entry.create_instance(&create, None)?;
            let adapters = instance.enumerate_physical_devices()?;
            let adapter = *adapters.first().context("no Vulkan device")?;
            let mut driver = vk::PhysicalDeviceDriverProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
            instance.get_physical_device_properties2(adapter, &mut properties);
            let card = text(&properties.properties.device_name);
            let name = format!(
                "{} {}",
                text(&driver.driver_name),
                text(&driver.driver_info)
            );
            ensure!(
                name.starts_with(EXPECTED),
                "expected the driver `{EXPECTED}`, found `{name}`"
            );
            let device = device(&instance, adapter)?;
            let executables = pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self {
                name,
                card,
                device,
                executables,
                _instance: instance,
                _entry: entry,
            })
        }
    }

    /// Makes a pipeline of a shader.
    pub fn compile(&self, shader: &Shader) -> Result<Compiled> {
        let numbers = (0..).zip(&shader.bindings);
        let gap = numbers.map(|(i, b)| (i, b.number)).find(|(i, n)| i != n);
        ensure!(gap.is_none(), "bindings are not numbered 0, 1, 2, ...");
        // SAFETY: the device is open, the words come from naga's writer, and every binding that
        // they use is in the layout.
        unsafe {
            let create = vk::ShaderModuleCreateInfo::default().code(&shader.words);
            let module = self.device.create_shader_module(&create, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let create = vk::ComputePipelineCreateInfo::default()
                .layout(self.layout(shader)?)
                .stage(stage)
                .flags(
                    vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                        | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR,
                );
            let cache = vk::PipelineCache::null();
            let made = self
                .device
                .create_compute_pipelines(cache, &[create], None)
                .map_err(|(_, error)| error)?;
            self.ask(made[0])
        }
    }

    unsafe fn layout(&self, shader: &Shader) -> Result<vk::PipelineLayout> {
        let bindings: Vec<_> = shader
            .bindings
            .iter()
            .map(|binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding.number)
                    .descriptor_type(binding.kind)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        // SAFETY: as in `compile`.
        unsafe {
            let set = [self.device.create_descriptor_set_layout(&create, None)?];
            let create = vk::PipelineLayoutCreateInfo::default().set_layouts(&set);
            Ok(self.device.create_pipeline_layout(&create, None)?)
        }
    }

    unsafe fn ask(&self, pipeline: vk::Pipeline) -> Result<Compiled> {
        let which = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline);
        // SAFETY: the pipeline was made with both flags for capturing; of a statistic's union the
        // member that its format names is read, and each representation has the room it asked for.
        unsafe {
            let statistics = self
                .executables
                .get_pipeline_executable_statistics(&which)?;
            let statistics = statistics
                .iter()
                .filter(|s| s.format == vk::PipelineExecutableStatisticFormatKHR::UINT64)
                .map(|s| (text(&s.name), s.value.u64))
                .collect();
            let mut texts = self
                .executables
                .get_pipeline_executable_internal_representations(&which)?;
            let mut room: Vec<_> = texts.iter().map(|t| vec![0_u8; t.data_size]).collect();
            for (text, room) in texts.iter_mut().zip(&mut room) {
                text.p_data = room.as_mut_ptr().cast();
            }
            let mut n = texts.len() as u32;
            let fetch = self.executables.fp();
            let fetch = fetch.get_pipeline_executable_internal_representations_khr;
            fetch(self.device.handle(), &which, &mut n, texts.as_mut_ptr()).result()?;
            let mut named = texts.iter().zip(&room);
            let assembly = named
                .find(|(t, _)| text(&t.name) == "Assembly")
                .context("the driver gives no assembly")?
                .1;
            let assembly = CStr::from_bytes_until_nul(assembly)?.to_str()?;
            Ok(Compiled {
                statistics,
                assembly: assembly.to_string(),
            })
        }
    }
}

/// A device with the features that change what wgpu's pipelines are compiled to: accesses past a
/// buffer's end are defined, integer dot products are offered, sizes of subgroups may vary.
unsafe fn device(instance: &Instance, adapter: vk::PhysicalDevice) -> Result<Device> {
    let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
    let extensions = [
        ash::khr::pipeline_executable_properties::NAME.as_ptr(),
        ash::ext::robustness2::NAME.as_ptr(),
    ];
    let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
    let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
        .robust_buffer_access2(true)
        .robust_image_access2(true);
    let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
        .pipeline_executable_info(true);
    let mut v11 = vk::PhysicalDeviceVulkan11Features::default().storage_buffer16_bit_access(true);
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
        .shader_float16(true)
        .shader_int8(true);
    let mut v13 = vk::PhysicalDeviceVulkan13Features::default()
        .robust_image_access(true)
        .shader_integer_dot_product(true)
        .shader_zero_initialize_workgroup_memory(true)
        .subgroup_size_control(true)
        .maintenance4(true);
    let create = vk::DeviceCreateInfo::default()
        .queue_create_infos(&queues)
        .enabled_extension_names(&extensions)
        .enabled_features(&core)
        .push_next(&mut robustness)
        .push_next(&mut executables)
        .push_next(&mut v11)
        .push_next(&mut v12)
        .push_next(&mut v13);
    // SAFETY: what the adapter does not offer makes this fail.
    unsafe { Ok(instance.create_device(adapter, &create, None)?) }
}

/// Characters up to the first zero.
fn text(characters: &[std::ffi::c_char]) -> String {
    let bytes = characters.iter().map(|&c| c as u8);
    let bytes: Vec<_> = bytes.take_while(|&c| c != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
