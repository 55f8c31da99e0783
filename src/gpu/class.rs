//! Classes of kernels, and which one suits an adapter.

/// How kernels are written. Every class runs on every adapter that has the features it needs;
/// they differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelClass {
    /// For GPUs: everything in buffers, neighbours work together through subgroups where that is
    /// faster than workgroup memory.
    Subgroup,
    /// For GPUs whose subgroups are too small or unknown: everything in buffers, neighbours work
    /// together through workgroup memory alone.
    Workgroup,
    /// For software adapters: weights in storage textures, activations of one row in a uniform
    /// buffer. Mesa's llvmpipe loads from both without a loop over lanes, and from storage buffers
    /// with one, which takes twenty times as long. Lanes load a shared value once, and exchange it
    /// through subgroups.
    Software,
}

/// The classes by the names flags use.
pub const CLASSES: &[(&str, KernelClass)] = &[
    ("subgroup", KernelClass::Subgroup),
    ("workgroup", KernelClass::Workgroup),
    ("software", KernelClass::Software),
];

/// Older names of classes, which flags take as well.
const ALIASES: &[(&str, KernelClass)] = &[("texture", KernelClass::Software)];

impl KernelClass {
    /// The class of that name, or of that older name.
    pub fn named(name: &str) -> Option<Self> {
        let mut names = CLASSES.iter().chain(ALIASES);
        let found = names.find(|(known, _)| *known == name);
        found.map(|(_, class)| *class)
    }

    /// The class for an adapter, a software one or not, whose subgroups have `subgroup_min` lanes
    /// or more; 0 where that is not known.
    pub fn of(is_software: bool, subgroup_min: u32) -> Self {
        match is_software {
            true if Self::Software.runs_on(subgroup_min) => Self::Software,
            _ if Self::Subgroup.runs_on(subgroup_min) => Self::Subgroup,
            _ => Self::Workgroup,
        }
    }

    /// Whether subgroups of `subgroup_min` lanes or more are what the class needs.
    pub fn runs_on(self, subgroup_min: u32) -> bool {
        let least = self.least_lanes();
        least == 1 || subgroup_min >= least
    }

    /// Neighbouring lanes that must share a subgroup.
    fn least_lanes(self) -> u32 {
        match self {
            Self::Subgroup => 8,
            Self::Workgroup => 1,
            Self::Software => 4,
        }
    }

    /// Neighbouring lanes that the class's kernels count on sharing a subgroup: the more an
    /// adapter has, up to eight, the fewer loads.
    pub(super) fn lanes(self, subgroup_min: u32) -> u32 {
        match self {
            Self::Software if subgroup_min >= 8 => 8,
            _ => self.least_lanes(),
        }
    }

    /// The requirement that an adapter lacks when it cannot run the class.
    pub fn need(self) -> String {
        format!("subgroups of {} or more", self.least_lanes())
    }

    /// The class's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subgroup => "subgroup",
            Self::Workgroup => "workgroup",
            Self::Software => "software",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_chosen_that_the_adapter_runs() {
        let of = |is_software, subgroup_min| {
            let class = KernelClass::of(is_software, subgroup_min);
            assert!(class.runs_on(subgroup_min), "{class:?}, {subgroup_min}");
            (class, class.lanes(subgroup_min))
        };
        let (software, gpu) = (true, false);
        assert_eq!(of(software, 8), (KernelClass::Software, 8));
        assert_eq!(of(software, 4), (KernelClass::Software, 4));
        assert_eq!(of(software, 2), (KernelClass::Workgroup, 1));
        assert_eq!(of(software, 0), (KernelClass::Workgroup, 1));
        assert_eq!(of(gpu, 32), (KernelClass::Subgroup, 8));
        assert_eq!(of(gpu, 4), (KernelClass::Workgroup, 1));
        // Some drivers do not say how large their subgroups are.
        assert_eq!(of(gpu, 0), (KernelClass::Workgroup, 1));
    }

    #[test]
    fn a_class_has_its_name_and_older_ones() {
        for &(name, class) in CLASSES {
            assert_eq!(KernelClass::named(name), Some(class));
            assert_eq!(class.name(), name);
        }
        assert_eq!(KernelClass::named("texture"), Some(KernelClass::Software));
        assert_eq!(KernelClass::named("warp"), None);
    }
}
