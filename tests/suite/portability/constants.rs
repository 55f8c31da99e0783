//! The values that the engine gives to `override` constants.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use naga::Module;
use ztt_wgpu::kernels::KERNELS;

use crate::shaders::overrides;

/// Constants by name, each with one value.
pub type Set = Vec<(String, u32)>;

/// Every constant: its first value, how many it takes, and how far they are apart.
const CONSTANTS: &[(&str, u32, u32, u32)] = &[
    ("EPILOGUE", 0, 3, 1),
    // Heads are up to 256 wide.
    ("HEAD_OCTETS", 1, 32, 1),
    ("ITEMS", 1, 8, 1),
    ("KV_FORMAT", 0, 2, 1),
    ("LANES", 4, 2, 4),
    ("NORM", 0, 3, 1),
    ("WEIGHT_FORMAT", 0, 5, 1),
];

/// All values of a constant.
fn values(name: &str) -> Result<Vec<u32>> {
    let known = CONSTANTS.iter().find(|c| c.0 == name);
    let &(_, first, n, step) = known.with_context(|| format!("no values of `{name}` are known"))?;
    Ok((0..n).map(|i| first + step * i).collect())
}

/// Refuses a constant, or a value of one, that [`sets`] leaves out.
pub fn ensure_known(name: &str, value: u32) -> Result<()> {
    ensure!(
        values(name)?.contains(&value),
        "`{name}` = {value} is in no set"
    );
    Ok(())
}

/// All combinations of the values of a module's constants; one empty set where it has none.
pub fn sets(module: &Module) -> Result<Vec<Set>> {
    let mut sets = vec![Set::new()];
    for (_, constant) in module.overrides.iter() {
        let name = constant.name.clone().context("a constant without a name")?;
        let mut longer = Vec::new();
        for value in values(&name)? {
            for set in &sets {
                let more = (name.clone(), value);
                longer.push(set.iter().cloned().chain([more]).collect());
            }
        }
        sets = longer;
    }
    Ok(sets)
}

/// No constant is listed that no kernel has.
pub fn all_used() -> Result<()> {
    let used: BTreeSet<&str> = KERNELS
        .iter()
        .flat_map(|kernel| overrides(kernel).iter().map(String::as_str))
        .collect();
    let listed: BTreeSet<&str> = CONSTANTS.iter().map(|c| c.0).collect();
    ensure!(used == listed, "listed {listed:?}, used {used:?}");
    Ok(())
}
