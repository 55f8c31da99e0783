//! What a session did and how long it took.

pub mod cases;
pub mod profile;
pub mod recorded;
pub mod work;
