//! All tests that need the whole engine, in one binary: one module a concern.
//!
//! The harness is libtest-mimic, because a test that needs an adapter must be reported as
//! ignored, with the reason, where there is none.

mod adapter;
mod ahead;
mod arrows;
mod blocks;
mod chat;
mod cli;
mod command_line;
mod compare;
mod control_characters;
mod convert;
#[path = "../docs/mod.rs"]
mod docs;
mod drafts;
mod errors;
mod evaluate;
mod families;
mod faults;
mod fit;
mod fixtures;
mod generated;
mod golden;
mod growth;
mod hostile_tokenizers;
mod hub;
mod kernels;
mod kv_types;
mod loading;
mod looped;
mod measuring;
mod memory;
mod models;
mod mutations;
#[cfg(unix)]
mod odd_files;
mod on_gpu;
#[cfg(unix)]
mod outputs;
mod portability;
mod program;
mod property;
mod python;
mod quant;
mod random;
#[cfg(unix)]
mod resources;
mod serve;
mod shaders;
#[cfg(unix)]
mod streams;
mod thorough;
mod tokenizers;
mod trace;
mod training;
mod walks;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    thorough::tell();
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(ahead::trials());
    trials.extend(arrows::trials());
    trials.extend(blocks::trials());
    trials.extend(compare::trials());
    trials.extend(control_characters::trials());
    trials.extend(chat::trials());
    trials.extend(cli::trials());
    trials.extend(command_line::trials());
    trials.extend(convert::trials());
    trials.extend(docs::trials());
    trials.extend(drafts::trials());
    trials.extend(errors::trials());
    trials.extend(evaluate::trials());
    trials.extend(families::trials());
    trials.extend(faults::trials());
    trials.extend(fit::trials());
    trials.extend(golden::reference_trials());
    trials.extend(adapter::on_each(golden::trials));
    trials.extend(growth::trials());
    trials.extend(hostile_tokenizers::trials());
    trials.extend(hub::trials());
    trials.extend(adapter::on_each(kernels::trials));
    trials.extend(adapter::on_each(kv_types::trials));
    trials.extend(loading::trials());
    trials.extend(looped::trials());
    trials.extend(measuring::trials());
    trials.extend(memory::trials());
    trials.extend(models::trials());
    trials.extend(mutations::trials());
    trials.extend(on_gpu::trials());
    #[cfg(unix)]
    {
        trials.extend(odd_files::trials());
        trials.extend(outputs::trials());
    }
    trials.extend(portability::trials());
    trials.extend(property::trials());
    trials.extend(quant::trials());
    #[cfg(unix)]
    trials.extend(resources::trials());
    trials.extend(serve::trials());
    trials.extend(shaders::trials());
    #[cfg(unix)]
    trials.extend(streams::trials());
    trials.extend(tokenizers::trials());
    trials.extend(trace::trials());
    trials.extend(training::trials());
    trials.extend(walks::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
