//! A model's weights on an adapter.

use std::sync::Arc;

use super::weights::Weights;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::weights::Pool;

/// A model's weights on an adapter, ready for any number of sessions.
pub struct DeviceModel {
    pub gpu: Arc<Gpu>,
    pub(super) weights: Weights,
    pub(super) config: Config,
    pub(super) pool: Option<Pool>,
}

impl DeviceModel {
    /// Uploads the weights of `model`. `progress` gets the bytes written so far.
    pub async fn upload(
        gpu: Arc<Gpu>,
        model: &Model,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        Ok(Self {
            weights: Weights::upload(&gpu, model, progress).await?,
            config: model.config.clone(),
            pool: model.pool.clone(),
            gpu,
        })
    }
}
