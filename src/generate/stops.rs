//! Stop texts, searched for while a text grows: what a token costs depends on its own text alone,
//! not on how long the stop texts are.

/// One text that is searched for, as Knuth, Morris and Pratt do it.
struct Stop {
    text: Vec<u8>,
    /// For each length of a beginning: the longest shorter beginning that it ends in.
    shorter: Vec<usize>,
    /// Bytes of the beginning of `text` that what came so far ends in.
    n_matched: usize,
}

impl Stop {
    fn new(text: &str) -> Self {
        let text = text.as_bytes().to_vec();
        let mut shorter = vec![0; text.len() + 1];
        let mut n = 0;
        for i in 1..text.len() {
            while n > 0 && text[i] != text[n] {
                n = shorter[n];
            }
            if text[i] == text[n] {
                n += 1;
            }
            shorter[i + 1] = n;
        }
        Self {
            text,
            shorter,
            n_matched: 0,
        }
    }

    /// Takes in one more byte. True where the text is complete with it.
    fn push(&mut self, byte: u8) -> bool {
        let mut n = self.n_matched;
        while n > 0 && self.text[n] != byte {
            n = self.shorter[n];
        }
        if self.text[n] == byte {
            n += 1;
        }
        let is_complete = n == self.text.len();
        self.n_matched = if is_complete { self.shorter[n] } else { n };
        is_complete
    }
}

/// All stop texts of a text.
pub(super) struct Stops {
    stops: Vec<Stop>,
    /// Bytes of the text so far.
    n_bytes: usize,
    /// Where the earliest stop text begins that is complete.
    found: Option<usize>,
}

impl Stops {
    /// Empty texts stop nothing.
    pub fn new(texts: &[String]) -> Self {
        let texts = texts.iter().filter(|text| !text.is_empty());
        Self {
            stops: texts.map(|text| Stop::new(text)).collect(),
            n_bytes: 0,
            found: None,
        }
    }

    /// Takes in what the text grows by.
    pub fn push(&mut self, text: &str) {
        for stop in &mut self.stops {
            for (i, &byte) in text.as_bytes().iter().enumerate() {
                if stop.push(byte) {
                    let start = self.n_bytes + i + 1 - stop.text.len();
                    self.found = Some(self.found.map_or(start, |found| found.min(start)));
                }
            }
        }
        self.n_bytes += text.len();
    }

    /// Where the earliest complete stop text begins, in bytes.
    pub fn found(&self) -> Option<usize> {
        self.found
    }

    /// Bytes at the beginning of the text that no stop text can be part of any more.
    pub fn n_certain(&self) -> usize {
        let held = self.stops.iter().map(|stop| stop.n_matched).max();
        self.n_bytes - held.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of these letters, up to a length.
    fn texts(letters: &str, longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..longest {
            let longer = last
                .iter()
                .flat_map(|text| letters.chars().map(move |c| format!("{text}{c}")));
            last = longer.collect();
            all.extend(last.clone());
        }
        all
    }

    #[test]
    fn stop_texts_are_found_as_by_searching_the_whole_text() {
        for stop in texts("aé", 4) {
            for text in texts("aé", 7) {
                let stops = [stop.clone(), "éa".to_string()];
                let mut search = Stops::new(&stops);
                text.chars()
                    .for_each(|c| search.push(c.encode_utf8(&mut [0; 4])));
                let stops = stops.iter().filter(|stop| !stop.is_empty());
                let found = stops
                    .clone()
                    .filter_map(|stop| text.find(stop.as_str()))
                    .min();
                assert_eq!(search.found(), found, "{stop} in {text}");
                let mut tails = text.char_indices().map(|(i, _)| i);
                let held = tails.find(|&i| {
                    let mut stops = stops.clone();
                    stops.any(|stop| stop.as_str() != &text[i..] && stop.starts_with(&text[i..]))
                });
                if found.is_none() {
                    assert_eq!(search.n_certain(), held.unwrap_or(text.len()));
                }
            }
        }
    }
}
