//! `benches/on_gpu`: the page made of the program's reports.

use std::path::Path;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::fixtures::trial;
use crate::program::succeed;
use crate::python::{python, trials as with_python};

pub fn trials() -> Vec<Trial> {
    with_python(
        &[],
        vec![trial(
            "on_gpu::the_report_reads_what_the_program_prints",
            page,
        )],
    )
}

fn page() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
    write("machine.json", &succeed(&["devices", "--json"])?)?;
    let bench = [
        "bench",
        "-o",
        "json",
        "-p",
        "4",
        "-n",
        "2",
        "-r",
        "1",
        "--adapter",
        "cpu",
    ];
    let report = succeed(&[&bench[..], &["--parallel", "1,3"]].concat())?;
    write(
        "reports.tsv",
        &format!("several texts\t{}\n", report.replace('\n', "")),
    )?;
    let steps = "several texts\tdone\t1\t\nmatrix units\tstopped after 9 s\t9\t\n";
    write("steps.tsv", steps)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/on_gpu/report.py");
    let output = python(&[]).arg(script).arg(folder.path()).output()?;
    let (page, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success() && errors.is_empty(), "{errors}");
    for expected in [
        "| builtin |",
        "tg2 x 3",
        "- matrix units: stopped after 9 s",
        "tokens/s: 3: ",
    ] {
        ensure!(page.contains(expected), "no `{expected}` in {page}");
    }
    Ok(())
}
