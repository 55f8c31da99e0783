//! The token that ends a turn of a chat, as the model's template writes it.

use std::collections::BTreeMap;

use super::chat_template::ChatTemplate;
use super::tokenizer::Tokenizer;

/// An answer that no template trims or quotes.
const ANSWER: &str = "Yes.";

/// The special token that a chat template writes after an answer, which ends the model's own
/// answers: configs of some models name another one. `None` where the template writes none.
pub fn turn_end(template: &ChatTemplate, tokenizer: &Tokenizer) -> Option<u32> {
    let message = |role, content| BTreeMap::from([("role", role), ("content", content)]);
    let messages = [message("user", "Is it?"), message("assistant", ANSWER)];
    let text = template.render(&messages, false).ok()?;
    let (_, after) = text.rsplit_once(ANSWER)?;
    let ids = tokenizer.encode_verbatim(after.trim_start()).ok()?;
    ids.first().copied().filter(|&id| tokenizer.is_special(id))
}
