//! Exit status and the last line on stderr; everything else is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    ztt_wgpu::cli::main()
}
