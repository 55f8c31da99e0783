//! A model's weights on an adapter.

use std::sync::Arc;

use crate::engine::weights::{Matrices, Weights};
use crate::error::Result;
use crate::gpu::{Gpu, Target};
use crate::model::Model;
use crate::model::config::Config;
use crate::model::weights::Pool;

/// A model's weights on an adapter, ready for any number of sessions.
pub struct DeviceModel {
    pub gpu: Arc<Gpu>,
    pub(in crate::engine) weights: Weights,
    pub(in crate::engine) config: Config,
    pub(in crate::engine) pool: Option<Pool>,
}

impl DeviceModel {
    /// What kernels of this model are written for.
    pub fn target(&self) -> &Target {
        &self.weights.target
    }

    /// Uploads the weights of `model`. `progress` gets the bytes written so far.
    pub async fn upload(
        gpu: Arc<Gpu>,
        model: &Model,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        Self::with_matrices(Matrices::Stored, gpu, model, progress).await
    }

    /// A model of the shapes of `model` whose matrices the device fills with random values: those
    /// of `model`, which may be a [blank](Model::blank) one, are not looked at.
    pub async fn random(
        gpu: Arc<Gpu>,
        model: &Model,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        Self::with_matrices(Matrices::Random, gpu, model, progress).await
    }

    async fn with_matrices(
        matrices: Matrices,
        gpu: Arc<Gpu>,
        model: &Model,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self> {
        Ok(Self {
            weights: Weights::upload(&gpu, model, matrices, progress).await?,
            config: model.config.clone(),
            pool: model.pool.clone(),
            gpu,
        })
    }
}
