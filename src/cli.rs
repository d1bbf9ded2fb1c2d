//! The command line: what each subcommand means, and what it prints.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use payonce::app::{self, App, Revoke, StartError, SystemClock};
use payonce::config::{Config, Profile, parse_duration};

/// A GraphQL backend-for-frontend for payments: a mutation takes effect at most once, however often it is
/// sent, and what the gateway did is never lost.
///
/// Configuration comes from --config and from the environment, which wins; README.md lists every
/// variable. With none at all it runs on a newcomer's machine.
#[derive(Parser)]
#[command(name = "payonce", version)]
pub struct Cli {
    /// A TOML file; its keys are the variables' names without PAYONCE_, in lower case.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve GraphQL, subscriptions, notifications and the console until SIGTERM or Ctrl-C.
    Serve,
    /// Bring the database to what this version needs. Safe to run from several places at once.
    Migrate,
    /// Print the GraphQL schema (SDL).
    Schema,
    /// Mint a token with the configured HMAC secret; `revoke`: take tokens no longer.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Token {
        #[command(subcommand)]
        command: Option<Tokens>,
        /// Who: the token's subject.
        #[arg(long, required = true)]
        sub: Option<String>,
        /// What they may: customer, support, refunder, approver, admin, service. May be given again.
        #[arg(long = "role", required = true, value_parser = ["customer", "support", "refunder", "approver", "admin", "service"])]
        roles: Vec<String>,
        /// For how long: 15m, 1h, 7d.
        #[arg(long, default_value = "1h", value_parser = duration)]
        ttl: Duration,
    },
    /// Run the gateway simulator alone.
    Sandbox {
        /// Where it listens.
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
        /// Where both sides' keys are made or read, and its orders kept.
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
    },
    /// Work on the catalogue.
    Products {
        #[command(subcommand)]
        command: Products,
    },
    /// Compare a gateway's bill of one day with what is recorded: what the gateway did and is not known here is
    /// asked for and recorded. One line for each difference; exit 1 if any is left.
    Reconcile {
        /// Whose bill: wechat_pay or alipay.
        #[arg(long, value_parser = gateway)]
        gateway: domain::Gateway,
        /// Which day, in Shanghai: 2026-11-19. Its bill is there from ten o'clock of the next day on.
        #[arg(long)]
        date: domain::Date,
    },
    /// Check config, database, clock, Redis and gateway keys; one line each, exit 1 on any failure.
    Doctor {
        /// Ask the database everything that must hold, too. Reads whole tables.
        #[arg(long)]
        deep: bool,
    },
}

#[derive(Subcommand)]
enum Tokens {
    /// Take tokens no longer, whatever they say: every process knows within a few seconds, open connections end.
    Revoke {
        /// All tokens of this subject that were issued until now, or before --before.
        #[arg(long, required_unless_present = "jti", conflicts_with = "jti")]
        sub: Option<String>,
        /// Only those that were issued before this time: 2026-11-20T12:00:00Z.
        #[arg(long, value_name = "TIME", conflicts_with = "jti", value_parser = time)]
        before: Option<domain::Timestamp>,
        /// The one token with this `jti`.
        #[arg(long)]
        jti: Option<String>,
    },
}

#[derive(Subcommand)]
enum Products {
    /// Add products from a CSV file with the header sku,name,price_minor,currency, or change those that
    /// are there: all lines or none.
    Import {
        /// The file.
        file: PathBuf,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).filter(|d| !d.is_zero()).ok_or_else(|| "right is like 15m, 1h, 7d".to_owned())
}

fn time(text: &str) -> Result<domain::Timestamp, String> {
    text.parse().map_err(|_| "right is like 2026-11-20T12:00:00Z".to_owned())
}

fn gateway(name: &str) -> Result<domain::Gateway, String> {
    domain::Gateway::from_name(name).ok_or_else(|| "right is wechat_pay or alipay".to_owned())
}

/// Runs the command; a failure is one line on stderr and exit status 1.
pub async fn run(cli: Cli) -> ExitCode {
    if let Command::Schema = cli.command {
        print!("{}", payonce::graphql::sdl());
        return ExitCode::SUCCESS;
    }
    let config = match Config::load(cli.config.as_deref()) {
        Ok(config) => config,
        Err(e) => return fail(&e),
    };
    let result = match cli.command {
        Command::Schema => Ok(()),
        Command::Serve => serve(&config).await,
        Command::Migrate => app::migrate(&config).await,
        Command::Token { command: Some(Tokens::Revoke { sub, before, jti }), .. } => {
            let what = match (sub, jti) {
                (Some(sub), _) => Revoke::Subject(sub, before),
                (None, jti) => Revoke::Jti(jti.unwrap_or_default()),
            };
            app::revoke_tokens(&config, what).await.map(|done| println!("{done}"))
        }
        Command::Token { command: None, sub, roles, ttl } => {
            app::mint_token(&config, &sub.unwrap_or_default(), &roles, ttl).map(|token| println!("{token}"))
        }
        Command::Sandbox { listen, keys } => sandbox(&config, listen, keys).await,
        Command::Products { command: Products::Import { file } } => {
            app::import_products(&config, &file).await.map(|n| println!("{n} products are in the catalogue"))
        }
        Command::Reconcile { gateway, date } => {
            log(&config);
            match app::reconcile(&config, gateway, date).await {
                Ok(reconciliation) => {
                    println!("{reconciliation}");
                    return if reconciliation.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
                }
                Err(e) => Err(e),
            }
        }
        Command::Doctor { deep } => {
            return if app::doctor(&config, deep).await { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

fn fail(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("payonce: {why}");
    ExitCode::FAILURE
}

async fn serve(config: &Config) -> Result<(), StartError> {
    log(config);
    let app = App::start(config, Arc::new(SystemClock)).await?;
    if config.profile == Profile::Dev {
        println!("{}", app::greeting(&app, config)?);
    }
    tracing::info!(address = %app.address, admin = %app.admin_address, "ready");
    until_told_to_stop().await;
    tracing::info!("stopping");
    app.stop().await;
    Ok(())
}

async fn sandbox(config: &Config, listen: SocketAddr, keys: Option<PathBuf>) -> Result<(), StartError> {
    log(config);
    let sandbox = app::sandbox_alone(listen, keys).await?;
    println!("The gateway simulator is ready at {}. No money moves.", sandbox.url());
    until_told_to_stop().await;
    sandbox.stop().await;
    Ok(())
}

fn log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    if config.log_json { lines.json().init() } else { lines.init() }
}

async fn until_told_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        },
        Err(_) => {
            interrupted.await.ok();
        }
    }
}
