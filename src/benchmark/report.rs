//! The report: Markdown for a text, and one page with its plots inside, which needs nothing but a browser.

use std::fmt::Write as _;

use super::{Benchmark, Measured, Times};

/// Where bars begin and how long the longest is, in pixels of the plot.
const LEFT: f64 = 330.0;
const LENGTH: f64 = 560.0;
const BAR: f64 = 11.0;
const GROUP: f64 = 62.0;

/// What was measured of a side.
type Of = fn(&Measured) -> &Result<Times, String>;

/// The sides in the order in which they are shown, with their colours.
const SIDES: [(&str, &str, Of); 4] = [
    ("Postgres", "#336791", |measured| &measured.postgres),
    ("engine, cold", "#c77d0a", |measured| &measured.cold),
    ("engine, warm", "#2a9d4e", |measured| &measured.warm),
    ("from memory", "#8a8f98", |measured| &measured.hit),
];

/// A text with a table.
#[must_use]
pub fn markdown(benchmark: &Benchmark) -> String {
    let mut text = format!("# Postgres and the engine\n\n{}\n\n", heading(benchmark));
    text.push_str("Milliseconds from the request to the last row: median / 95th / 99th percentile.\n\n");
    text.push_str(
        "| query | Postgres | engine, cold | engine, warm | from memory | times as fast | time cut | answers |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|\n");
    for measured in &benchmark.queries {
        let cells: Vec<String> = SIDES.iter().map(|(_, _, of)| cell(of(measured))).collect();
        let (fast, cut) = gain(measured);
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "| {} | {} | {fast} | {cut} | {} |", name(measured), cells.join(" | "), measured.answers);
    }
    let _ = writeln!(text, "\n{}", summary(benchmark));
    text
}

/// One page.
#[must_use]
pub fn html(benchmark: &Benchmark) -> String {
    let mut rows = String::new();
    for measured in &benchmark.queries {
        let cells: Vec<String> = SIDES.iter().map(|(_, _, of)| escaped(&cell(of(measured)))).collect();
        let (fast, cut) = gain(measured);
        let class = if measured.answers == "equal" { "equal" } else { "other" };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{fast}</td><td>{cut}</td><td class=\"{class}\">{}</td></tr>",
            escaped(&name(measured)),
            cells.join("</td><td>"),
            measured.answers
        );
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>Postgres and the engine</title><style>{STYLE}</style></head><body>\n<h1>Postgres and the engine</h1>\n<p>{}</p>\n<p><b>{}</b></p>\n{}\n\
         <table><thead><tr><th>query</th><th>Postgres</th><th>engine, cold</th><th>engine, warm</th><th>from memory</th><th>times as fast</th>\
         <th>time cut</th><th>answers</th></tr></thead><tbody>\n{rows}</tbody></table>\n<p>Milliseconds from the request to the last row: median / \
         95th / 99th percentile. Times as fast, and time cut, are of the medians of Postgres and of the engine, warm.</p>\n</body></html>\n",
        escaped(&heading(benchmark)),
        escaped(&summary(benchmark)),
        plot(benchmark),
    )
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1100px;padding:0 1rem;color:#1c2733;background:#fff}\
    h1{font-size:1.5rem}table{border-collapse:collapse;width:100%;font-size:.85rem;margin-top:1.5rem}th,td{padding:.35rem .5rem;text-align:right;\
    border-bottom:1px solid #e3e8ee;font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left}.equal{color:#1c7c3c}.other{color:#b3261e}\
    svg{width:100%;height:auto}svg text{font:12px system-ui,sans-serif;fill:#1c2733}svg .axis{fill:#66717d;font-size:10px}";

/// Bars of medians on a scale of powers of ten, since a hit takes a hundred-thousandth of what a scan does.
fn plot(benchmark: &Benchmark) -> String {
    let medians = || {
        let of = |measured| {
            SIDES.iter().filter_map(move |(_, _, side)| side(measured).as_ref().ok()).map(|times| times.percentile(50))
        };
        benchmark.queries.iter().flat_map(of).filter(|time| *time > 0.0)
    };
    let least = medians().fold(f64::INFINITY, f64::min).log10().floor();
    let greatest = medians().fold(0.0, f64::max).log10().ceil();
    if !least.is_finite() || !greatest.is_finite() {
        return String::new();
    }
    let (least, greatest) = (least, greatest.max(least + 1.0));
    let place = |time: f64| LEFT + LENGTH * (time.log10() - least) / (greatest - least);
    let height = 60.0 + GROUP * benchmark.queries.len() as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 1000 {height:.0}\" role=\"img\" aria-label=\"Medians of each query on each side\">\n"
    );
    for (index, (side, colour, _)) in SIDES.iter().enumerate() {
        let x = LEFT + 150.0 * index as f64;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"6\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"16\">{side}</text>",
            x + 18.0
        );
    }
    let mut power = least;
    while power <= greatest {
        let x = place(10_f64.powf(power));
        let label = 10_f64.powf(power);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"42\" x2=\"{x:.1}\" y2=\"{height:.0}\" stroke=\"#e3e8ee\"/><text class=\"axis\" x=\"{x:.1}\" y=\"38\" text-anchor=\"middle\">{label} ms</text>"
        );
        power += 1.0;
    }
    for (index, measured) in benchmark.queries.iter().enumerate() {
        let top = 54.0 + GROUP * index as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            top + 18.0,
            escaped(&measured.query)
        );
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            top + 34.0,
            escaped(&cut(&measured.parameters, 40))
        );
        for (row, (side, colour, of)) in SIDES.iter().enumerate() {
            let Ok(times) = of(measured) else { continue };
            let time = times.percentile(50);
            let (y, width) = (top + (BAR + 1.0) * row as f64, (place(time.max(10_f64.powf(least))) - LEFT).max(1.0));
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"><title>{side}: {} ms</title></rect>\
                 <text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                digits(time),
                LEFT + width + 5.0,
                y + 10.0,
                digits(time)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

fn heading(benchmark: &Benchmark) -> String {
    format!(
        "Snapshot {} as of {}, {} rows, of PostgreSQL {}. Each query was asked {} times on each side, one after the other, by Pilaster {}: \
         pilaster bench --runs {}.",
        benchmark.snapshot,
        benchmark.as_of.format("%Y-%m-%d %H:%M UTC"),
        benchmark.rows,
        benchmark.server_version,
        benchmark.runs,
        env!("CARGO_PKG_VERSION"),
        benchmark.runs,
    )
}

fn summary(benchmark: &Benchmark) -> String {
    let gains: Vec<f64> = benchmark.queries.iter().filter_map(Measured::speed_up).collect();
    let equal = benchmark.queries.iter().filter(|measured| measured.answers == "equal").count();
    if gains.is_empty() {
        return "Nothing ran on both sides.".to_owned();
    }
    let mean = (gains.iter().map(|gain| gain.ln()).sum::<f64>() / gains.len() as f64).exp();
    let total = |of: Of| -> f64 {
        let both = benchmark.queries.iter().filter(|measured| measured.speed_up().is_some());
        both.filter_map(|measured| of(measured).as_ref().ok()).map(|times| times.percentile(50)).sum()
    };
    let (postgres, warm) = (total(|measured| &measured.postgres), total(|measured| &measured.warm));
    format!(
        "{mean:.1} times as fast (geometric mean of medians); the sum of medians {} by {:.0} %, from {} to {} ms; {equal} of {} answers are equal.",
        if warm <= postgres { "is cut" } else { "grows" },
        100.0 * (1.0 - warm / postgres.max(1e-9)).abs(),
        digits(postgres),
        digits(warm),
        benchmark.queries.len(),
    )
}

fn gain(measured: &Measured) -> (String, String) {
    match measured.speed_up() {
        Some(gain) => (format!("{gain:.1}"), format!("{:.0} %", 100.0 * (1.0 - 1.0 / gain))),
        None => ("".into(), "".into()),
    }
}

fn cell(times: &Result<Times, String>) -> String {
    match times {
        Ok(times) => [50, 95, 99].map(|percent| digits(times.percentile(percent))).join(" / "),
        Err(why) => cut(why, 60),
    }
}

fn name(measured: &Measured) -> String {
    match measured.parameters.as_str() {
        "" => measured.query.clone(),
        parameters => format!("{}?{parameters}", measured.query),
    }
}

/// Three digits that say something.
fn digits(time: f64) -> String {
    match time {
        time if time >= 100.0 => format!("{time:.0}"),
        time if time >= 10.0 => format!("{time:.1}"),
        time if time >= 1.0 => format!("{time:.2}"),
        time => format!("{time:.3}"),
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_report_shows_what_was_measured_and_what_failed() {
        let times = |each: u64| Ok(Times::new((1..=20).map(|run| Duration::from_micros(each + run)).collect()));
        let benchmark = Benchmark {
            snapshot: 3,
            as_of: chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
            server_version: "15.18".into(),
            rows: 1_000,
            runs: 20,
            queries: vec![
                Measured {
                    query: "a/<b>".into(),
                    parameters: "x=1&y=2".into(),
                    postgres: times(100_000),
                    cold: times(20_000),
                    warm: times(10_000),
                    hit: times(20),
                    answers: "equal",
                },
                Measured {
                    query: "a/c".into(),
                    parameters: String::new(),
                    postgres: Err("PostgreSQL cannot be reached".into()),
                    cold: times(1),
                    warm: times(1),
                    hit: times(1),
                    answers: "not asked",
                },
            ],
        };
        let text = markdown(&benchmark);
        assert!(text.contains("| a/<b>?x=1&y=2 | 100 / 100 / 100 | 20.0 / 20.0 / 20.0 | 10.0 / 10.0 / 10.0 | 0.030 / 0.039 / 0.040 | 10.0 | 90 % | equal |"), "{text}");
        assert!(
            text.contains("| a/c | PostgreSQL cannot be reached |") && text.contains("1 of 2 answers are equal"),
            "{text}"
        );
        let page = html(&benchmark);
        assert!(page.contains("a/&lt;b&gt;") && !page.contains("<b>?") && !page.contains("http"), "{page}");
        assert_eq!(page.matches("<rect").count(), 4 + 4 + 3, "a bar for each side that was measured, and the legend");
    }
}
