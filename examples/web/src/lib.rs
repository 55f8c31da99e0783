//! The page's side of the engine: a model on the browser's adapter, and its text token by token.
//! Structures cross the border as JSON.

use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use wasm_bindgen::prelude::*;
use ztt_wgpu::engine::sampling::{Sampler, SamplingOptions};
use ztt_wgpu::engine::{DeviceModel, Engine, Options};
use ztt_wgpu::generate::{StopRules, Token, generate};
use ztt_wgpu::gpu::adapter::{AdapterChoice, choose};
use ztt_wgpu::gpu::{Gpu, KernelClass};
use ztt_wgpu::model::tokenizer::Tokenizer;
use ztt_wgpu::model::{BUILTIN, Fetch, Model};
use ztt_wgpu::page::shades::DEPTH;

/// A model whose weights are on the browser's adapter.
#[wasm_bindgen]
pub struct Generator {
    model: Model,
    tokenizer: Tokenizer,
    device_model: Arc<DeviceModel>,
}

/// A request of the user: the prompt and the options of a generation.
#[derive(Deserialize)]
struct Request {
    prompt: String,
    max_tokens: usize,
    /// 0 is greedy.
    temperature: f64,
    /// `None` where every cycle is to run.
    exit_threshold: Option<f64>,
    seed: u64,
}

/// Has panics print where they came from, on the browser's console.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

#[wasm_bindgen]
impl Generator {
    /// Opens the single-file model `bytes`, called `name` in errors, or the embedded model where
    /// there are none. `kernels` names a class of kernels, the adapter's own where it is `None`.
    pub async fn open(
        name: String,
        bytes: Option<Vec<u8>>,
        kernels: Option<String>,
    ) -> Result<Generator, JsError> {
        let model = match bytes {
            Some(bytes) => Model::from_bytes(&name, bytes)?,
            None => Model::open(BUILTIN, Fetch::Never)?,
        };
        let tokenizer = model.tokenizer()?;
        let Some(adapter) = choose(&AdapterChoice::default()).await? else {
            return Err(JsError::new(
                "this browser has WebGPU, but no adapter for it",
            ));
        };
        let class = kernels.and_then(|name| KernelClass::named(&name));
        let gpu = Gpu::open(&adapter).await?;
        let gpu = gpu.with_kernels(class)?;
        let device_model = DeviceModel::upload(Arc::new(gpu), &model, &mut |_| {}).await?;
        Ok(Self {
            model,
            tokenizer,
            device_model: Arc::new(device_model),
        })
    }

    /// Facts about the model that the page shows, and the initial values of its controls.
    pub fn facts(&self) -> String {
        let (model, config) = (&self.model, &self.model.config);
        let n_cycles = config.cycles();
        json!({
            "name": model.name,
            "layers": config.n_layers,
            "cycles": n_cycles,
            "positions": Options::of(model).n_ctx,
            "temperature": SamplingOptions::of(model).temperature,
            "has_scores": config.score.is_some(),
            "exit_threshold": config.exit().threshold,
            "kernels": self.device_model.target().class.name(),
            "shades": DEPTH.steps(n_cycles),
        })
        .to_string()
    }

    /// Runs the prompt of `request` and gives each token to `receive`, which returns whether it
    /// wants more. Returns the mean cycles of all positions.
    pub async fn generate(
        &self,
        request: String,
        receive: js_sys::Function,
    ) -> Result<f64, JsError> {
        let request: Request = serde_json::from_str(&request)?;
        let prompt = self.tokenizer.encode(&request.prompt)?;
        self.model.check_ids(&prompt)?;
        let mut options = Options::of(&self.model);
        options.exit.threshold = request.exit_threshold;
        let sampling = SamplingOptions {
            temperature: request.temperature,
            seed: request.seed,
            ..SamplingOptions::of(&self.model)
        };
        let mut sampler = Sampler::new(sampling, &prompt);
        let mut engine = Engine::on_device(&self.model, &self.device_model, &options)?;
        let rules = StopRules::of(&self.model, request.max_tokens);
        let summary = generate(
            &mut engine,
            Some(&self.tokenizer),
            &prompt,
            &mut sampler,
            &rules,
            |token| wants_more(&receive, token),
        )
        .await?;
        Ok(summary.mean_cycles())
    }
}

/// Gives a token to the page. One that throws wants no more.
fn wants_more(receive: &js_sys::Function, token: &Token) -> ControlFlow<()> {
    let text = json!(token).to_string();
    match receive.call1(&JsValue::NULL, &text.into()) {
        Ok(answer) if answer.is_truthy() => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    }
}
