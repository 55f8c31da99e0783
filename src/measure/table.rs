//! Tables for people at a terminal: aligned, and columns that are equal in all rows are said once
//! above.

/// A column's title, and whether it is set-up: a column of set-up that is equal in all rows is
/// moved above the table. A column of results never is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heading<'a> {
    pub title: &'a str,
    pub is_setup: bool,
}

/// `rows` as text: a list of what they have in common, then a table without those columns. Figures
/// are aligned to the right, columns of `left` to the left.
pub(super) fn table(headings: &[Heading<'_>], rows: &[Vec<String>], left: &[&str]) -> String {
    let Some(first) = rows.first() else {
        return String::new();
    };
    let is_common = |column: &usize| {
        headings[*column].is_setup && rows.iter().all(|row| row[*column] == first[*column])
    };
    let (common, others): (Vec<usize>, Vec<usize>) = (0..headings.len()).partition(is_common);
    let mut out = String::new();
    let said = common.iter().filter(|&&column| !first[column].is_empty());
    let width = said.clone().map(|&column| length(headings[column].title));
    let width = width.max().unwrap_or(0);
    for &column in said {
        let title = pad(headings[column].title, width, true);
        out += &format!("{title}  {}\n", first[column]);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let widths: Vec<usize> = others
        .iter()
        .map(|&column| {
            let cells = rows.iter().map(|row| length(&row[column]));
            cells.max().unwrap_or(0).max(length(headings[column].title))
        })
        .collect();
    let mut line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&others).zip(&widths);
        let cells = cells.map(|((cell, &column), &width)| {
            pad(cell, width, left.contains(&headings[column].title))
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        out += line.trim_end();
        out.push('\n');
    };
    line(
        others
            .iter()
            .map(|&column| headings[column].title)
            .collect(),
    );
    for row in rows {
        line(others.iter().map(|&column| row[column].as_str()).collect());
    }
    out
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, width: usize, to_the_left: bool) -> String {
    match to_the_left {
        true => format!("{text:<width$}"),
        false => format!("{text:>width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Heading, table};

    #[test]
    fn what_is_equal_in_all_rows_is_said_once() {
        let headings = [
            ("model", true),
            ("kv", true),
            ("test", false),
            ("t/s", false),
        ];
        let headings = headings.map(|(title, is_setup)| Heading { title, is_setup });
        let row = |cells: [&str; 4]| cells.map(str::to_string).to_vec();
        let rows = [
            row(["m", "f16", "pp8", "12.5"]),
            row(["m", "f32", "tg128", "3.1 ± 1"]),
        ];
        let expected =
            "model  m\n\n kv  test       t/s\nf16  pp8       12.5\nf32  tg128  3.1 ± 1\n";
        assert_eq!(table(&headings, &rows, &["model", "test"]), expected);
        // Results stay in the table, though one row has nothing to differ from.
        let expected = "model  m\nkv     f16\n\ntest   t/s\npp8   12.5\n";
        assert_eq!(table(&headings, &rows[..1], &["model", "test"]), expected);
        assert_eq!(table(&headings, &[], &[]), "");
    }
}
