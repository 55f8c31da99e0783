//! Settings of the hub from the environment, read as `huggingface_hub` reads them.

use std::path::{Path, PathBuf};

use crate::files;

/// The longest file of a token that is read.
const TOKEN_LIMIT: u64 = 1 << 16;

/// Where the hub and its cache are, and who asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    pub cache: PathBuf,
    pub endpoint: String,
    pub token: Option<String>,
    /// The variable that forbids requests, if one does.
    pub offline: Option<&'static str>,
}

impl Settings {
    /// By the variables that `get` knows, below the user's folder `home`.
    pub fn new(get: impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Self {
        let expanded = |text: &str| PathBuf::from(expand_variables(&expand_home(text, home), &get));
        let folder = match (get("HF_HOME"), get("XDG_CACHE_HOME")) {
            (Some(folder), _) => expanded(&folder),
            (None, Some(caches)) => expanded(&caches).join("huggingface"),
            (None, None) => home.unwrap_or(Path::new("")).join(".cache/huggingface"),
        };
        let cache = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE"));
        let not_empty = |name: &str| get(name).filter(|value| !value.is_empty());
        let endpoint = not_empty("HF_ENDPOINT");
        let endpoint = endpoint.as_deref().unwrap_or("https://huggingface.co");
        let is_set = |name: &str| get(name).is_some_and(|value| is_true(&value));
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"];
        let offline = offline.into_iter().find(|name| not_empty(name).is_some());
        let token_file = get("HF_TOKEN_PATH").map(|path| expanded(&path));
        let token_file = token_file.unwrap_or_else(|| folder.join("token"));
        let token = not_empty("HF_TOKEN").or_else(|| not_empty("HUGGING_FACE_HUB_TOKEN"));
        let token = token.as_deref().and_then(clean_token);
        let token = token.or_else(|| clean_token(&files::text(&token_file, TOKEN_LIMIT).ok()?));
        Self {
            cache: cache.map_or_else(|| folder.join("hub"), |cache| expanded(&cache)),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token: token.filter(|_| !is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
            offline: offline.filter(|name| is_set(name)),
        }
    }

    /// By the variables of this process.
    pub fn from_env() -> Self {
        Self::new(|name| std::env::var(name).ok(), dirs::home_dir().as_deref())
    }
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

fn clean_token(text: &str) -> Option<String> {
    let token = text.replace(['\r', '\n'], "").trim().to_string();
    (!token.is_empty()).then_some(token)
}

/// `~` at the start is the user's folder.
fn expand_home(text: &str, home: Option<&Path>) -> String {
    let rest = text.strip_prefix('~');
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
    match (rest, home) {
        (Some(rest), Some(home)) => format!("{}{rest}", home.display()),
        _ => text.to_string(),
    }
}

/// `$NAME` and `${NAME}` are the variable's value; where it has none they stay as they are.
fn expand_variables(text: &str, get: impl Fn(&str) -> Option<String>) -> String {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        expanded += &rest[..at];
        rest = &rest[at..];
        let after = &rest[1..];
        let braced = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let (name, length) = match braced {
            Some((name, _)) => (name, name.len() + 3),
            None => {
                let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                (&after[..end], end + 1)
            }
        };
        match get(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded += &value,
            None => expanded += &rest[..length],
        }
        rest = &rest[length..];
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Settings {
        let get = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        };
        Settings::new(get, Some(Path::new("/home/me")))
    }

    fn cache(variables: &[(&str, &str)]) -> String {
        settings(variables).cache.display().to_string()
    }

    // The expected values are those of `huggingface_hub.constants` with the same variables, `HOME`
    // being /home/me.
    #[test]
    fn the_cache_is_where_the_hubs_own_library_has_it() {
        assert_eq!(cache(&[]), "/home/me/.cache/huggingface/hub");
        assert_eq!(cache(&[("HF_HOME", "~/c1")]), "/home/me/c1/hub");
        assert_eq!(cache(&[("HF_HOME", "~")]), "/home/me/hub");
        assert_eq!(cache(&[("HF_HOME", "~you/c1")]), "~you/c1/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "~/x")]),
            "/home/me/x/huggingface/hub"
        );
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "/h")]),
            "/h/hub"
        );
        let of_scratch = |home| cache(&[("SCRATCH", "/s"), ("HF_HOME", home)]);
        assert_eq!(of_scratch("$SCRATCH/hf"), "/s/hf/hub");
        assert_eq!(of_scratch("${SCRATCH}1/$NONE/$/${X"), "/s1/$NONE/$/${X/hub");
        assert_eq!(
            cache(&[("HF_HUB_CACHE", "~/hub"), ("HF_HOME", "/h")]),
            "/home/me/hub"
        );
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old")]), "/old");
        assert_eq!(
            cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]),
            "/new"
        );
    }

    #[test]
    fn the_token_is_the_variables_or_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().display().to_string();
        std::fs::write(folder.path().join("token"), "of_a_file\n").unwrap();
        let token =
            |more: &[(&str, &str)]| settings(&[&[("HF_HOME", home.as_str())], more].concat()).token;
        assert_eq!(token(&[]).as_deref(), Some("of_a_file"));
        assert_eq!(token(&[("HF_TOKEN", " mine\r\n")]).as_deref(), Some("mine"));
        assert_eq!(token(&[("HF_TOKEN", " ")]).as_deref(), Some("of_a_file"));
        let both = [("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "old")];
        assert_eq!(token(&both).as_deref(), Some("old"));
        assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
        let disabled = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[("HF_TOKEN", "mine"), disabled]), None);
    }

    #[test]
    fn requests_are_forbidden_and_sent_elsewhere() {
        let offline = |variables: &[(&str, &str)]| settings(variables).offline;
        assert_eq!(offline(&[]), None);
        for value in ["1", "on", "Yes", "TRUE"] {
            assert_eq!(
                offline(&[("HF_HUB_OFFLINE", value)]),
                Some("HF_HUB_OFFLINE")
            );
        }
        assert_eq!(
            offline(&[("TRANSFORMERS_OFFLINE", "1")]),
            Some("TRANSFORMERS_OFFLINE")
        );
        assert_eq!(
            offline(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]),
            None
        );
        assert_eq!(offline(&[("HF_HUB_OFFLINE", "2")]), None);
        assert_eq!(
            settings(&[("HF_ENDPOINT", "http://hub/")]).endpoint,
            "http://hub"
        );
        assert_eq!(settings(&[]).endpoint, "https://huggingface.co");
    }
}
