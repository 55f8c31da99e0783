//! The messages of a conversation, and which of them the model still sees.

use serde::{Deserialize, Serialize};

/// One message, as chat templates and other programs know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    pub content: String,
}

const SYSTEM: &str = "system";
const USER: &str = "user";
const ASSISTANT: &str = "assistant";

impl Message {
    fn new(role: &str, content: String) -> Self {
        Self {
            role: role.to_string(),
            content,
        }
    }
}

/// A system message, if there is one, and turns: the user's messages and the answers.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    system: Option<Message>,
    turns: Vec<Message>,
    /// Messages at the beginning of `turns` that the model does not see any more.
    n_dropped: usize,
}

impl Conversation {
    /// Replaces the system message; `None` goes without.
    pub fn set_system(&mut self, content: Option<String>) {
        self.system = content.map(|text| Message::new(SYSTEM, text));
    }

    /// Forgets all turns; the system message stays.
    pub fn reset(&mut self) {
        self.turns.clear();
        self.n_dropped = 0;
    }

    /// Adds a message of the user.
    pub fn push_user(&mut self, content: String) {
        self.turns.push(Message::new(USER, content));
    }

    /// Adds an answer of the model.
    pub fn push_answer(&mut self, content: String) {
        self.turns.push(Message::new(ASSISTANT, content));
    }

    /// All messages, those dropped included.
    pub fn all(&self) -> Vec<&Message> {
        self.system.iter().chain(&self.turns).collect()
    }

    /// The messages that the model sees.
    pub fn seen(&self) -> Vec<&Message> {
        let turns = &self.turns[self.n_dropped..];
        self.system.iter().chain(turns).collect()
    }

    /// Drops the oldest turn that the model sees: a message of the user and all that follows up to
    /// the next one. False when only the newest is left.
    pub fn drop_oldest_turn(&mut self) -> bool {
        let users = self.turns.iter().enumerate().skip(self.n_dropped + 1);
        let next = users.into_iter().find(|(_, m)| m.role == USER);
        match next {
            Some((i, _)) => {
                self.n_dropped = i;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(messages: &[&Message]) -> String {
        messages.iter().map(|m| m.content.as_str()).collect()
    }

    #[test]
    fn turns_are_dropped_whole_and_the_system_message_stays() {
        let mut c = Conversation::default();
        c.set_system(Some("s".to_string()));
        for (user, answer) in [("1", "a"), ("2", "b")] {
            c.push_user(user.to_string());
            c.push_answer(answer.to_string());
        }
        c.push_user("3".to_string());
        assert_eq!(contents(&c.seen()), "s1a2b3");
        assert!(c.drop_oldest_turn());
        assert_eq!(contents(&c.seen()), "s2b3");
        assert!(c.drop_oldest_turn());
        assert!(!c.drop_oldest_turn());
        assert_eq!(contents(&c.seen()), "s3");
        assert_eq!(contents(&c.all()), "s1a2b3");
        c.reset();
        assert_eq!(contents(&c.seen()), "s");
    }
}
