//! placeholder
pub mod cli;
pub mod engine;
pub mod error;
pub mod generate;
pub mod gpu;
pub mod kernels;
pub mod model;
pub mod reference;
pub mod rope;
pub mod schedule;
