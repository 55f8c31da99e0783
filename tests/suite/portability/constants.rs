//! The values that the engine gives to `override` constants.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use naga::Module;
use ztt_wgpu::kernels::KERNELS;

use crate::shaders::overrides;

/// Constants by name, each with one value.
pub type Set = Vec<(String, u32)>;

/// A constant: the values that [`sets`] takes, and the greatest that a shader may be given.
struct Constant {
    name: &'static str,
    taken: &'static [u32],
    most: u32,
}

/// A constant that chooses between ways of computing: every value is taken.
const fn choice(name: &'static str, taken: &'static [u32]) -> Constant {
    let most = taken[taken.len() - 1];
    Constant { name, taken, most }
}

/// A size, from 1 to `most`: some values are taken.
const fn size(name: &'static str, taken: &'static [u32], most: u32) -> Constant {
    Constant { name, taken, most }
}

const CONSTANTS: &[Constant] = &[
    choice("ACCUMULATE", &[0, 1]),
    choice("ACTIVATION", &[0, 1, 2, 3, 4, 5]),
    choice("GATED", &[0, 1]),
    choice("HAS_BIAS", &[0, 1]),
    choice("HAS_POSITIONS", &[0, 1]),
    choice("HAS_ROPE", &[0, 1]),
    choice("HAS_ZERO", &[0, 1]),
    choice("KV_FORMAT", &[0, 1, 2]),
    choice("NORM", &[0, 1, 2]),
    choice("OUTPUT", &[0, 1]),
    choice("PLACE", &[0, 1, 2, 3]),
    choice("QK_NORM", &[0, 1, 2, 3, 4]),
    choice("SOFT_CAP", &[0, 1]),
    choice("SUBGROUP_LANES", &[4, 8]),
    choice("WEIGHT_FORMAT", &[0, 1, 2, 3, 4]),
    choice("WRITES_ZEROS", &[0, 1]),
    // Heads are up to 256 wide.
    size("HEAD_OCTETS", &[1, 8, 10, 32], 32),
    size("GROUP_LANES", &[32, 128], 256),
    size("OUTPUTS", &[2, 4], 4),
    size("ROWS", &[1, 2, 4], 4),
    size("WORKGROUP_SIZE", &[64, 128, 256], 1024),
    size("HEADS_PER_TILE", &[1, 2, 3, 4, 5, 6, 7, 8], 8),
    size("PARTS", &[1, 8], 64),
    size("TILE_ROWS", &[2, 4, 8], 8),
    size("KEY_GROUPS", &[1, 4], 4),
    size("KEYS_PER_STEP", &[2, 4], 4),
    size("N_HEADS", &[12], u32::MAX),
    size("N_KV_HEADS", &[3], u32::MAX),
    size("N_SPLITS", &[1, 3], 64),
    size("ROWS_PER_TILE", &[1, 2, 4, 8], 8),
    size("SPLIT_KEYS", &[64], u32::MAX),
];

fn constant(name: &str) -> Result<&'static Constant> {
    let known = CONSTANTS.iter().find(|c| c.name == name);
    known.with_context(|| format!("no values of `{name}` are known"))
}

/// Refuses a constant, or a value of one, that [`sets`] leaves out.
pub fn ensure_known(name: &str, value: u32) -> Result<()> {
    let Constant { taken, most, .. } = constant(name)?;
    let is_size = *most > taken[taken.len() - 1] || !taken.contains(&0);
    let is_known = taken.contains(&value) || is_size && (1..=*most).contains(&value);
    ensure!(is_known, "`{name}` = {value} is in no set");
    Ok(())
}

/// The combinations of the values of a module's constants that calls ask for; one empty set where
/// it has none.
pub fn sets(module: &Module) -> Result<Vec<Set>> {
    let mut sets = vec![Set::new()];
    for (_, found) in module.overrides.iter() {
        // One without a name is computed from others, such as the length of an array.
        let Some(name) = found.name.clone() else {
            continue;
        };
        let mut longer = Vec::new();
        for &value in constant(&name)?.taken {
            for set in &sets {
                let more = (name.clone(), value);
                longer.push(set.iter().cloned().chain([more]).collect());
            }
        }
        // Early, as sets would be too many.
        longer.retain(has_known_activation);
        sets = longer;
    }
    sets.retain(is_asked_for);
    ensure!(!sets.is_empty(), "no set is asked for");
    Ok(sets)
}

fn value_of(set: &Set, name: &str) -> Option<u32> {
    set.iter().find(|c| c.0 == name).map(|c| c.1)
}

/// Whether a call may ask for the activation of a set, which may still lack constants. Activations
/// have nothing to do with weights, biases and norms: most meet one set of these.
fn has_known_activation(set: &Set) -> bool {
    let is = |name: &str, wanted: u32| value_of(set, name).is_none_or(|v| v == wanted);
    let is_plain = is("WEIGHT_FORMAT", 0) && is("HAS_BIAS", 0) && is("NORM", 0);
    match value_of(set, "ACTIVATION") {
        None => true,
        Some(0) => is("GATED", 0),
        // GELU by tanh alone, SiLU with gates: as in the families that most models are of.
        Some(1) => is("OUTPUT", 0) && (is_plain || is("GATED", 0)),
        Some(2) => is("OUTPUT", 0) && (is_plain || is("GATED", 1)),
        Some(_) => is("OUTPUT", 0) && is_plain,
    }
}

/// Whether a call may ask for a set: an output stage leaves the constants of the other alone, and
/// a tile holds eight query vectors at most. Of flags that change a line each, some are taken
/// together.
fn is_asked_for(set: &Set) -> bool {
    let value = |name: &str| value_of(set, name);
    let is = |name: &str, wanted: u32| value(name).is_none_or(|v| v == wanted);
    let alike = |a: &str, b: &str| value(a).zip(value(b)).is_none_or(|(a, b)| a == b);
    let stage = match value("OUTPUT") {
        Some(0) => is("KV_FORMAT", 0) && is("HAS_ROPE", 0) && alike("HAS_BIAS", "ACCUMULATE"),
        // Linear maps write no blocks of q8_0.
        Some(_) => {
            let by_octets = value("KV_FORMAT") != Some(2);
            is("ACCUMULATE", 0) && alike("HAS_BIAS", "HAS_ROPE") && by_octets
        }
        None => true,
    };
    let items = value("HEADS_PER_TILE").unwrap_or(1) * value("ROWS_PER_TILE").unwrap_or(1);
    // Only a zero token has an attention to write.
    let zeros = value("HAS_ZERO") != Some(0) || is("WRITES_ZEROS", 0);
    // A soft cap has nothing to do with the format of the cache.
    let cap = value("SOFT_CAP") != Some(1) || is("KV_FORMAT", 1);
    // A branch that is only added has no norm, and all others have.
    let place = value("PLACE").is_none_or(|place| (place == 0) == is("NORM", 0));
    // Octets matter to kernels that hold a head, whatever the output stage.
    let octets = value("OUTPUT").is_none() || is("HEAD_OCTETS", 8);
    // A group's outputs and rows meet each way of sharing lanes alike.
    let plain_group = is("OUTPUTS", 2) && is("ROWS", 1);
    let one_size = is("GROUP_LANES", 128) && is("WORKGROUP_SIZE", 128);
    let group = value("ROWS").is_none() || plain_group || one_size;
    // Lanes have registers for four query vectors, and for four keys a step with two of them.
    let keys = value("KEYS_PER_STEP").is_none_or(|keys| items <= 4 && (keys == 2) == (items > 2));
    let size = value("WORKGROUP_SIZE").is_none_or(|n| {
        let lanes = value("GROUP_LANES");
        let in_registers = lanes.or(value("KEYS_PER_STEP"));
        match in_registers {
            Some(_) => n <= 256 && lanes.is_none_or(|lanes| lanes <= n),
            None => n != 128,
        }
    });
    stage && items <= 8 && zeros && cap && place && octets && group && keys && size
}

/// No constant is listed that no kernel has.
pub fn all_used() -> Result<()> {
    let used: BTreeSet<&str> = KERNELS
        .iter()
        .flat_map(|kernel| overrides(kernel).iter().map(String::as_str))
        .collect();
    let listed: BTreeSet<&str> = CONSTANTS.iter().map(|c| c.name).collect();
    ensure!(used == listed, "listed {listed:?}, used {used:?}");
    Ok(())
}
