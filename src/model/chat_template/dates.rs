//! Python's `strftime`, in the locale that Python starts in.

use jiff::civil::DateTime;
use minijinja::Error as Failure;

use super::arguments::failure;

/// The letters that the library writes as C does.
const SAME: &str = "aAbBCdDeFgGHIjklmMnpPRStTuUVwWyY";

/// `now` as `format` says. A time that has no zone writes none, and a directive that C does not
/// know is written as it stands.
pub fn strftime(format: &str, now: DateTime) -> Result<String, Failure> {
    let mut out = String::new();
    let mut rest = format;
    while let Some((before, directive)) = rest.split_once('%') {
        out.push_str(before);
        let flags = |c: char| "-_0^#".contains(c) || c.is_ascii_digit();
        let modified = directive.trim_start_matches(flags);
        let flags = &directive[..directive.len() - modified.len()];
        let letters = modified.trim_start_matches(['E', 'O']);
        let Some(letter) = letters.chars().next() else {
            out.push('%');
            rest = directive;
            break;
        };
        let piece = match letter {
            '%' => "%".to_string(),
            'f' => format!("{:06}", now.subsec_nanosecond() / 1000),
            'z' | 'Z' => String::new(),
            'c' => strftime("%a %b %e %H:%M:%S %Y", now)?,
            'x' => strftime("%m/%d/%y", now)?,
            'X' => strftime("%H:%M:%S", now)?,
            'r' => strftime("%I:%M:%S %p", now)?,
            'h' => strftime("%b", now)?,
            's' => return Err(failure("strftime_now() does not know `%s`")),
            letter if SAME.contains(letter) => {
                let format = format!("%{flags}{letter}");
                jiff::fmt::strtime::format(format, now).map_err(|e| failure(e.to_string()))?
            }
            letter => format!("%{}{letter}", &directive[..directive.len() - letters.len()]),
        };
        out.push_str(&piece);
        rest = &letters[letter.len_utf8()..];
    }
    Ok(out + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_cs() {
        let now = DateTime::constant(2025, 3, 9, 14, 5, 7, 1_000);
        let of = |format| strftime(format, now).unwrap();
        assert_eq!(of("%d %B %Y, %-d.%-m. %I%p"), "09 March 2025, 9.3. 02PM");
        assert_eq!(of("%c|%z%Z|%f|%Q%"), "Sun Mar  9 14:05:07 2025||000001|%Q%");
    }
}
