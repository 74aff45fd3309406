//! A result as a table for the terminal, as psql shows it.
//!
//! Owns: alignment, display width, and what is done to characters that a terminal would obey.
//! Must not know: how values are spelled, where the text is printed.

use std::fmt::Write as _;

use arrow::{
    array::RecordBatch,
    datatypes::{Field, SchemaRef},
};

use super::{Numbers, column::columns, names::postgres_type_name};
use crate::error::Result;

/// The result as psql's aligned format, ending with `(n rows)` and a line feed.
///
/// Numbers stand to the right, NULL is nothing, a line break goes on in the line below after a `+`. Control characters
/// are shown (`\x1B`) and not sent, so that data cannot steer the terminal. When the table is wider than `width`
/// columns, each row becomes a record of its own with a line per column (psql's `\x auto`); nothing is ever cut.
///
/// # Errors
/// `internal` when a batch has not the types of the schema.
pub fn table(schema: &SchemaRef, batches: &[RecordBatch], width: Option<usize>) -> Result<String> {
    let names: Vec<Cell> = schema.fields().iter().map(|field| Cell::new(field.name())).collect();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut text = Vec::new();
    for batch in batches {
        let columns = columns(schema, batch, Numbers::Native)?;
        for row in 0..batch.num_rows() {
            let cell = |column: &super::column::Column<'_>| {
                text.clear();
                if !column.is_null(row) {
                    column.write_text(row, &mut text);
                }
                Cell::new(&String::from_utf8_lossy(&text))
            };
            rows.push(columns.iter().map(cell).collect());
        }
    }

    let mut widths: Vec<usize> = names.iter().map(Cell::width).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let total: usize = widths.iter().map(|width| width + 3).sum::<usize>().saturating_sub(1);
    let mut out = String::new();
    if width.is_some_and(|width| total > width) && !rows.is_empty() {
        write_records(&names, &rows, &mut out);
    } else {
        let numeric: Vec<bool> = schema.fields().iter().map(|field| is_numeric(field)).collect();
        write_aligned(&names, &rows, &widths, &numeric, &mut out);
    }
    let (count, plural) = (rows.len(), if rows.len() == 1 { "" } else { "s" });
    let _ = writeln!(out, "({count} row{plural})");
    Ok(out)
}

fn is_numeric(field: &Field) -> bool {
    matches!(
        postgres_type_name(field).as_ref(),
        "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "oid" | "xid" | "xid8" | "cid" | "money"
    )
}

fn write_aligned(names: &[Cell], rows: &[Vec<Cell>], widths: &[usize], numeric: &[bool], out: &mut String) {
    let centered: Vec<Align> = names.iter().map(|_| Align::Center).collect();
    write_row(names, widths, &centered, out);
    let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
    out.push_str(&rules.join("+"));
    out.push('\n');
    let aligns: Vec<Align> = numeric.iter().map(|numeric| if *numeric { Align::Right } else { Align::Left }).collect();
    for row in rows {
        write_row(row, widths, &aligns, out);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Center,
}

fn write_row(row: &[Cell], widths: &[usize], aligns: &[Align], out: &mut String) {
    let height = row.iter().map(|cell| cell.lines.len()).max().unwrap_or(1);
    for line in 0..height {
        let start = out.len();
        for (place, ((cell, width), align)) in row.iter().zip(widths).zip(aligns).enumerate() {
            if place > 0 {
                out.push('|');
            }
            let (text, own) = cell.line(line);
            let space = width - own;
            let before = match align {
                Align::Left => 0,
                Align::Right => space,
                Align::Center => space / 2,
            };
            let goes_on = line + 1 < cell.lines.len();
            out.extend(std::iter::repeat_n(' ', before + 1));
            out.push_str(text);
            out.extend(std::iter::repeat_n(' ', space - before));
            out.push(if goes_on { '+' } else { ' ' });
        }
        let end = out.trim_end_matches(' ').len().max(start);
        out.truncate(end);
        out.push('\n');
    }
}

fn write_records(names: &[Cell], rows: &[Vec<Cell>], out: &mut String) {
    let name_width = names.iter().map(Cell::width).max().unwrap_or(0);
    for (number, row) in rows.iter().enumerate() {
        let _ = writeln!(out, "-[ RECORD {} ]", number + 1);
        for (name, cell) in names.iter().zip(row) {
            for line in 0..cell.lines.len().max(name.lines.len()) {
                let (label, own) = name.line(line);
                out.push_str(label);
                out.extend(std::iter::repeat_n(' ', name_width - own));
                out.push_str(if line + 1 < name.lines.len() { "+|" } else { " |" });
                let (text, _) = cell.line(line);
                if !text.is_empty() {
                    out.push(' ');
                    out.push_str(text);
                }
                if line + 1 < cell.lines.len() {
                    out.push('+');
                }
                out.push('\n');
            }
        }
    }
}

/// A value's lines and how many columns of the terminal each takes.
struct Cell {
    lines: Vec<(String, usize)>,
}

impl Cell {
    fn new(text: &str) -> Self {
        Self { lines: text.split('\n').map(shown).collect() }
    }

    fn width(&self) -> usize {
        self.lines.iter().map(|(_, width)| *width).max().unwrap_or(0)
    }

    fn line(&self, line: usize) -> (&str, usize) {
        self.lines.get(line).map_or(("", 0), |(text, width)| (text, *width))
    }
}

/// The line as it can be shown, and its width.
fn shown(line: &str) -> (String, usize) {
    let mut text = String::with_capacity(line.len());
    let mut width = 0;
    for character in line.chars() {
        match character {
            '\t' => {
                let space = 8 - width % 8;
                text.extend(std::iter::repeat_n(' ', space));
                width += space;
            }
            '\r' => {
                text.push_str("\\r");
                width += 2;
            }
            _ if character.is_control() || is_bidirectional_control(character) => {
                let start = text.len();
                let code = u32::from(character);
                let _ = if code < 0x100 { write!(text, "\\x{code:02X}") } else { write!(text, "\\u{code:04X}") };
                width += text.len() - start;
            }
            _ => {
                text.push(character);
                width += character_width(character);
            }
        }
    }
    (text, width)
}

/// Characters that reorder what stands around them, and could make a row show what it does not say.
fn is_bidirectional_control(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns a terminal gives to a character: the wide blocks of Unicode's East Asian Width (UAX #11) and emoji
/// take two, what combines with the character before takes none. Rare scripts may come out a column off; nothing but
/// looks depends on it.
fn character_width(character: char) -> usize {
    match u32::from(character) {
        0..0x300 => 1,
        0x300..=0x36f | 0x483..=0x489 | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f => 0,
        0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x200b..=0x200f | 0x2060 | 0x20d0..=0x20ff | 0xfeff => 0,
        0xfe00..=0xfe0f | 0xfe20..=0xfe2f | 0x1f3fb..=0x1f3ff | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f | 0x231a..=0x231b | 0x23e9..=0x23ec | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97c => 2,
        0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 => 2,
        0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f7e0..=0x1f7eb | 0x1f900..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}
