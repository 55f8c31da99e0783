//! Tokenizer files that ask for terabytes, for ever or for a deep stack, through the real binary:
//! one line that names the file, in limited memory.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use ztt_wgpu::model::Text;
use ztt_wgpu::model::tokenizer::{TextStream, Tokenizer};

use crate::fixtures::trial;
use crate::program::{Checkpoint, Run, limited, output};
use crate::random::Random;
use crate::serve::server::{COMPLETIONS, Server, parts};

/// Address space that the program may take, in KiB: the models have 0.2 MB.
const ADDRESSES_KB: usize = 1_048_576;

/// A text that all of the small tokenizers have tokens for.
const TEXT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab";

/// Files that are changed by chance, where the variable does not say.
const MUTATIONS: usize = 3000;

const VARIABLE: &str = "ZTT_TOKENIZER_MUTATIONS";

/// A change of one field of a tokenizer, and words of the line that refuses it.
type Case = (&'static str, fn() -> Value, &'static [&'static str]);

pub fn trials() -> Vec<Trial> {
    let group = |name: &str, cases: fn() -> Vec<Case>, model: fn() -> Value| {
        let name = format!("hostile_tokenizers::{name}");
        trial(name, move || {
            cases().iter().try_for_each(|case| refused(case, model()))
        })
    };
    vec![
        group("components", components, bpe),
        group("patterns", patterns, bpe),
        group("tables_of_characters", tables, bpe),
        group("ids_and_tokens", ids, bpe),
        group("unigrams", unigrams, unigram),
        group("word_pieces", word_pieces, word_piece),
        trial("hostile_tokenizers::nested_too_deep", nested),
        trial("hostile_tokenizers::sizes_for_training_are_not_used", sizes),
        trial("hostile_tokenizers::files_beside", beside),
        trial("hostile_tokenizers::what_is_decoded", decoded),
        trial("hostile_tokenizers::a_server_goes_on", server),
        trial("hostile_tokenizers::small_tokenizers_work", work),
        trial("hostile_tokenizers::mutations", mutations),
    ]
}

fn with_model(model: Value) -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
           "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
           "model": model})
}

fn bpe() -> Value {
    with_model(
        json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "aa": 3, "<unk>": 4},
                      "merges": ["a b", "a a"], "unk_token": "<unk>"}),
    )
}

fn unigram() -> Value {
    with_model(json!({"type": "Unigram", "unk_id": 0,
                      "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -2.5]]}))
}

fn word_piece() -> Value {
    with_model(
        json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100,
                      "vocab": {"a": 0, "##a": 1, "##b": 2, "<unk>": 3}}),
    )
}

/// Sets the field at a pointer, in objects that are there.
fn set(mut tokenizer: Value, pointer: &str, value: Value) -> Result<Value> {
    let (object, field) = pointer.rsplit_once('/').context("a pointer")?;
    let object = tokenizer.pointer_mut(object).context("no such object")?;
    object[field] = value;
    Ok(tokenizer)
}

fn checkpoint(tokenizer: &str) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::copy_of("llama-plain")?;
    std::fs::write(checkpoint.file("tokenizer.json"), tokenizer)?;
    Ok(checkpoint)
}

fn generate(checkpoint: &Checkpoint, text: &str) -> Result<Run> {
    let name = checkpoint.name();
    let arguments = ["run", &name, text, "--adapter", "cpu", "-n", "8"];
    output(limited(&arguments, ADDRESSES_KB))
}

/// Runs the program, which must refuse in one line that has all of `words`.
fn fails(checkpoint: &Checkpoint, words: &[&str]) -> Result<()> {
    let run = generate(checkpoint, TEXT)?;
    let said = format!("{words:?}: status {}: {}", run.status, run.stderr);
    ensure!(run.status == 1, "{said}");
    ensure!(run.stderr.trim_end().lines().count() == 1, "{said}");
    ensure!(
        !run.stderr.contains("panicked") && run.stderr.len() < 1000,
        "{said}"
    );
    for word in words {
        ensure!(run.stderr.contains(word), "no `{word}`: {said}");
    }
    Ok(())
}

fn refused((pointer, value, words): &Case, tokenizer: Value) -> Result<()> {
    let tokenizer = set(tokenizer, pointer, value())?;
    fails(&checkpoint(&tokenizer.to_string())?, words).with_context(|| pointer.to_string())
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn sequence(field: &str, component: Value, n: usize) -> Value {
    json!({"type": "Sequence", field: vec![component; n]})
}

const GROWS: &[&str] = &["grows to more than 16 times its size"];

fn components() -> Vec<Case> {
    vec![
        (
            "/normalizer",
            || sequence("normalizers", replace(json!({"String": "a"}), "aa"), 60),
            GROWS,
        ),
        (
            "/normalizer",
            || sequence("normalizers", replace(json!({"Regex": "."}), "aa"), 60),
            GROWS,
        ),
        (
            "/normalizer",
            || sequence("normalizers", replace(json!({"String": ""}), "a"), 60),
            GROWS,
        ),
        (
            "/normalizer",
            || sequence("normalizers", replace(json!({"String": "a"}), "a"), 9999),
            &[
                "tokenizer.json",
                "`normalizer`",
                "at most 256 components",
                "9999",
            ],
        ),
        (
            "/normalizer",
            || replace(json!({"String": "a"}), &"a".repeat(9999)),
            &[
                "tokenizer.json",
                "`normalizer.content`",
                "at most 4096 bytes",
                "9999",
            ],
        ),
        (
            "/normalizer",
            || json!({"type": "Prepend", "prepend": "a".repeat(5_000_000)}),
            &[
                "tokenizer.json",
                "`normalizer.prepend`",
                "at most 256 bytes",
                "5000000",
            ],
        ),
        (
            "/pre_tokenizer",
            || {
                sequence(
                    "pretokenizers",
                    json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false}),
                    60,
                )
            },
            &["tokenizer.json", "`pre_tokenizer`", "at most 4", "60"],
        ),
        (
            "/pre_tokenizer",
            || json!({"type": "FixedLength", "length": 0}),
            &[
                "tokenizer.json",
                "`pre_tokenizer.length`",
                "at least 1",
                "found 0",
            ],
        ),
        (
            "/pre_tokenizer",
            || json!({"type": "Metaspace", "replacement": "ab", "prepend_scheme": "always"}),
            &["tokenizer.json", "expected a tokenizer"],
        ),
        (
            "/post_processor",
            || template(1000, 100_000, 1),
            &[
                "tokenizer.json",
                "`post_processor`",
                "at most 1024 tokens added",
                "100000000",
            ],
        ),
        (
            "/post_processor",
            || template(1, 1, 100_000),
            &[
                "tokenizer.json",
                "`post_processor`",
                "at most 8 times the text",
                "100000",
            ],
        ),
        (
            "/post_processor",
            || {
                let mut template = template(1, 1, 1);
                template["special_tokens"] = json!({});
                template
            },
            &[
                "tokenizer.json",
                "`post_processor.special_tokens`",
                "`s` alone",
            ],
        ),
        (
            "/post_processor",
            || {
                let mut template = template(1, 1, 1);
                template["single"] = template["pair"].clone();
                template
            },
            &["tokenizer.json", "`post_processor.single`", "found `B`"],
        ),
        (
            "/decoder",
            || json!({"type": "Nope"}),
            &["tokenizer.json", "expected a tokenizer"],
        ),
        (
            "/decoder",
            || json!({"type": "BPEDecoder", "suffix": "x".repeat(9999)}),
            &[
                "tokenizer.json",
                "`decoder.suffix`",
                "at most 256 bytes",
                "9999",
            ],
        ),
    ]
}

/// `n_pieces` special tokens of `n_ids` ids each, and `n_texts` times the text.
fn template(n_pieces: usize, n_ids: usize, n_texts: usize) -> Value {
    let special = json!({"SpecialToken": {"id": "s", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let other = json!({"Sequence": {"id": "B", "type_id": 0}});
    let single = [vec![special; n_pieces], vec![text.clone(); n_texts]].concat();
    let tokens = json!({"s": {"id": "s", "ids": vec![1; n_ids], "tokens": vec!["a"; n_ids]}});
    json!({"type": "TemplateProcessing", "single": single, "pair": [text, other],
           "special_tokens": tokens})
}

fn split(regex: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn patterns() -> Vec<Case> {
    const STEPS: &[&str] = &["a pattern takes too many steps"];
    const FILE: &[&str] = &["tokenizer.json", "expected a tokenizer"];
    const FIELD: &[&str] = &["tokenizer.json", "`pre_tokenizer.pattern`", "at most"];
    vec![
        ("/pre_tokenizer", || split("(?=a)(a|aa)+(?!b)c"), STEPS),
        (
            "/normalizer",
            || replace(json!({"Regex": "(?=a)(a|aa)+(?!b)c"}), "a"),
            STEPS,
        ),
        ("/pre_tokenizer", || split("("), FILE),
        ("/pre_tokenizer", || split("((a{100}){100}){100}"), FILE),
        (
            "/pre_tokenizer",
            || split("(?:(?:(?=a)){99999}){99999}"),
            FIELD,
        ),
        ("/pre_tokenizer", || split("(?:(?=a)){4294967295}"), FIELD),
        (
            "/pre_tokenizer",
            || split(&["(".repeat(9000), ")".repeat(9000)].concat()),
            FIELD,
        ),
        (
            "/pre_tokenizer",
            || split(&["(".repeat(4000), ")".repeat(4000)].concat()),
            FILE,
        ),
    ]
}

fn table(text: &str) -> Value {
    json!({"type": "Precompiled", "precompiled_charsmap": text})
}

fn tables() -> Vec<Case> {
    const FIELD: &[&str] = &["tokenizer.json", "`normalizer.precompiled_charsmap`"];
    vec![
        ("/normalizer", || table("!!!"), FIELD),
        ("/normalizer", || table(""), FIELD),
        ("/normalizer", || table("AQ=="), FIELD),
        // A tree of 4 GiB, one of nothing, and one that leads out of itself.
        ("/normalizer", || table("/////2FhYWFhYWFhYWE="), FIELD),
        ("/normalizer", || table("AAAAAGFiYw=="), FIELD),
        (
            "/normalizer",
            || table("BAAAAP////9hYmM="),
            &["tokenizer", "index out of bounds"],
        ),
        (
            "/normalizer",
            || table(&format!("BAAAAAAA{}", "AAAA".repeat(4))),
            &["tokenizer"],
        ),
        (
            "/normalizer",
            || table(&format!("BAAAAAAAAABh{}", "YWFh".repeat(99))),
            FIELD,
        ),
        (
            "/normalizer",
            || json!({"type": "Precompiled", "precompiled_charsmap": 7}),
            FIELD,
        ),
    ]
}

fn added(id: u64, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": false, "special": true})
}

fn ids() -> Vec<Case> {
    const VOCAB: &str = "`model.vocab`";
    vec![
        (
            "/model/vocab",
            || json!({"a": 0, "b": 4_294_967_295_u64}),
            &["tokenizer.json", VOCAB, "at most 2147483647"],
        ),
        (
            "/model/vocab",
            || json!({"a": 0, "b": 4_294_967_296_u64}),
            &["tokenizer.json", VOCAB, "4294967296"],
        ),
        (
            "/model/vocab",
            || json!({"a": 0, "b": -1}),
            &["tokenizer.json", "-1"],
        ),
        (
            "/model/vocab",
            || json!({"a": 1, "b": 1}),
            &["tokenizer.json", VOCAB, "an id of its own", "`a` and `b`"],
        ),
        (
            "/model/vocab",
            || json!({"a": 0, "b": 2_000_000_000}),
            &["tokenizer.json"],
        ),
        (
            "/model/vocab",
            || json!({"a": 0, &"x".repeat(99_999): 1}),
            &["tokenizer.json", VOCAB, "at most 4096 bytes"],
        ),
        (
            "/model/vocab",
            || json!({}),
            &["tokenizer.json", "out of vocabulary"],
        ),
        ("/model/vocab", || json!(7), &["tokenizer.json"]),
        (
            "/model/merges",
            || json!(["q w"]),
            &["tokenizer.json", "`q` out of vocabulary"],
        ),
        ("/model/merges", || json!(["q"]), &["tokenizer.json"]),
        ("/model/merges", || json!([["a"]]), &["tokenizer.json"]),
        (
            "/model/continuing_subword_prefix",
            || json!("##########"),
            &["tokenizer.json"],
        ),
        (
            "/model/end_of_word_suffix",
            || json!("x".repeat(999)),
            &["`model.end_of_word_suffix`", "at most 256 bytes"],
        ),
        (
            "/model/dropout",
            || json!(7.5),
            &["tokenizer.json", "ropout"],
        ),
        ("/model/type", || json!("Nope"), &["tokenizer.json"]),
        ("/model", || json!([]), &["tokenizer.json"]),
        (
            "/added_tokens",
            || json!([added(4_294_967_295, "z")]),
            &["tokenizer.json", "`added_tokens`", "at most 2147483647"],
        ),
        (
            "/added_tokens",
            || json!([added(9, &"x".repeat(3_000_000))]),
            &["tokenizer.json", "`added_tokens`", "at most 4096 bytes"],
        ),
    ]
}

fn unigrams() -> Vec<Case> {
    vec![
        (
            "/model/unk_id",
            || json!(1_000_000_000),
            &["tokenizer.json", "`model.unk_id`", "4 tokens", "1000000000"],
        ),
        (
            "/model/unk_id",
            || json!(-1),
            &["tokenizer.json", "`model.unk_id`"],
        ),
        (
            "/model/vocab",
            || json!([]),
            &["tokenizer.json", "`model.unk_id`"],
        ),
        (
            "/model/vocab",
            || json!([["<unk>", 0], [&"x".repeat(3_000_000), -1]]),
            &["tokenizer.json", "`model.vocab`", "at most 1024 bytes"],
        ),
        (
            "/model/vocab",
            || json!([["<unk>", null]]),
            &["tokenizer.json"],
        ),
        ("/model/vocab", || json!([["<unk>"]]), &["tokenizer.json"]),
    ]
}

fn word_pieces() -> Vec<Case> {
    vec![
        (
            "/model/max_input_chars_per_word",
            || json!(1_000_000_000_000_u64),
            &["`model.max_input_chars_per_word`", "at most 1000"],
        ),
        (
            "/model/max_input_chars_per_word",
            || json!(-1),
            &["tokenizer.json"],
        ),
        (
            "/model/continuing_subword_prefix",
            || json!("#".repeat(1_000_000)),
            &["`model.continuing_subword_prefix`", "at most 256 bytes"],
        ),
        ("/model/vocab", || json!({}), &["tokenizer"]),
    ]
}

fn nested() -> Result<()> {
    for (field, list, inner) in [
        ("normalizer", "normalizers", "NFC"),
        ("pre_tokenizer", "pretokenizers", "Whitespace"),
        ("decoder", "decoders", "Fuse"),
        ("post_processor", "processors", "Nope"),
    ] {
        for (n, words) in [
            (100_000, &["tokenizer.json", "recursion limit"][..]),
            (
                50,
                &["tokenizer.json", field, "at most 8 levels of sequences"],
            ),
        ] {
            let start = format!(r#"{{"type":"Sequence","{list}":["#).repeat(n);
            let component = format!(r#"{start}{{"type":"{inner}"}}{}"#, "]}".repeat(n));
            let tokenizer = bpe().to_string();
            let from = format!(r#""{field}":null"#);
            ensure!(tokenizer.contains(&from), "{tokenizer}");
            let tokenizer = tokenizer.replace(&from, &format!(r#""{field}":{component}"#));
            fails(&checkpoint(&tokenizer)?, words).with_context(|| format!("{field} {n}"))?;
        }
    }
    fails(&checkpoint(&"[".repeat(1_000_000))?, &["tokenizer.json"])?;
    fails(&checkpoint("")?, &["tokenizer.json"])
}

fn succeeds(tokenizer: &Value, text: &str) -> Result<Run> {
    let run = generate(&checkpoint(&tokenizer.to_string())?, text)?;
    ensure!(run.status == 0, "{}: {tokenizer}", run.stderr);
    Ok(run)
}

/// Padding and truncation are for training, be they as large as they like.
fn sizes() -> Result<()> {
    for size in [1_000_000_000_000_u64, u64::MAX] {
        let padding = json!({"strategy": {"Fixed": size}, "direction": "Right", "pad_id": 0,
                             "pad_to_multiple_of": size, "pad_type_id": 0, "pad_token": "a"});
        succeeds(&set(bpe(), "/padding", padding)?, TEXT)?;
        let truncation = json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst",
                                "stride": size});
        succeeds(&set(bpe(), "/truncation", truncation)?, TEXT)?;
    }
    succeeds(&set(bpe(), "/model/cache_capacity", json!(u64::MAX))?, TEXT)?;
    Ok(())
}

fn work() -> Result<()> {
    for tokenizer in [bpe(), unigram(), word_piece()] {
        succeeds(&tokenizer, TEXT)?;
    }
    // Odd and harmless settings.
    let odd = [
        ("/model/byte_fallback", json!(true)),
        ("/model/dropout", json!(1.0)),
        ("/added_tokens", json!([added(5, "")])),
        ("/pre_tokenizer", split("")),
        (
            "/pre_tokenizer",
            json!({"type": "Metaspace", "replacement": " ", "prepend_scheme": "always"}),
        ),
        (
            "/decoder",
            json!({"type": "Strip", "content": "z", "start": u64::MAX, "stop": 0}),
        ),
        ("/decoder", replace(json!({"String": ""}), "b")),
    ];
    for (pointer, value) in odd {
        succeeds(&set(bpe(), pointer, value)?, TEXT)?;
    }
    Ok(())
}

fn beside() -> Result<()> {
    let many =
        |name: &str| -> Vec<String> { (0..100_000).map(|i| format!("<{name}{i}>")).collect() };
    let refused: [(&str, String, &[&str]); 6] = [
        (
            "tokenizer_config.json",
            json!({"bos_token": "x".repeat(5_000_000)}).to_string(),
            &["tokenizer_config.json", "`bos_token`", "at most 4096 bytes"],
        ),
        (
            "tokenizer_config.json",
            json!({"added_tokens_decoder": {"4294967296": {"content": "z"}}}).to_string(),
            &[
                "tokenizer_config.json",
                "`added_tokens_decoder`",
                "token ids",
            ],
        ),
        (
            "tokenizer_config.json",
            "7".to_string(),
            &["tokenizer_config.json", "a JSON object"],
        ),
        (
            "special_tokens_map.json",
            r#"{"a":"#.repeat(100_000),
            &["special_tokens_map.json", "recursion limit"],
        ),
        (
            "special_tokens_map.json",
            json!({"eos_token": 7}).to_string(),
            &["special_tokens_map.json", "`eos_token`"],
        ),
        (
            "added_tokens.json",
            json!({"z": 4_294_967_296_u64}).to_string(),
            &["added_tokens.json", "a token id"],
        ),
    ];
    for (name, content, words) in refused {
        let checkpoint = checkpoint(&bpe().to_string())?;
        std::fs::write(checkpoint.file(name), content)?;
        fails(&checkpoint, words).with_context(|| name.to_string())?;
    }
    // Long lists are read in time.
    let tokens = many("d").into_iter().enumerate();
    let decoder: serde_json::Map<String, Value> = tokens
        .map(|(i, content)| {
            (
                (i + 5).to_string(),
                json!({"content": content, "special": true}),
            )
        })
        .collect();
    let roles: serde_json::Map<String, Value> = (many("r").into_iter().enumerate())
        .map(|(i, c)| (format!("r{i}_token"), json!(c)))
        .collect();
    let legacy: serde_json::Map<String, Value> = (many("l").into_iter().enumerate())
        .map(|(i, c)| (c, json!(i + 5)))
        .collect();
    for files in [
        vec![(
            "tokenizer_config.json",
            json!({"added_tokens_decoder": decoder}),
        )],
        vec![("tokenizer_config.json", Value::Object(roles))],
        vec![
            (
                "special_tokens_map.json",
                json!({"extra_special_tokens": many("m")}),
            ),
            ("added_tokens.json", Value::Object(legacy)),
        ],
    ] {
        let checkpoint = checkpoint(&bpe().to_string())?;
        for (name, content) in &files {
            std::fs::write(checkpoint.file(name), content.to_string())?;
        }
        let run = generate(&checkpoint, TEXT)?;
        ensure!(run.status == 0, "{}: {}", files[0].0, run.stderr);
    }
    Ok(())
}

/// Decoders that grow a text end the run in one line; the prompt was fine.
fn decoded() -> Result<()> {
    let ctc = json!({"type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true});
    for decoder in [
        sequence("decoders", ctc, 60),
        sequence("decoders", replace(json!({"String": ""}), "ab"), 60),
        sequence(
            "decoders",
            replace(json!({"Regex": "."}), &"a".repeat(4000)),
            3,
        ),
    ] {
        let shown: String = decoder.to_string().chars().take(80).collect();
        let tokenizer = set(bpe(), "/decoder", decoder)?;
        let run = generate(&checkpoint(&tokenizer.to_string())?, TEXT)?;
        let errors = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("ztt-wgpu: "));
        ensure!(
            run.status == 1 && errors.count() == 1,
            "{shown}: {}",
            run.stderr
        );
        ensure!(run.stderr.contains(GROWS[0]), "{}", run.stderr);
        ensure!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
    Ok(())
}

/// A text that the tokenizer fails over is an error of its request alone.
fn server() -> Result<()> {
    let tokenizer = set(bpe(), "/pre_tokenizer", split("(?=a)(a|aa)+(?!b)c"))?;
    let checkpoint = checkpoint(&tokenizer.to_string())?;
    let server = Server::start(&checkpoint.name(), &[])?;
    let body = json!({"prompt": TEXT, "max_tokens": 1});
    let (status, response) = parts(server.post(COMPLETIONS, &body)?)?;
    ensure!(status >= 400, "{status}: {response}");
    let message = response["error"]["message"].as_str().context("message")?;
    ensure!(message.contains("too many steps"), "{response}");
    let response = server.ok(COMPLETIONS, &json!({"prompt": "b", "max_tokens": 1}))?;
    ensure!(response["usage"]["prompt_tokens"] == 1, "{response}");
    Ok(())
}

/// Tokenizers that are changed by chance, in this process: each is refused, or encodes and decodes.
fn mutations() -> Result<()> {
    let mut seeds = vec![bpe(), unigram(), word_piece()];
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/tokenizer"))? {
        seeds.push(serde_json::from_slice(&std::fs::read(file?.path())?)?);
    }
    let mut n_read = 0;
    let asked = std::env::var(VARIABLE).ok().and_then(|n| n.parse().ok());
    let n = asked.unwrap_or(MUTATIONS);
    for seed in 0..n {
        let mut random = Random::new(seed as u64);
        let seed = seeds[random.below(seeds.len())].clone();
        let Some(tokenizer) = read(&mutated(seed, &mut random)) else {
            continue;
        };
        n_read += 1;
        let ids = tokenizer.encode(TEXT).unwrap_or_default();
        let _ = tokenizer.encode(" é 語<s> ab1'b,\n");
        let _ = tokenizer.decode(&ids, true);
        let mut stream = TextStream::new(&tokenizer);
        for id in ids.into_iter().chain(0..8) {
            let _ = stream.push(id);
        }
        let _ = stream.finish();
    }
    // The control: some are read, and some refused.
    ensure!((n / 50..n).contains(&n_read), "{n_read} were read");
    Ok(())
}

/// A tokenizer of one file, or of files by their names.
fn read(value: &Value) -> Option<Tokenizer> {
    let names = [
        "tokenizer.json",
        "config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ];
    if value.get(names[0]).is_none() {
        return Tokenizer::parse("m", names[0], &value.to_string()).ok();
    }
    let texts = names.iter().filter_map(|&name| {
        Some(Text {
            name,
            file: name.to_string(),
            text: value.get(name)?.to_string(),
        })
    });
    let texts: Vec<Text> = texts.collect();
    Tokenizer::of_checkpoint("m", &texts).ok()?
}

/// Puts other values in the places of some.
fn mutated(mut value: Value, random: &mut Random) -> Value {
    let odd = [
        json!(null),
        json!(0),
        json!(-1),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(1e308),
        json!(true),
        json!(false),
        json!(""),
        json!("a"),
        json!("ab"),
        json!(1),
        json!(3),
        json!([]),
        json!({}),
        json!(["a", 1]),
        json!("(?=a)(a|aa)+c"),
        json!("ByteLevel"),
        json!({"type": "ByteFallback"}),
        json!({"type": "Lowercase"}),
    ];
    for _ in 0..=random.below(3) {
        let n_places = count(&value);
        let taken = nth(&mut value, &mut random.below(n_places)).cloned();
        let new = match random.below(3) {
            0 => taken.unwrap_or_default(),
            _ => odd[random.below(odd.len())].clone(),
        };
        match (
            random.below(4),
            nth(&mut value, &mut random.below(n_places)),
        ) {
            (0, Some(Value::Array(all))) => all.push(new),
            (_, Some(place)) => *place = new,
            _ => {}
        }
    }
    value
}

/// How many values there are in `value`, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(all) => all.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The `n`-th of them.
fn nth<'v>(value: &'v mut Value, n: &mut usize) -> Option<&'v mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(all) => all.iter_mut().find_map(|value| nth(value, n)),
        Value::Object(fields) => fields.values_mut().find_map(|value| nth(value, n)),
        _ => None,
    }
}
