//! The library's normalizers, splitters and decoders, taken one step at a time, with limits on the
//! growth of a text and on the time of patterns.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::pattern::Invert;
use tokenizers::{
    Decoder, DecoderWrapper, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizedString,
    PreTokenizer, PreTokenizerWrapper, Result, SplitDelimiterBehavior,
};

use super::limits::{GROWTH_SLACK, MAX_GROWTH};
use super::pattern::{Found, Matcher, Source};

/// The work of the library's `Replace`, within limits.
struct Replacing {
    matcher: Matcher,
    content: String,
}

impl Replacing {
    /// `replace` is the library's, whose fields are private: they are read from its JSON.
    fn of(replace: &tokenizers::normalizers::Replace) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            pattern: Source,
            content: String,
        }
        let fields: Fields = serde_json::from_value(serde_json::to_value(replace)?)?;
        Ok(Self {
            matcher: Matcher::new(&fields.pattern)?,
            content: fields.content,
        })
    }

    /// The parts of `text`, where their replacements have at most `most` bytes.
    fn find(&self, text: &str, most: usize) -> Result<Found> {
        use tokenizers::pattern::Pattern;
        let parts = (&self.matcher).find_matches(text)?;
        let lengths = parts
            .iter()
            .map(|&((start, end), is_match)| match is_match {
                true => self.content.len(),
                false => end - start,
            });
        check(lengths.fold(0, usize::saturating_add), most)?;
        Ok(Found(parts))
    }
}

/// The bytes that a text of `n_bytes` may grow to.
fn most(n_bytes: usize) -> usize {
    n_bytes
        .saturating_mul(MAX_GROWTH)
        .saturating_add(GROWTH_SLACK)
}

fn check(n_bytes: usize, most: usize) -> Result<()> {
    match n_bytes <= most {
        true => Ok(()),
        false => Err(format!(
            "a text grows to more than {MAX_GROWTH} times its size in the normalizer or the decoder"
        )
        .into()),
    }
}

/// A normalizer.
pub struct Normalizing {
    steps: Vec<Normalization>,
    /// The normalizer as `tokenizer.json` has it.
    pub json: Value,
}

enum Normalization {
    Replace(Replacing),
    Library(NormalizerWrapper),
}

impl<'de> Deserialize<'de> for Normalizing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let normalizer = NormalizerWrapper::deserialize(deserializer)?;
        let json = serde_json::to_value(&normalizer).map_err(D::Error::custom)?;
        let mut steps = Vec::new();
        normalizations(normalizer, &mut steps).map_err(D::Error::custom)?;
        Ok(Self { steps, json })
    }
}

fn normalizations(normalizer: NormalizerWrapper, steps: &mut Vec<Normalization>) -> Result<()> {
    match normalizer {
        NormalizerWrapper::Sequence(all) => {
            for one in all {
                normalizations(one, steps)?;
            }
        }
        NormalizerWrapper::Replace(replace) => {
            steps.push(Normalization::Replace(Replacing::of(&replace)?));
        }
        other => steps.push(Normalization::Library(other)),
    }
    Ok(())
}

impl Normalizer for Normalizing {
    /// # Panics
    /// Where a step fails: the library goes on with half a result where it is told so in another
    /// way. Who calls the library catches panics.
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        let most = most(text.len_original());
        for step in &self.steps {
            let result = match step {
                Normalization::Replace(replacing) => (replacing.find(text.get(), most))
                    .and_then(|found| text.replace(found, &replacing.content)),
                Normalization::Library(step) => step.normalize(text),
            };
            if let Err(error) = result.and_then(|()| check(text.len(), most)) {
                std::panic::panic_any(error.to_string());
            }
        }
        Ok(())
    }
}

/// A splitter. How long it can make a text is limited as it is read.
pub struct Splitting {
    steps: Vec<Step>,
    /// The splitter as `tokenizer.json` has it.
    pub json: Value,
}

enum Step {
    Split {
        matcher: Matcher,
        behavior: SplitDelimiterBehavior,
        invert: bool,
    },
    Library(PreTokenizerWrapper),
}

impl<'de> Deserialize<'de> for Splitting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let splitter = PreTokenizerWrapper::deserialize(deserializer)?;
        let json = serde_json::to_value(&splitter).map_err(D::Error::custom)?;
        let mut steps = Vec::new();
        splits(splitter, &mut steps).map_err(D::Error::custom)?;
        Ok(Self { steps, json })
    }
}

fn splits(splitter: PreTokenizerWrapper, steps: &mut Vec<Step>) -> Result<()> {
    use tokenizers::pre_tokenizers::split::SplitPattern;
    match splitter {
        PreTokenizerWrapper::Sequence(all) => {
            for one in all {
                splits(one, steps)?;
            }
        }
        PreTokenizerWrapper::Split(split) => {
            let source = match split.pattern {
                SplitPattern::String(text) => Source::String(text),
                SplitPattern::Regex(regex) => Source::Regex(regex),
            };
            steps.push(Step::Split {
                matcher: Matcher::new(&source)?,
                behavior: split.behavior,
                invert: split.invert,
            });
        }
        other => steps.push(Step::Library(other)),
    }
    Ok(())
}

impl PreTokenizer for Splitting {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> Result<()> {
        for step in &self.steps {
            match step {
                Step::Split {
                    matcher,
                    behavior,
                    invert: true,
                } => text.split(|_, part| part.split(Invert(matcher), *behavior))?,
                Step::Split {
                    matcher, behavior, ..
                } => text.split(|_, part| part.split(matcher, *behavior))?,
                Step::Library(step) => step.pre_tokenize(text)?,
            }
        }
        Ok(())
    }
}

/// A decoder.
pub struct Decoding {
    /// As the library has it.
    pub whole: DecoderWrapper,
    steps: Vec<Part>,
}

enum Part {
    Replace(Replacing),
    Library(DecoderWrapper),
}

impl<'de> Deserialize<'de> for Decoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let whole = DecoderWrapper::deserialize(deserializer)?;
        let mut steps = Vec::new();
        parts(&whole, &mut steps).map_err(D::Error::custom)?;
        Ok(Self { whole, steps })
    }
}

fn parts(decoder: &DecoderWrapper, steps: &mut Vec<Part>) -> Result<()> {
    match decoder {
        DecoderWrapper::Sequence(all) => {
            for one in all.get_decoders() {
                parts(one, steps)?;
            }
        }
        DecoderWrapper::Replace(replace) => steps.push(Part::Replace(Replacing::of(replace)?)),
        other => steps.push(Part::Library(other.clone())),
    }
    Ok(())
}

impl Decoder for Decoding {
    fn decode_chain(&self, mut tokens: Vec<String>) -> Result<Vec<String>> {
        let length = |tokens: &[String]| tokens.iter().map(String::len).sum::<usize>();
        // Blanks and the like are added to each token.
        let most = most(length(&tokens) + tokens.len());
        for step in &self.steps {
            tokens = match step {
                Part::Replace(replacing) => replaced(replacing, tokens, most)?,
                Part::Library(step) => step.decode_chain(tokens)?,
            };
            check(length(&tokens), most)?;
        }
        Ok(tokens)
    }
}

fn replaced(replacing: &Replacing, tokens: Vec<String>, most: usize) -> Result<Vec<String>> {
    let mut left = most;
    let replaced = tokens.into_iter().map(|token| {
        let Found(parts) = replacing.find(&token, left)?;
        let texts = parts
            .into_iter()
            .map(|((start, end), is_match)| match is_match {
                true => replacing.content.as_str(),
                false => &token[start..end],
            });
        let text: String = texts.collect();
        left -= text.len();
        Ok(text)
    });
    replaced.collect()
}
