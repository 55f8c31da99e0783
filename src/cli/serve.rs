//! `serve`: requests of OpenAI's format over HTTP.

mod name;

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;

use super::args::{EngineArgs, LoopedModelArgs, at_least_one, parallel, variables};
use super::drafts::DraftArgs;
use super::generation::{SamplingArgs, max_tokens};
use super::{setup, stderr};
use crate::model::chat_template::Variables;
use crate::serve::{
    AllowedHost, AllowedOrigin, Callers, Limits, Server, Settings, Signals, Statistics, runtime,
};

const EXAMPLES: &str = "\
Examples:
  ztt-wgpu serve
  ztt-wgpu serve ./model --port 8000 --parallel 8 --ctx 2048
  ztt-wgpu serve ./model --host 0.0.0.0 --api-key SECRET

The routes are /v1/chat/completions, /v1/completions, /v1/models, /health and /metrics.";

/// How long requests under way have to end once the server is told to stop.
const GRACE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    model: LoopedModelArgs,

    /// Name of the model in requests [default: the name of its folder, or `org/name`]
    #[arg(long, value_name = "NAME", env = "ZTT_ALIAS",
          value_parser = NonEmptyStringValueParser::new(), help_heading = "Server")]
    alias: Option<String>,

    /// Address to listen on; one that others can reach needs --api-key
    #[arg(long, value_name = "ADDRESS", value_parser = host, default_value = "127.0.0.1",
          help_heading = "Server")]
    host: IpAddr,

    /// Port to listen on; 0 takes one that is free
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8080,
        help_heading = "Server"
    )]
    port: u16,

    /// Answer only requests with `Authorization: Bearer KEY`, but for /health
    #[arg(long, value_name = "KEY", env = "ZTT_API_KEY", hide_env_values = true,
          value_parser = NonEmptyStringValueParser::new(), help_heading = "Server")]
    api_key: Option<String>,

    /// Texts that are generated at a time, each with a cache of --ctx positions
    #[arg(long, value_name = "N", value_parser = parallel, default_value = "4",
          help_heading = "Server")]
    parallel: usize,

    /// Texts that may wait besides; more are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64, help_heading = "Server")]
    queue: usize,

    /// Seconds that a request may take
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..),
          default_value_t = 600, help_heading = "Server")]
    timeout: u64,

    /// Bytes that the body of a request may have
    #[arg(long, value_name = "N", value_parser = at_least_one, default_value = "4194304",
          help_heading = "Server")]
    max_body: usize,

    /// Variables of the chat template, a JSON object such as `{"enable_thinking": false}`;
    /// those of a request come before them
    #[arg(long, value_name = "JSON", value_parser = variables, help_heading = "Server")]
    chat_template_kwargs: Option<Variables>,

    /// Take messages for plain text: special tokens written in them are not recognised
    #[arg(long, help_heading = "Server")]
    plain_content: bool,
    /// Connections at a time; more are refused with status 503
    #[arg(long, value_name = "N", value_parser = at_least_one,
          default_value_t = Limits::default().max_connections, help_heading = "Server")]
    max_connections: usize,

    /// Seconds that a connection may take to bring a whole header, idle time included
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..),
          default_value_t = Limits::default().header_timeout.as_secs(), help_heading = "Server")]
    header_timeout: u64,

    /// Seconds that a client may read nothing of a response
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..),
          default_value_t = Limits::default().write_timeout.as_secs(), help_heading = "Server")]
    write_timeout: u64,

    /// Answer requests to this `Host` too, as a proxy in front passes it on; can be repeated.
    /// `localhost` and loopback addresses are always answered; without this flag, and with
    /// --api-key, so is every other name
    #[arg(long, value_name = "NAME", value_parser = AllowedHost::parse, help_heading = "Server")]
    allow_host: Vec<AllowedHost>,

    /// Let web pages of this origin call, such as `https://example.com`; can be repeated. `*` lets
    /// every web page call; without a key, that is every page that the user opens
    #[arg(long, value_name = "ORIGIN", value_parser = AllowedOrigin::parse,
          help_heading = "Server")]
    allow_origin: Vec<AllowedOrigin>,

    /// Tokens of a text whose request does not say how many [default: the model's, else 256]
    #[arg(short = 'n', long, value_name = "N", value_parser = at_least_one,
          help_heading = "Sampling")]
    max_tokens: Option<usize>,

    #[command(flatten)]
    sampling: SamplingArgs,

    /// Seed of requests that have none [default: random, another each time]
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    seed: Option<u64>,

    #[command(flatten)]
    drafts: DraftArgs,

    #[command(flatten)]
    engine: EngineArgs,
}

pub fn main(args: Args) -> Result<()> {
    if !args.host.is_loopback() && args.api_key.is_none() {
        let message = format!(
            "--host: `{}` can be reached from outside: expected --api-key as well, found none",
            args.host
        );
        return Err(clap::Error::raw(ErrorKind::MissingRequiredArgument, message).into());
    }
    let device = &args.engine.device;
    let model = args.model.open()?.with_quant(device.quant)?;
    let options = setup::text_options(&args.engine, &args.drafts, &model)?;
    let options = options.with_sequences(args.parallel);
    // Before the weights are loaded.
    if let Some(variables) = &args.chat_template_kwargs {
        model.chat_template()?.with_variables(variables)?;
    }
    setup::warn(model.tokenizer()?.warnings());
    let runtime = runtime().context("cannot start a server")?;
    let address = (args.host, args.port);
    let listener = TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {} port {}", args.host, args.port))?;
    let placed = setup::place(device, &model, &options)?;
    let engine = placed.engine(&options)?;
    let (adapter, warnings) = (placed.adapter(), placed.warnings.clone());
    // A device that has failed is to be gone before it is opened again.
    drop(placed);
    let open = || setup::place(device, &model, &options)?.engine(&options);
    let server = Server::new(settings(&args, &model), &model, engine, open)?;
    setup::warn(&warnings);
    stderr::facts(&[("model", args.model.name()), ("adapter", &adapter)]);
    let mut signals = {
        let _inside = runtime.enter();
        Signals::watch().context("cannot watch for signals")?
    };
    stderr::line(format!("listening on http://{}", listener.local_addr()?));
    let served = server.run(runtime, listener, async || signals.next().await);
    let served = served.context("cannot serve")?;
    stderr::line(last_line(&served));
    Ok(())
}

fn settings(args: &Args, model: &crate::model::Model) -> Settings {
    let alias = args.alias.clone();
    Settings {
        name: alias.unwrap_or_else(|| name::of(args.model.name())),
        sampling: args.sampling.over(model),
        seed: args.seed,
        max_tokens: max_tokens(args.max_tokens, model).max(1),
        n_waiting: args.queue,
        max_body: args.max_body,
        timeout: Duration::from_secs(args.timeout),
        grace: GRACE,
        plain_content: args.plain_content,
        variables: args.chat_template_kwargs.clone().unwrap_or_default(),
        api_key: args.api_key.clone(),
        callers: Callers {
            hosts: match args.api_key.is_some() && args.allow_host.is_empty() {
                // Who has the key need not come by a certain name.
                true => None,
                false => Some(args.allow_host.clone()),
            },
            origins: args.allow_origin.clone(),
        },
        limits: Limits {
            max_connections: args.max_connections,
            header_timeout: Duration::from_secs(args.header_timeout),
            write_timeout: Duration::from_secs(args.write_timeout),
        },
    }
}

fn last_line(served: &Statistics) -> String {
    let cut = match served.n_cut {
        0 => String::new(),
        n => format!(", {n} texts cut off"),
    };
    format!(
        "served   {} tokens of prompts, {} generated{cut}",
        served.n_prompt, served.n_generated
    )
}

/// An address, or the name that every machine has for itself.
fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text
            .parse()
            .map_err(|_| "expected an IP address or `localhost`".to_string()),
    }
}
