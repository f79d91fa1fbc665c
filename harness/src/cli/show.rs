//! Results on standard output. A reader that went away (`| head`) ends the command, as it ends every other tool.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::progress::no_color;

/// Prints a JSON document on one line.
pub(super) fn print_json(value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("results are plain data with text keys");
    print_lines(&text);
}

/// Prints a text and a line end.
pub(super) fn print_lines(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}

/// A colour of the terminal, for words that people look for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    /// All is well.
    Green,
    /// Something isn't as it should be.
    Yellow,
    /// Something is broken.
    Red,
}

/// The text in a colour, where standard output is a terminal and the user wants colours.
pub(super) fn painted(color: Color, text: &str) -> String {
    let code = match color {
        Color::Green => "32",
        Color::Yellow => "33",
        Color::Red => "31",
    };
    if std::io::stdout().is_terminal() && !no_color() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}
