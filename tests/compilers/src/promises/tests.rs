use super::Promises;
use crate::input::Constants;

const HEAD: &str = "Text.\n\n\
    | kernel | VGPRs | occupancy | code bytes | fetched | narrow loads |\n|---|---|---|---|---|---|\n";

fn parse(rows: &str) -> anyhow::Result<Promises> {
    Promises::parse(&format!("{HEAD}{rows}\nMore text.\n| other | table |\n"))
}

fn constants(text: &str) -> Constants {
    serde_json::from_str(text).unwrap()
}

#[test]
fn values_are_for_all_cards_or_for_each() {
    let promises = parse("| `m A=1` | 60 / 56 / - | - | 1,500 | 2.25 | 0 |\n").unwrap();
    let row = &promises.rows[0];
    assert_eq!(row.name(), "m A=1");
    assert_eq!(row.vgprs, [Some(60.0), Some(56.0), None]);
    assert_eq!(row.occupancy, [None; 3]);
    assert_eq!(row.code_bytes, [Some(1500.0); 3]);
    assert_eq!(row.fetched, [Some(2.25); 3]);
    assert_eq!(row.narrow_loads, [Some(0.0); 3]);
}

#[test]
fn the_most_specific_row_counts() {
    let rows = "| `m` | 1 | - | - | - | - |\n| `m A=1` | 2 | - | - | - | - |\n\
        | `m A=1 B=2` | 3 | - | - | - | - |\n| `m C=0` | 4 | - | - | - | - |\n";
    let promises = parse(rows).unwrap();
    let of = |kernel, text| promises.of(kernel, &constants(text));
    assert_eq!(of("m", "{}").unwrap(), Some(0));
    assert_eq!(of("m", r#"{"A":2}"#).unwrap(), Some(0));
    assert_eq!(of("m", r#"{"A":1}"#).unwrap(), Some(1));
    assert_eq!(of("m", r#"{"A":1,"B":2,"C":0}"#).unwrap(), Some(2));
    assert!(of("m", r#"{"A":1,"C":0}"#).is_err());
    assert_eq!(of("n", "{}").unwrap(), None);
}

#[test]
fn malformed_tables_are_errors() {
    for rows in [
        "| `m` | 1 | - | - | - |\n",
        "| `m` | 1 / 2 | - | - | - | - |\n",
        "| `m` | many | - | - | - | - |\n",
        "| `m A` | 1 | - | - | - | - |\n",
        "| `m` | 1 | - | - | - | - |\n| `m` | 2 | - | - | - | - |\n",
    ] {
        assert!(parse(rows).is_err(), "{rows}");
    }
    assert!(Promises::parse("| kernel | VGPRs |\n|---|---|\n").is_err());
    assert!(Promises::parse("no table").is_err());
}
