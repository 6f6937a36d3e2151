//! `firstlight login` and `logout`: turns the password into a token, keeps it for the other commands, and forgets it.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use serde_json::json;

use super::api::{Api, forget_token, keep_token};
use super::exit;
use crate::settings::{Settings, Sources};

/// `firstlight login`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct LoginArgs {
    /// What the token may do: read, operate or admin
    #[arg(long, default_value = "admin", value_parser = ["read", "operate", "admin"])]
    scope: String,
    /// Print the token instead of keeping it
    #[arg(long)]
    print: bool,
}

pub(super) fn run(args: &LoginArgs, sources: &Sources) -> ExitCode {
    let settings = match Settings::load(sources) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => return super::report(&mistakes),
    };
    let password = match password() {
        Ok(password) => password,
        Err(error) => return failed(&format!("cannot read the password: {error}")),
    };
    let wish = json!({ "password": password, "scope": args.scope });
    let answer = actix_rt::System::new().block_on(async {
        let api = Api::of(&settings);
        api.post("/admin/api/login", &wish)
            .await
            .map(|answer| (api.base.clone(), answer))
    });
    let (base, answer) = match answer {
        Ok(answer) => answer,
        Err(error) => return failed(&error.to_string()),
    };
    let Some(token) = answer["token"].as_str() else {
        return failed("the server answered no token; is it a Firstlight?");
    };
    if args.print {
        println!("{token}");
        return ExitCode::SUCCESS;
    }
    match keep_token(&base, token) {
        Ok(path) => {
            println!(
                "signed in at {base}; the token is kept in {} for seven days",
                path.display()
            );
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("{error:#}")),
    }
}

/// `firstlight logout`.
pub(super) fn forget(sources: &Sources) -> ExitCode {
    let settings = match Settings::load(sources) {
        Ok(loaded) => loaded.settings,
        Err(mistakes) => return super::report(&mistakes),
    };
    let base = settings.client_url();
    match forget_token(&base) {
        Ok(true) => {
            println!("forgot the token for {base}; firstlight tokens list shows what is still good there");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!("no token is kept for {base}");
            ExitCode::SUCCESS
        }
        Err(error) => failed(&format!("{error:#}")),
    }
}

/// Typed unseen on a terminal, else the first line of standard input.
fn password() -> std::io::Result<String> {
    if std::io::stdin().is_terminal() {
        return rpassword::prompt_password("Password: ");
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn failed(words: &str) -> ExitCode {
    eprintln!("firstlight: {words}");
    ExitCode::from(exit::RUNTIME)
}
