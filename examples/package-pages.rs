//! Writes the manual pages and the shell completions of the program into a directory:
//! `cargo run --example package-pages -- DIR`. `script/package` puts them into the package.
//!
//! An example, so that the program itself needs no crate for this.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;
use daybook::Cli;

fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args_os()
        .nth(1)
        .ok_or("usage: package-pages DIR")?
        .into();
    let mut program = Cli::command();
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let folder = directory.join(shell.to_string());
        fs::create_dir_all(&folder)?;
        clap_complete::generate_to(shell, &mut program, "daybook", &folder)?;
    }
    let pages = directory.join("man1");
    fs::create_dir_all(&pages)?;
    program.build();
    write_page(&program, &pages)?;
    let commands = program.get_subcommands();
    for command in commands.filter(|command| command.get_name() != "help") {
        write_page(command, &pages)?;
    }
    Ok(())
}

/// A page for a command; the settings, which all commands have, only on the program's own page.
fn write_page(command: &clap::Command, pages: &Path) -> Result<(), Box<dyn Error>> {
    let is_program = command.get_name() == "daybook";
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let page = command.clone().mut_args(|argument| {
        let is_setting = argument.get_help_heading() == Some("Settings");
        let is_hidden = argument.is_hide_set() || (is_setting && !is_program);
        argument.hide(is_hidden)
    });
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    fs::write(pages.join(format!("{name}.1")), text)?;
    Ok(())
}
