//! The function library: Postgres's functions, operators and casts, in tables by area.
//!
//! Owns: what each of them does to values of Postgres's types. How a call finds its entry is in `function`.

mod array_casts;
mod array_order;
mod array_text;
mod arrays;
mod calendar;
mod casts;
mod general;
mod interval_input;
mod interval_iso;
pub(super) mod interval_math;
mod json_casts;
mod json_edit;
mod json_functions;
mod json_operators;
mod json_path;
mod json_path_functions;
mod json_path_layout;
mod json_path_lex;
mod json_path_numbers;
mod json_path_run;
mod json_path_truth;
mod json_print;
mod json_text;
mod json_value;
mod like;
mod number_casts;
mod number_format;
mod numbers;
mod ordered;
mod patterns;
mod regex;
mod regex_fast;
mod regex_lex;
mod regex_nfa;
mod regex_parse;
mod regex_plan;
mod regex_set;
mod text;
mod text_bytes;
mod text_casts;
mod text_format;
mod text_more;
mod text_output;
mod time_casts;
mod time_extract;
mod time_fields;
mod time_format;
mod time_functions;
mod time_input;
mod time_output;
mod time_parse;
mod time_pattern;
mod time_reading;
mod time_scan;
mod time_text;
mod time_trunc;
mod time_units;
mod time_words;
mod zone;
mod zone_abbreviations;
mod zone_posix;

use super::function::Entry;

pub(super) use numbers::decimal;

/// Every entry there is. Where two have the same signature, the first holds.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    [
        casts::ENTRIES,
        array_casts::ENTRIES,
        array_order::ENTRIES,
        arrays::ENTRIES,
        general::ENTRIES,
        interval_math::ENTRIES,
        json_casts::ENTRIES,
        json_edit::ENTRIES,
        json_functions::ENTRIES,
        json_operators::ENTRIES,
        json_path_functions::ENTRIES,
        like::ENTRIES,
        number_casts::ENTRIES,
        number_format::ENTRIES,
        numbers::ENTRIES,
        ordered::ENTRIES,
        patterns::ENTRIES,
        text::ENTRIES,
        text_bytes::ENTRIES,
        text_casts::ENTRIES,
        text_format::ENTRIES,
        text_more::ENTRIES,
        time_casts::ENTRIES,
        time_extract::ENTRIES,
        time_format::ENTRIES,
        time_functions::ENTRIES,
        time_parse::ENTRIES,
        time_trunc::ENTRIES,
        text_more::JOINED,
    ]
    .into_iter()
    .flatten()
}
