//! The program: arguments, configuration, run, exit code.

use std::{
    error::Error,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use sidewire::{
    cli::{self, Certs, Command, Secret},
    command::{self, Failed, say},
    config::{self, Config, Faults},
    server::{self, Server},
    telemetry::{self, chain},
    tls::self_signed,
};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let done = match command {
        Command::Run { config } => load(&config).and_then(run),
        Command::Check { config } => check(&config),
        Command::Certs(Certs::Dev { host, out }) => make_pair(&host, &out),
        Command::Secret(Secret::New { out }) => command::new_secret(out.as_deref()),
        Command::Token(asked) => command::print_token(&asked),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            // Whoever closed our standard error wants no words.
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(code)
        }
    }
}

fn load(file: &Path) -> Result<Config, Failed> {
    config::load(file).map_err(|faults| (cli::BAD_CONFIG, faults.to_string()))
}

/// Tells the faults of the text and of the files that it names, all at once.
fn check(file: &Path) -> Result<(), Failed> {
    let (config, mut faults) = config::examine(file);
    faults.extend(config.iter().flat_map(server::check));
    if faults.is_empty() {
        say(&format!("{}: no fault", file.display()));
        return Ok(());
    }
    let file = file.into();
    Err((cli::BAD_CONFIG, Faults { file, faults }.to_string()))
}

fn run(config: Config) -> Result<(), Failed> {
    let cannot = |error: &dyn Error| (cli::CANNOT_START, format!("sidewire: {}", chain(error)));
    telemetry::start(&config.log).map_err(|fault| {
        let filter = &config.log.filter;
        (cli::BAD_CONFIG, format!("log.filter = {filter:?}  {fault}"))
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| cannot(&error))?;
    let done = runtime.block_on(async {
        let signals = server::Signals::new().map_err(|error| cannot(&error))?;
        let server = Server::start(&config).map_err(|error| cannot(&error))?;
        for line in server.addresses() {
            say(&format!("sidewire: listening {line}"));
        }
        say("sidewire: ready");
        server.run_until(signals).await;
        Ok(())
    });
    // A disk or a name server that hangs must not hold the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

fn make_pair(host: &str, out: &Path) -> Result<(), Failed> {
    match self_signed::write(host, out) {
        Ok(pair) => {
            say(&format!(
                "{}\n{}",
                pair.certificate.display(),
                pair.key.display()
            ));
            Ok(())
        }
        Err(error) => Err((cli::CANNOT_START, format!("sidewire: {}", chain(&error)))),
    }
}
